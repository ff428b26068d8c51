"""What can happen to who writes."""

from __future__ import annotations

import errno

FULL_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a full disk, quota or device answers."""


class ReaderGone(Exception):
    """The other end of the pipe was closed."""
