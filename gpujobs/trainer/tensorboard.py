"""TensorBoard's event file, written without TensorFlow, which a job on another backend has not loaded.

The format: https://www.tensorflow.org/tutorials/load_data/tfrecord (records) and tensorflow/core/util/event.proto
and framework/summary.proto (what is in them), in the encoding of Protocol Buffers.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types of Protocol Buffers."""


def write_scalars(directory: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """One scalar for each metric and epoch, named `epoch_METRIC` as Keras's callback names them."""
    directory.mkdir()
    append_scalars(directory / file_name(time.time()), rows)


def file_name(now: float) -> str:
    """As TensorBoard looks for it. `now`: seconds since 1970."""
    return f"events.out.tfevents.{int(now)}.gpujobs"


def append_scalars(file: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """To a file that is made where it is not there; TensorBoard reads on where one grows."""
    now = time.time()
    with file.open("ab") as events:
        if not events.tell():
            events.write(record(_wall_time(now) + _bytes(3, b"brain.Event:2")))
        for row in rows:
            events.write(record(_event(now, row)))


def _event(now: float, row: Mapping[str, float]) -> bytes:
    values = (_scalar(f"epoch_{name}", value) for name, value in row.items() if name != "epoch")
    summary = b"".join(_bytes(1, value) for value in values)
    return _wall_time(now) + _key(2, VARINT) + _varint(int(row["epoch"])) + _bytes(5, summary)


def _wall_time(now: float) -> bytes:
    return _key(1, FIXED64) + struct.pack("<d", now)


def _scalar(tag: str, value: float) -> bytes:
    return _bytes(1, tag.encode()) + _key(2, FIXED32) + struct.pack("<f", value)


def _bytes(field: int, content: bytes) -> bytes:
    return _key(field, BYTES) + _varint(len(content)) + content


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the high bit says that more follow."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def record(content: bytes) -> bytes:
    """A TFRecord: length and content, each followed by its masked CRC."""
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", _masked(length)) + content + struct.pack("<I", _masked(content))


def _masked(content: bytes) -> int:
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> Iterator[int]:
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        yield crc


TABLE = tuple(_table())


def crc32c(content: bytes) -> int:
    """CRC-32C (Castagnoli), RFC 3720 appendix B.4; the standard library has only the other polynomial."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
