"""A job's spec, from the text of its job file and the content of its data files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from gpujobs.jobfile import load
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.data import Prepared, prepare
from gpujobs.trainer.data.arrays import Arrays
from tests.specs import attempt_spec, data_file

Value = TypeVar("Value")

DENSE = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\n"


def write(path: Path, content: Any) -> None:
    """A mapping of arrays as npz, an array as npy, an Arrow table as parquet; text and bytes as they are."""
    if isinstance(content, Mapping):
        with path.open("wb") as file:
            np.savez(file, **content)
    elif isinstance(content, np.ndarray):
        with path.open("wb") as file:
            np.save(file, content, allow_pickle=True)
    elif isinstance(content, pa.Table):
        pyarrow.parquet.write_table(content, path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def spec_of(root: Path, data: str, files: Mapping[str, Any], *, rest: str = "") -> AttemptSpec:
    """`data`: the job file's data section. `rest`: other sections, where they are not `mse` and a small LSTM."""
    for name, content in files.items():
        write(root / name, content)
    text = f"data: {data}\n" + (rest or DENSE + "training: {loss: mse}\n")
    job = load("job.yaml", text)
    (root / "work").mkdir(exist_ok=True)
    entries = {path: data_file(root / path) for path in job.data_paths}
    return attempt_spec(jobfile=job.resolved, data=entries, job_dir=root)


def prepared(root: Path, data: str, files: Mapping[str, Any], *, rest: str = "") -> Prepared:
    return prepare(spec_of(root, data, files, rest=rest))


def csv(columns: Mapping[str, Any]) -> str:
    rows = zip(*columns.values(), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n"


def everything(samples: Any) -> Any:
    """All rows of all inputs, or of the only one."""
    return samples.x(np.arange(len(samples)))


def alone(arrays: Arrays | None) -> NDArray[Any]:
    """The array of a batch that has one of its kind."""
    assert isinstance(arrays, np.ndarray)
    return arrays


def there(value: Value | None) -> Value:
    assert value is not None
    return value
