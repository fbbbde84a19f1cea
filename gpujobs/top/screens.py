"""What is shown over the view: the keys, a question, a whole log."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

KEYS = (
    ("up down", "select; also k j, page up, page down, home, end, the mouse"),
    ("/", "filter: mine, all, user=ann, state=RUNNING, name=lstm-*"),
    ("escape", "no filter"),
    ("l", "the whole log of the selected job, as it is written"),
    ("t", "the time line in place of log and curve"),
    ("c", "cancel the selected job, or all of its sweep; asks first"),
    ("h", "hold: it does not start"),
    ("r", "release it"),
    ("R", "requeue: back to the queue, or once more; asks where it runs"),
    ("?", "this help"),
    ("q", "quit"),
)
LEGEND = "bars: memory, then load   * your own   ! a stranger: no job of this daemon"


class Over(ModalScreen[bool]):
    DEFAULT_CSS = """
    Over { align: center middle; }
    Over > Static { width: auto; max-width: 96%; height: auto; border: round ansi_default; padding: 0 1; }
    """

    def __init__(self, text: Text) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        yield Static(self._text)


class Help(Over):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss(False)", "back")
    ]

    def __init__(self) -> None:
        lines = [f"{key:<9} {what}" for key, what in KEYS]
        super().__init__(Text("\n".join([*lines, "", LEGEND])))


class Confirm(Over):
    """Answers whether it was yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"),
        Binding("n,escape,q,enter", "dismiss(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__(Text(f"{question}\n\ny: yes   n: no"))


class WholeLog(ModalScreen[None]):
    """Stays at the end while nobody has scrolled up."""

    DEFAULT_CSS = """
    WholeLog > #title { height: 1; text-style: bold reverse; }
    WholeLog > VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,l", "dismiss(None)", "back")]

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title

    def compose(self) -> ComposeResult:
        yield Static(Text(f" {self._title}: q goes back, arrows scroll", no_wrap=True), id="title")
        with VerticalScroll(id="body"):
            yield Static(Text(), id="text")

    def show(self, lines: list[str]) -> None:
        if not self.query("#text"):  # not yet
            return
        body = self.query_one("#body", VerticalScroll)
        is_at_end = body.scroll_offset.y >= body.max_scroll_y
        self.query_one("#text", Static).update(Text("\n".join(lines)))
        if is_at_end:
            body.scroll_end(animate=False)
