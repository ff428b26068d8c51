"""What several suites of tests share.

requirements   skip or fail where the machine lacks a part, with the remedy
waiting        wait for a condition with a deadline
cgroups        cgroups of a test's own in the hierarchy of the pids controller
puppet         a C program that creates exactly the tasks it is told to
stream         a running `threadtrace stream`, its events and their sums
kernel         what the kernel itself tells: total births, BPF objects and who holds them
terminal       a command in a pseudo-terminal
"""
