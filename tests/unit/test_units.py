"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest

from gpujobs.units import seconds, size_bytes, written


@pytest.mark.parametrize(
    ("text", "expected"), [("7d", 604800), ("1h30m", 5400), ("1:30:00", 5400), ("90s", 90), (90, 90), (0, 0)]
)
def test_durations(text: object, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (0.4, "0s"),
        (0.6, "1s"),
        (59.6, "1m"),
        (90, "1m30s"),
        (5400, "1h30m"),
        (86400 + 61, "1d1m1s"),
        (3600, "1h"),
    ],
)
def test_a_duration_is_written_as_it_is_read(duration: float, text: str) -> None:
    assert written(duration) == text and seconds(text) == round(duration)


@pytest.mark.parametrize("text", ["", "7", "1 h", "h", "-1h", "1:60:00", 1.5, True, None, "١h"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512MiB", 512 << 20),
        ("3 GiB", 3 << 30),
        ("1.5KiB", 1536),
        ("7B", 7),
        ("7", 7),
        (7, 7),
        ("2TiB", 2 << 40),
    ],
)
def test_sizes(text: object, expected: int) -> None:
    assert size_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GiB", "3GB", "-1B", "1e3", True, None, 1.5, "3gib"])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="not a size"):
        size_bytes(text)
