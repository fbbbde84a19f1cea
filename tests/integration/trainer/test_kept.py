"""A job that another has left its traced model to is trained as if it were alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.jobfile import expand, load
from gpujobs.jobfile.signature import VALUES, signature
from gpujobs.paths import JobPaths
from tests.integration.trainer.conftest import require_jax
from tests.integration.trainer.drawn import pair
from tests.integration.trainer.members import INSTALLATION, STOP, Trainers, left
from tests.integration.trainer.varied import BASE, OF_TABLES, TABLE, TOGETHER, VARIED
from tests.unit.jobfile.keys import leaves

TRAINING = "loss: mean_squared_error, metrics: [mae], epochs: 2, batch_size: 8"
CLASSES = "loss: sparse_categorical_crossentropy, metrics: [accuracy], epochs: 2, batch_size: 8"


@pytest.fixture(scope="module")
def trainers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainers]:
    found = Trainers(tmp_path_factory.mktemp("trainers"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files by the names that job files here have for them."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    found = {}
    for name, count in {"t.npz": 20, "u.npz": 27}.items():
        x = random.normal(size=(count, 4, 2)).astype(np.float32)
        lengths = random.integers(2, 5, count)
        steps = (x[..., 0] > 0).astype(np.int64)
        y, c = x[:, -1, :1] + x[:, 0, :1], (x.sum(axis=(1, 2)) > 0).astype(np.int64)
        more: dict[str, Any] = {
            "ids": random.integers(1, 7, (count, 4)),
            "facts": random.normal(size=(count, 3)),
            "w": x[:, 0, 0] ** 2,
        }
        np.savez(root / name, x=x, y=y, c=c, steps=steps, lengths=lengths, **more)
        found[name] = root / name
        table = "\n".join(f"{a},{b},{one}" for (a, b), one in zip(x[:, 0], y[:, 0], strict=True))
        found[name.replace("npz", "csv")] = root / name.replace("npz", "csv")
        (root / name.replace("npz", "csv")).write_text(f"a,b,y\n{table}\n")
    odd = {"three.npz": (x.repeat(2, axis=2)[..., :3], y), "wide.npz": (x, y.repeat(2, axis=1))}
    for name, (inputs, targets) in odd.items():
        np.savez(root / name, x=inputs, y=targets)
        found[name] = root / name
    for key, array in (("x.npy", x), ("c.npy", c)):
        np.save(root / key, array)
        found[key] = root / key
    return found


def text(layers: str, training: str = TRAINING, data: str = "y: y", more: str = "") -> str:
    return f"""
data: {{train: t.npz, {data}}}
model: {{layers: [{layers}]}}
training: {{{training}}}
predict: [train]
{more}"""


@dataclass(frozen=True)
class Case:
    """A job file, and what another of the same signature says otherwise."""

    text: str
    other: dict[str, str]


OF_TRAINING = ("history.csv", "predictions.npz", "model.keras")
"""What a job leaves that was interrupted, as if it had not been."""
DENSE = "Dense: {units: 1}"
SEED = {"training.seed": "7"}
CASES = {
    "dropout": Case(
        text(f"LSTM: {{units: 3, dropout: 0.3, recurrent_dropout: 0.2, return_sequences: true}}, "
             f"Dropout: {{rate: 0.2}}, SimpleRNN: {{units: 3}}, {DENSE}"),
        {**SEED, "training.epochs": "3", "training.batch_size": "6", "training.shuffle": "false"},
    ),
    "watched": Case(
        text(f"BatchNormalization: {{}}, GRU: {{units: 3}}, {DENSE}",
             TRAINING.replace("epochs: 2", "epochs: 6") + ", optimizer: {Nadam: {learning_rate: 0.1}}, "
             "early_stopping: {patience: 2, restore_best_weights: true}, reduce_lr_on_plateau: {patience: 1}",
             "split: {method: random, validation: 0.3}, scaling: standard"),
        {"training.optimizer": "{Nadam: {learning_rate: 0.4}}", "data.split.seed": "3", "data.scaling": "minmax",
         "training.reduce_lr_on_plateau.factor": "0.5"},
    ),
    "halves": Case(
        text(f"Bidirectional: {{layer: {{LSTM: {{units: 3}}}}}}, {DENSE}",
             TRAINING + ", precision: mixed_float16, optimizer: {Adam: {learning_rate: 0.01}}"),
        {"training.optimizer": "{Adam: {learning_rate: 0.02}}", "data.train": "u.npz"},
    ),
    "steps": Case(
        text("LSTM: {units: 3, return_sequences: true, name: first}, Dense: {units: 2, activation: softmax}",
             CLASSES, "y: steps, lengths: lengths, split: {method: random, validation: 0.3}")
        .replace("predict: [train]", "predict: [{name: train, source: train, states: [first]}]"),
        {**SEED, "training.class_weight": "{'0': 2.0}", "predict": "[{name: s, source: validation}]"},
    ),
    "stateful": Case(
        text(f"LSTM: {{units: 3, stateful: true, name: first}}, {DENSE}",
             TRAINING.replace("batch_size: 8", "batch_size: 5, shuffle: false"))
        .replace("predict: [train]", "predict: [{name: train, source: train, states: [first]}]"),
        SEED,
    ),
    "several outputs": Case(
        """
