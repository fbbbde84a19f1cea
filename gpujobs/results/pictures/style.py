"""What all pictures have in common."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import tzinfo
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from gpujobs.printing import printable

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#D55E00")
"""Those of Okabe and Ito that are dark enough for a line, for the colour-blind."""
DPI = 110
MAX_LABEL = 40
COMPRESSION = 1
"""A tenth larger than with the usual 6, in half the time."""


def figure(wide: float, high: float) -> Figure:
    """`wide`, `high`: inches."""
    return Figure(figsize=(wide, high), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))


def rendered(drawn: Figure) -> bytes:
    """A PNG. `savefig` would make the same one, draw it twice, and take three times as long to compress it."""
    drawn.set_dpi(DPI)
    canvas = FigureCanvasAgg(drawn)
    with lacking_letters():
        canvas.draw()  # type: ignore[no-untyped-call]
    return png_of(np.asarray(canvas.buffer_rgba()))  # type: ignore[no-untyped-call]


def png_of(pixels: Any) -> bytes:
    """`pixels`: an array (rows, columns, 4) of bytes, all opaque."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., :3]).save(file, "png", dpi=(DPI, DPI), compress_level=COMPRESSION)
    return file.getvalue()


@contextmanager
def lacking_letters() -> Iterator[None]:
    """A name in a script that the font lacks is drawn without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def plain(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def times(axes: Axes, zone: tzinfo) -> None:
    """Dates below, in this zone."""
    locator = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]


def label(text: object, most: int = MAX_LABEL) -> str:
    """For a figure, where a dollar sign would begin a formula."""
    return shortened(text, most).replace("$", r"\$")


def shortened(text: object, most: int = MAX_LABEL) -> str:
    text = printable(text)
    return text if len(text) <= most else text[: most - 1] + "…"
