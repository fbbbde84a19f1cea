"""The queue: one's own jobs first, a sweep in one line; only the lines that are seen are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text
from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.message import Message
from textual.widget import Widget

from gpujobs.printing import printable
from gpujobs.top import columns
from gpujobs.top.drawing import Drawing
from gpujobs.view.now import Now, Row
from gpujobs.view.words import STATE_COLOURS

SHORTENED = (columns.NAME, columns.USER, columns.DEVICE)
"""Their ends tell them apart."""


class Queue(Widget, can_focus=True):
    """The line under the cursor is the selected one, by its key: it stays selected when others come and go."""

    DEFAULT_CSS = "Queue { height: 1fr; }"

    class Selected(Message):
        """Another row is selected, or none; or it has changed."""

    def __init__(self, drawing: Drawing) -> None:
        super().__init__()
        self._drawing = drawing
        self._now = Now()
        self._top = 0
        self._key = ""
        self._place = 0
        self._sizes: list[int] = []

    @property
    def selected(self) -> Row | None:
        rows = self._now.rows
        return rows[self._place] if self._place < len(rows) else None

    def show(self, now: Now) -> None:
        self._now = now
        places = {row.key: place for place, row in enumerate(now.rows)}
        self._move(places.get(self._key, min(self._place, max(0, len(now.rows) - 1))))

    def go(self, lines: int) -> None:
        self._move(min(max(0, self._place + lines), max(0, len(self._now.rows) - 1)))

    @property
    def page(self) -> int:
        """Rows that fit below the head."""
        return max(1, self.size.height - 1)

    def _move(self, place: int) -> None:
        self._place = place
        self._key = self.selected.key if self.selected else ""
        self.post_message(self.Selected())
        self.refresh()

    def on_click(self, event: Click) -> None:
        if event.y >= 1 and self._top + event.y - 1 < len(self._now.rows):
            self._move(self._top + event.y - 1)

    def on_mouse_scroll_down(self, _: MouseScrollDown) -> None:
        self.go(1)

    def on_mouse_scroll_up(self, _: MouseScrollUp) -> None:
        self.go(-1)

    def render(self) -> Text:
        width, room = self.size.width, self.page
        hidden = self._now.total - len(self._now.rows)
        self._top = max(min(self._top, self._place), self._place - room + 1, 0)
        self._top = min(self._top, max(0, len(self._now.rows) - room))
        rows = self._now.rows[self._top : self._top + room]
        several = len(self._now.nodes) > 1
        cells = [_cells(row, self._drawing, several) for row in rows]
        self._sizes = columns.sizes(cells, width - 2, width, names_nodes=several)
        found = [self._text("  ", columns.HEAD, width, "bold")]
        for at, (row, shown) in enumerate(zip(rows, cells, strict=True), self._top):
            found.append(self._row(row, shown, width, at == self._place))
        if not self._now.rows:
            found.append(Text("  no job is shown; `gpujobs submit FILE` queues one, / changes the filter"))
        if hidden > 0 and len(found) <= room:
            found.append(Text(f"  ... and {hidden:,} more: / shows fewer"))
        text = Text("\n", no_wrap=True, end="").join(found)
        text.no_wrap, text.overflow = True, "crop"
        return text

    def _row(self, row: Row, cells: tuple[str, ...], width: int, is_selected: bool) -> Text:
        sign = (">" if is_selected else " ") + ("*" if row.is_own else " ")
        line = self._text(sign, cells, width, "reverse" if is_selected else "")
        if not is_selected and (colour := STATE_COLOURS.get(cells[3])):
            start = 2 + sum(self._sizes[:3]) + 3 * columns.gap(width)
            line.stylize(colour, start, start + self._sizes[3])
        return line

    def _text(self, sign: str, cells: tuple[str, ...], width: int, style: str) -> Text:
        line, between = Text(sign, style, no_wrap=True, end=""), " " * columns.gap(width)
        for number, (cell, size) in enumerate(zip(cells, self._sizes, strict=True)):
            cut = self._drawing.shortened if number in SHORTENED else self._drawing.cut
            part = Text(cut(cell, size))
            part.pad_right(size - part.cell_len)
            line.append(between if number else "").append_text(part)
        line.truncate(width, pad=True)
        return line


def _cells(row: Row, drawing: Drawing, names_nodes: bool) -> tuple[str, ...]:
    shown: Mapping[str, Any] = row.shown.get("job") or row.shown["group"]
    id = str(shown["id"]) if "job" in row.shown else f"g{shown['id']}"
    device = shown.get("device")
    node = f"{shown.get('node')}:" if names_nodes else ""
    return (
        id,
        printable(shown["name"]),
        printable(shown["user"]),
        str(shown["state"]),
        "" if device is None else printable(f"{node}{device['kind']} {device['index']}"),
        drawing.message(row.says),
        drawing.elapsed(shown),
    )
