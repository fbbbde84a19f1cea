"""What a process draws before it forks those that draw, which then find tables of letters, colours and dates made."""

from __future__ import annotations

from gpujobs.results.curves import JobHistory, panels
from gpujobs.results.forecast import Forecast, Track
from gpujobs.results.pictures import canvas, confusion, curves, forecast

FORMULA = r"$\mathdefault{w^{w}}$"
"""Of no picture: matplotlib keeps what it has parsed with the files of its letters, which a fork closes."""


def warm() -> None:
    """One picture of each kind. Opens files of letters, and no thread."""
    job = JobHistory(1, "warm", {"epoch": [0.0, 1.0], "loss": [0.5, 0.25], "val_loss": [0.5, 0.125]})
    curves.png([job], panels([job]))
    matrix = {"classes": ["a", "b"], "matrix": [[1, 2], [3, 4]]}
    confusion.png({"part": "test", "classes": [{}], "confusion": matrix})
    days = ["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"]
    track = Track("y", None, days, [0.0, 1.0], [0.0, 1.0], [1.0, 0.0])
    forecast.png(Forecast("test", 1, "last value", "time", None, 1, 2, [track]))
    canvas.measured(FORMULA, is_formula=True)
