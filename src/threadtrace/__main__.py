"""``python -m threadtrace``."""

import sys

from threadtrace.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
