"""Requests of the live view, one after the other."""

from __future__ import annotations

import queue
import socket
from pathlib import Path

import pytest

from gpujobs.client import Client
from gpujobs.top.asking import Asker


@pytest.mark.parametrize("error", [KeyError("state"), TypeError("None"), ValueError("no JSON")])
def test_whatever_is_wrong_with_an_answer_the_next_one_is_asked(tmp_path: Path, error: Exception) -> None:
    """As of a daemon of another version, which leaves out what is expected."""
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    asker = Asker(tmp_path / "s", said.put)

    def fails(_: Client) -> str:
        raise error

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        asker(fails, said.put)
        asker(lambda _: "answered", said.put)
        assert [said.get(timeout=20), said.get(timeout=20)] == [str(error), "answered"]
