"""What a process draws before it forks those that draw, which then find tables of letters, colours and dates made."""

from __future__ import annotations

from gpujobs.results.curves import JobHistory, panels
from gpujobs.results.forecast import Forecast, Track
from gpujobs.results.pictures import canvas, confusion, curves, forecast

FORMULA = r"$\mathdefault{w^{w}}$"
"""Of no picture: matplotlib keeps what it has parsed with the files of its letters, which a fork closes."""


NUMBERS = (
    *(f"{at / 10:.1f}" for at in range(11)),
    *map(str, (*range(2, 21, 2), 25, 30, 40, 50, 60, 75, 80, 100)),
)
"""Of the scales of most trainings."""


def warm() -> None:
    """One picture of each kind, and words that most have. Opens files of letters, and no thread."""
    values = [0.5, 0.25]
    columns = {
        "epoch": [0.0, 1.0],
        "loss": values,
        "val_loss": values,
        "accuracy": values,
        "val_accuracy": values,
    }
    job = JobHistory(1, "warm", columns)
    curves.png([job], panels([job]))
    for number in NUMBERS:
        canvas.stamp(number, "medium", "black", False, False)
    matrix = {"classes": ["0", "1"], "matrix": [[1, 2], [3, 4]]}
    confusion.png({"part": "test", "classes": [{}], "confusion": matrix})
    days = ["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"]
    track = Track("y", None, days, [0.0, 1.0], [0.0, 1.0], [1.0, 0.0])
    forecast.png(Forecast("test", 1, "last value", "time", None, 1, 2, [track]))
    canvas.measured(FORMULA, is_formula=True)
