"""The whole report of a job, as `gpujobs check --json` prints it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.utils.naming import reset_uids

from gpujobs.backends import backend_of
from gpujobs.jobfile.consistency import is_stateful
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer import building, decision, train
from gpujobs.trainer.checking import data, first_step, fused, layers, masks, memory
from gpujobs.trainer.checking.chain import links
from gpujobs.trainer.checking.opening import opened
from gpujobs.trainer.checking.optimizers import slots_of
from gpujobs.trainer.data.samples.rows import RaggedRows
from gpujobs.trainer.failures import TrainerError
from gpujobs.trainer.training_loop import Sets

OF_WHAT = {
    "weights": "the parameters, 4 bytes each",
    "gradients": "one for each trained parameter",
    "optimizer": "{slots} for each trained parameter",
    "activations": "of the forward pass, still there at the peak",
    "step_gradients": "of the weights, by steps that wait to be added up",
    "batch": "inputs, targets and weights of one step",
    "other": "metrics, counters and constants",
}


def report(spec: AttemptSpec, *, values: bool = True) -> dict[str, Any]:
    """Raises TrainerError where the job could not be trained.

    `values=False`: the weights get none, which takes long for a large model. Keras cannot compute afterwards, so this
    is for a process that ends with the report.
    """
    with scratch(spec) as spec, opened(spec) as spec:
        return _report(spec, values=values)


@contextmanager
def scratch(spec: AttemptSpec) -> Iterator[AttemptSpec]:
    """The spec with a directory for what does not fit into the memory."""
    directory = Path(tempfile.mkdtemp(prefix="gpujobs-check-"))
    try:
        (directory / "work").mkdir()
        yield replace(spec, job_dir=directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _report(spec: AttemptSpec, *, values: bool) -> dict[str, Any]:
    training = spec.jobfile["training"]
    looked = data.look(spec)
    prepared = looked.prepared
    keras.config.set_dtype_policy(training.get("precision") or "float32")
    optimizer = building.optimizer_of(training)
    model = _model(spec, train.shapes(prepared.train), values=values)
    building.compile_model(model, spec.jobfile, optimizer, masked=train.is_masked(prepared))
    sets = train.sets_of(spec, prepared, model)
    first_step.require(spec.jobfile, model, sets.train)
    batch_size = int(training["batch_size"])
    found = links(model)
    slots = slots_of(optimizer)
    parts = memory.estimate(
        found,
        slots=slots,
        batch_size=batch_size if is_stateful(spec.jobfile) else min(batch_size, len(sets.train)),
        timesteps=_timesteps(sets),
        batch_bytes=_batch_bytes(sets, batch_size),
        half=training.get("precision", "float32") != "float32",
    )
    return {
        "layers": layers.rows(found),
        "parameters": int(model.count_params()),
        "trainable_parameters": sum(link.trainable for link in found),
        "memory_estimate_bytes": parts.total,
        "memory": [
            {"part": name, "bytes": size, "of": OF_WHAT[name].format(slots=slots)}
            for name, size in asdict(parts).items()
        ],
        "cudnn": fused.verdicts(found, backend_of(spec.jobfile), masks.unfit(spec, prepared.train.samples)),
        "data": {**data.described(prepared), "arrays": looked.arrays,
                 "classes": data.class_counts(spec, prepared)},
        "batch_size": batch_size,
        "steps_per_epoch": _steps(sets, batch_size),
        "epochs": int(training["epochs"]),
        "left_out": looked.left_out,
        "notices": [*looked.notices, *decision.notices(spec.jobfile, model)],
    }  # fmt: skip


def _model(spec: AttemptSpec, shapes: building.Shapes, *, values: bool) -> Any:
    """Without values, in a scope of Keras that is not left: there it would make them. A layer that needs some at
    once, such as the states of a stateful one, is refused in it, so what is refused is tried with values too, and with
    the same names."""
    if not values and not is_stateful(spec.jobfile):
        scope = keras.StatelessScope()
        scope.__enter__()
        try:
            return building.untrained(spec.jobfile, shapes)
        except Exception as error:
            if not isinstance(error, TrainerError) and not building.is_refusal(error):
                raise
            scope.__exit__(None, None, None)
            reset_uids()
    return building.untrained(spec.jobfile, shapes)


def _steps(sets: Sets, batch_size: int) -> int:
    return sets.strips.batches if sets.strips is not None else -(-len(sets.train) // batch_size)


def _timesteps(sets: Sets) -> int:
    """Of the longest sequence, to which every batch is padded; 1 where all have the length that the model says."""
    ragged = [rows for rows in sets.train.inputs.values() if isinstance(rows, RaggedRows)]
    return max((int(rows.lengths.max()) for rows in ragged), default=1)


def _batch_bytes(sets: Sets, batch_size: int) -> int:
    first = np.arange(min(batch_size, len(sets.train)))
    leaves: Sequence[Any] = keras.tree.flatten(sets.train.batch(first))
    return sum(int(np.asarray(one).nbytes) for one in leaves if one is not None)
