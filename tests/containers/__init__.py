"""Real containers for tests: runc bundles, and CRI pods of a private containerd.

leak.c          the workload: a known number of threads or forks
rootfs          a root file system and images from busybox and leak
workload        what runc containers and CRI containers have in common
runc_container  RuncPod and RuncContainer
cri             Containerd, CriPod and CriContainer
cri_client      the calls behind them, from cri.proto
cgroups         the cgroup directories of a pod, in every hierarchy
mounts          leftover mounts, and a node's root to look at
processes       wait_until; waiting for and ending processes that are not our children
agent           `threadtrace stream` on a node with containers
prerequisites   require: skip or fail, with the remedy
"""
