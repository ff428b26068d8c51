"""Lines of styled text as a widget."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from threadtrace.screen.columns import Cell
from threadtrace.screen.styles import style


class Lines(Widget):
    """Lines of styled text, as many as there are."""

    DEFAULT_CSS = """
    Lines { height: auto; width: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        """Empty."""
        super().__init__(id=id)
        self._lines: Sequence[Sequence[Cell]] = ()

    def show(self, lines: Sequence[Sequence[Cell]]) -> None:
        """Others from now on."""
        has_moved = len(lines) != len(self._lines)
        self._lines = lines
        self.refresh(layout=has_moved)

    def get_content_height(self, *_: object) -> int:
        """See Textual."""
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        """See Textual's Line API."""
        width = self.size.width
        if y >= len(self._lines):
            return Strip.blank(width)
        segments = [Segment(cell.text, style(cell.style)) for cell in self._lines[y]]
        return Strip(segments).adjust_cell_length(width, Style())
