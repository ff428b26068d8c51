"""What the screens have in common: they are drawn anew with each snapshot, and know their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from textual import events
from textual.screen import Screen

from threadtrace.output.fields import Fields
from threadtrace.screen.columns import Cell
from threadtrace.screen.figures import fitted
from threadtrace.tui.lines import Lines

if TYPE_CHECKING:
    from threadtrace.tui.app import TopApp


class Layer:
    """A screen that is left once, and knows only the terminal's present size.

    Textual tells a screen that it has got the size of its own layout. Where the terminal's size
    changes in between, both sizes are told, each makes a layout, each layout tells its size again,
    and that goes on for ever.
    """

    def on_resize(self, event: events.Resize) -> None:
        """Pass over a size that is no longer that of the terminal."""
        assert isinstance(self, Screen)
        if event.size != self.app.size:
            event.prevent_default()
            event.stop()

    is_ready = False
    """Whether all that it shows is there."""
    _is_left = False

    def on_mount(self) -> None:
        """From now on."""
        self.is_ready = True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key may come before the screen that it is meant for is there."""
        del action, parameters
        return self.is_ready and not self._is_left

    def leave(self, result: Any = None) -> None:
        """Back to the screen below: a key that is pressed twice must not leave that one, too."""
        assert isinstance(self, Screen)
        if not self._is_left and self.is_current:
            self._is_left = True
            self.dismiss(result)


class Redrawn(Layer, Screen[None]):
    """A screen of the view."""

    KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Named in the last line, the most useful first: what is pressed, and what it does."""

    @property
    def top(self) -> TopApp:
        """The application."""
        from threadtrace.tui.app import TopApp

        assert isinstance(self.app, TopApp)
        return self.app

    def redraw(self) -> None:
        """Show what is there now."""

    def redraw_if_shown(self) -> None:
        """Not before it is there, nor after it was left."""
        if self.is_ready and self.is_current and not self._is_left:
            self.redraw()

    def on_screen_resume(self) -> None:
        """Back from another screen."""
        self.redraw_if_shown()

    def on_resize(self, event: events.Resize) -> None:
        """Another size, another choice of columns and lines."""
        super().on_resize(event)
        self.call_after_refresh(self.redraw_if_shown)

    def copy(self, fields: Fields) -> None:
        """Into the terminal's clipboard (OSC 52), as JSON; what it holds may be any text."""
        text = orjson.dumps(fields).decode()
        self.app.copy_to_clipboard(text)
        self.notify(f"copied {len(text):,} characters of JSON", timeout=2, markup=False)

    def show_keys(self, bar: Lines, before: str = "") -> None:
        """Bring the last line up to date.

        Args:
            bar: that line.
            before: something more important.
        """
        line = [Cell(f"{before} ", "warning")] if before else []
        used = len(before) + 1 if before else 0
        for key, words in self.KEYS:
            length = len(key) + len(words) + 3
            if used + length > self.size.width:
                break
            line += [Cell(key, "bold"), Cell(f" {words}  ", "dim")]
            used += length
        bar.show([line])


def pair(left: str, right: str, width: int) -> list[Cell]:
    """A key and what it does, in a table of two columns."""
    return [Cell(fitted(left, 18), "bold"), Cell(fitted(right, max(0, width - 18)))]
