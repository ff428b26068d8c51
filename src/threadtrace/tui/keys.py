"""Every key, on one screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from threadtrace.screen.columns import Cell
from threadtrace.tui.control import Control
from threadtrace.tui.lines import Lines
from threadtrace.tui.redrawn import Redrawn, pair

_KEYS = (
    ("move", ""),
    ("↑ ↓  k j", "one row; the row under the cursor stays where it is while others move"),
    ("PgUp PgDn", "one page"),
    ("g G", "top, bottom; g also follows whoever is most dangerous"),
    ("Enter", "open: workload, its processes, the threads of one; in the tree: fold"),
    ("Esc", "back; at the top: clear filter and namespace"),
    ("choose", ""),
    ("/", "filter: words, ns:shop, state:exploding, refused>0, used>=80%, -kind:unit"),
    ("s  F6", "sort by a column; a click on its title does the same"),
    ("I", "invert the order"),
    ("t", "tree: node, namespaces, pods, containers"),
    ("u", "one namespace"),
    ("look", ""),
    ("Space", "the numbers stay; counting goes on"),
    ("+ -", "interval between two samples (of a recording: its speed)"),
    ("e", "event log"),
    ("y", "copy the row as JSON (into the terminal's clipboard, OSC 52)"),
    ("q  Ctrl-C", "end"),
)
_REPLAY_KEYS = (
    ("recording", ""),
    ("[ ]  { }", "10 seconds, a minute back and forward"),
    (", .", "one tick back, forward"),
    ("< >", "slower, faster"),
    ("n N", "to the next refusal or explosion, the one before"),
)
_COLUMNS = (
    ("columns", ""),
    ("STATE", "growing, EXPLODING, EXHAUSTED, recovering; REFUSED: its clones are refused"),
    ("TASKS", "threads present now, without those of workloads nested within"),
    ("USED, OF LIMIT", "of the nearest pids.max at or above it; whose it is: own, pod, a cgroup"),
    ("THR PROC EXIT/s", "threads and processes created, both exited"),
    ("NET/s", "by how much TASKS changes, averaged over some seconds"),
    ("REF/s", "clones that the kernel refused"),
    ("LEFT", "until the limit that is used up first is used up, at this growth"),
)


class HelpScreen(Redrawn):
    """Keys and columns."""

    DEFAULT_CSS = "HelpScreen VerticalScroll { height: 1fr; } HelpScreen #keys { height: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "back", "back", show=False),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]
    KEYS = (("Esc", "back"), ("↑ ↓", "scroll"))

    def __init__(self, control: Control) -> None:
        """For that kind of feed."""
        super().__init__()
        self._control = control

    def compose(self) -> ComposeResult:
        """See Textual."""
        with VerticalScroll():
            yield Lines(id="help")
        yield Lines(id="keys")

    def redraw(self) -> None:
        """See Redrawn."""
        width = max(40, self.size.width - 2)
        keys = _KEYS + (_REPLAY_KEYS if self._control.is_replay else ()) + _COLUMNS
        lines = [
            pair(f"  {key}", words, width) if words else [Cell(key.upper(), "heading")]
            for key, words in keys
        ]
        self.query_one("#help", Lines).show(lines)
        self.show_keys(self.query_one("#keys", Lines))

    def action_back(self) -> None:
        """To where it was."""
        self.leave()

    def action_scroll(self, lines: int) -> None:
        """As the arrows."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
