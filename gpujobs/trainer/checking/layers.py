"""The table of a model's layers, with the textbook's formula beside Keras's count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpujobs.trainer.checking.chain import LayerInfo
from gpujobs.trainer.counting import formula
from gpujobs.trainer.failures import TrainerError


def rows(links: Iterable[LayerInfo]) -> list[dict[str, Any]]:
    """`name`, `class`, `output_shape` ([null, ...]), `parameters` (Keras's count), `formula` (null: none is known).

    Raises TrainerError where a formula and Keras disagree: a mistake of ours, which nobody should build on.
    """
    return [_row(link) for link in links]


def _row(link: LayerInfo) -> dict[str, Any]:
    found = formula(link.kind, link.arguments, (None, *link.input_shape))
    if found is not None and found.count != link.parameters:
        raise TrainerError(
            f"layer {link.name}: {found} by the formula, and Keras counts {link.parameters:,}; expected the same: "
            "please report this as a bug of gpujobs check"
        )
    inner = link.inner.kind
    return {
        "name": link.name,
        "class": link.kind if link.kind == inner else f"{link.kind}({inner})",
        "output_shape": [None, *link.output_shape],
        "parameters": link.parameters,
        "formula": None if found is None else str(found),
    }
