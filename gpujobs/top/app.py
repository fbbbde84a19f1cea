"""The view: what the daemon tells is drawn, what is typed is asked of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Static

from gpujobs.errors import UsageError
from gpujobs.printing import printable
from gpujobs.results.curves import JobHistory
from gpujobs.top import asking, devices, filters, hangup
from gpujobs.top.detail import Detail
from gpujobs.top.drawing import Drawing
from gpujobs.top.feed import Feed, Lost, Seen, Written
from gpujobs.top.heading import heading, title
from gpujobs.top.queue import Queue
from gpujobs.top.screens import Confirm, Help, WholeLog
from gpujobs.view.now import Now
from gpujobs.view.timeline import Timeline

KEYS = "q quit  ? help  / filter  c cancel  h hold  r release  R requeue  l log  t time"
REDRAW_SECONDS = 10.0
"""For the times that pass though nothing happens."""

TIMELINE_SECONDS = 30.0
LOG_SECONDS = 0.2
"""Between two drawings of a log that is written."""

SPLIT_STEP = 4
"""Cells by which the log becomes wider, so that the curve does not move with every line."""

SETTLE_SECONDS = 0.15
"""Until a row counts as looked at: whoever runs through the queue opens no log for each."""

RUNNING = frozenset({"RUNNING", "STARTING", "COMPLETING"})


class Told(Message):
    """By a thread. `by`: which feed, where that matters."""

    def __init__(self, what: object, by: object = None) -> None:
        super().__init__()
        self.what, self.by = what, by


class Top(App[None]):
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; overflow: hidden; }
    #head, #title, #say, #keys { height: 1; }
    Screen > Static, #detail > Static { text-wrap: nowrap; text-overflow: ellipsis; }
    #head { text-style: bold reverse; }
    #devices { height: auto; }
    #title { text-style: bold underline; }
    #detail { height: 8; }
    #log { width: 1fr; height: 100%; padding: 0 1 0 0; }
    #curve { width: 40%; height: 100%; }
    #lanes { height: 8; display: none; }
    #filter { height: 1; border: none; padding: 0; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", priority=True),
        Binding("question_mark", "help", "help"),
        Binding("slash", "filter", "filter"),
        Binding("escape", "no_filter", "no filter"),
        Binding("c", "cancel", "cancel"),
        Binding("h", "change('hold')", "hold"),
        Binding("r", "change('release')", "release"),
        Binding("R", "requeue", "requeue"),
        Binding("l", "log", "log"),
        Binding("t", "time", "time line"),
        Binding("up,k", "go(-1)", "up"),
        Binding("down,j", "go(1)", "down"),
        Binding("pageup", "page(-1)", "page up"),
        Binding("pagedown", "page(1)", "page down"),
        Binding("home", "go(-1000000)", "first"),
        Binding("end", "go(1000000)", "last"),
    ]

    def __init__(self, socket: Path, drawing: Drawing) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._socket, self._drawing = socket, drawing
        self._asker = asking.Asker(socket, self._tell)
        self._queue = Queue(drawing)
        self._detail = Detail(socket, self._asker, self._tell)
        self._feed: Feed | None = None
        self._filter = ""
        self._now, self._lost, self._said = Now(), "", ""
        self._settling: Timer | None = None
        self._writing: Timer | None = None
        self._timeline: Timeline | None = None
        self._end_signal = 0
        self._halves = (0, 0)

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="devices")
        yield self._queue
        yield Static(id="title")
        with Horizontal(id="detail"):
            yield Static(id="log")
            yield Static(id="curve")
        yield Static(id="lanes")
        yield Static(id="say")
        field = Input(placeholder=filters.HELP, id="filter", compact=True)
        field.cursor_blink = False
        yield field
        yield Static(Text(KEYS, no_wrap=True), id="keys")

    def on_mount(self) -> None:
        self._watch("")
        self._queue.focus()
        self.set_interval(REDRAW_SECONDS, self._draw)
        self.set_interval(TIMELINE_SECONDS, self._ask_timeline)
        if not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self._end, number)
            hangup.watch(0, lambda: self.call_from_thread(self._end, signal.SIGHUP))
        if self._end_signal:
            self._end(self._end_signal)

    def on_unmount(self) -> None:
        self._detail.stop()
        if self._feed is not None:
            self._feed.stop()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def run_until_ended(self) -> int:
        """The exit code. Signals that come before the view is up are kept until it is."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._remember)
        self.run()
        return self.return_code or 0

    def _remember(self, number: int, _: object) -> None:
        self._end_signal = number

    def _end(self, number: int) -> None:
        self.exit(return_code=128 + number)

    def _tell(self, what: object, by: object = None) -> None:
        with suppress(RuntimeError):  # the view has ended meanwhile
            self.post_message(Told(what, by))

    def on_told(self, message: Told) -> None:
        match message.what:
            case Seen(now) if message.by is self._feed:
                self._seen(now)
            case Lost() as lost if message.by is self._feed:
                self._lose(lost)
            case Written() as written:
                self._detail.written(written)
                self._writing = self._writing or self.set_timer(LOG_SECONDS, self._draw_log)
                return
            case JobHistory() as found:
                self._detail.history(found)
            case Timeline() as found:
                self._timeline = found
            case str(why):  # what a change, or an error, has come to
                self._said = why
        self._draw_below()

    def _seen(self, now: Now) -> None:
        was_lost, self._lost, self._now = bool(self._lost), "", now
        self._queue.show(now)
        if was_lost:
            self._detail.again()
        self._draw()

    def _lose(self, lost: Lost) -> None:
        if lost.is_refused:
            self._said = lost.why
            return
        if not self._lost:
            self._lost_at = datetime.now().strftime("%H:%M:%S")
        self._lost = f"{lost.why}; this is as it was at {self._lost_at}"
        self._draw()

    def _watch(self, text: str) -> None:
        """Raises UsageError for what is no filter."""
        query = filters.parsed(text)
        if self._feed is not None:
            self._feed.stop()
        self._filter = text
        self._feed = feed = Feed(self._socket, lambda what: self._tell(what, feed), query=query)
        feed.start()

    def on_queue_selected(self) -> None:
        row, shown = self._queue.selected, self._detail.row
        if self._settling is not None:
            self._settling.stop()
        if row is not None and shown is not None and row.key == shown.key:
            self._look()
        else:
            self._settling = self.set_timer(SETTLE_SECONDS, self._look)

    def _look(self) -> None:
        self._detail.look(self._queue.selected)
        self._draw_below()

    @property
    def _is_up(self) -> bool:
        """Not while the view ends, when messages may still come."""
        return bool(self.query("#keys"))

    def _draw(self) -> None:
        if not self._is_up:
            return
        width, height = self.size
        self._put("head", heading(self._now, self._filter, self._lost, width, self._drawing))
        most = max(3, height // (3 if len(self._now.nodes) > 1 else 4))
        lines = devices.lines(self._now, width, self._drawing, most)
        if len(lines) > most:
            lines = [*lines[: most - 1], Text(f"... and {len(lines) - most + 1} more lines: `gpujobs gpus`")]
        self._put("devices", _joined(lines))
        for name in ("detail", "lanes"):
            self.query_one(f"#{name}").styles.height = max(6, height // 3)
        self._queue.refresh()
        self._draw_below()

    def _draw_below(self) -> None:
        if not self._is_up:
            return
        width, height = self.size
        rows = max(6, height // 3)
        self._put("title", title(self._detail.row, width, self._drawing))
        self._put("curve", self._curve(width - self._split(), rows))
        if self.query_one("#lanes").display:
            self._put("lanes", self._lanes(width, rows))
        notice = self._lost or self._said or "; ".join(self._now.notices)
        self._put(
            "say", Text(self._drawing.cut(self._drawing.message(notice), width), "yellow", no_wrap=True)
        )
        self._draw_log()

    def _split(self) -> int:
        """Cells of the log beside the curve: what its lines need, as far as the curve still shows something."""
        width, rows = self.size.width, max(6, self.size.height // 3)
        longest = max(map(cell_len, self._detail.lines.last(rows)), default=0) + 1
        steps = -(-longest // SPLIT_STEP) * SPLIT_STEP
        return max(1, min(max(steps, width * 3 // 5), width - max(24, width // 4)))

    def _draw_log(self) -> None:
        self._writing = None
        if not self._is_up:
            return
        lines = self._detail.lines.last(max(6, self.size.height // 3))
        split = self._split()
        if self._halves != (halves := (split, self.size.width - split)):
            self._halves = halves
            self.query_one("#curve").styles.width = halves[1]
            self._put("curve", self._curve(halves[1], max(6, self.size.height // 3)))
        self._put("log", _lines(lines or [self._detail.why]))
        if isinstance(self.screen, WholeLog):
            self.screen.show(self._detail.lines.last(10_000) or [self._detail.why])

    def _put(self, name: str, text: Text) -> None:
        found = self.query_one(f"#{name}", Static)
        if found.content != text:
            found.update(text)

    def _curve(self, width: int, rows: int) -> Text:
        panel = self._detail.live.panel()
        if panel is None:
            return Text("no learning curve yet" if self._detail.job else "")
        drawn = self._drawing.curve(panel, width - 1, not self.no_color, max(2, rows - 3))
        return _joined(map(Text.from_ansi, drawn))

    def _lanes(self, width: int, rows: int) -> Text:
        if self._timeline is None:
            return Text("the time line is asked for ...")
        drawn = self._drawing.lanes(self._timeline, width, not self.no_color)
        return _joined(map(Text.from_ansi, drawn[: rows - 3] + drawn[-3:] if len(drawn) > rows else drawn))

    def action_go(self, lines: int) -> None:
        self._said = ""
        self._queue.go(lines)

    def action_page(self, pages: int) -> None:
        self._queue.go(pages * self._queue.page)

    def action_help(self) -> None:
        self.push_screen(Help())

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.value = self._filter
        field.display = True
        self.query_one("#keys").display = False
        field.focus()

    def action_no_filter(self) -> None:
        self._close_filter()
        if self._filter:
            self._watch("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._said = ""
        try:
            self._watch(event.value.strip())
        except UsageError as error:
            self._said = error.message
        else:
            self._close_filter()
        self._draw()

    def _close_filter(self) -> None:
        self.query_one("#filter").display = False
        self.query_one("#keys").display = True
        self._queue.focus()

    def action_time(self) -> None:
        lanes, detail = self.query_one("#lanes"), self.query_one("#detail")
        lanes.display, detail.display = detail.display, lanes.display
        self._ask_timeline()
        self._draw()

    def _ask_timeline(self) -> None:
        if self._is_up and self.query_one("#lanes").display and not self._lost:
            self._asker(asking.timeline, self._tell)

    def action_log(self) -> None:
        job = self._detail.job
        if job is None:
            self._said = "a sweep has no log of its own; `gpujobs status gN` lists its jobs"
            self._draw_below()
            return
        self.push_screen(WholeLog(printable(f"log of job {job['id']}, attempt {job['attempt']}")))
        self.call_after_refresh(self._draw_below)

    def action_change(self, verb: str) -> None:
        if (chosen := self._chosen()) is not None:
            id = chosen["id"]
            self._said = f"{verb} {id} ..."
            self._asker(lambda client: asking.change(client, verb, id), self._tell)
            self._draw_below()

    def action_cancel(self) -> None:
        self._confirmed("cancel")

    def action_requeue(self) -> None:
        chosen = self._chosen()
        if chosen is not None and chosen["state"] in RUNNING:
            self._confirmed("requeue")
        else:
            self.action_change("requeue")

    def _confirmed(self, verb: str) -> None:
        chosen = self._chosen()
        if chosen is None:
            return
        name = self._drawing.shortened(printable(chosen["name"]), 30)
        what = f"{chosen['jobs']} jobs of {chosen['id']}" if "jobs" in chosen else f"job {chosen['id']}"
        # it is changed what was asked about, whatever is selected by then
        self.push_screen(
            Confirm(f"{verb} {what} ({name}) of {printable(chosen['user'])}?"), self._answer(verb, chosen)
        )

    def _answer(self, verb: str, chosen: dict[str, Any]) -> Callable[[bool | None], None]:
        def answered(is_yes: bool | None) -> None:
            if is_yes:
                self._said = f"{verb} {chosen['id']} ..."
                self._asker(lambda client: asking.change(client, verb, chosen["id"]), self._tell)

        return answered

    def _chosen(self) -> dict[str, Any] | None:
        """The selected row; of a sweep its id is `g3`."""
        row = self._queue.selected
        if row is None:
            return None
        shown = dict(row.shown.get("job") or row.shown["group"])
        return shown if "job" in row.shown else {**shown, "id": f"g{shown['id']}"}


def _joined(lines: Iterable[Text]) -> Text:
    """Each in a line, however narrow the terminal is."""
    text = Text("\n").join(lines)
    text.no_wrap, text.overflow = True, "crop"
    return text


def _lines(found: list[str]) -> Text:
    return Text("\n".join(found), no_wrap=True, overflow="ellipsis")
