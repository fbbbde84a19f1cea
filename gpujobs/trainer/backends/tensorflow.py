"""TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.trainers.compile_utils import CompileMetrics

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer import quiet
from gpujobs.trainer.backends import handed
from gpujobs.trainer.backends.interface import is_gpu, require_one, visible_devices
from gpujobs.trainer.data.arrays import Batch
from gpujobs.trainer.shelf import Shelf

LAZY_MODULES: tuple[str, ...] = tuple(
    f"tensorflow.python.data.ops.{kind}_op"
    for kind in ("concatenate", "flat_map", "from_tensors", "range", "shuffle", "skip", "take", "zip")
)
"""A dataset's kind is imported when one is first made."""


def title() -> str:
    return f"TensorFlow {tf.__version__}"


def versions() -> dict[str, str]:
    return {"tensorflow": str(tf.__version__), "keras": str(keras.__version__), "numpy": str(np.__version__)}


def preload() -> None:
    _ = (tf.config.experimental.set_memory_growth, tf.function, tf.data.Dataset)


def device_environment(spec: AttemptSpec) -> dict[str, str]:
    return {
        **visible_devices(spec),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "TF_CPP_MIN_LOG_LEVEL": "2" if is_gpu(spec) else "3",
    }


def take_device(spec: AttemptSpec) -> list[str]:
    if not is_gpu(spec):
        tf.config.threading.set_intra_op_parallelism_threads(spec.cpu_threads)
        tf.config.threading.set_inter_op_parallelism_threads(spec.cpu_threads)
        with quiet.without(quiet.CHATTER, quiet.NO_CUDA):  # that there is no GPU is no news on a CPU slot
            tf.config.set_visible_devices([], "GPU")
            tf.config.list_logical_devices()
        return []
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    seen = [str(gpu.name) for gpu in gpus]
    require_one(spec, "TensorFlow", seen)
    return seen


def make_deterministic() -> None:
    tf.config.experimental.enable_op_determinism()


def device_peak_bytes(spec: AttemptSpec) -> int | None:
    if not is_gpu(spec) or not tf.config.list_physical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def forget_peak() -> None:
    if tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats("GPU:0")


def wait_for(variables: Sequence[Any]) -> None:
    """Nothing: an operation has its result when it returns."""


class TensorFlowSteps:
    """Keras's own steps, called with a batch at a time, so that a stop takes effect at once."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._train, self._test = _Step(model, model.train_step), _Step(model, model.test_step)
        self._shared: tuple[_Step, ...] = ()
        self._means: list[keras.metrics.Mean] | None = None
        """All metrics, where all are plain means, else none; None before the first step."""
        self._names: list[str] = []
        """Of the figures, in Keras's order."""

    def share(self, shelf: Shelf, variables: Sequence[Any]) -> None:
        if not handed.is_of_use() or self._model.jit_compile:
            return
        self._model.predict_function = predicts = _Step(self._model, _predicting(self._model))
        self._shared = (self._train, self._test, predicts)
        for name, step in zip(("train", "test", "predict"), self._shared, strict=True):
            step.share(shelf, name, variables)

    def hand_down(self) -> None:
        for step in self._shared:
            step.hand_down()

    def expect(self, train: int | None, test: int | None) -> None:
        self._train.rows, self._test.rows = train, test

    @property
    def shapes(self) -> int:
        return max(map(len, (self._train, self._test, self._model.predict_function or ())))

    def train(self, batches: Sequence[Batch]) -> Mapping[str, Any]:
        logs: Mapping[str, Any] = {}
        for batch in batches:
            logs = self._train(batch)
        return logs

    def test(self, batch: Batch) -> Mapping[str, Any]:
        logs: Mapping[str, Any] = self._test(batch)
        return logs

    def reset(self) -> None:
        """Keras's assignments, which look at their values first, take a sixth of a small model's step."""
        if not self._means:
            self._model.reset_metrics()
            if self._means is None and len(self._train):  # a first step may make variables
                self._means = list(_all_means(self._model))
            return
        for mean in self._means:
            for variable in mean.variables:
                zero = tf.zeros((), variable.dtype)
                tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=zero)

    def figures(self, logs: Mapping[str, Any]) -> Mapping[str, Any]:
        """A step has divided what it returns by itself; of other metrics than means it might have done so otherwise."""
        if self._means and self._names and logs.keys() == set(self._names):
            return {name: logs[name] for name in self._names}
        found: Mapping[str, Any] = self._model.get_metrics_result()
        self._names = list(found)
        return found

    def depend_only_on(self, variables: Sequence[Any]) -> bool:
        handles = {id(variable.value.handle) for variable in variables}
        return all(id(one) in handles for step in (self._train, self._test) for one in step.captured())


