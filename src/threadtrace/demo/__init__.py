"""Both incidents that threadtrace was made for, in small, in a PID namespace of their own."""
