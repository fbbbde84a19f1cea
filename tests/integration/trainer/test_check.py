"""`check` of jobs of every kind, by a real launcher: what it says, and what it refuses in a training's own words."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gpujobs.supervise import inspection

from .conftest import Launched
from .jobs import run, spec_of

RANDOM = np.random.default_rng(0)
X = RANDOM.random((12, 6, 2), np.float32)
NUMBERS = {"x": X, "y": np.zeros(12, np.float32)}
CLASSES = {"x": X, "y": np.arange(12) % 3}
REGRESSION = "training: {loss: mse, batch_size: 5}\n"
CLASSIFICATION = "training: {loss: sparse_categorical_crossentropy, batch_size: 5}\n"


def ask(launcher: Launched, text: str, files: Mapping[str, Any]) -> dict[str, Any]:
    return launcher.check(spec_of(launcher, text, files))


def report(launcher: Launched, text: str, files: Mapping[str, Any]) -> dict[str, Any]:
    answer = ask(launcher, text, files)
    assert "result" in answer, answer
    found: dict[str, Any] = answer["result"]
    return found


def job(*layers: str, data: str = "{train: d.npz}", training: str = REGRESSION) -> str:
    """A layer as Keras writes it, but for the braces: `LSTM: {units: 4}`."""
    return f"data: {data}\nmodel: {{layers: [{', '.join(layers)}]}}\n{training}"


def part(found: Mapping[str, Any], name: str) -> int:
    return next(int(row["bytes"]) for row in found["memory"] if row["part"] == name)


# Layers


def test_a_classification_from_top_to_bottom(launcher: Launched) -> None:
    text = job(
        "LSTM: {units: 8, name: first}",
        "Dense: {units: 3, activation: softmax}",
        data="{train: d.npz, classes: [idle, works, stuck], split: {method: random, validation: 0.25}}",
        training=CLASSIFICATION,
    )
    found = report(launcher, text, {"d.npz": CLASSES})
    first, last = found["layers"]
    assert first == {
        "name": "first", "class": "LSTM", "output_shape": [None, 8], "parameters": 352,
        "formula": "4 × 8 × (2 + 8 + 1) = 352",
    }  # fmt: skip
    assert (last["parameters"], last["formula"]) == (27, "(8 + 1) × 3 = 27")
    assert found["parameters"] == found["trainable_parameters"] == 379
    assert found["memory_estimate_bytes"] == sum(row["bytes"] for row in found["memory"])
    assert part(found, "weights") == part(found, "gradients") == 4 * 379
    assert part(found, "batch") == 5 * 6 * 2 * 4 + 5 * 8
    assert found["data"]["samples"] == {"train": 9, "validation": 3}
    assert {row["class"] for row in found["data"]["classes"]} == {"idle", "works", "stuck"}
    assert sum(row["samples"] for row in found["data"]["classes"]) == 9
    assert found["steps_per_epoch"] == 2


def test_several_inputs_and_outputs(launcher: Launched) -> None:
    text = """
data: {train: d.npz, x: {course: a, facts: b}, y: {next: c, alarm: d}}
model:
  branches:
    reads: {inputs: course, layers: [GRU: {units: 4}]}
    next: {inputs: [reads, facts], layers: [Dense: {units: 1}]}
    alarm: {inputs: [reads, facts], layers: [Dense: {units: 1, activation: sigmoid}]}
  outputs: [next, alarm]
