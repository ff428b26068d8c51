"""Short lists to choose from: by what to sort, which namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from threadtrace.tui.redrawn import Layer


class Offer(NamedTuple):
    """One line of a menu."""

    value: str
    text: str
    """May hold anything: no markup is read from it."""


class Menu(Layer, ModalScreen[str]):
    """Enter chooses, Escape leaves everything as it is."""

    DEFAULT_CSS = """
    Menu { align: center middle; background: $background 60%; }
    Menu > Vertical {
        width: auto; min-width: 30; max-width: 90%; height: auto; max-height: 90%;
        border: round $primary; padding: 0 1; background: $surface;
    }
    Menu OptionList {
        width: auto; min-width: 28; height: auto; max-height: 30; border: none;
        background: $surface;
    }
    Menu OptionList:focus { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "cancel", "back", show=False),
        Binding("j", "down", show=False),
        Binding("k", "up", show=False),
    ]

    def __init__(self, title: str, offers: Sequence[Offer], chosen: str) -> None:
        """Of these, of which one is chosen now."""
        super().__init__()
        self._title, self._offers, self._chosen = title, offers, chosen

    def compose(self) -> ComposeResult:
        """See Textual."""
        with Vertical():
            yield Static(Content(self._title))
            yield OptionList(*(Option(Content(offer.text)) for offer in self._offers))

    def on_mount(self) -> None:
        """Begin at what is chosen now."""
        values = [offer.value for offer in self._offers]
        options = self.query_one(OptionList)
        options.highlighted = values.index(self._chosen) if self._chosen in values else 0
        options.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Chosen."""
        self.leave(self._offers[event.option_index].value)

    def action_cancel(self) -> None:
        """Nothing chosen."""
        self.leave()

    def action_down(self) -> None:
        """As the arrow."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """As the arrow."""
        self.query_one(OptionList).action_cursor_up()
