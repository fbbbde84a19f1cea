"""What a supervisor believes of its trainer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.protocol import training
from gpujobs.protocol.training import Began, Failed, Finishing, Noticed, Said, Trained, line_of, said


@pytest.mark.parametrize(
    "line",
    [
        b"", b"7", b"[1]", b"\xff", b'{"a": ', b"[" * 60000, b'"text"', b"null", b"NaN", b"{}",
        b'{"event": "progress"}', b'{"event": "progress", "progress": [1]}', b'{"event": "warning", "message": 7}',
        b'{"event": "over"}', b'{"event": ["started"]}',
    ],
)  # fmt: skip
def test_what_is_no_message_says_nothing(line: bytes) -> None:
    assert said(line) is None


@pytest.mark.parametrize(
    "message",
    [
        Began(),
        Finishing(),
        Trained({"epoch": 1, "loss": 0.5, "eta": None}),
        Failed("Signal", "x"),
        Noticed("x"),
    ],
)
def test_what_a_trainer_says_is_understood(message: Said) -> None:
    assert said(line_of(message).rstrip(b"\n")) == message


def progress_of(told: object) -> Trained:
    found = said(json.dumps({"event": "progress", "progress": told}).encode())
    assert isinstance(found, Trained)
    return found


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
    assert progress_of(told).progress == {
        "epoch": 1, "loss": 0.5, "nan": None, "huge": None, "flag": None, "text": None, "list": None,
    }  # fmt: skip


def test_progress_is_small_and_its_names_are_printable() -> None:
    many = {f"m{number}": 1.0 for number in range(5000)}
    assert len(progress_of(many).progress) == training.MAX_METRICS
    told = {"a\x1b[2J": 1, "\ud800": 1, "n" * 5000: 1}
    assert list(progress_of(told).progress) == ["n" * training.MAX_NAME_LENGTH]


def test_an_error_is_two_short_texts() -> None:
    told = {"event": "failed", "reason": ["x"], "message": "\ud800" + "m" * 9999, "more": 1}
    error = said(json.dumps(told).encode())
    assert isinstance(error, Failed)
    assert error.message.startswith("?m") and len(error.message) == training.MAX_TEXT_LENGTH


@given(st.sampled_from(["progress", "failed", "warning"]),
       st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))  # fmt: skip
def test_whatever_is_said_can_be_stored(event: str, value: object) -> None:
    line = json.dumps({"event": event, "progress": value, "reason": value, "message": value}).encode()
    found = said(line)
    if found is not None:
        line_of(found).decode().encode()
        json.dumps(json.loads(line_of(found)), allow_nan=False, ensure_ascii=False).encode()