training: {loss: {next: mse, alarm: binary_crossentropy}}
"""
    files = {"a": X, "b": X[:, 0], "c": X[:, 0, 0], "d": np.arange(12) % 2}
    found = report(launcher, text, {"d.npz": files})
    assert found["layers"][0]["formula"] == "3 × 4 × (2 + 4 + 2) = 96"
    assert {row["array"]: row["shape"] for row in found["data"]["arrays"]} == {
        "a": [12, 6, 2], "b": [12, 2], "c": [12], "d": [12],
    }  # fmt: skip
    assert {row["output"] for row in found["data"]["classes"]} == {"alarm"}


def test_windows_of_a_table_with_gaps(launcher: Launched) -> None:
    hours = np.arange(40)
    load = np.sin(hours / 3)
    load[17] = np.nan
    table = pa.table({"hour": hours, "load": pa.array(load, from_pandas=True), "warm": load * 0 + 1})
    data = (
        "{train: d.parquet, time: hour, target: load, features: [load], window: {length: 5}, missing: drop}"
    )
    found = report(launcher, job("LSTM: {units: 3}", "Dense: {units: 1}", data=data), {"d.parquet": table})
    of = found["data"]
    assert (of["series"], of["gaps"], of["task"]) == (1, 1, "forecasting")
    assert of["samples"] == {"train": 12 + 17}
    assert of["arrays"] == [
        {"array": "1 columns", "shape": [40, 1], "dtype": "float32", "nan": 1, "infinite": 0, "looked_at": "all"}
    ]  # fmt: skip
    assert found["notices"] == [
        "d.parquet: 40 rows in 1 series, 1 apart, make 29 windows; left out: 1 row with missing values (row 18: 17), "
        "6 windows that would have missing values."
    ]
    assert [(one["what"], one["count"]) for one in found["left_out"]] == [("rows", 1), ("windows", 6)]
    assert of["steps"] == ["1"] and of["absent_rows"] == of["doubled_times"] == 0


def test_sequences_of_different_length(launcher: Launched) -> None:
    lengths = np.array([3, 9, 4])
    files = {"x": np.arange(1, 17), "lengths": lengths, "y": np.array([0, 1, 0])}
    layers = ("Embedding: {input_dim: 20, output_dim: 4, mask_zero: true}", "LSTM: {units: 6}")
    text = job(
        *layers, "Dense: {units: 1, activation: sigmoid}", data="{train: d.npz, lengths: lengths}",
        training="training: {loss: binary_crossentropy}\n",
    )  # fmt: skip
    found = report(launcher, text, {"d.npz": files})
    assert found["data"]["lengths"] == {"least": 3, "median": 4.0, "most": 9}
    assert found["layers"][0]["formula"] == "20 × 4 = 80"
    assert found["layers"][0]["output_shape"] == [None, None, 4]
    assert (found["cudnn"][0]["eligible"], found["cudnn"][0]["why"]) == (
        True,
        "",
    )  # the padding is on the right
    # Memory is that of the longest: 3 samples of 9 steps, at least the 7 tensors of 6 units of each.
    assert part(found, "activations") + part(found, "step_gradients") > 3 * 9 * 7 * 6 * 4


def test_the_classes_of_steps_are_those_of_the_training_part(launcher: Launched) -> None:
    layers = (
        "Masking: {}",
        "LSTM: {units: 2, return_sequences: true}",
        "Dense: {units: 3, activation: softmax}",
    )
    training = "training: {loss: sparse_categorical_crossentropy}\n"
    text = job(*layers, data="{train: d.npz, lengths: n, missing: drop, split: {method: chronological, test: 0.34}}",
               training="task: labelling\n" + training)  # fmt: skip
    y = np.array([0, 1, 2, 2, 1, 1, 1, np.nan])
    files = {"x": np.arange(1.0, 9.0).reshape(8, 1), "n": np.array([2, 2, 2, 2]), "y": y}
    found = report(launcher, text, {"d.npz": files})["data"]["classes"]
    assert {row["class"]: row["samples"] for row in found} == {"0": 1, "1": 1, "2": 2}
    # As many steps as classes are no one-hot rows.
    text = job(*layers, training="task: labelling\n" + training)
    files = {"x": np.ones((4, 3, 1)), "y": np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 2]])}
    found = report(launcher, text, {"d.npz": files})["data"]["classes"]
    assert {row["class"]: row["samples"] for row in found} == {"0": 8, "1": 3, "2": 1}


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        (("ConvLSTM1D: {filters: 2, kernel_size: 3}", "Flatten", "Dense: {units: 1}"), (12, 6, 8, 2)),
        (("TimeDistributed: {layer: {Dense: {units: 4}}}", "LSTM: {units: 2}", "Dense: {units: 1}"), (12, 6, 2)),
        (("Bidirectional: {layer: {GRU: {units: 4}}}", "Dense: {units: 1}"), (12, 6, 2)),
        (("LSTM: {units: 4, unroll: true}", "BatchNormalization", "Dense: {units: 1}"), (12, 6, 2)),
    ],
)  # fmt: skip
def test_layers_of_every_kind(launcher: Launched, layers: tuple[str, ...], shape: tuple[int, ...]) -> None:
    files = {"x": RANDOM.random(shape, np.float32), "y": NUMBERS["y"]}
    found = report(launcher, job(*layers), {"d.npz": files})
    assert all(row["formula"] for row in found["layers"] if row["parameters"])
    assert part(found, "activations") > 0


STEPS = {"x": RANDOM.random((12, 6, 2), np.float32), "y": RANDOM.random((12, 6, 1), np.float32)}


@pytest.mark.parametrize("last", ["TimeDistributed: {layer: {Dense: {units: 1}}}", "BatchNormalization: {}"])
def test_a_layer_that_takes_a_mask_is_tried_with_it(launcher: Launched, last: str) -> None:
    layers = ["Masking: {}", "LSTM: {units: 1, return_sequences: true}", last]
    assert report(launcher, job(*layers), {"d.npz": STEPS})["layers"][2]["output_shape"] == [None, 6, 1]
    branches = f"model: {{branches: {{y: {{inputs: x, layers: [{', '.join(layers)}]}}}}}}"
    text = job(*layers).replace(f"model: {{layers: [{', '.join(layers)}]}}", branches)
    assert "branches" in text
    assert report(launcher, text, {"d.npz": STEPS})["layers"][2]["output_shape"] == [None, 6, 1]


def test_a_layer_that_cannot_take_the_mask_is_named(launcher: Launched) -> None:
    """Keras's Softmax takes one of its own input's shape, and says so in the first step."""
    layers = ["Masking: {}", "LSTM: {units: 2, return_sequences: true}", "Softmax: {}", "Dense: {units: 1}"]
    said = ask(launcher, job(*layers), {"d.npz": STEPS})["error"]["message"]
    assert said.startswith("model.layers[2].Softmax: ") and "`mask` must be broadcastable" in said
    assert (
        "`mask` must be broadcastable"
        in run(launcher, job(*layers), {"d.npz": STEPS}, "FAILED").record["message"]
    )


def test_a_stateful_model(launcher: Launched) -> None:
    training = "training: {loss: mse, batch_size: 4, shuffle: false}\n"
    text = job("LSTM: {units: 4, stateful: true}", "Dense: {units: 1}", training=training)
    found = report(launcher, text, {"d.npz": NUMBERS})
    assert found["steps_per_epoch"] == 3


def test_a_large_model_is_not_made(launcher: Launched) -> None:
    """A matrix of 4096 x 16384 made orthogonal would take minutes."""
    found = report(launcher, job("LSTM: {units: 4096}", "Dense: {units: 1}"), {"d.npz": NUMBERS})
    assert found["layers"][0]["formula"] == "4 × 4096 × (2 + 4096 + 1) = 67,158,016"


# cuDNN


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        ("LSTM: {units: 2, dropout: 0.2}", ""),
        ("LSTM: {units: 2, activation: relu}", "activation is relu"),
        ("LSTM: {units: 2, recurrent_activation: hard_sigmoid}", "recurrent_activation is hard_sigmoid"),
        (
            "LSTM: {units: 2, recurrent_dropout: 0.2, unroll: true}",
            "recurrent_dropout is 0.2; unroll is true",
        ),
        ("LSTM: {units: 2, use_bias: false}", "use_bias is false"),
        ("LSTM: {units: 2, use_cudnn: false}", "use_cudnn is false"),
        ("GRU: {units: 2}", ""),
        ("GRU: {units: 2, reset_after: false}", "reset_after is false"),
        ("SimpleRNN: {units: 2}", "Keras has no fused kernel for SimpleRNN"),
        ("Bidirectional: {layer: {LSTM: {units: 2, use_bias: false}}}", "use_bias is false"),
    ],
)
def test_what_prevents_the_fused_kernel(launcher: Launched, layer: str, why: str) -> None:
    found = report(launcher, job(layer, "Dense: {units: 1}"), {"d.npz": NUMBERS})
    (verdict,) = found["cudnn"]
    assert (verdict["eligible"], verdict["why"]) == (not why, why)
    assert bool(verdict["cost"]) == bool(why)


def test_jax_fuses_no_layer_with_a_mask(launcher: Launched) -> None:
    text = job("Masking: {mask_value: -9}", "LSTM: {units: 2}", "Dense: {units: 1}")
    assert report(launcher, text, {"d.npz": NUMBERS})["cudnn"][0]["eligible"] is True
    text = text.replace("loss: mse", "loss: mse, backend: jax")
    assert "mask" in report(launcher, text, {"d.npz": NUMBERS})["cudnn"][0]["why"]


def test_masks_that_are_not_right_padded(launcher: Launched) -> None:
    x = X.copy()
    x[0, 4:] = x[1, 2] = x[2, :3] = x[3] = -9  # on the right, in the middle, on the left, and nothing else
    text = job("Masking: {mask_value: -9}", "LSTM: {units: 2}", "Dense: {units: 1}")
    (verdict,) = report(launcher, text, {"d.npz": {**NUMBERS, "x": x}})["cudnn"]
    assert verdict["why"] == "fails: the masks of 3 samples are not right-padded; set use_cudnn: false"
    layer = "LSTM: {units: 2, use_cudnn: false}"
    (verdict,) = report(launcher, text.replace("LSTM: {units: 2}", layer), {"d.npz": {**NUMBERS, "x": x}})[
        "cudnn"
    ]
    assert verdict["why"] == "use_cudnn is false"


# Data


def test_a_large_array_is_looked_at_in_parts(launcher: Launched) -> None:
    x = np.zeros((5000, 50, 40), np.float32)
    x[0, 0, 0] = 1.0
    found = report(
        launcher, job("LSTM: {units: 2}", "Dense: {units: 1}"), {"d.npz": {"x": x, "y": x[:, 0, 0]}}
    )
    rows = {row["array"]: row["looked_at"] for row in found["data"]["arrays"]}
    assert rows == {"x": "32 MiB of 38, evenly spread", "y": "all"}
    x[-1, -1, -1] = np.nan  # the first piece and the last are always among those looked at
    answer = ask(launcher, job("LSTM: {units: 2}", "Dense: {units: 1}"), {"d.npz": {"x": x, "y": x[:, 0, 0]}})
    assert "d.npz: array x: holds 1 NaN and 0 infinite values" in answer["error"]["message"]


LABELS = job("LSTM: {units: 2}", "Dense: {units: 3, activation: softmax}", training=CLASSIFICATION)
WRONG = {
    "rank": (job("LSTM: {units: 2}", "Dense: {units: 1}"), {"x": np.zeros(12), "y": np.zeros(12)}),
    "lengths of x and y": (job("LSTM: {units: 2}", "Dense: {units: 1}"), {"x": X, "y": np.zeros(11)}),
    "labels beyond the classes": (LABELS, {"x": X, "y": np.arange(12) % 5}),
    "missing": (job("LSTM: {units: 2}", "Dense: {units: 1}"), {"x": np.where(X < 0.1, np.nan, X), "y": np.zeros(12)}),
    "one class": (LABELS, {"x": X, "y": np.zeros(12, np.int64)}),
    "units": (job("LSTM: {units: 2}", "Dense: {units: 4}"), {"x": X, "y": X[:, 0]}),
    "a layer by Keras's name for it": (job("RepeatVector: {n: 3}", "Flatten: {}"), {"x": X, "y": np.zeros(12)}),
    "a layer": (job("Conv1D: {filters: 2, kernel_size: 9}", "GRU: {units: 2}"), {"x": X, "y": np.zeros(12)}),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_it_refuses_what_a_training_refuses_in_the_same_words(launcher: Launched, what: str) -> None:
    text, arrays = WRONG[what]
    said = ask(launcher, text, {"d.npz": arrays})["error"]["message"]
    assert said == run(launcher, text, {"d.npz": arrays}, "FAILED").record["message"]


def test_an_answer_that_no_socket_holds_at_once_arrives_whole(launcher: Launched) -> None:
    spec = spec_of(launcher, job("LSTM: {units: 2}", "Dense: {units: 1}"), {"d.npz": NUMBERS})
    name = "d" * 1_000_000
    spec["data"][name] = {"sha256": "", "bytes": 1, "path": "/none", "in_place": True}
    said = launcher.check(spec)["error"]["message"]
    assert said == f"{name}: cannot be read: No such file or directory"


def test_a_file_to_predict_for_is_looked_at_too(launcher: Launched) -> None:
    text = job("LSTM: {units: 2}", "Dense: {units: 1}") + "predict: [{path: p.npz}]\n"
    answer = ask(launcher, text, {"d.npz": NUMBERS, "p.npz": {"x": X[..., :1]}})
    assert "p.npz: array x: has shape (6, 1) for each sample" in answer["error"]["message"]


# Memory


def test_what_the_optimizer_keeps(launcher: Launched) -> None:
    sizes = {
        "SGD: {}": 0,
        "SGD: {momentum: 0.9}": 1,
        "RMSprop: {}": 1,
        "Adam: {}": 2,
        "Adam: {amsgrad: true}": 3,
    }
    for optimizer, slots in sizes.items():
        training = f"training: {{loss: mse, optimizer: {{{optimizer}}}}}\n"
        text = job("LSTM: {units: 4}", "Dense: {units: 1}", training=training)
        found = report(launcher, text, {"d.npz": NUMBERS})
        assert part(found, "optimizer") == slots * part(found, "gradients"), optimizer


@pytest.mark.parametrize("said", [b"", b"{", b"."])
def test_a_check_that_does_not_end_is_given_up(said: bytes) -> None:
    """Whether it says nothing, half of an answer, or a little again and again."""
    reader, writer = os.pipe()
    over = threading.Event()

    def talk() -> None:
        while not over.wait(0.05):
            os.write(writer, said * (said == b"."))

    talker = threading.Thread(target=talk)
    os.write(writer, said)
    talker.start()
    began = time.monotonic()
    try:
        assert inspection.read_answer(reader, 0.5) is None
        assert time.monotonic() - began < 5
    finally:
        over.set()
        talker.join()
        os.close(writer)
        os.close(reader)


def test_an_answer_of_a_check_that_is_too_long_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inspection, "ANSWER_MAX_BYTES", 100)
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(b"1" * 1_000_000)
        file.seek(0)
        inspection.read_answer(file.fileno())
        assert file.tell() <= 1 << 17


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "layer", ["Conv1D: {filters: 3, kernel_size: 2}", "PReLU: {}", "GaussianNoise: {stddev: 0.1}"]
)
@pytest.mark.parametrize("first", ["", "Dense: {units: 2}, "])
def test_halves_are_those_that_keras_makes_of_what_a_layer_reads(
    launcher: Launched, precision: str, layer: str, first: str
) -> None:
    training = f"training: {{loss: mse, epochs: 1, precision: {precision}}}\n"
    text = job(first + layer, "Flatten", "Dense: {units: 1}", training=training)
    assert report(launcher, text, {"d.npz": NUMBERS})["layers"][-1]["output_shape"] == [None, 1]


# What would be refused in the first step


PER_CLASS = "training: {loss: categorical_crossentropy, metrics: [{%s}], batch_size: 5}\n"


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("Softmax: {axis: 7}", "Softmax.axis: is 7, and what the layer reads has the shape (any, 6, 2)"),
        ("BatchNormalization: {axis: -3}", "BatchNormalization.axis: is -3, and what the layer reads"),
        ("PReLU: {shared_axes: [1, 3]}", "PReLU.shared_axes: is 3, and what the layer reads"),
        ("Normalization: {mean: [1, 2, 3], variance: [1, 2, 3]}", "Normalization: Incompatible shapes"),
        (
            "Dense: {units: 2, kernel_constraint: {MaxNorm: {axis: 7}}}",
            "Dense: Invalid reduction dimension 7",
        ),
        ("Dropout: {rate: 0.5, noise_shape: [1, 2, 3, 4]}", "Dropout: "),
        ("TimeDistributed: {layer: {Softmax: {axis: 7}}}", "TimeDistributed: "),
        (
            "Conv1D: {filters: 2, kernel_size: 2, kernel_regularizer: OrthogonalRegularizer}",
            "Conv1D: Inputs to OrthogonalRegularizer must have rank 2",
        ),
    ],
)
def test_what_a_layer_cannot_do_with_its_input_is_said_by_check(
    launcher: Launched, layer: str, expected: str
) -> None:
    said = ask(launcher, job(layer, "Flatten: {}", "Dense: {units: 1}"), {"d.npz": NUMBERS})["error"][
        "message"
    ]
    assert said.startswith(f"model.layers[0].{expected}"), said
    assert "{{" not in said and "[Op:" not in said


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        (PER_CLASS % "Precision: {class_id: 3}", "training.metrics[0].Precision.class_id: is 3, and the model has 3"),
        (PER_CLASS % "AUC: {multi_label: true, num_labels: 7}", "training.metrics[0].AUC: Incompatible shapes"),
        ("training: {loss: {CategoricalCrossentropy: {axis: 7}}}\n", "training.loss.CategoricalCrossentropy: Invalid"),
    ],
)  # fmt: skip
def test_and_what_a_loss_or_a_metric_cannot_do(launcher: Launched, training: str, expected: str) -> None:
    text = job("Flatten: {}", "Dense: {units: 3, activation: softmax}", training=training)
    said = ask(launcher, text, {"d.npz": CLASSES})["error"]["message"]
    assert said.startswith(expected), said


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    ("layer", "metric", "place"),
    [
        ("Flatten: {}", "{TopKCategoricalAccuracy: {k: 1}}", "training.metrics[0].TopKCategoricalAccuracy"),
        ("Flatten: {}", "top_k_categorical_accuracy", "training.metrics[0]"),
        ("ActivityRegularization: {l2: 0.1}", "accuracy", "model.layers[0].ActivityRegularization"),
        ("Dense: {units: 2, activity_regularizer: l2}", "accuracy", "model.layers[0].Dense"),
    ],
)
def test_what_keras_can_in_float32_alone_is_no_training_in_halves(
    launcher: Launched, half: str, layer: str, metric: str, place: str
) -> None:
    training = "training: {loss: categorical_crossentropy, metrics: [%s], batch_size: 5, precision: %s}\n"
    layers = [layer, "GlobalAveragePooling1D: {}"] if layer != "Flatten: {}" else [layer]
    layers.append("Dense: {units: 3, activation: softmax}")
    text = job(*layers, training=training % (metric, f"mixed_{half}"))
    said = ask(launcher, text, {"d.npz": CLASSES})["error"]["message"]
    assert said.startswith(f"{place}: Keras cannot compute it in {half} ("), said
    assert "expected training.precision: float32, or " in said
    report(launcher, job(*layers, training=training % (metric, "float32")), {"d.npz": CLASSES})


def test_other_metrics_are_computed_in_halves(launcher: Launched) -> None:
    metrics = "accuracy, mae, {AUC: {}}, {Precision: {class_id: 1}}, {F1Score: {}}, cosine_similarity"
    training = (
        f"loss: categorical_crossentropy, metrics: [{metrics}], batch_size: 5, precision: mixed_bfloat16"
    )
    text = job(
        "Flatten: {}", "Dense: {units: 3, activation: softmax}", training=f"training: {{{training}}}\n"
    )
    assert report(launcher, text, {"d.npz": CLASSES})["parameters"] == 39


def test_classes_that_there_are_are_no_error(launcher: Launched) -> None:
    text = job(
        "Flatten: {}", "Dense: {units: 3, activation: softmax}", training=PER_CLASS % "Recall: {class_id: 2}"
    )
    assert report(launcher, text, {"d.npz": CLASSES})["parameters"] == 39


def test_what_a_layer_of_a_branch_cannot_do_is_named_by_its_branch(launcher: Launched) -> None:
    model = (
        "model: {branches: {a: {inputs: [x], layers: [Flatten: {}, Dense: {units: 2, "
        "kernel_constraint: {MaxNorm: {axis: 5}}}]}, out: {inputs: [a], layers: [Dense: {units: 1}]}}}\n"
    )
    said = ask(launcher, f"data: {{train: d.npz}}\n{model}{REGRESSION}", {"d.npz": NUMBERS})["error"][
        "message"
    ]
    assert said.startswith("model.branches.a.layers[1].Dense: Invalid reduction dimension 5"), said
