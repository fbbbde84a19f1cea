"""Pairs of job files of one signature, drawn by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable

RECURRENT = ("SimpleRNN", "GRU", "LSTM")
OPTIMIZERS = ("Adam", "AdamW", "Nadam", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Ftrl", "Lion")
ARGUMENTS = ("", ", clipnorm: 1.0", ", clipvalue: 0.1", ", use_ema: true", ", gradient_accumulation_steps: 2")


def pair(seed: int) -> tuple[str, dict[str, str]]:
    """The text of a job file over t.npz, and what the other one of the pair says otherwise."""
    draw = random.Random(seed)
    optimizer, arguments = draw.choice(OPTIMIZERS), draw.choice(ARGUMENTS)
    values, task = draw.choice((_numbers, _classes, _labels))(draw)
    text = f"""
data: {{train: t.npz, {values}, split: {{method: random, validation: {draw.choice((0.2, 0.4))}}}}}
model: {{layers: [{", ".join([*_layers(draw, each_step="steps" in values), task])}]}}
training:
  optimizer: {{{optimizer}: {{learning_rate: {draw.choice((0.01, 0.1))}{arguments}}}}}
  epochs: {draw.randint(1, 3)}
  batch_size: {draw.randint(3, 20)}
  seed: {draw.randint(0, 9)}
  precision: {draw.choice(("float32", "float32", "mixed_bfloat16", "mixed_float16"))}
  steps_per_execution: {draw.choice((1, 1, 2))}
  loss: {"mean_squared_error" if "y: y" in values else "sparse_categorical_crossentropy"}
  metrics: [{"mae" if "y: y" in values else "accuracy"}]
predict: [{{name: train, source: train}}]
"""
    return text, _other(draw, optimizer + ": {learning_rate: %s" + arguments)


def _other(draw: random.Random, optimizer: str) -> dict[str, str]:
    every: dict[str, Callable[[], str]] = {
        "training.seed": lambda: str(draw.randint(10, 99)),
        "training.epochs": lambda: str(draw.randint(1, 4)),
        "training.batch_size": lambda: str(draw.randint(3, 30)),
        "training.shuffle": lambda: "false",
        "training.optimizer": lambda: "{" + optimizer % draw.choice((0.02, 0.5)) + "}}",
        "data.split.validation": lambda: str(draw.choice((0.1, 0.3))),
        "data.split.seed": lambda: str(draw.randint(1, 9)),
        "data.scaling.x": lambda: draw.choice(("standard", "robust")),
        "data.train": lambda: "u.npz",
        "training.best_weights": lambda: "{monitor: loss}",
        "training.reduce_lr_on_plateau": lambda: "{monitor: loss, patience: 1}",
    }
    return {key: every[key]() for key in draw.sample(sorted(every), draw.randint(1, 4))}


def _numbers(draw: random.Random) -> tuple[str, str]:
    return "y: y", f"Dense: {{units: 1, kernel_regularizer: {draw.choice(('null', 'l2'))}}}"


def _classes(_: random.Random) -> tuple[str, str]:
    return "y: c", "Dense: {units: 2, activation: softmax}"


def _labels(draw: random.Random) -> tuple[str, str]:
    values = draw.choice(("y: steps", "y: steps, lengths: lengths"))
    return values, "Dense: {units: 2, activation: softmax}"


def _layers(draw: random.Random, *, each_step: bool) -> list[str]:
    count = draw.randint(1, 2)
    found = [f"GaussianNoise: {{stddev: {draw.choice((0.0, 0.1))}}}"] if draw.random() < 0.3 else []
    for number in range(count):
        found.append(_recurrent(draw, sequences=each_step or number + 1 < count))
        if draw.random() < 0.3:
            found.append(
                draw.choice(("Dropout: {rate: 0.3}", "LayerNormalization: {}", "BatchNormalization: {}"))
            )
    return found


def _recurrent(draw: random.Random, *, sequences: bool) -> str:
    kind, rate, recurrent = draw.choice(RECURRENT), draw.choice((0.0, 0.2)), draw.choice((0.0, 0.2))
    rates = f"dropout: {rate}, recurrent_dropout: {recurrent}"
    layer = f"{kind}: {{units: {draw.randint(2, 4)}, {rates}, return_sequences: {str(sequences).lower()}}}"
    return f"Bidirectional: {{layer: {{{layer}}}}}" if draw.random() < 0.3 else layer
