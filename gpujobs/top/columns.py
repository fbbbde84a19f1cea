"""How wide the columns of the queue are: each what its cells need, and the reason the rest."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

HEAD = ("ID", "NAME", "USER", "STATE", "DEVICE", "PROGRESS/REASON", "TIME")
NAME, USER, DEVICE, SAYS = 1, 2, 4, 5
WIDE = 120
"""Cells of a terminal from which on columns stand two apart, and are not cut where they need not be."""

MOST = (6, 0, 8, 9, 6, 0, 8)
MOST_WIDE = (7, 0, 16, 13, 10, 0, 12)
NODE, NODE_WIDE = 12, 20
"""Cells of a device with its node."""
NAME_SHARE = 3
"""Names have at most a third of the room of names and reasons, however long one of them is."""
LEAST = 8


def gap(width: int) -> int:
    return 2 if width >= WIDE else 1


def sizes(rows: Sequence[Sequence[str]], room: int, width: int, *, names_nodes: bool = False) -> list[int]:
    """Cells of each column, `room` together with the gaps between them; `rows` are those that are shown.
    `names_nodes`: devices are told with their nodes."""
    needs = [max(map(cell_len, column)) for column in zip(HEAD, *rows, strict=True)]
    most = list(MOST_WIDE if width >= WIDE else MOST)
    if names_nodes:
        most[DEVICE] = NODE_WIDE if width >= WIDE else NODE
    found = [min(need, limit) for need, limit in zip(needs, most, strict=True)]
    rest = room - sum(found) - gap(width) * (len(HEAD) - 1)
    found[NAME] = min(needs[NAME], max(LEAST, rest // NAME_SHARE))
    found[SAYS] = max(LEAST, rest - found[NAME])
    return found
