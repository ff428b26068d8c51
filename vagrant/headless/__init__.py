"""Tests on the kernels of vagrant/kernels.toml in throw-away guests, without Vagrant.

kernels        the list
architectures  what differs between processors
archive        packages: fetched through apt, checked, kept in a cache
userland       Python, bcc and what the tests need, as one archive for a guest's memory
image          a kernel with its userland, this checkout and the programs of the tests
guest          one boot: QEMU, what it says, its verdict
results        what each kernel was found to do; docs/support-matrix.md
command        the command line
"""
