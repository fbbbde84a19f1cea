"""The table of a model's layers, with the textbook's formula beside Keras's count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpujobs.trainer.checking.chain import LayerInfo
from gpujobs.trainer.counting import formula


def rows(links: Iterable[LayerInfo]) -> list[dict[str, Any]]:
    """`name`, `class`, `output_shape` ([null, ...]), `parameters` (Keras's count), `formula` (null: none is known,
    or it does not come to Keras's count, as of a layer with an argument that it does not know)."""
    return [_row(link) for link in links]


def _row(link: LayerInfo) -> dict[str, Any]:
    found = formula(link.kind, link.arguments, (None, *link.input_shape))
    if found is not None and found.count != link.parameters:
        found = None
    return {
        "name": link.name,
        "class": _class(link),
        "output_shape": [None, *link.output_shape],
        "parameters": link.parameters,
        "formula": None if found is None else str(found),
    }


def _class(link: LayerInfo) -> str:
    """With what a wrapper has inside: of both directions once, where they are of one kind."""
    kinds = dict.fromkeys(one.kind for one in link.directions)
    return link.kind if [link.kind] == [*kinds] else f"{link.kind}({', '.join(kinds)})"
