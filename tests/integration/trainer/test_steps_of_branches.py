"""Which steps of which output count, where inputs, masks and outputs are several: against `evaluate` of the saved model
by Keras alone, whose layers hand on their own masks. One batch has all samples, so that Keras's figures are over steps
too, and the weights stay what they were."""

from __future__ import annotations

import csv
from typing import Any

import keras
import numpy as np
import pytest

from gpujobs.jobfile.keras_names import catalogue
from gpujobs.jobfile.layer_names import RECURRENT
from gpujobs.jobfile.ways import CHANGING_STEPS, ENDING_STEPS, steps_of

from .conftest import Launched
from .jobs import Ran, run

COUNT, STEPS = 10, 5
REST = """
training: {loss: %s, optimizer: {SGD: {learning_rate: 0.0}}, epochs: 1, batch_size: 10, shuffle: false}
predict: [{name: train, source: train}%s]
"""
EACH = "Dense: {units: 3, activation: tanh}"
ONE = "Dense: {units: 1}"


def drawn(seed: int, *, padded: bool, steps: int = STEPS) -> Any:
    """float32, shape (10, 5, 2); `padded`: with zeros at the end of each but the first."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(COUNT, steps, 2)).astype(np.float32)
    lengths = np.array([steps, *random.integers(1, steps, COUNT - 1)])
    x[(np.arange(steps) >= lengths[:, None]) & padded] = 0
    return x


def numbers(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=(COUNT, *shape)).astype(np.float32)


A, B, WHOLE = drawn(1, padded=True), drawn(2, padded=True), drawn(3, padded=False)
Y, Z, WEIGHT = numbers(4, STEPS, 1), numbers(5, STEPS, 1), np.random.default_rng(6).random(COUNT)
FILES = {"t.npz": {"a": A, "b": B, "whole": WHOLE, "y": Y, "z": Z, "w": WEIGHT}}
TWO = """
data: {train: t.npz, x: {a: a, b: %s}, y: {p: y, q: z}}
model:
  branches:
    p: {inputs: a, layers: [%s]}
    q: {inputs: %s, layers: [%s]}
  outputs: [p, q]
"""
MERGED = """
data: {train: t.npz, x: {a: a, b: %s}}
model:
  branches:
    p: {inputs: a, layers: [Masking: {}, %s]}
    q: {inputs: b, layers: [%s]}
    out: {inputs: [p, q], merge: %s, layers: [Dense: {units: 1}]}
