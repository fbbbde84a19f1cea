"""The training loop: what Keras's `fit` does, step by step, so that it resumes exactly from any batch."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gpujobs.failpoints import reach
from gpujobs.linux import durable
from gpujobs.model import StopReason
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.protocol.training import Finishing, Noticed, Order, Said, Trained, line_of, orders_of
from gpujobs.trainer import checkpoint, outputs
from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.checkpoint import Position
from gpujobs.trainer.data import Samples
from gpujobs.trainer.data.arrays import Batch, Integers
from gpujobs.trainer.early_stopping import Best, EarlyStopping, ReduceOnPlateau, watched
from gpujobs.trainer.ending import EarlyEnd
from gpujobs.trainer.failures import NanLossError, Stopped, TrainerError
from gpujobs.trainer.pace import Pace
from gpujobs.trainer.stateful import States, Strips
from gpujobs.trainer.traced import Traced
from gpujobs.trainer.use import Use

CHECKPOINT_SECONDS = 2.0
CHECKPOINT_SHARE = 20
"""A checkpoint that takes a second to write is followed by at least 20 seconds of training."""
PROGRESS_SECONDS = 1.0
ORDERS_BYTES = 65536
KEEPING_REASONS = (StopReason.CANCEL, StopReason.TIME_LIMIT)
"""A training that ends for one of these leaves its model: it will not go on by itself."""


class Messages:
    """To the supervisor, and from it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, message: Said) -> None:
        os.write(self._descriptor, line_of(message))

    def warn(self, text: str) -> None:
        """For the log, and for the history of the job."""
        print(f"gpujobs: {text}", flush=True)
        self.send(Noticed(text))

    def received(self) -> list[Order]:
        """What the supervisor has asked for since: the descriptor is one end of a socket pair."""
        try:
            with socket.socket(fileno=os.dup(self._descriptor)) as end:
                lines = end.recv(ORDERS_BYTES, socket.MSG_DONTWAIT)
        except OSError:  # nothing has come, or nobody is there
            return []
        return orders_of(lines)


class StopFlag:
    """Set by SIGTERM; looked at between batches."""

    def __init__(self) -> None:
        self.is_set = False
        signal.signal(signal.SIGTERM, self._set)

    def _set(self, *_: Any) -> None:
        self.is_set = True

    def check(self) -> None:
        if self.is_set:
            raise Stopped


@dataclass(frozen=True, slots=True)
class Sets:
    """What is trained and validated with: x as the model takes it, y as the loss wants it.

    `strips` and `validation_strips`: the order of a stateful model's samples.
    """

    train: Samples
    validation: Samples | None = None
    strips: Strips | None = None
    validation_strips: Strips | None = None


def order(training: dict[str, Any], epoch: int, count: int) -> Integers:
    """The samples' order in an epoch: a function of (seed, epoch), so that a resumed run repeats it."""
    indices: Integers = np.arange(count, dtype=np.int32 if count < 1 << 31 else np.int64)
    if training.get("shuffle", True):
        seed = training.get("seed")
        np.random.default_rng(None if seed is None else [seed, epoch]).shuffle(indices)
    return indices


