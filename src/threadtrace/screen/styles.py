"""The few styles of what is shown. Words and capitals say the same without any colour.

Orange and blue, which the colour-blind tell apart, instead of red and green; reverse video is what
calls, since it works in every terminal.
"""

from __future__ import annotations

from rich.style import Style

STYLES = {
    "plain": Style(),
    "dim": Style(dim=True),
    "bold": Style(bold=True),
    "warning": Style(color="#ffaf00"),
    "danger": Style(color="#ff5f5f", bold=True),
    "spark": Style(color="#5fafff"),
    "heading": Style(reverse=True),
}
"""By the names that ``screen/`` gives."""

CURSOR = Style(color="#ffffff", bgcolor="#005f87", bold=True)


def style(name: str) -> Style:
    """Of a name; an unknown one is plain."""
    return STYLES.get(name, STYLES["plain"])
