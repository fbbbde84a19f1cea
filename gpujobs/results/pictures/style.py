"""What all pictures have in common."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
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
from PIL.PngImagePlugin import putchunk

from gpujobs.printing import printable

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#D55E00")
"""Those of Okabe and Ito that are dark enough for a line, for the colour-blind."""
DPI = 110
MAX_LABEL = 40
COMPRESSION = 2
"""zlib's. With rows as differences a picture is as small as with Pillow's 1, which looks for a filter for each row."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
EIGHT_BITS, TRUE_COLOUR, ABOVE, PER_METRE = 8, 2, 2, 1
"""Of the PNG specification: bits of a colour, the kind of picture, a row as its difference to the one above, a unit."""


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
    """`pixels`: an array (rows, columns, 4) of bytes, all opaque.

    Pillow tries five filters on each row, which takes twice as long as all else. In these pictures most rows are as the
    one above, and its difference is the filter."""
    high, wide = pixels.shape[:2]
    colours = Image.frombuffer("RGBA", (wide, high), pixels, "raw", "RGBA", 0, 1).convert("RGB")
    rows = np.asarray(colours).reshape(high, -1)
    filtered = np.full((high, 1 + rows.shape[1]), ABOVE, np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    density = round(DPI / 0.0254)
    file = io.BytesIO(SIGNATURE)
    file.seek(len(SIGNATURE))
    putchunk(file, b"IHDR", struct.pack(">2I5B", wide, high, EIGHT_BITS, TRUE_COLOUR, 0, 0, 0))
    putchunk(file, b"pHYs", struct.pack(">2IB", density, density, PER_METRE))
    putchunk(file, b"IDAT", zlib.compress(filtered.tobytes(), COMPRESSION))
    putchunk(file, b"IEND")
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
