"""Pictures of a training, beside its results: it has ended well by then, and ends well without them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpujobs.results import forecast
from gpujobs.results.curves import JobHistory, panels
from gpujobs.trainer import forecasts

CURVES, FORECAST, CONFUSION = "curves.png", "forecast.png", "confusion.png"
MAX_PANELS = 12
"""Of metrics; `gpujobs plot` draws those that are left out."""


def draw(results: Path, job: JobHistory, evaluated: Mapping[str, Any], trained: Any) -> None:
    """`trained`: a train.Trained. What cannot be drawn is said in the log."""
    _try(results / CURVES, lambda: _curves(job))
    _try(results / CONFUSION, lambda: _confusion(evaluated))
    _try(results / FORECAST, lambda: _forecast(results, evaluated, trained))


def _try(path: Path, drawn: Callable[[], bytes | None]) -> None:
    try:
        content = drawn()
        if content is not None:
            path.write_bytes(content)
    except Exception as error:  # noqa: BLE001 - whatever it is, a training does not fail for its picture
        path.unlink(missing_ok=True)
        print(f"gpujobs: {path.name} was not drawn: {type(error).__name__}: {error}", flush=True)


def _curves(job: JobHistory) -> bytes | None:
    from gpujobs.results.pictures.curves import png

    shown = panels([job])[:MAX_PANELS]
    return png([job], shown) if shown else None


def _confusion(evaluated: Mapping[str, Any]) -> bytes | None:
    from gpujobs.results.pictures.confusion import png

    return png(evaluated)


def _forecast(results: Path, evaluated: Mapping[str, Any], trained: Any) -> bytes | None:
    found = forecasts.of(trained, evaluated)
    if found is None:
        return None
    (results / forecast.FILE).write_text(json.dumps(found.to_json()) + "\n", encoding="utf-8")
    from gpujobs.results.pictures.forecast import png

    return png(found)
