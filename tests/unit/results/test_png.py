"""A picture's file, as another program reads it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from gpujobs.results.pictures.style import DPI, png_of


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (200, 321)])
@pytest.mark.parametrize("most", [2, 256])
def test_a_png_has_the_colours_of_every_pixel(shape: tuple[int, int], most: int) -> None:
    pixels = np.random.default_rng(0).integers(0, most, (*shape, 4)).astype(np.uint8)
    pixels[..., 3] = 255
    with Image.open(io.BytesIO(png_of(pixels))) as read:
        assert read.format == "PNG" and read.mode == "RGB"
        assert np.array_equal(np.asarray(read), pixels[..., :3])
        assert read.info["dpi"] == pytest.approx((DPI, DPI), abs=0.01)
