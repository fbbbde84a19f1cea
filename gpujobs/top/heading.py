"""The line above all, and the one above the job that is looked at."""

from __future__ import annotations

from collections import Counter

from rich.text import Text

from gpujobs.printing import printable
from gpujobs.top.drawing import Drawing
from gpujobs.view.now import Now, Row
from gpujobs.view.words import counts


def heading(now: Now, only: str, lost: str, width: int, drawing: Drawing) -> Text:
    """How many jobs there are in each state, and of which only these are shown."""
    found: Counter[str] = Counter()
    for row in now.rows:
        found.update(row.shown["group"]["counts"] if "group" in row.shown else [row.shown["job"]["state"]])
    parts = [" gpujobs top", counts(found) or "no jobs"]
    parts += [f"filter: {printable(only)}"] if only else []
    text = drawing.cut(" · ".join(["NO DAEMON", *parts] if lost else parts), width)
    return Text(text, "bold reverse", no_wrap=True)


def title(row: Row | None, width: int, drawing: Drawing) -> Text:
    if row is None:
        return Text("")
    shown = row.shown.get("job") or row.shown["group"]
    name = drawing.shortened(printable(shown["name"]), 40)
    what = f"job {shown['id']}" if "job" in row.shown else f"sweep g{shown['id']}"
    said = f"{what} {name}, {shown['state']}: {drawing.message(row.says)}"
    return Text(drawing.cut(said.rstrip(": "), width), no_wrap=True)