class TrainingLoop:
    """One training, from its last checkpoint on."""

    def __init__(
        self, spec: AttemptSpec, traced: Traced, sets: Sets, messages: Messages, stop: StopFlag
    ) -> None:
        self.jobfile, self.training = spec.jobfile, spec.jobfile["training"]
        self.directory, self.results = spec.paths.checkpoint, spec.paths.results
        self.early_end = EarlyEnd(spec)
        self.model, self.sets, self.messages, self.stop = traced.model, sets, messages, stop
        self.traced = traced
        self.epochs, self.batch_size = int(self.training["epochs"]), int(self.training["batch_size"])
        traced.ready(sets.train, self.batch_size)
        self.steps = traced.steps
        self.steps.expect(self._rows(sets.train), self._rows(sets.validation))
        self.device_peak = partial(backend.device_peak_bytes, spec)
        self.position = Position()
        self.stopper = _watcher(EarlyStopping, watched(self.training, "early_stopping"))
        self.plateau = _watcher(ReduceOnPlateau, watched(self.training, "reduce_lr_on_plateau"))
        self.best = _watcher(lambda settings: Best(**settings), watched(self.training, "best_weights"))
        self.states = None if sets.strips is None else States(self.model)
        self.saved = self.reported = time.monotonic()
        self.pace = Pace()
        self.use = Use(len(sets.train))
        self.has_validated = False
        self.save_seconds = 0.0
        self.is_unsaved = False

    def run(self) -> list[dict[str, float]]:
        """The history: a row for each epoch. Raises Stopped, after a checkpoint, and NanLossError."""
        is_over = self.resume() or (
            self.early_end.is_asked and self.is_between_epochs and self.ends_early(0.0)
        )
        while not is_over and len(self.position.rows) < self.epochs:
            began = time.monotonic()
            row = self.use.trained(self.epoch)
            is_over = self.watch(row)
            if self.best_now:
                self.position.best = self.model.get_weights()
            self.report(row)
            print(describe(row, self.epochs), flush=True)
            if not is_over and len(self.position.rows) < self.epochs:
                is_over = self.ends_early(time.monotonic() - began)
                if not is_over:
                    self.save_when_due()
        self.settle()
        return self.position.rows

    @property
    def is_between_epochs(self) -> bool:
        """Where the weights are those that the last row of the history tells of."""
        return self.position.batch == 0

    def settle(self) -> None:
        """The weights that the model has in the end, as Keras's `fit` leaves them: the best ones where those are kept,
        else an optimizer's averages (`use_ema`), else the last."""
        if self.position.best is not None:
            self.model.set_weights(self.position.best)
        else:
            self.model.optimizer.finalize_variable_values(self.model.trainable_weights)

    def ends_early(self, epoch_seconds: float) -> bool:
        """Whether the training is to end here; not before it has done an epoch."""
        self.early_end.obey(self.messages.received())
        if not self.position.rows or not self.early_end.is_due(epoch_seconds):
            return False
        self.messages.send(Finishing())
        done, why = len(self.position.rows), self.early_end.why
        print(f"Finished after epoch {done} of {self.epochs}: {why}.", flush=True)
        return True

    def resume(self) -> bool:
        """Takes up the last checkpoint, where there is one. True where nothing is left to do. Raises DamagedError
        where that is of another model; it is found no more when a new model is fitted."""
        saved = checkpoint.load(self.directory, self.model, self.warn)
        if saved is None:
            return False
        self.steps.train([self.batch(self.order(0), 0)] * self._executed())  # creates all variables
        self.position = checkpoint.put_back(saved, self.model)
        done = len(self.position.rows)
        within = f", batch {self.position.batch} of the next" if self.position.batch else ""
        print(f"Resuming after epoch {done} of {self.epochs}{within}.", flush=True)
        is_over = False
        for row in self.position.rows:
            is_over = self.watch(row, again=True)
        return is_over

    def epoch(self) -> dict[str, float]:
        """Trains the rest of one epoch and validates; appends and returns its row."""
        number, executed = len(self.position.rows), self._executed()
        if self.position.batch == 0:
            self.steps.reset()
        indices = self.order(number)
        batches = -(-len(indices) // self.batch_size)
        logs: Mapping[str, Any] = {}
        while self.position.batch < batches:
            chosen = range(self.position.batch, min(self.position.batch + executed, batches))
            if self.states is not None and self.sets.strips is not None:
                self.states.reset(self.sets.strips.resets[chosen.start])
            prepared = self.use.prepared(partial(self._batches, indices, chosen))
            logs = self.steps.train(prepared)
            self.position.batch = chosen.stop
            self.pace.stepped(number + chosen.stop / batches)
            reach("trainer.batch")
            if chosen.stop < batches:
                self.between_batches(logs, chosen.stop / batches)
        row = {"epoch": number, **numbers(self.steps.figures(logs)), **self.validate()}
        if self.plateau is not None:
            row["learning_rate"] = float(self.model.optimizer.learning_rate)
        refuse_nan(row)
        self.position.rows.append(row)
        self.position.batch = 0
        return row

    def order(self, epoch: int) -> Integers:
        if self.sets.strips is not None:
            return self.sets.strips.positions.reshape(-1)
        return order(self.training, epoch, len(self.sets.train))

    def _rows(self, samples: Samples | None) -> int | None:
        """How many each batch has; None where the last one has less."""
        count = 0 if samples is None else len(samples)
        return self.batch_size if count % self.batch_size == 0 else count if count < self.batch_size else None

    def _executed(self) -> int:
        return int(self.training.get("steps_per_execution") or 1)

    def _batches(self, indices: Integers, chosen: range) -> list[Batch]:
        return [self.batch(indices, at) for at in chosen]

    def batch(self, indices: Integers, number: int) -> Batch:
        return self.sets.train.batch(indices[number * self.batch_size : (number + 1) * self.batch_size])

    def between_batches(self, logs: Mapping[str, Any], share: float) -> None:
        """Progress and checkpoints of a long epoch."""
        now = time.monotonic()
        if now - self.reported > PROGRESS_SECONDS:
            row = numbers(logs)
            refuse_nan(row)
            self.report({"epoch": len(self.position.rows), **row}, share)
        self.save_when_due()

    def save_when_due(self) -> None:
        """Raises Stopped, with the checkpoint saved, where the job is asked to stop."""
        now = time.monotonic()
        pause = max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * self.save_seconds)
        if not self.stop.is_set and now - self.saved <= pause:
            return
        self.save()
        if self.stop.is_set:
            self.leave_model()
        self.saved = time.monotonic()
        self.save_seconds = self.saved - now
        self.stop.check()

    def save(self) -> None:
        """What cannot be written is said, once until it can be again: a full disk must not end the training."""
        try:
            reach("checkpoint.save")
            checkpoint.save(self.directory, self.model, self.position)
            if self.position.rows and self.results.is_dir():
                outputs.history(self.results / "history.csv", self.position.rows)
        except OSError as error:
            if not self.is_unsaved:
                self.warn(
                    f"the checkpoint could not be written: {error.strerror or error}; the training goes on, and the "
                    "last good checkpoint is kept"
                )
            self.is_unsaved = True
        else:
            self.is_unsaved = False

    def leave_model(self) -> None:
        """The model of the checkpoint, for whoever wants it although the job did not complete."""
        self.early_end.obey(self.messages.received())
        reason = self.early_end.stop_reason
        if reason not in KEEPING_REASONS or not self.position.rows or not self.results.is_dir():
            return
        self.settle()
        unfinished = self.results / ".model.keras"  # a SIGKILL may come in the middle
        try:
            self.model.save(unfinished)
            durable.put_in_place(unfinished, self.results / "model.keras")
        except OSError as error:
            self.warn(f"the model could not be written: {error.strerror or error}")

    def warn(self, text: str) -> None:
        self.messages.warn(text)

    def validate(self) -> dict[str, float]:
        """The loss and the metrics of the validation part, `val_` before their names."""
        if self.sets.validation is None:
            return {}
        self.steps.reset()
        logs: Mapping[str, Any] = {}
        # It leaves other states, which the next epoch begins anew.
        for batch in self.use.each(self.validation_batches()):
            began = time.monotonic()
            logs = self.steps.test(batch)
            if not self.has_validated:
                self.has_validated = True
                self.pace.leave_out(time.monotonic() - began)
        return {f"val_{name}": value for name, value in numbers(self.steps.figures(logs)).items()}

    def validation_batches(self) -> Iterator[Batch]:
        assert self.sets.validation is not None
        strips = self.sets.validation_strips
        if strips is not None and self.states is not None:
            for positions, resets in zip(strips.positions, strips.resets, strict=True):
                self.states.reset(resets)
                yield self.sets.validation.batch(positions)
            return
        indices = np.arange(len(self.sets.validation))
        for begin in range(0, len(indices), self.batch_size):
            yield self.sets.validation.batch(indices[begin : begin + self.batch_size])

    def watch(self, row: dict[str, float], *, again: bool = False) -> bool:
        """Feeds an epoch to the watchers; True where early stopping ends the training.

        `again`: the row is of a checkpoint, whose learning rate and best weights are there already.
        """
        is_over = self.stopper is not None and self.stopper.update(_value(row, self.stopper.best.monitor))
        self.best_now = self.best is not None and self.best.update(_value(row, self.best.monitor))
        if self.stopper is not None and self.training["early_stopping"].get("restore_best_weights"):
            self.best_now = self.stopper.improved
        if self.plateau is not None and self.plateau.update(_value(row, self.plateau.best.monitor)):
            rate = self.plateau.reduced(row["learning_rate"])
            if not again and rate < row["learning_rate"]:
                self.model.optimizer.learning_rate = rate
                print(f"The learning rate is {rate:g} from now on.", flush=True)
        if is_over and not again:
            print(f"Stopped early: {self.stopper.best.monitor} no longer improves.", flush=True)
        return is_over

    def report(self, row: dict[str, float], share: float = 0.0) -> None:
        """`share` of the epoch under way is done; 0 after a whole one."""
        self.reported = time.monotonic()
        eta = self.pace.eta_seconds(len(self.position.rows) + share, self.epochs)
        shown = {**row, "epoch": int(row["epoch"]) + 1, "epochs": self.epochs}
        peak = self.device_peak()
        of_device = {} if peak is None else {"device_peak_bytes": peak}
        of_data = {"data_share": self.use.data_share, "train_samples": len(self.sets.train)}
        self.messages.send(Trained({**shown, "eta_seconds": eta, **of_data, **of_device}))


