"""Devices in lines: bars of memory and load, temperature, whose jobs, which strangers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from gpujobs.printing import printable
from gpujobs.top.drawing import Drawing
from gpujobs.view.nodes import Block, blocks, state
from gpujobs.view.now import Now

FULL, PARTS, EMPTY = "█", " ▏▎▍▌▋▊▉", "·"
COLOURS = {
    "free": "green",
    "busy": "cyan",
    "foreign": "yellow",
    "drained": "yellow",
    "lost": "red",
    "away": "red",
}
HOT_CELSIUS = 85
DEVICE_NAME = 6
GAUGES = 37
"""Cells of a line beside the bars, the name and what is said: the state, the figures and the blanks between them."""

FOREIGN_SHOWN = 3
"""Strangers of a device that have a line of their own."""


def lines(now: Now, width: int, drawing: Drawing, most: int = 0) -> list[Text]:
    """Where there are several nodes, below a line for each; where that is more than `most` (0: as many as there are),
    these lines alone."""
    found = blocks(now.devices, now.nodes)
    several = len(found) > 1
    whole = [line for block in found for line in _block(block, now, width, drawing, several)]
    if several and 0 < most < len(whole):
        return [_node(block, width, drawing) for block in found]
    for node in () if several else now.nodes:
        if node["status"] != "ok":
            status = f"node {node['name']}: {node['status']} {node.get('message') or ''}"
            whole.append(_line(drawing.cut(drawing.message(status), width), "red"))
    return whole or [_line("no device is known yet", "")]


def _block(block: Block, now: Now, width: int, drawing: Drawing, several: bool) -> Iterator[Text]:
    if several:
        yield _node(block, width, drawing)
    uses = [_uses(device, block, now, drawing) for device in block.devices]
    size = _bar_size(uses, width, DEVICE_NAME)
    for device, said in zip(block.devices, uses, strict=True):
        yield from _device(device, block, said, size, width, drawing)
        for text in () if block.is_away else _strangers(device):
            yield _line(drawing.cut(text, width), "yellow")


def _node(block: Block, width: int, drawing: Drawing) -> Text:
    return _line(drawing.cut(drawing.message(block.says), width), "bold red" if block.is_away else "bold")


def bar(share: float | None, size: int) -> str:
    """Of `size` cells, in eighths; dots for what is free, nothing where nobody knows."""
    if share is None:
        return " " * size
    eighths = round(8 * size * min(max(share, 0.0), 1.0))
    full, part = divmod(eighths, 8)
    drawn = FULL * full + (PARTS[part] if part else "")
    return drawn + EMPTY * (size - len(drawn))


def _bar_size(uses: list[tuple[str, str]], width: int, name: int) -> int:
    """Cells of each bar: twenty, and fewer where there is more to say beside them."""
    most = 8 if width < 120 else 20
    said = max((cell_len("; ".join(filter(None, use))) for use in uses), default=0)
    return max(8, min(most, (width - name - GAUGES - said) // 2))


def _device(
    device: Mapping[str, Any], block: Block, said: tuple[str, str], size: int, width: int, drawing: Drawing
) -> list[Text]:
    """What keeps it from work has a line of its own where it would be cut."""
    name = printable(f"{device['kind']} {device['index']}")
    shown = state(device, block)
    text = Text(f"{name:<{DEVICE_NAME}} ", no_wrap=True, end="")
    text.append(f"{shown:<8}", COLOURS.get(shown, ""))
    has_figures = (
        device.get("memory_total_bytes") is not None or device.get("utilization_percent") is not None
    )
    if has_figures and not block.is_away:
        _gauges(text, device, size)
    room, (use, why) = max(0, width - text.cell_len - 1), said
    whole = "; ".join(filter(None, said))
    is_below = bool(why) and cell_len(whole) > room
    text.append(f" {drawing.cut(use if is_below else whole, room)}" if room else "")
    return [text, _line(drawing.cut(f"  {why}", width), "yellow")] if is_below else [text]


def _gauges(text: Text, device: Mapping[str, Any], size: int) -> None:
    used, total = device.get("memory_used_bytes") or 0, device.get("memory_total_bytes")
    load, heat = device.get("utilization_percent"), device.get("temperature_celsius")
    text.append(f" {bar(used / total if total else None, size)}", "magenta")
    text.append(f" {used / 2**30:4.1f}/{total / 2**30:.1f}G" if total else "")
    text.append(f" {bar(None if load is None else load / 100, size)}", "blue")
    text.append("    ?" if load is None else f" {load:3d}%")
    if heat is not None:
        text.append(f" {heat:3d}C", "bold red" if heat >= HOT_CELSIUS else "")


def _uses(device: Mapping[str, Any], block: Block, now: Now, drawing: Drawing) -> tuple[str, str]:
    """Whose jobs are on it, and why it takes none."""
    said, why = [_job(id, now) for id in device["jobs"]], ""
    if (device["state"] in ("drained", "lost") and not block.is_away) or device.get("drained"):
        why = str(device.get("message") or device.get("drained") or "")
    said += [
        f"reserved for {term['user'] or term['group'] or 'others'}" for term in device.get("reserved", ())
    ]
    if not said and not why and not device["foreign"]:
        said.append(str(device["name"]))
    return drawing.message("; ".join(said)), drawing.message(why)


def _job(id: int, now: Now) -> str:
    """With its user and name where the queue shows it by itself."""
    for row in now.rows:
        job = row.shown.get("job")
        if job is not None and job["id"] == id:
            return " ".join(printable(one) for one in (id, job["user"], job["name"]) if one is not None)
    return f"job {id}"


def _strangers(device: Mapping[str, Any]) -> Iterator[str]:
    for process in device["foreign"][:FOREIGN_SHOWN]:
        memory = process["memory_bytes"]
        took = "" if memory is None else f" {memory / 2**30:.1f} GiB"
        who = process["user"] or "unknown user"
        yield printable(f"  ! {who} pid {process['pid']}{took} {process['command'] or ''}".rstrip())
    if (more := len(device["foreign"]) - FOREIGN_SHOWN) > 0:
        yield f"  ! and {more} more"


def _line(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, end="")