"""
ALONE = """
data: {train: t.npz, x: a}
model: {layers: [%s]}
"""
MASKED = f"Masking: {{}}, {EACH}, {ONE}"
PLAIN = f"{EACH}, {ONE}"


def by_keras(ran: Ran, x: Any, y: Any, loss: Any, weight: Any = None) -> dict[str, float]:
    model = ran.model()
    model.compile(loss=loss)
    found: dict[str, float] = model.evaluate(
        x, y, batch_size=COUNT, sample_weight=weight, verbose=0, return_dict=True
    )
    return found


def check(ran: Ran, expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert ran.history[name][0] == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize(
    ("b", "p", "of_q", "q"),
    [
        ("b", MASKED, "b", MASKED),
        ("whole", MASKED, "b", PLAIN),
        ("whole", PLAIN, "b", PLAIN),
        ("b", MASKED, "a", PLAIN),
    ],
    ids=["each its own mask", "one masked", "none", "one input with and without"],
)
def test_of_two_outputs_each_counts_the_steps_that_its_own_ways_leave(
    launcher: Launched, b: str, p: str, of_q: str, q: str
) -> None:
    text = TWO % (b, p, of_q, q) + REST % ("{p: mse, q: mae}", "")
    ran = run(launcher, text, FILES)
    x = {"a": A, "b": FILES["t.npz"][b]}
    check(ran, by_keras(ran, x, {"p": Y, "q": Z}, {"p": "mse", "q": "mae"}))


@pytest.mark.parametrize(("b", "q"), [("b", f"Masking: {{}}, {EACH}"), ("whole", EACH)], ids=["both", "one"])
@pytest.mark.parametrize("merge", ["Concatenate", "Add"])
def test_where_ways_meet_a_step_counts_that_is_there_in_one(
    launcher: Launched, b: str, q: str, merge: str
) -> None:
    ran = run(launcher, MERGED % (b, EACH, q, merge) + REST % ("mse", ""), FILES)
    check(ran, by_keras(ran, {"a": A, "b": FILES["t.npz"][b]}, Y, "mse"))


def test_a_masked_sequence_that_is_summed_up_first_masks_no_step(launcher: Launched) -> None:
    summed = f"GRU: {{units: 3}}, RepeatVector: {{n: {STEPS}}}"
    ran = run(launcher, MERGED % ("whole", summed, EACH, "Concatenate") + REST % ("mse", ""), FILES)
    check(ran, by_keras(ran, {"a": A, "b": WHOLE}, Y, "mse"))


@pytest.mark.parametrize(
    "first",
    [
        "Dense: {units: 3, activation: relu}",
        "Conv1D: {filters: 3, kernel_size: 3, padding: same, activation: relu}",
        "BatchNormalization: {}",
        "Identity: {}",
        "ActivityRegularization: {l2: 0.0}",
    ],
)
def test_a_mask_is_the_inputs_where_nothing_has_changed_its_values(launcher: Launched, first: str) -> None:
    ran = run(launcher, ALONE % f"{first}, Masking: {{}}, {PLAIN}" + REST % ("mse", ""), FILES)
    if "BatchNormalization" in first:  # in training it takes the mean of the batch
        model = ran.model()
        there = (model.layers[0](A, training=True) != 0).numpy().any(axis=-1)
        assert there.all()
        expected = {"loss": float(((model(A, training=True) - Y) ** 2).numpy().mean())}
    else:
        expected = by_keras(ran, A, Y, "mse")
    check(ran, expected)


def test_that_a_learned_mask_counts_beside_other_steps_that_do_not_is_said(launcher: Launched) -> None:
    text = TWO % ("b", MASKED, "b", "Dense: {units: 3, activation: relu}, Masking: {}, Dense: {units: 1}")
    ran = run(launcher, text + REST % ("{p: mse, q: mse}", ""), FILES)
    assert "a Masking behind layers that change values masks steps by what they have learned" in ran.log
    error = ran.model()({"a": A, "b": B})["q"].numpy() - Z
    check(ran, {"q_loss": (error**2).mean()})


def test_labels_of_steps_need_no_task(launcher: Launched) -> None:
    """The last step of each is padding, of which nothing is counted."""
    y = np.random.default_rng(3).integers(0, 2, (COUNT, STEPS))
    given = {"a": WHOLE, "y": y, "n": np.full(COUNT, STEPS - 1)}
    given["n"][0] = STEPS
    there = np.arange(STEPS) < given["n"][:, None]
    text = ALONE.replace("x: a", "x: a, lengths: n") % f"{EACH}, Dense: {{units: 2, activation: softmax}}"
    ran = run(launcher, text + REST % ("sparse_categorical_crossentropy", ""), {"t.npz": given})
    p = ran.model()(WHOLE).numpy()
    expected = -np.log(np.take_along_axis(p, y[..., None], -1))[there].mean()
    assert ran.history["loss"][0] == pytest.approx(expected, rel=1e-5)
    evaluated = ran.metrics["evaluation"]
    assert evaluated["model"]["accuracy"] == pytest.approx((p.argmax(axis=-1) == y)[there].mean())
    assert evaluated["counted"] == there.sum() and ran.metrics["task"] == "labelling"


@pytest.mark.parametrize("padding", ["rows of zeros", "-1"])
@pytest.mark.parametrize("of", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_labels_of_masked_steps_may_be_anything(launcher: Launched, of: str, padding: str) -> None:
    """One-hot rows as keras.utils.pad_sequences pads them; numbers that are no class."""
    there, y = A.any(axis=-1), np.random.default_rng(4).integers(0, 3, (COUNT, STEPS))
    labels = np.where(there, y, -1) if padding == "-1" else np.eye(3)[y] * there[..., None]
    given = {"a": A, "y": labels}
    text = "task: labelling" + ALONE % f"Masking: {{}}, {EACH}, Dense: {{units: 3, activation: softmax}}"
    ran = run(launcher, text + REST % (of, ""), {"t.npz": given})
    p = ran.model()(A).numpy()
    expected = -np.log(np.take_along_axis(p, y[..., None], -1))[there].mean()
    assert ran.history["loss"][0] == pytest.approx(expected, rel=1e-5)
    evaluated = ran.metrics["evaluation"]
    assert evaluated["model"]["accuracy"] == pytest.approx((p.argmax(axis=-1) == y)[there].mean())
    most = np.bincount(y[there]).argmax()
    assert evaluated["baselines"]["majority class"]["accuracy"] == pytest.approx((y[there] == most).mean())


LATER = """
data: {train: t.npz, x: {a: a}}
model:
  branches:
    same: {inputs: a, layers: [Identity: {}]}
    out: {inputs: same, layers: [%s]}
