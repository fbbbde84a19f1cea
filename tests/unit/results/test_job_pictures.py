"""The pictures at a job's end: what they cost, and that a process forked from one that has drawn draws the same."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gpujobs.results.curves import JobHistory, panels
from gpujobs.results.pictures import confusion, curves

EPOCHS = 20
COLUMNS = {
    "epoch": [float(epoch) for epoch in range(EPOCHS)],
    "accuracy": [1 - math.exp(-epoch / 7) for epoch in range(EPOCHS)],
    "loss": [math.exp(-epoch / 7) for epoch in range(EPOCHS)],
}
MATRIX = [[9, 1, 0, 0], [2, 8, 0, 0], [0, 1, 7, 2], [0, 0, 3, 7]]
CLASSES = {"part": "test", "classes": [{}], "confusion": {"classes": list("abcd"), "matrix": MATRIX}}

FORKED = """
import hashlib, os, sys
from gpujobs.linux import process
from gpujobs.results.curves import JobHistory, panels
from gpujobs.results.pictures import curves, warming

def drawn():
    values = [10.0 ** -at for at in range(9)]
    job = JobHistory(1, "a", {"epoch": [float(at) for at in range(9)], "loss": values, "acc": [0.5] * 9})
    return hashlib.sha256(curves.png([job], panels([job]))).hexdigest()

if sys.argv[1] == "warm":
    warming.warm()
    assert len(os.listdir("/proc/self/task")) == int(sys.argv[2]), "a thread was started"
    if os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
    process.close_all_except()
print(drawn(), len(os.listdir("/proc/self/task")), flush=True)
"""


def seconds(draw: Callable[[], object]) -> float:
    """Of the processor, the least of some."""
    found = []
    for _ in range(5):
        began = time.thread_time()
        draw()
        found.append(time.thread_time() - began)
    return min(found)


def with_figures() -> None:
    """The same two pictures with matplotlib's own axes and layout."""
    figure = Figure((12.0, 3.8), dpi=110, layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(COLUMNS["epoch"], COLUMNS[name])
        axes.grid(alpha=0.3)
        axes.set(title=name, xlabel="epoch")
    matrix = Figure((4.6, 3.9), dpi=110, layout="constrained")
    axes = matrix.subplots()
    axes.imshow(MATRIX)
    axes.set_xticks(range(4), list("abcd"))
    axes.set_yticks(range(4), list("abcd"))
    for at in range(16):
        axes.text(at % 4, at // 4, "9")
    for drawn in (figure, matrix):
        FigureCanvasAgg(drawn).draw()


def test_a_jobs_two_pictures_take_less_than_half_of_what_matplotlibs_figures_take() -> None:
    job = JobHistory(7, "tutorial", COLUMNS)
    ours = seconds(lambda: (curves.png([job], panels([job])), confusion.png(CLASSES)))
    assert ours < 0.5 * seconds(with_figures)


def test_a_fork_of_one_that_has_drawn_draws_the_same_with_its_files_closed() -> None:
    alone, threads = _ran("fresh").split()
    assert _ran("warm", threads).split()[0] == alone


def _ran(*arguments: str) -> str:
    command = [sys.executable, "-c", FORKED, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
