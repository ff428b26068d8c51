"""``threadtrace``, and ``python -m threadtrace``."""

import os
import sys

_INTERRUPTED = 130


def main() -> int:
    """Run the command line; its exit code. Ctrl-C counts from the first import on."""
    try:
        from threadtrace.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)  # half-imported modules have nothing to flush


if __name__ == "__main__":
    sys.exit(main())
