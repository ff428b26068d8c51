"""``threadtrace``, and ``python -m threadtrace``."""

import os
import sys

_INTERRUPTED = 130


def main() -> int:
    """Run the command line; its exit code. Ctrl-C counts from the first import on."""
    try:
        _occupy_standard_descriptors()
        from threadtrace.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)  # half-imported modules have nothing to flush


def _occupy_standard_descriptors() -> None:
    """Where one is closed: else the next file that is opened would get what others write there."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free


if __name__ == "__main__":
    sys.exit(main())
