"""Which container on this node is exploding in threads, and which limit will refuse the next."""

__version__ = "0.1.0"
