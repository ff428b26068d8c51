"""The live view, on Textual: renders what ``screen/`` makes of snapshots, and computes nothing."""

import os

# Milliseconds until an escape character that stands alone is the key Escape: as long as htop waits.
# Textual's own 100 are felt; the rest of an arrow key comes with it, in the same packet. It is read
# when Textual is first imported, so it stands here.
os.environ.setdefault("ESCDELAY", "25")
