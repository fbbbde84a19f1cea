"""Pairs of job files of one signature, drawn by a seed: what they train on, layers, and how."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

RECURRENT = ("SimpleRNN", "GRU", "LSTM")
OPTIMIZERS = ("Adam", "AdamW", "Nadam", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Ftrl", "Lion", "Adafactor",
              "Muon", "ScheduleFreeAdamW")  # fmt: skip
ARGUMENTS = ("", "", ", clipnorm: 1.0", ", clipvalue: 0.1", ", use_ema: true", ", gradient_accumulation_steps: 2",
             ", weight_decay: 0.01", ", global_clipnorm: 0.5")  # fmt: skip
SCHEDULES = (
    "{ExponentialDecay: {initial_learning_rate: 0.1, decay_steps: 3, decay_rate: 0.5}}",
    "{CosineDecay: {initial_learning_rate: 0.1, decay_steps: 5, warmup_target: 0.2, warmup_steps: 2}}",
    "{PiecewiseConstantDecay: {boundaries: [2, 4], values: [0.1, 0.05, 0.01]}}",
)
BETWEEN = ("Dropout: {rate: 0.3}", "LayerNormalization: {}", "BatchNormalization: {}", "GaussianDropout: {rate: 0.2}",
           "AlphaDropout: {rate: 0.1}", "UnitNormalization: {}", "ActivityRegularization: {l2: 0.01}")  # fmt: skip
ARGUMENTS_OF_CELLS = ("", "", "", ", kernel_regularizer: l2", ", recurrent_initializer: glorot_uniform",
                      ", kernel_constraint: max_norm", ", use_bias: false", ", go_backwards: true")  # fmt: skip
NUMBERS = ("mean_squared_error", "mean_absolute_error", "log_cosh", "{Huber: {delta: 0.5}}")
OF_NUMBERS = ("", "mae", "mae, {RootMeanSquaredError: {}}", "mse, cosine_similarity")
OF_CLASSES = ("", "accuracy", "accuracy, {SparseTopKCategoricalAccuracy: {k: 1}}")
OF_ONE = ("accuracy", "{AUC: {num_thresholds: 20}}", "{Precision: {}}, {Recall: {}}")


@dataclass(frozen=True)
class Pair:
    """`text`: a job file. `other`: what the other one of the pair says otherwise. `resumed`: whether the first of
    them is stopped after its first batch, and goes on from its checkpoint."""

    text: str
    other: dict[str, str]
    resumed: bool


@dataclass(frozen=True)
class Form:
    """What is learned of what. `more`: values that the other job may have, beside those of all forms."""

    data: str
    model: str
    loss: str
    metrics: str
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_split: bool = True
    training: str = ""


def pair(seed: int) -> Pair:
    draw = random.Random(seed)
    form = draw.choice(FORMS)(draw)
    is_stateful = "stateful" in form.model
    has_split = form.is_split and not is_stateful and draw.random() < 0.6
    share = f", split: {{method: random, validation: {draw.choice((0.2, 0.4))}}}" if has_split else ""
    kind, arguments = draw.choice(OPTIMIZERS), draw.choice(ARGUMENTS)
    if kind in ("Ftrl", "Lion", "AdamW") and "decay" in arguments:
        arguments = ""
    rate = draw.choice(SCHEDULES) if draw.random() < 0.25 else str(draw.choice((0.01, 0.1)))
    batch_size = 5 if is_stateful else draw.choice((4, 5, 8, *range(3, 21)))
    epochs, is_shuffled = draw.randint(1, 3), not is_stateful and draw.random() < 0.8
    watch = "val_loss" if has_split else "loss"
    text = f"""
