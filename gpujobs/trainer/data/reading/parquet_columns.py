"""The columns of parquet files, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as paparquet
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Times
from gpujobs.trainer.data.reading import cells
from gpujobs.trainer.failures import DataError

PIECE_ROWS = 1 << 16
BUFFER_BYTES = 1 << 20


def opened(path: Path) -> Any:
    return paparquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES)


def kind_of(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return (
        "truth"
        if pa.types.is_boolean(kind)
        else "number"
        if _is_number(kind)
        else "text"
        if is_text
        else "other"
    )


def _is_number(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_decimal,
        pa.types.is_null,
    )
    return any(test(kind) for test in tests)


def floats(name: str, column: str, values: pa.Array) -> NDArray[np.float64] | None:
    """float64. Nulls become NaN."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not _is_number(values.type):
        raise DataError(f"{name}: column {column} holds {values.type}; expected numbers")
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def texts(name: str, column: str, values: pa.Array, row: int) -> pa.Array:
    """Dictionary-encoded text; truths are called as Python writes them. `row`: the number of the first, in the file.
    Raises DataError for bytes that are no text."""
    if pa.types.is_boolean(values.type):
        values = pc.if_else(values, "True", "False")
    try:
        found = cells.words(values, ())
    except pa.ArrowInvalid:
        raise DataError(
            f"{name}: column {column} holds {values.type} that is not UTF-8; expected text, or integers"
        ) from None
    nul = [number for number, word in enumerate(found.dictionary.to_pylist()) if "\0" in word]
    if nul:
        at = pc.index_in(found.indices, pa.array(nul, found.indices.type)).is_valid()
        raise DataError(
            f"{name}: column {column} has a NUL byte (0x00) in a text (row {row + pc.index(at, True).as_py()}); "
            "expected text without one"
        )
    return found


def times(name: str, columns: Sequence[str], piece: pa.RecordBatch) -> Times:
    if len(columns) > 1:
        raise DataError(
            f"{name}: data.time names two columns, which is for csv files; expected one column of times"
        )
    (column,) = columns
    values = piece.column(column)
    kind = values.type
    if pa.types.is_date(kind):
        values, kind = values.cast(pa.timestamp("s")), pa.timestamp("s")
    if pa.types.is_timestamp(kind):
        return values.to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind) and values.null_count == 0:
        return _int64(name, column, values).to_numpy(zero_copy_only=False)
    if _is_number(kind):
        return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    is_text = kind_of(kind) == "text"
    raise DataError(
        f"{name}: column {column} holds {'text' if is_text else kind}; expected timestamps, or numbers"
        + (": pandas.to_datetime makes them of text" if is_text else "")
    )


def _int64(name: str, column: str, values: pa.Array) -> pa.Array:
    """Raises DataError for what is beyond: of integers only uint64 can be."""
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        raise DataError(
            f"{name}: column {column} holds {values.type} such as {pc.max(values)}; expected times as integers up to "
            "9223372036854775807, or timestamps"
        ) from None
