"""What a supervisor believes of its trainer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.supervise import messages


@pytest.mark.parametrize(
    "line", [b"", b"7", b"[1]", b"\xff", b'{"a": ', b"[" * 60000, b'"text"', b"null", b"NaN"]
)
def test_what_is_no_message_says_nothing(line: bytes) -> None:
    assert messages.parse(line) == {}


def test_progress_is_numbers_by_name() -> None:
    told = {
        "epoch": 1,
        "loss": 0.5,
        "nan": float("nan"),
        "huge": 10**30,
        "flag": True,
        "text": "x",
        "list": [1],
    }
    assert messages.progress_of({"progress": told}) == {
        "epoch": 1, "loss": 0.5, "nan": None, "huge": None, "flag": None, "text": None, "list": None,
    }  # fmt: skip
    assert messages.progress_of({"progress": [1]}) is None
    assert messages.progress_of({}) is None


def test_progress_is_small_and_its_names_are_printable() -> None:
    many = {f"m{number}": 1.0 for number in range(5000)}
    assert len(messages.progress_of({"progress": many}) or ()) == messages.MAX_METRICS
    told = {"a\x1b[2J": 1, "\ud800": 1, "n" * 5000: 1}
    assert list(messages.progress_of({"progress": told}) or ()) == ["n" * messages.MAX_NAME_LENGTH]


def test_an_error_is_two_short_texts() -> None:
    told = {"reason": ["x"], "message": "\ud800" + "m" * 9999, "more": 1}
    error = messages.error_of({"error": told})
    assert error is not None and set(error) == {"reason", "message"}
    assert error["message"].startswith("?m") and len(error["message"]) == messages.MAX_TEXT_LENGTH


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))  # fmt: skip
def test_whatever_is_said_can_be_stored(value: object) -> None:
    line = json.dumps({"progress": value, "error": value, "warning": value}).encode()
    message = messages.parse(line)
    for found in (messages.progress_of(message), messages.error_of(message), messages.warning_of(message)):
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
