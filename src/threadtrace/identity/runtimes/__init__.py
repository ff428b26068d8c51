"""Names of containers and pods, read from files that runtimes leave on the node.

Sockets and APIs may be dead exactly when the names matter, so nothing here starts a process
or a thread, opens a socket or asks a daemon. Each runtime has one module; `lookup.py` holds the
order in which they are asked.
"""

from threadtrace.identity.runtimes.lookup import RuntimeFiles, StateDirectory
from threadtrace.identity.runtimes.names import ContainerNames

__all__ = ["ContainerNames", "RuntimeFiles", "StateDirectory"]