"""


@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_steps_that_were_shifted_are_not_those_of_the_mask(launcher: Launched) -> None:
    moved = "Cropping1D: {cropping: [2, 0]}, ZeroPadding1D: {padding: [0, 2]}"
    ran = run(launcher, ALONE % f"Masking: {{}}, {EACH}, {moved}, {ONE}" + REST % ("mse", ""), FILES)
    check(ran, by_keras(ran, A, Y, "mse"))


def test_a_mask_in_a_later_branch_is_the_inputs_too(launcher: Launched) -> None:
    ran = run(launcher, LATER % MASKED + REST % ("mse", ""), FILES)
    check(ran, by_keras(ran, A, Y, "mse"))
    assert (ran.predictions()["counted"] == A.any(axis=-1)).all()


FACTS = """
data: {train: t.npz, x: {a: a, facts: facts}%s}
model:
  branches:
    reads: {inputs: a, layers: [Masking: {}, GRU: {units: 3}]}
    out: {inputs: [reads, facts], layers: [Dense: {units: %d}]}
"""


@pytest.mark.parametrize("lengths", ["", ", lengths: n"], ids=["padded", "of different length"])
@pytest.mark.parametrize("units", [1, STEPS])
def test_what_is_said_of_a_sequence_has_no_steps_though_facts_are_beside_it(
    launcher: Launched, lengths: str, units: int
) -> None:
    """Neither where the file has targets, as many as there are steps, nor where it has none."""
    given = {"a": A, "facts": numbers(7, 3), "n": A.any(axis=-1).sum(axis=1)}
    files = {"t.npz": {**given, "y": numbers(8, units)}, "new.npz": given}
    text = FACTS % (lengths, units) + REST % ("mse", ", {name: new, path: new.npz}")
    ran = run(launcher, text, files)
    expected = ran.model()({"a": A, "facts": given["facts"]}).numpy()
    for name in ("predictions-train.npz", "predictions-new.npz"):
        found = ran.predictions(name if name.endswith("new.npz") else "predictions.npz")
        np.testing.assert_allclose(found["y_pred"].reshape(expected.shape), expected, rtol=1e-5, atol=1e-6)
        assert "counted" not in found
    assert ran.metrics["predictions"]["new"]["count"] == COUNT * units
    check(ran, by_keras(ran, {"a": A, "facts": given["facts"]}, files["t.npz"]["y"], "mse"))


@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_fewer_steps_than_went_in_are_predicted_for_a_file_without_targets(launcher: Launched) -> None:
    layers = f"Masking: {{}}, {EACH}, MaxPooling1D: {{pool_size: 2}}, {ONE}"
    files = {"t.npz": {"a": A, "y": numbers(9, STEPS // 2, 1)}, "new.npz": {"a": B}}
    ran = run(launcher, ALONE % layers + REST % ("mse", ", {name: new, path: new.npz}"), files)
    found = ran.predictions("predictions-new.npz")
    np.testing.assert_allclose(found["y_pred"], ran.model()(B).numpy(), rtol=1e-5, atol=1e-6)
    assert "counted" not in found


@pytest.mark.parametrize("first", ["", "Masking: {}, "], ids=["whole", "masked"])
def test_the_weight_of_a_sample_is_that_of_each_of_its_steps(launcher: Launched, first: str) -> None:
    """As many samples in a batch as there are steps: the other axis would do too."""
    x = drawn(1, padded=bool(first), steps=COUNT)
    y = numbers(4, COUNT, 1)
    text = ALONE.replace("x: a", "x: a, sample_weight: w") % (first + PLAIN) + REST % ("mse", "")
    ran = run(launcher, text, {"t.npz": {"a": x, "y": y, "w": WEIGHT}})
    error = (ran.model()(x).numpy() - y)[..., 0] ** 2 * WEIGHT[:, None]
    check(ran, {"loss": error[x.any(axis=-1)].mean()})


THREE = """
data: {train: t.npz, x: {a: a}, y: {p: y, q: z, r: z}, sample_weight: w}
model:
  branches:
    p: {inputs: a, layers: [%s]}
    q: {inputs: a, layers: [%s]}
    r: {inputs: a, layers: [GRU: {units: 3}, Dense: {units: 5}]}
  outputs: [p, q, r]