data: {{{form.data}{share}}}
model: {form.model}
training:
  optimizer: {{{kind}: {{learning_rate: {rate}{arguments}}}}}
  epochs: {epochs}
  batch_size: {batch_size}
  shuffle: {str(is_shuffled).lower()}
  seed: {draw.randint(0, 9)}
  deterministic: {str(draw.random() < 0.85).lower()}
  precision: {draw.choice(("float32", "float32", "float32", "mixed_bfloat16", "mixed_float16"))}
  steps_per_execution: {1 if is_stateful else draw.choice((1, 1, 1, 2))}
  loss: {form.loss}
  metrics: [{form.metrics}]
{_watching(draw, watch, is_scheduled="{" in rate)}{form.training}predict: [{{name: train, source: train}}]
"""
    if "precision: mixed" in text:  # check refuses both: Keras computes them in float32 alone
        text = text.replace(", {SparseTopKCategoricalAccuracy: {k: 1}}", "")
        text = text.replace("ActivityRegularization: {l2: 0.01}", "LayerNormalization: {}")
    every: dict[str, tuple[str, ...]] = {
        "training.seed": tuple(map(str, range(10, 99))),
        "training.epochs": tuple(str(one) for one in (1, 2, 3, 4) if one != epochs),
        "training.early_stopping": (f"{{monitor: {watch}, patience: 0, start_from_epoch: 1}}",),
        **form.more,
    }
    if not is_stateful:
        every["training.batch_size"] = tuple(str(one) for one in range(3, 30) if one != batch_size)
        every["training.shuffle"] = (str(not is_shuffled).lower(),)
    if "{" not in rate:
        every["training.optimizer"] = tuple(
            f"{{{kind}: {{learning_rate: {one}{arguments}}}}}"
            for one in (0.02, 0.2 if kind == "SGD" else 0.5)  # a larger one ends in infinity
        )
        every["training.reduce_lr_on_plateau"] = (f"{{monitor: {watch}, patience: 0}}",)
    if has_split:
        every |= {"data.split.validation": ("0.1", "0.3"), "data.split.seed": ("1", "5")}
    other = {key: draw.choice(every[key]) for key in draw.sample(sorted(every), draw.randint(1, 4))}
    return Pair(text, other, resumed=epochs > 1 and draw.random() < 0.15)


def _watching(draw: random.Random, watch: str, *, is_scheduled: bool) -> str:
    found = []
    if draw.random() < 0.25:
        restore = str(draw.random() < 0.5).lower()
        found.append(
            f"  early_stopping: {{monitor: {watch}, patience: 1, restore_best_weights: {restore}}}\n"
        )
    if draw.random() < 0.2:
        found.append(f"  best_weights: {{monitor: {watch}}}\n")
    if draw.random() < 0.2 and not is_scheduled:
        found.append(f"  reduce_lr_on_plateau: {{monitor: {watch}, patience: 0, factor: 0.5}}\n")
    return "".join(found)


OF_ARRAYS = {"data.train": ("u.npz",), "data.scaling.x": ("standard", "robust", "minmax")}


def _regression(draw: random.Random) -> Form:
    weight = ", sample_weight: w" if draw.random() < 0.2 else ""
    head = f"Dense: {{units: 1, kernel_regularizer: {draw.choice(('null', 'l2'))}}}"
    layers = _chain([*_layers(draw, each_step=False), head])
    return Form(f"train: t.npz, y: y{weight}", layers, draw.choice(NUMBERS), draw.choice(OF_NUMBERS),
                {**OF_ARRAYS, "data.scaling.y": ("standard",)})  # fmt: skip


def _classes(draw: random.Random) -> Form:
    head = "Dense: {units: 2, activation: softmax}"
    return Form("train: t.npz, y: c", _chain([*_layers(draw, each_step=False), head]),
                "sparse_categorical_crossentropy", draw.choice(OF_CLASSES),
                {**OF_ARRAYS, "training.class_weight": ("balanced", "{'0': 2.0}")})  # fmt: skip


def _one_of_two(draw: random.Random) -> Form:
    """Weighted from the first, so that other weights need no other step."""
    loss = draw.choice(("binary_crossentropy", "{BinaryCrossentropy: {label_smoothing: 0.1}}", "hinge"))
    head = f"Dense: {{units: 1, activation: {'tanh' if loss == 'hinge' else 'sigmoid'}}}"
    return Form("train: t.npz, y: c", _chain([*_layers(draw, each_step=False), head]), loss, draw.choice(OF_ONE),
                {**OF_ARRAYS, "training.class_weight": ("{'0': 3.0}", "{'1': 0.5}")},
                training="  class_weight: balanced\n")  # fmt: skip


def _each_step(draw: random.Random) -> Form:
    """With padding that counts nowhere, masked or not, or without."""
    lengths = draw.choice(("", ", lengths: lengths", ", lengths: lengths"))
    first = ["Masking: {}"] if lengths and draw.random() < 0.5 else []
    layers = [*first, *_layers(draw, each_step=True), "Dense: {units: 2, activation: softmax}"]
    return Form(f"train: t.npz, y: steps{lengths}", _chain(layers), "sparse_categorical_crossentropy",
                draw.choice(OF_CLASSES),
                {"data.train": ("u.npz",), "training.class_weight": ("{'0': 2.0}",)})  # fmt: skip


def _ids(draw: random.Random) -> Form:
    """Sequences of different lengths, as ids; the padding is skipped."""
    layers = ["Embedding: {input_dim: 7, output_dim: 2, mask_zero: true}", _recurrent(draw, sequences=False),
              "Dense: {units: 2, activation: softmax}"]  # fmt: skip
    return Form("train: t.npz, x: ids, lengths: lengths, y: c", _chain(layers),
                "sparse_categorical_crossentropy", draw.choice(OF_CLASSES), {"data.train": ("u.npz",)})  # fmt: skip


def _convolved(draw: random.Random) -> Form:
    layers = [f"Conv1D: {{filters: 3, kernel_size: 2, padding: {draw.choice(('same', 'causal'))}}}",
              draw.choice(("SpatialDropout1D: {rate: 0.2}", "MaxPooling1D: {}", "BatchNormalization: {}")),
              draw.choice(("Flatten: {}", "GlobalMaxPooling1D: {}", "GRU: {units: 2}")),
              "Dense: {units: 1}"]  # fmt: skip
    return Form(
        "train: t.npz, y: y", _chain(layers), draw.choice(NUMBERS), draw.choice(OF_NUMBERS), OF_ARRAYS
    )


def _stateful(draw: random.Random) -> Form:
    cell = f"{draw.choice(RECURRENT)}: {{units: 3, stateful: true, name: first, dropout: {draw.choice((0.0, 0.2))}}}"
    states = "[{name: train, source: train, states: [first]}]"
    return Form("train: t.npz, y: y", _chain([cell, "Dense: {units: 1}"]), draw.choice(NUMBERS), "mae",
                {"predict": (states,), "data.scaling.x": ("standard",)})  # fmt: skip


def _several(draw: random.Random) -> Form:
    """Two inputs in some, and two outputs in most, each with a loss."""
    has_facts = draw.random() < 0.5
    given, merge = ("{x: x, facts: facts}", "reads, facts") if has_facts else ("{x: x}", "reads")
    if draw.random() < 0.2:
        model = f"branches: {{reads: {{inputs: x, layers: [{_recurrent(draw, sequences=False)}]}}, " \
                f"a: {{inputs: [{merge}], layers: [Dense: {{units: 1}}]}}}}"  # fmt: skip
        return Form(f"train: t.npz, x: {given}, y: y", f"{{{model}}}", draw.choice(NUMBERS), "mae", OF_ARRAYS)
    model = (
        f"branches: {{reads: {{inputs: x, layers: [{_recurrent(draw, sequences=False)}]}}, "
        f"a: {{inputs: [{merge}], layers: [Dense: {{units: 1}}]}}, "
        f"b: {{inputs: [{merge}], layers: [Dropout: {{rate: 0.2}}, Dense: {{units: 1, activation: sigmoid}}]}}}}, "
        "outputs: [a, b]"
    )
    losses = f"{{a: {draw.choice(NUMBERS)}, b: binary_crossentropy}}"
    return Form(f"train: t.npz, x: {given}, y: {{a: y, b: c}}", f"{{{model}}}", losses, draw.choice(("", "mae")),
                {"data.train": ("u.npz",), "data.scaling.x": ("standard", "robust")})  # fmt: skip


def _table(draw: random.Random) -> Form:
    horizon = draw.choice((0, 1, 2))
    units = max(horizon, 1)
    layers = [_recurrent(draw, sequences=False), f"Dense: {{units: {units}}}"]
    data = f"train: t.csv, features: [a, b], target: y, window: {{length: 3, horizon: {horizon}}}"
    more = {"data.scaling.y": ("standard", "robust"), "data.train": ("u.csv", "[t.csv, u.csv]"),
            "data.season": ("2",)}  # fmt: skip
    return Form(data, _chain(layers), draw.choice(NUMBERS), "mae", more)


FORMS: tuple[Callable[[random.Random], Form], ...] = (
    _regression, _classes, _one_of_two, _each_step, _ids, _convolved, _stateful, _several, _several, _table
)  # fmt: skip


def _chain(layers: list[str]) -> str:
    return f"{{layers: [{', '.join(layers)}]}}"


def _layers(draw: random.Random, *, each_step: bool) -> list[str]:
    count = 2 if draw.random() < 0.25 else 1
    found = [f"GaussianNoise: {{stddev: {draw.choice((0.0, 0.1))}}}"] if draw.random() < 0.2 else []
    for number in range(count):
        found.append(_recurrent(draw, sequences=each_step or number + 1 < count))
        if draw.random() < 0.4:
            found.append(draw.choice(BETWEEN))
    return found


def _recurrent(draw: random.Random, *, sequences: bool) -> str:
    kind, rate, recurrent = draw.choice(RECURRENT), draw.choice((0.0, 0.2)), draw.choice((0.0, 0.0, 0.2))
    more = draw.choice(ARGUMENTS_OF_CELLS)
    rates = f"dropout: {rate}, recurrent_dropout: {recurrent}{more}"
    layer = f"{kind}: {{units: {draw.randint(2, 4)}, {rates}, return_sequences: {str(sequences).lower()}}}"
    return f"Bidirectional: {{layer: {{{layer}}}}}" if draw.random() < 0.2 and "back" not in more else layer
