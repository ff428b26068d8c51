"""Who a cgroup belongs to: container, pod, unit."""
