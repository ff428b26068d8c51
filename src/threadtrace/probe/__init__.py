"""The kernel: what can be attached, the loader process, maps and records."""
