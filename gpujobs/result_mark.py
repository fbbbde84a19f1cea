"""What tells of collected results whose they are: the random id of the attempt, and its number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from gpujobs.linux import durable

MAX_BYTES = 64
NUMBER = re.compile(rb"[1-9][0-9]{0,8}")


class ResultMark(NamedTuple):
    nonce: str
    attempt: int


def write(path: Path, mark: ResultMark) -> None:
    durable.write(path, f"{mark.nonce} {mark.attempt}".encode())


def read(path: Path) -> ResultMark | None:
    """None where there is none, or it is damaged. Earlier versions wrote the id alone: of the first attempt, as far as
    that tells."""
    try:
        nonce, *numbers = (durable.read(path, MAX_BYTES) or b"").split() or [b""]
    except durable.DamagedError:
        return None
    if not nonce:
        return None
    is_known = len(numbers) == 1 and NUMBER.fullmatch(numbers[0])
    return ResultMark(nonce.decode(errors="replace"), int(numbers[0]) if is_known else 1)