def _watcher(make: Any, settings: Any) -> Any:
    return None if settings is None else make(settings)


def _value(row: dict[str, float], monitor: str) -> float:
    if monitor not in row:
        known = ", ".join(sorted(row.keys() - {"epoch"}))
        raise TrainerError(f"there is no metric {monitor} to watch; this training has {known}")
    return row[monitor]


def refuse_nan(row: dict[str, float]) -> None:
    """Raises NanLossError where a loss is not a finite number."""
    for name in ("loss", "val_loss"):
        if not math.isfinite(row.get(name, 0.0)):
            raise NanLossError(
                f"{name} became {row[name]}; a smaller learning rate, clipnorm in the optimizer, or scaled "
                "inputs often help. The last good checkpoint is kept."
            )


def numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """By name. A metric with a value for each class becomes `NAME_0`, `NAME_1`, ..."""
    found: dict[str, float] = {}
    for name, value in logs.items():
        for index, one in np.ndenumerate(np.asarray(value)):
            found["_".join([name, *map(str, index)])] = float(one)
    return found


def describe(row: dict[str, float], epochs: int) -> str:
    values = " - ".join(f"{name}: {value:.4f}" for name, value in row.items() if name != "epoch")
    return f"Epoch {int(row['epoch']) + 1}/{epochs} - {values}"
