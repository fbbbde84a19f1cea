"""JAX. Keras's steps are pure functions here: they take the values of all variables and return new ones."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jaxlib
import keras
import numpy as np

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.backends.interface import is_gpu, require_one, visible_devices
from gpujobs.trainer.backends.states import states_of
from gpujobs.trainer.data.arrays import Batch
from gpujobs.trainer.shelf import Shelf

LAZY_MODULES: tuple[str, ...] = (
    "jax.experimental.multihost_utils",
    "jax.experimental.rnn",  # cuDNN's LSTM
    "jaxlib.mlir.dialects.builtin",
    "jaxlib.mlir.dialects.mhlo",
)


def title() -> str:
    return f"JAX {jax.__version__}"


def versions() -> dict[str, str]:
    return {
        "jax": str(jax.__version__),
        "jaxlib": str(jaxlib.__version__),
        "keras": str(keras.__version__),
        "numpy": str(np.__version__),
    }


def preload() -> None:
    """Imports JAX's plugins for devices, if any, and leaves it to the child to initialise them: that starts
    threads and touches CUDA, and a fork would break both."""
    try:
        import jax_plugins
    except ImportError:
        return
    for plugin in pkgutil.iter_modules(jax_plugins.__path__, "jax_plugins."):
        importlib.import_module(plugin.name)


def device_environment(spec: AttemptSpec) -> dict[str, str]:
    variables = {
        **visible_devices(spec),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PJRT_NPROC": str(spec.cpu_threads),
        "TF_CPP_MIN_LOG_LEVEL": "2" if is_gpu(spec) else "3",
    }
    if is_gpu(spec) and spec.jobfile.get("training", {}).get("deterministic", True):
        # Repeatable from one process to the next: it also turns the choice of kernels by measuring off.
        variables["XLA_FLAGS"] = "--xla_gpu_deterministic_ops=true"
    return variables


def take_device(spec: AttemptSpec) -> list[str]:
    """JAX reads JAX_PLATFORMS when it is imported, so the platform is set here. With "cuda,cpu" it fails where
    CUDA does, and takes the CPU where it sees no GPU at all."""
    if not is_gpu(spec):
        jax.config.update("jax_platforms", "cpu")
        return []
    if spec.require_gpu:
        jax.config.update("jax_platforms", "cuda,cpu")
    try:
        seen, why = [str(device) for device in jax.local_devices() if device.platform == "gpu"], ""
    except RuntimeError as error:
        seen, why = [], " ".join(str(error).split())
    require_one(spec, "JAX", seen, why)
    return seen


def make_deterministic() -> None:
    """Nothing: XLA's operations are repeatable on a CPU, and on a GPU by the flag of `device_environment`."""


def device_peak_bytes(spec: AttemptSpec) -> int | None:
    if not is_gpu(spec):
        return None
    statistics = jax.local_devices()[0].memory_stats()
    return None if statistics is None else int(statistics["peak_bytes_in_use"])


def forget_peak() -> None:
    """JAX counts for the whole process."""


def wait_for(variables: Sequence[Any]) -> None:
    """NumPy would end the process where it asks for values that could not be computed."""
    jax.block_until_ready([variable.value for variable in variables])


class JaxSteps:
    """Keras's steps consume the values that they are given (XLA reuses their memory), so the variables get the
    new ones after each call: 0.1 ms for the 23 of an LSTM with Adam."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._states = list(states_of(model))

    @property
    def shapes(self) -> int:
        return 0

    def train(self, batches: Sequence[Batch]) -> Mapping[str, Any]:
        model = self._model
        if model.train_function is None:
            model._symbolic_build(data_batch=batches[0])  # makes the metrics' variables, which the step takes
            model.make_train_function()
        with _carried(self._states):
            variables = (
                model.trainable_variables,
                model.non_trainable_variables,
                model.optimizer.variables,
                model.metrics_variables,
            )
            logs: Mapping[str, Any] = _run(model.train_function, variables, batches)
        return logs

    def test(self, batch: Batch) -> Mapping[str, Any]:
        model = self._model
        model.make_test_function()
        with _carried(self._states):
            variables = (model.trainable_variables, model.non_trainable_variables, model.metrics_variables)
            logs: Mapping[str, Any] = _run(model.test_function, variables, [batch])
        return logs

    def reset(self) -> None:
        self._model.reset_metrics()

    def figures(self, logs: Mapping[str, Any]) -> Mapping[str, Any]:
        """As Keras's `fit` has them."""
        found: Mapping[str, Any] = self._model.get_metrics_result()
        return found

    def expect(self, train: int | None, test: int | None) -> None:
        """XLA compiles for one shape: it does so once more for a last batch that is shorter."""

    def share(self, shelf: Shelf, variables: Sequence[Any]) -> None:
        """JAX has a cache of its own, whose entries it has rejected where the processor has AVX-512."""

    def hand_down(self) -> None:
        pass

    def depend_only_on(self, variables: Sequence[Any]) -> bool:
        """They are pure functions."""
        return True


def steps(model: keras.Model) -> JaxSteps:
    return JaxSteps(model)


def predictor(model: keras.Model, calls: int) -> Callable[[Any], Any]:
    """Compiled even for one call: an operation at a time, each would be compiled for itself."""
    model.make_predict_function()
    states = list(states_of(model))

    def predict(x: Any) -> Any:
        with _carried(states):
            variables = (model.trainable_variables, model.non_trainable_variables)
            return keras.tree.map_structure(np.asarray, _run(model.predict_function, variables, [(x,)]))

    return predict


@contextmanager
def _carried(states: Sequence[tuple[Any, Any]]) -> Iterator[None]:
    """Makes a step return the states of stateful layers. It returns the variables that layers track, and states
    are none of them, so that Keras's own `fit` on JAX begins each batch with the same ones. For the length of a
    call only: a model is saved without states."""
    for layer, state in states:
        layer._tracker.unlock()  # as Keras does it where it adds a variable to a layer that is built
        layer._track_variable(state)
        layer._tracker.lock()
    try:
        yield
    finally:
        for layer, state in states:
            layer._untrack_variable(state)


def _run(function: Any, groups: Sequence[Sequence[Any]], batches: Iterable[Any]) -> Any:
    """Calls a step of Keras's JAXTrainer with the values of the variables, and assigns those it returns."""
    outputs, state = function(tuple([one.value for one in group] for group in groups), iter(batches))
    for group, values in zip(groups, state, strict=True):
        for variable, value in zip(group, values, strict=True):
            variable.assign(value)
    return outputs
