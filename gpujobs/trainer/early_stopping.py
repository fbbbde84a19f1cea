"""What watches a metric from epoch to epoch, with the arguments and the rules of Keras's callbacks.

Each watcher is fed one value per epoch, so that feeding it the history of a checkpoint brings it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpujobs import metric_names
from gpujobs.trainer.failures import TrainerError


def smaller_is_better(name: str, mode: str = "auto") -> bool:
    """Raises TrainerError where `mode` is auto and the metric's name does not tell."""
    if mode != "auto":
        return mode == "min"
    told = metric_names.smaller_is_better(name)
    if told is None:
        raise TrainerError(
            f"the name {name} does not tell whether more is better; give mode: min or mode: max"
        )
    return told


@dataclass(slots=True)
class Best:
    """The best value so far."""

    monitor: str
    mode: str = "auto"
    min_delta: float = 0.0
    value: float | None = None

    def is_better(self, value: float, than: float | None) -> bool:
        """By more than `min_delta`; anything is better than None."""
        sign = -1.0 if smaller_is_better(self.monitor, self.mode) else 1.0
        return than is None or sign * value - abs(self.min_delta) > sign * than

    def update(self, value: float) -> bool:
        """True where this epoch's value is better than all before it."""
        better = self.is_better(value, self.value)
        if better:
            self.value = value
        return better


class EarlyStopping:
    """keras.callbacks.EarlyStopping; `improved` says whether the last epoch was the best."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.best = Best(settings["monitor"], settings.get("mode", "auto"), settings.get("min_delta", 0.0))
        self.baseline = settings.get("baseline")
        self.patience = settings.get("patience", 0)
        self.start = settings.get("start_from_epoch", 0)
        self.epoch = self.wait = 0
        self.improved = False

    def update(self, value: float) -> bool:
        """True where the training should stop after this epoch."""
        self.epoch += 1
        if self.epoch <= self.start:
            return False
        self.wait += 1
        self.improved = self.best.update(value)
        if self.improved:
            if self.best.is_better(value, self.baseline):
                self.wait = 0
            return False
        return self.wait >= self.patience and self.epoch > 1


class ReduceOnPlateau:
    """keras.callbacks.ReduceLROnPlateau."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.best = Best(settings["monitor"], settings.get("mode", "auto"), settings.get("min_delta", 0.0001))
        self.factor, self.min_lr = settings.get("factor", 0.1), settings.get("min_lr", 0.0)
        self.patience, self.cooldown = settings.get("patience", 10), settings.get("cooldown", 0)
        self.wait = self.cooling = 0

    def update(self, value: float) -> bool:
        """True where the learning rate should be reduced after this epoch."""
        if self.cooling > 0:
            self.cooling -= 1
            self.wait = 0
        if self.best.update(value):
            self.wait = 0
        elif self.cooling <= 0:
            self.wait += 1
            if self.wait >= self.patience:
                self.cooling, self.wait = self.cooldown, 0
                return True
        return False

    def reduced(self, learning_rate: float) -> float:
        return float(max(learning_rate * self.factor, self.min_lr))


def watched(training: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """The settings of early_stopping or its like, with their direction where the metric tells it; None where there are
    none."""
    settings = training.get(key)
    if settings is None:
        return None
    return {**settings, "mode": metric_names.direction(settings, training) or "auto"}


def kept_epoch(training: Mapping[str, Any], rows: Sequence[Mapping[str, float]]) -> int:
    """The index of the row whose weights the model has in the end: the best one where those are put back, by
    `early_stopping` rather than by `best_weights` where both say so, else the last."""
    stopping, best = watched(training, "early_stopping"), watched(training, "best_weights")
    kept: list[int] = []
    if stopping and stopping.get("restore_best_weights"):
        stopper = EarlyStopping(stopping)
        for index, row in enumerate(rows):
            stopper.update(row[stopper.best.monitor])
            if stopper.improved:
                kept.append(index)
    elif best:
        watcher = Best(**best)
        kept = [index for index, row in enumerate(rows) if watcher.update(row[watcher.monitor])]
    return kept[-1] if kept else len(rows) - 1
