"""``threadtrace stream``, put together: the agent in an event loop, its outputs and its server."""
