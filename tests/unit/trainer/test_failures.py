"""What a person is told of an error that ends a job."""

from __future__ import annotations

import pytest

from gpujobs.trainer.failures import describe

MEMORY = "the memory is not enough (a smaller batch_size, window or model takes less): "
OOM = (
    "{{function_node __wrapped__Add_device_/job:localhost/device:CPU:0}} OOM when allocating tensor with shape[9,9] "
    "[Op:Add] name: "
)


class ResourceExhaustedError(Exception):
    """Named as TensorFlow names its own."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ResourceExhaustedError(OOM),
            MEMORY + "ResourceExhaustedError: OOM when allocating tensor with shape[9,9]",
        ),
        (MemoryError("Unable to allocate 9 GiB"), MEMORY + "MemoryError: Unable to allocate 9 GiB"),
        (MemoryError(), "MemoryError"),
        (ValueError("\x1b[1mtwo\x1b[0m\n lines"), "ValueError: two lines"),
        (KeyError(), "KeyError"),
    ],
)  # fmt: skip
def test_an_error_is_told_on_one_line_without_what_only_tensorflow_knows(error: Exception, said: str) -> None:
    assert describe(error).rstrip() == said
