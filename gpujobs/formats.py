"""What a data file is by its first and last bytes: enough to refuse a wrong one before it is queued.

Standard library only: the command line asks, which imports neither numpy nor pyarrow.
"""

from __future__ import annotations

from pathlib import PurePath

HEAD_BYTES = 4096
TAIL_BYTES = 22 + 65535
"""A zip archive ends with 22 bytes, and a comment of at most 65,535."""

BEGINS = {
    ".npz": (b"PK\x03\x04", b"PK\x05\x06"),
    ".npy": (b"\x93NUMPY",),
    ".parquet": (b"PAR1",),
}
NAMES = {".npz": "an npz file", ".npy": "an npy file", ".parquet": "a parquet file", ".csv": "a csv file"}
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def problem(path: str, head: bytes, tail: bytes) -> str | None:
    """What is wrong with a data file whose name ends as `path` does; None where nothing is to be seen."""
    suffix = PurePath(path).suffix.lower()
    expected = NAMES.get(suffix)
    if expected is None:
        return None
    if not head:
        return f"is empty; expected {expected}"
    found = next((other for other, magics in BEGINS.items() if head.startswith(magics)), None)
    if found is not None and found != suffix:
        return f"is {NAMES[found]} by its content; expected {expected}: name it {found}"
    if found is None and suffix != ".csv":
        return f"begins with {head[:8]!r}; expected {expected}"
    if suffix == ".csv":
        return _no_text(head)
    whole = {".npz": b"PK\x05\x06" in tail, ".parquet": tail.endswith(b"PAR1"), ".npy": True}[suffix]
    return None if whole else f"is cut short: its end is missing; expected the whole of {expected}"


def _no_text(head: bytes) -> str | None:
    if head.startswith(UTF_16):
        return "is UTF-16 text; expected UTF-8: convert it with iconv"
    if b"\0" in head:
        return f"has the byte 0 at {head.index(0)}; expected a csv file, which is text"
    return None
