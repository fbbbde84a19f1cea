"""Columns of `top` by what is in them: reasons get the room that names do not need."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from gpujobs.cli.commands.top import drawing
from gpujobs.top import columns, devices
from gpujobs.view.now import Now

REASON = "Resources: GPUs 0 and 1 have jobs, GPU 2 a stranger, and GPU 3 is drained"


def row(name: str, says: str = REASON, user: str = "ann") -> tuple[str, ...]:
    return ("139", name, user, "PENDING", "", says, "2:16")


def sizes(width: int, *rows: tuple[str, ...]) -> list[int]:
    found = columns.sizes(rows, width - 2, width)
    assert sum(found) + 6 * columns.gap(width) == width - 2, "the whole line is used"
    return found


@pytest.mark.parametrize("width", [120, 160, 200])
def test_a_reason_is_whole_beside_short_names(width: int) -> None:
    found = sizes(width, row("tutorial-lstm"), row("ecg"))
    assert found[1] == len("tutorial-lstm") and found[5] >= (len(REASON) if width > 120 else 60)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_of_long_names_and_long_reasons_the_reason_gets_more(width: int) -> None:
    found = sizes(width, row("n" * 300, "r" * 300, "u" * 300))
    assert 8 <= found[1] < found[5] and found[2] <= 16


def test_a_hostile_name_takes_no_more_than_its_share_of_a_wide_terminal() -> None:
    found = sizes(200, row("n" * 5000, "Held"), row("lstm"))
    assert 40 <= found[1] <= 55


def test_a_queue_without_jobs_has_its_headings() -> None:
    assert all(size >= len(head) for size, head in zip(sizes(80), columns.HEAD, strict=True))


def gpu(state: str, message: str | None, jobs: tuple[int, ...] = ()) -> dict[str, object]:
    return {
        "node": "box", "kind": "gpu", "index": 3, "name": "Some H100", "state": state, "jobs": jobs, "foreign": [],
        "memory_used_bytes": 0, "memory_total_bytes": 80 << 30, "utilization_percent": 0, "temperature_celsius": 38,
        "message": message, "drained": message,
    }  # fmt: skip


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize(
    "why", ["fan", "the fan is replaced on Friday afternoon, and it comes back on Monday"]
)
def test_why_a_device_is_drained_is_read_whole(width: int, why: str) -> None:
    said = f"GPU 3 is drained: {why}"[: width - 2]
    shown = [line.plain for line in devices.lines(Now(devices=(gpu("drained", said),)), width, drawing())]
    assert said in "\n".join(shown) and max(map(cell_len, shown)) <= width


def test_bars_are_shorter_where_a_sentence_needs_their_room() -> None:
    said = "GPU 3 is drained: fan replaced on Friday, back on Monday afternoon"
    for message, lines, bar in ((said[:30], 1, 20), (said[:55], 1, 11), (said + said, 2, 8)):
        shown = devices.lines(Now(devices=(gpu("drained", message),)), 120, drawing())
        assert len(shown) == lines and bar == shown[0].plain.count("·") // 2, shown
