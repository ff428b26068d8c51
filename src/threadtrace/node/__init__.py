"""The node: limits, cgroups and processes, read from /proc and the cgroup file systems."""