data: {train: t.npz, x: {x: x, facts: facts}, y: {level: y, alarm: c}, split: {method: random, validation: 0.3}}
model:
  branches:
    reads: {inputs: x, layers: [GRU: {units: 3, dropout: 0.2}]}
    level: {inputs: [reads, facts], layers: [Dense: {units: 1}]}
    alarm: {inputs: [reads, facts], layers: [Dropout: {rate: 0.2}, Dense: {units: 1, activation: sigmoid}]}
  outputs: [level, alarm]
training:
  loss: {level: mean_squared_error, alarm: binary_crossentropy}
  optimizer: {Adam: {learning_rate: 0.01}}
  metrics: [mae]
  epochs: 3
  batch_size: 8
  best_weights: {monitor: val_alarm_loss}
predict: [train, validation]
""",
        {**SEED, "data.train": "u.npz", "training.batch_size": "6", "data.scaling.x": "standard",
         "training.optimizer": "{Adam: {learning_rate: 0.1}}", "training.best_weights.monitor": "val_loss"},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Making:
    trainers: Trainers
    data: dict[str, Path]

    def spec(self, text: str, other: Mapping[str, str] = {}, **fields: Any) -> Path:
        job = load("job.yaml", text, other)
        files = {name: self.data[name] for name in job.data_paths}
        return self.trainers.spec(job.resolved, files, **fields)


@pytest.fixture
def making(trainers: Trainers, data: dict[str, Path]) -> Making:
    return Making(trainers, data)


def require_same(one: Path, other: Path) -> None:
    """All that two jobs have left, bit by bit."""
    first, second = left(one), left(other)
    assert first.keys() == second.keys()
    for name in first:
        assert first[name] == second[name], name


@pytest.mark.parametrize("name", CASES)
def test_a_job_leaves_the_same_whether_it_is_the_first_of_its_process_or_follows_others(
    making: Making, name: str
) -> None:
    case = CASES[name]
    one, other, again = making.spec(case.text), making.spec(case.text, case.other), making.spec(case.text)
    alone = making.spec(case.text, case.other)
    told = making.trainers.train([one, other, again]) + making.trainers.train([alone])
    assert not any(each["error"] for each in told), told
    require_same(one, again)
    require_same(other, alone)
    assert told[2]["traces"] == 0, told


def test_it_does_with_jax_too(tmp_path: Path, data: dict[str, Path]) -> None:
    require_jax()
    trainers, case = Trainers(tmp_path, "jax"), CASES["watched"]
    text = case.text.replace("training: {", "training: {backend: jax, ")
    try:
        require_alike(Making(trainers, data), text, {**case.other, "data.scaling": "standard"} | SEED)
    finally:
        trainers.close()


def test_a_training_goes_on_from_a_checkpoint_alike_in_a_process_that_has_trained_before(
    making: Making,
) -> None:
    training = TRAINING + ", optimizer: {Nadam: {learning_rate: 0.05}}"
    whole = text(f"LSTM: {{units: 3, dropout: 0.3}}, {DENSE}", training)
    stopped, before = making.spec(whole), making.spec(whole, SEED)
    (stopped.parent / STOP).touch()
    uninterrupted = making.spec(whole)
    told = making.trainers.train([stopped]) + making.trainers.train([uninterrupted])
    assert "Stopped" in told[0]["error"] and not told[1]["error"], told
    origin: dict[str, Any] = {"checkpoint_from": (str(checkpoint_of(stopped)),)}
    alone, second = making.spec(whole, **origin), making.spec(whole, **origin)
    told = making.trainers.train([alone]) + making.trainers.train([before, second])
    assert not any(each["error"] for each in told), told
    require_same(alone, second)
    assert "Resuming after" in left(alone)["log"]
    for name in OF_TRAINING:
        assert left(alone)[name] == left(uninterrupted)[name], name


@pytest.mark.parametrize("name", ["three.npz", "wide.npz"])
def test_data_of_another_shape_than_before_end_or_train_as_alone_and_harm_nobody_after_them(
    making: Making, name: str
) -> None:
    """y of `wide.npz` does not fit the model; x of `three.npz` has a feature more, and makes another one."""
    whole = text(f"SimpleRNN: {{units: 2}}, {DENSE}")
    first, again, odd, alone = (
        making.spec(whole, {"data.train": one} if one else {}) for one in ("", "", name, name)
    )
    told = making.trainers.train([first, odd, again]) + making.trainers.train([alone])
    errors = [each["error"] for each in told]
    assert errors[0] == errors[2] == "" and errors[1] == errors[3]
    assert ("DataError" in errors[1] and name in errors[1]) == (name == "wide.npz"), errors
    require_same(first, again)
    require_same(odd, alone)


@pytest.mark.parametrize(
    ("size", "split"),
    [("5", "split: {method: random, validation: 0.25}"), ("6", "split: {method: random, validation: 0.25}"),
     ("64", "y: y"), ("6", "y: y")],
)  # fmt: skip
def test_each_step_is_traced_once_whatever_the_sizes_of_batches(
    making: Making, size: str, split: str
) -> None:
    whole = text(
        f"GRU: {{units: 2}}, {DENSE}",
        TRAINING.replace("batch_size: 8", f"batch_size: {size}"),
        split,
    )
    first, second = making.spec(whole), making.spec(whole, SEED)
    told = making.trainers.train([first, second])
    has_several = size != "64"  # a single batch is predicted without a function
    expected = 1 + ("split" in split) + has_several
    assert [each["traces"] for each in told] == [expected, 0], told
    assert not any(name.endswith(".npz") for each in told for name in each["descriptors"])


@pytest.mark.parametrize("sizes", [("12", "10"), ("10", "12")], ids=["any, then one", "one, then any"])
def test_a_step_for_batches_of_one_size_is_no_step_for_any_size_in_whatever_order_they_come(
    making: Making, sizes: tuple[str, str]
) -> None:
    """Of twenty samples, batches of 10 have one size, and those of 12 do not. Means over 10 differ in the last bit."""
    base = text(f"SimpleRNN: {{units: 3}}, {DENSE}").replace("batch_size: 8", f"batch_size: {sizes[0]}")
    first, second, alone = (
        making.spec(base, said) for said in ({}, *2 * [{"training.batch_size": sizes[1]}])
    )
    told = making.trainers.train([first, second]) + making.trainers.train([alone])
    assert [each["traces"] for each in told] == [2, 1, 2], told
    require_same(second, alone)


def values() -> set[str]:
    """The keys of the schema that do not change the signature."""
    below = [key for key in leaves() if any(f"{key}.".startswith(f"{one}.") for one in VALUES)]
    return {*below, "training.batch_size", "training.optimizer"}


def test_each_key_that_changes_no_signature_is_one_that_is_tried() -> None:
    """A new key belongs to the graph, or into the tables, which then are tried with a training each."""
    assert values() == VARIED.keys() | OF_TABLES.keys()


def require_alike(making: Making, base: str, changed: Mapping[str, str]) -> None:
    """The same results after a job of `base` in one process as alone."""
    first, second, alone = making.spec(base), making.spec(base, changed), making.spec(base, changed)
    one, other = (load("job.yaml", base, given).resolved for given in ({}, changed))
    assert signature(one) == signature(other) and one != other
    told = making.trainers.train([first, second]) + making.trainers.train([alone])
    assert not any(each["error"] for each in told), told
    require_same(second, alone)


def test_keys_that_change_no_signature_leave_what_they_leave_alone(making: Making) -> None:
    """One after the other in one process, and each alone."""
    changed = [{name: value for key in keys for name, value in VARIED[key].items()} for keys in TOGETHER]
    signatures = {signature(load("job.yaml", BASE, given).resolved) for given in ({}, *changed)}
    assert len(signatures) == 1
    first, *kept = (making.spec(BASE, given) for given in ({}, *changed))
    alone = [making.spec(BASE, given) for given in changed]
    told = making.trainers.train([first, *kept])
    for one in alone:
        told += making.trainers.train([one])
    assert not any(each["error"] for each in told), told
    for one, other in zip(kept, alone, strict=True):
        require_same(one, other)


def require_as_alone(
    making: Making, text: str, other: Mapping[str, str], between: int, resumed: Path | None = None
) -> None:
    """A job first in its process and again after others, and another second and alone. `resumed`: the checkpoint of
    the first, from which it goes on in that process."""
    first, second, again, alone = (making.spec(text, said) for said in ({}, other, {}, other))
    quick = {"training.epochs": "1", "predict": "[]"}
    others = [making.spec(text, {**quick, "training.seed": str(100 + number)}) for number in range(between)]
    further = [] if resumed is None else [making.spec(text, checkpoint_from=(str(resumed),))]
    told = making.trainers.train([first, second, *others, *further, again]) + making.trainers.train([alone])
    assert not any(each["error"] for each in told), told
    require_same(second, alone)
    require_same(first, again)
    for one in further:
        assert "Resuming after" in left(one)["log"]
        for name in OF_TRAINING:
            assert left(one)[name] == left(first)[name], name


SAMPLES = sorted(path.name for path in (INSTALLATION / "jobs").glob("*.yaml"))


def of_sample(name: str) -> Iterator[list[Mapping[str, Any]]]:
    """Each signature of the jobs that a sample makes, with those jobs, of 2 epochs."""
    text = (INSTALLATION / "jobs" / name).read_text()
    found: dict[str, list[Mapping[str, Any]]] = {}
    for said in ({}, {"training.seed": "5"}):
        for job in expand(name, text, {"training.epochs": "2", **said}):
            found.setdefault(signature(job.resolved), []).append(job.resolved)
    yield from found.values()


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_leaves_the_same_whether_it_is_alone_or_follows_others(
    trainers: Trainers, name: str
) -> None:
    def spec(resolved: Mapping[str, Any]) -> Path:
        file = resolved["data"]["train"]["path"]
        return trainers.spec(resolved, {file: INSTALLATION / "jobs" / file})

    for jobs in of_sample(name):
        first, *kept, again = map(spec, [*jobs, jobs[0]])
        alone = [spec(job) for job in jobs[1:]]
        told = trainers.train([first, *kept, again])
        for one in alone:
            told += trainers.train([one])
        assert not any(each["error"] for each in told), told
        assert all(each["traces"] == 0 for each in told[1 : len(jobs) + 1]), told
        require_same(first, again)
        for one, other in zip(kept, alone, strict=True):
            require_same(one, other)


def stopped(making: Making, text: str) -> Path:
    """The checkpoint that a job has after its first batches, of a process of its own."""
    spec = making.spec(text)
    (spec.parent / STOP).touch()
    (told,) = making.trainers.train([spec])
    assert "Stopped" in told["error"], told
    return checkpoint_of(spec)


def checkpoint_of(spec: Path) -> Path:
    found = JobPaths(spec.parent).checkpoint
    assert any(found.iterdir()), "there is something to go on from"
    return found


QUICK = (0, 3)
"""The second is of halves, in which some of Keras's constants are infinite."""


@pytest.mark.parametrize(
    "seed",
    [seed if seed in QUICK else pytest.param(seed, marks=pytest.mark.slow) for seed in range(200)],
)
def test_a_drawn_job_leaves_the_same_whether_it_is_alone_the_second_or_the_tenth(
    making: Making, seed: int
) -> None:
    drawn = pair(seed)
    one, other = (load("job.yaml", drawn.text, said).resolved for said in ({}, drawn.other))
    assert signature(one) == signature(other) and one != other
    checkpoint = stopped(making, drawn.text) if drawn.resumed else None
    require_as_alone(making, drawn.text, drawn.other, 0 if seed % 5 else 7, checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize("key", [*VARIED, *OF_TABLES])
def test_a_key_that_changes_no_signature_leaves_what_it_leaves_alone(making: Making, key: str) -> None:
    is_of_tables = key in OF_TABLES
    require_alike(making, TABLE if is_of_tables else BASE, (OF_TABLES if is_of_tables else VARIED)[key])
