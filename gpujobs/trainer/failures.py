"""Errors of a training, each with the reason that the job gets."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gpujobs.errors import in_words
from gpujobs.model import Reason

EXHAUSTED = ("RESOURCE_EXHAUSTED", "Out of memory allocating", "Out of memory while trying to allocate")
"""JAX, whose operations run on while Python goes ahead, may give the first a more general name by the time that
it reports it."""


_ESCAPES = re.compile("\x1b\\[[0-9;]*m")
_OPERATIONS = re.compile(r"\{\{function_node \S+\}\} | \[Op:\w+\]( name:)?| for '\{\{node .*")


class TrainerError(Exception):
    reason = Reason.TRAINING_ERROR


MOST_SHOWN = 20
"""Problems of data that are shown; the rest is counted."""


class DataError(TrainerError):
    """One problem of the data or several, a line each; `count`: how many there are where not all are given."""

    reason = Reason.DATA_ERROR

    def __init__(self, *problems: str, count: int | None = None) -> None:
        self.problems, self.count = problems, count or len(problems)
        shown = [*problems[:MOST_SHOWN]]
        if self.count > len(shown):
            shown.append(f"{self.count - len(shown):,} more problems are not shown.")
        super().__init__("\n".join(shown))


def together(errors: Sequence[DataError]) -> DataError:
    """One error of several, each problem once."""
    problems = tuple(dict.fromkeys(one for error in errors for one in error.problems))
    hidden = sum(error.count - len(error.problems) for error in errors)
    return DataError(*problems, count=len(problems) + hidden)


class NanLossError(TrainerError):
    """The loss, or a weight, is not a finite number; going on could not help."""

    reason = Reason.NAN_LOSS


class DeviceMismatchError(TrainerError):
    reason = Reason.DEVICE_MISMATCH


class Stopped(Exception):
    """The training was asked to stop, and has saved its checkpoint."""


def reason_of(error: BaseException, *, on_gpu: bool) -> Reason:
    """The reason for an error of ours, of Keras, of TensorFlow or of JAX, of a job that is on a GPU or not."""
    if isinstance(error, TrainerError):
        return error.reason
    if isinstance(error, MemoryError):
        return Reason.HOST_OUT_OF_MEMORY
    text = str(error)
    if type(error).__name__ != "ResourceExhaustedError" and not any(word in text for word in EXHAUSTED):
        return Reason.TRAINING_ERROR
    if type(error).__module__.startswith("tensorflow"):  # it names the place, JAX does not
        on_gpu = "device:GPU" in text or "GPU_" in text
    return Reason.DEVICE_OUT_OF_MEMORY if on_gpu else Reason.HOST_OUT_OF_MEMORY


def describe(error: BaseException) -> str:
    """One short paragraph for a person."""
    if isinstance(error, TrainerError):
        return str(error)
    if isinstance(error, OSError):
        return in_words(error)[:500]
    kind, text = type(error).__name__, of_keras(error)[:500]
    if text == kind:
        return kind
    is_memory = reason_of(error, on_gpu=False) is Reason.HOST_OUT_OF_MEMORY
    advice = (
        "the memory is not enough (a smaller batch_size, window or model takes less): " if is_memory else ""
    )
    return f"{advice}{kind}: {text}"


def of_keras(error: BaseException) -> str:
    """On one line, without the escapes of Keras and TensorFlow's names of operations."""
    return _OPERATIONS.sub("", _ESCAPES.sub("", " ".join(str(error).split()))) or type(error).__name__
