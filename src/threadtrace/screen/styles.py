"""The few styles of what is shown. Words and capitals say the same without any colour.

The terminal's own colours, which its user can read. No green: what is well has no colour, so nobody
has to tell it from red.
"""

from __future__ import annotations

from rich.style import Style

STYLES = {
    "plain": Style(),
    "dim": Style(dim=True),
    "bold": Style(bold=True),
    "warning": Style(color="yellow"),
    "danger": Style(color="red", bold=True),
    "spark": Style(color="cyan"),
    "heading": Style(reverse=True),
}
"""By the names that ``screen/`` gives."""

CURSOR = Style(color="bright_white", bgcolor="blue", bold=True)


def style(name: str) -> Style:
    """Of a name; an unknown one is plain."""
    return STYLES.get(name, STYLES["plain"])
