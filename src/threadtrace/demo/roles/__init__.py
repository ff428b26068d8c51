"""Programs of the demo's workloads; each runs alone, and imports nothing from threadtrace."""
