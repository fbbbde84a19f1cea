"""What a backend's module offers; the modules beside this one are the two that do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.data.arrays import Batch
from gpujobs.trainer.failures import DeviceMismatchError
from gpujobs.trainer.shelf import Shelf

if TYPE_CHECKING:
    import keras

"""(x, y, sample weight or None), as `Samples.batch` gives them."""


class Steps(Protocol):
    """The compiled steps of a compiled model. After each call its variables hold what the step has computed."""

    @property
    def shapes(self) -> int:
        """For so many shapes of batches a step was traced, as far as is known."""

    def train(self, batches: Sequence[Batch]) -> Mapping[str, Any]:
        """A training step for each batch, at most `steps_per_execution`; the metrics so far, by name."""

    def test(self, batch: Batch) -> Mapping[str, Any]:
        """Adds a batch to the metrics and trains nothing; the metrics so far, by name."""

    def reset(self) -> None:
        """The metrics begin anew."""

    def figures(self, logs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The metrics since `reset`, by name and in Keras's order. `logs`: what the last step has returned."""

    def expect(self, train: int | None, test: int | None) -> None:
        """Says how many samples every batch has, where all have as many; None where they differ."""

    def share(self, shelf: Shelf, variables: Sequence[Any]) -> None:
        """Before the first step: what earlier processes have left on the shelf is used. `variables`: all that the steps
        depend on besides a batch."""

    def hand_down(self) -> None:
        """Leaves on the shelf what was traced here."""

    def depend_only_on(self, variables: Sequence[Any]) -> bool:
        """Whether the steps that were called depend on nothing that changes but a batch and these variables."""


class Backend(Protocol):
    LAZY_MODULES: tuple[str, ...]
    """What it imports only when it is used; a launcher imports it before it forks."""

    def title(self) -> str:
        """Name and version, for people."""

    def versions(self) -> dict[str, str]:
        """The versions of its packages, by name."""

    def preload(self) -> None:
        """Looks at what it loads when it is first named. Runs no operation and asks for no device."""

    def device_environment(self, spec: AttemptSpec) -> dict[str, str]:
        """The variables that make one GPU visible, or none. They must be set before the first operation."""

    def take_device(self, spec: AttemptSpec) -> list[str]:
        """Configures the device and returns what is seen of it. Raises DeviceMismatchError."""

    def make_deterministic(self) -> None:
        """Makes operations repeatable, where `device_environment` has not done so."""

    def device_peak_bytes(self, spec: AttemptSpec) -> int | None:
        """The peak of memory in use on the GPU; None on a CPU slot."""

    def forget_peak(self) -> None:
        """The next peak is that of what follows, where the backend can begin anew."""

    def wait_for(self, variables: Sequence[Any]) -> None:
        """Until what they are to hold was computed. Raises the backend's error where there is no memory for it."""

    def steps(self, model: keras.Model) -> Steps:
        """The steps of a compiled model."""

    def predictor(self, model: keras.Model, calls: int) -> Callable[[Any], Any]:
        """From x to the outputs, as NumPy arrays, without training. `calls`: how often it will be called."""


def is_gpu(spec: AttemptSpec) -> bool:
    return spec.device.is_gpu


def visible_devices(spec: AttemptSpec) -> dict[str, str]:
    """CUDA's variables. Its default order is not NVML's."""
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": spec.device.uuid if is_gpu(spec) else "-1",
    }


def require_one(spec: AttemptSpec, name: str, seen: Sequence[str], why: str = "") -> None:
    """Raises DeviceMismatchError where a GPU is required and the backend does not see exactly one."""
    if spec.require_gpu and len(seen) != 1:
        raise DeviceMismatchError(
            f"{name} sees {len(seen)} GPUs ({', '.join(seen) or 'none'}); expected exactly one, "
            f"{spec.device.uuid}. Check with `gpujobs doctor` the driver and {name}'s CUDA libraries."
            f"{f' {name} says: {why}' if why else ''}"
        )