"""


def test_a_weight_fits_outputs_of_each_step_and_of_the_whole(launcher: Launched) -> None:
    ran = run(launcher, THREE % (MASKED, PLAIN) + REST % ("{p: mse, q: mse, r: mse}", ""), FILES)
    outputs = {name: one.numpy() for name, one in ran.model()(A).items()}
    steps = {"p": (outputs["p"] - Y)[..., 0] ** 2, "q": (outputs["q"] - Z)[..., 0] ** 2}
    check(
        ran,
        {
            "p_loss": (steps["p"] * WEIGHT[:, None])[A.any(axis=-1)].mean(),
            "q_loss": (steps["q"] * WEIGHT[:, None]).mean(),
            "r_loss": (((outputs["r"] - Z[..., 0]) ** 2).mean(axis=1) * WEIGHT).mean(),
        },
    )


CLASSES = """
data: {train: t.npz, x: {a: a}, y: {p: y, q: z}%s}
model:
  branches:
    s: {inputs: a, layers: [%s]}
    p: {inputs: s, layers: [Dense: {units: 3, activation: softmax}]}
    q: {inputs: s, layers: [GRU: {units: 3}, Dense: {units: 2, activation: softmax}]}
  outputs: [p, q]
"""


@pytest.mark.parametrize("lengths", [", lengths: n", ""], ids=["of different length", "of one"])
def test_beside_a_class_of_each_sequence_another_output_has_one_of_each_step(
    launcher: Launched, lengths: str
) -> None:
    random, there = np.random.default_rng(1), A.any(axis=-1) | (not lengths)
    y, z = random.integers(0, 3, (COUNT, STEPS)), random.permutation(np.arange(COUNT) % 2)
    files = {"t.npz": {"a": A, "n": there.sum(axis=1), "y": np.where(there, y, 0), "z": z}}
    of = "sparse_categorical_crossentropy"
    ran = run(launcher, CLASSES % (lengths, EACH) + REST % (f"{{p: {of}, q: {of}}}", ""), files)
    outputs = {name: one.numpy() for name, one in ran.model()(A).items()}
    of_steps = -np.log(np.take_along_axis(outputs["p"], y[..., None], -1))[there]
    of_whole = -np.log(np.take_along_axis(outputs["q"], z[:, None], -1))
    check(ran, {"p_loss": of_steps.mean(), "q_loss": of_whole.mean()})
    found = ran.predictions()
    np.testing.assert_array_equal(found.get("counted_p", True), there if lengths else True)
    np.testing.assert_array_equal(found["y_true_p"][there], y[there])
    np.testing.assert_array_equal(found["y_class_p"][there], outputs["p"].argmax(axis=-1)[there])
    evaluated = ran.metrics["evaluation"]["outputs"]["p"]
    right = (outputs["p"].argmax(axis=-1) == y)[there]
    assert evaluated["model"]["accuracy"] == pytest.approx(right.mean())
    assert evaluated["counted"] == (there.sum() if lengths else COUNT)
    most = np.bincount(y[there]).argmax()
    assert evaluated["baselines"]["majority class"]["accuracy"] == pytest.approx((y[there] == most).mean())


def test_the_table_has_the_steps_of_each_output(launcher: Launched) -> None:
    """Rows for what is there in some output; an empty field where another has none."""
    text = TWO % ("b", MASKED, "b", f"{MASKED}, MaxPooling1D: {{pool_size: 2}}") + REST % (
        "{p: mse, q: mse}",
        "",
    )
    files = {"t.npz": {**FILES["t.npz"], "z": numbers(5, STEPS // 2, 1)}}
    ran = run(launcher, text, files)
    with (ran.job.results / "predictions.csv").open(newline="") as file:
        rows = {(int(row["sample"]), int(row["step"])): row for row in csv.DictReader(file)}
    of_p = {(i + 1, j + 1) for i, j in np.argwhere(A.any(axis=-1)).tolist()}
    of_q = {(i + 1, j + 1) for i in range(COUNT) for j in range(STEPS // 2)}
    assert rows.keys() == of_p | of_q
    assert {at for at, row in rows.items() if row["p_y_predicted"]} == of_p
    assert {at for at, row in rows.items() if row["q_y_predicted"]} == of_q


GIVEN: dict[str, dict[str, Any]] = {
    "Permute": {"dims": [2, 1]}, "Reshape": {"target_shape": [4, 6]}, "RepeatVector": {"n": 8},
    "Dense": {"units": 2}, "Dropout": {"rate": 0.1}, "LayerNormalization": {},
}  # fmt: skip


def without_steps(kind: str) -> bool | None:
    """By the shapes of Keras, whether a layer's output has another axis, or none, where its input has steps; None for
    layers that ask for arguments of their own."""
    rank = next((int(one) for one in "123" if f"{one}D" in kind), 0 if kind == "RepeatVector" else 1)
    given = keras.Input((8, *(8,) * (rank - 1), 3) if rank else (3,))
    try:
        output = getattr(keras.layers, kind)(**GIVEN.get(kind, {}))(given)
    except (TypeError, ValueError):
        return None
    return len(output.shape) < len(given.shape) or kind in ("Permute", "Reshape", "RepeatVector")


def test_the_layers_that_end_steps_are_those_of_keras() -> None:
    found = {kind: without_steps(kind) for kind in catalogue()["layers"]["classes"] if kind not in RECURRENT}
    assert {kind for kind, ends in found.items() if ends} == set(ENDING_STEPS)
    kept = {kind for kind, ends in found.items() if ends is False}
    assert kept > {"Dense", "Dropout", "LayerNormalization", "MaxPooling1D", "Softmax", "UpSampling2D"}
    for kind in kept:
        job = {"data": {}, "model": {"layers": [{kind: GIVEN.get(kind, {})}]}}
        assert steps_of(job, "y", ["x"]) == {"x": kind == "Masking"}, kind
        moved = kind.startswith(CHANGING_STEPS)
        job["model"]["layers"].insert(0, {"Masking": {}})
        assert steps_of(job, "y", ["x"]) == {"x": not moved}, kind