class _Step:
    """A function of a batch, traced once for batches of any size, or for those of one size, where all have that.

    Keras traces a size as it comes, and a last batch that is shorter once more. Where none is, its trace is the same
    here: of a mean over a known number the last bit may differ.
    """

    def __init__(self, model: keras.Model, step: Callable[[Any], Any]) -> None:
        self.rows: int | None = None
        """Of every batch; None where they differ."""
        self._is_fixed = model.inputs[0].shape[0] is not None
        self._step, self._is_compiled = step, model.jit_compile
        self._traced: dict[Any, Any] = {}
        self._shelf: tuple[Shelf, str, Sequence[Any]] | None = None

    def __call__(self, batch: Any) -> Any:
        key = tuple(map(self._form, keras.tree.flatten(batch)))
        if (step := self._traced.get(key)) is None:
            step = self._traced[key] = self._found(key) or self._trace(batch)
        return step(keras.tree.map_structure(_tensor, batch))

    def _trace(self, batch: Any) -> Any:
        """One function would take its trace for any size where it is then asked for one of a size."""
        function = tf.function(self._step, autograph=False, jit_compile=self._is_compiled)
        leaves = [self._open(number, array) for number, array in enumerate(keras.tree.flatten(batch))]
        with np.errstate(
            over="ignore"
        ):  # some of Keras's constants are infinite in halves: NumPy would warn of each
            return function.get_concrete_function(keras.tree.pack_sequence_as(batch, leaves))

    def share(self, shelf: Shelf, name: str, variables: Sequence[Any]) -> None:
        self._shelf = shelf, name, variables

    def _found(self, key: Any) -> Any:
        """What an earlier process has traced."""
        if self._shelf is None:
            return None
        shelf, name, variables = self._shelf
        if (content := shelf.get((name, key))) is None:
            return None
        try:
            return handed.read(content, variables)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it can be traced
            print(
                f"gpujobs: a traced step could not be taken over, and is traced: {error!r:.300}", flush=True
            )
            return None

    def hand_down(self) -> None:
        """To those who come after: what was traced here."""
        if self._shelf is None:
            return
        shelf, name, variables = self._shelf
        for key, step in self._traced.items():
            if hasattr(step, "graph") and (content := handed.written(step, variables)) is not None:
                shelf.put((name, key), content)

    def __len__(self) -> int:
        return len(self._traced)

    def _form(self, array: Any) -> Any:
        if array is None:
            return None
        rows = len(array) if self._is_fixed or self.rows is not None else None
        return (rows, *array.shape[1:]), array.dtype

    def _open(self, number: int, array: Any) -> Any:
        return None if array is None else tf.TensorSpec(*self._form(array), handed.leaf(number))

    def captured(self) -> Iterator[Any]:
        """What the traced functions take besides a batch."""
        for step in self._traced.values():
            yield from (
                (outer for outer, _ in step.graph.captures) if hasattr(step, "graph") else step.captured
            )


def _tensor(array: Any) -> Any:
    """A traced function takes ten times as long to make one."""
    return None if array is None else tf.constant(array)


def _all_means(model: keras.Model) -> Iterator[keras.metrics.Mean]:
    """The metrics, where each of them is a sum that is divided by a count; else none."""
    found: list[Any] = []
    for metric in model.metrics:
        found += metric.metrics if isinstance(metric, CompileMetrics) else [metric]
    if all(map(_is_plain, found)):
        yield from found


def _is_plain(metric: Any) -> bool:
    kind, mean = type(metric), keras.metrics.Mean
    is_changed = not {"result", "reset_state"}.isdisjoint(vars(metric))
    is_mean = isinstance(metric, mean) and not is_changed and len(metric.variables) == 2
    return is_mean and kind.result is mean.result and kind.reset_state is mean.reset_state


def steps(model: keras.Model) -> TensorFlowSteps:
    return TensorFlowSteps(model)


def _predicting(model: keras.Model) -> Callable[[Any], Any]:
    return lambda x: model.predict_step((x,))


def predictor(model: keras.Model, calls: int) -> Callable[[Any], Any]:
    """A single batch is called directly: cheaper than tracing a function for it."""
    if calls <= 1:
        return lambda x: keras.tree.map_structure(np.asarray, model(x, training=False))
    if model.predict_function is None:
        model.predict_function = _Step(model, _predicting(model))
    step = model.predict_function
    return lambda x: keras.tree.map_structure(np.asarray, step(x))
