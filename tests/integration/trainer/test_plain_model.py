"""Model files: those of job files pass, those that carry code do not."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpujobs.trainer.failures import TrainerError
from gpujobs.trainer.plain_model import copy, require_plain

from .with_keras import python_with_keras

SAVE = """
import sys
from pathlib import Path
import keras
from keras import layers as L
from gpujobs.trainer import building

here = Path(sys.argv[1])
training = {"loss": "mse", "optimizer": {"Adam": {}}, "metrics": []}
regular = {"LSTM": {"units": 3, "kernel_regularizer": {"L2": {"l2": 0.1}}, "kernel_constraint": "max_norm",
                    "bias_initializer": "ones", "return_sequences": True}}
sequential = {"model": {"layers": [{"Masking": {}}, {"Bidirectional": {"layer": regular}},
    {"TimeDistributed": {"layer": {"Dense": {"units": 2, "activation": "relu"}}}},
    {"GRU": {"units": 2, "dropout": 0.1}}, {"BatchNormalization": {}}, {"Dense": {"units": 1}}]}, "training": training}
branches = {"model": {"branches": {
    "left": {"inputs": ["a"], "merge": "Concatenate", "layers": [{"LSTM": {"units": 2}}]},
    "both": {"inputs": ["left", "b"], "merge": "Concatenate", "layers": [{"Dense": {"units": 1}}]}}},
    "training": training}
ids = {"Embedding": {"input_dim": 5, "output_dim": 2, "mask_zero": True}}
masked = {"model": {"branches": {
    "m": {"inputs": ["a"], "layers": [{"Masking": {}}, {"Bidirectional": {"layer": regular}}]},
    "e": {"inputs": ["c"], "layers": [ids, {"LSTM": {"units": 6, "return_sequences": True}}]},
    "w": {"inputs": ["b"], "layers": [{"GRU": {"units": 6, "return_sequences": True}}]},
    "some": {"inputs": ["m", "e", "w"], "merge": "Concatenate", "layers": [{"LSTM": {"units": 2}}]},
    "all": {"inputs": ["m", "e"], "merge": "Add", "layers": [{"GlobalAveragePooling1D": {}}]},
    "both": {"inputs": ["some", "all"], "merge": "Concatenate", "layers": [{"Dense": {"units": 1}}]}}},
    "training": training}
building.build(masked, {"a": (4, 2), "b": (4, 2), "c": (4,)}).save(here / "masked.keras")
building.build(sequential, {"x": (4, 2)}).save(here / "sequential.keras")
building.build(branches, {"a": (4, 2), "b": (3,)}).save(here / "branches.keras")
keras.Sequential([L.Input((2,)), L.Lambda(lambda x: x + 1)]).save(here / "lambda.keras")
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("models")
    done = python_with_keras(SAVE, here)
    assert done.returncode == 0, done.stderr[-3000:]
    return here


@pytest.mark.parametrize("name", ["sequential", "branches", "masked"])
def test_what_a_job_file_can_make_is_loaded(models: Path, name: str, tmp_path: Path) -> None:
    copied = copy(models / f"{name}.keras", tmp_path)
    assert copied.read_bytes() == (models / f"{name}.keras").read_bytes()


def test_code_is_not(models: Path) -> None:
    with pytest.raises(TrainerError, match="Lambda"):
        require_plain(models / "lambda.keras")


def changed(models: Path, target: Path, change: Callable[[dict[str, Any]], object], **more: bytes) -> Path:
    with zipfile.ZipFile(models / "sequential.keras") as source, zipfile.ZipFile(target, "w") as archive:
        config = json.loads(source.read("config.json"))
        change(config)
        archive.writestr("config.json", json.dumps(config))
        for name in ("metadata.json", "model.weights.h5"):
            archive.writestr(name, source.read(name))
        for name, content in more.items():
            archive.writestr(name, content)
    return target


SYSTEM = {"module": "os", "class_name": "function", "config": "system", "registered_name": None}
HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a function of another module": lambda config: config["config"]["layers"][1]["config"].update(x=SYSTEM),
    "a class by another module": lambda config: config.update(module="subprocess", class_name="Popen"),
    "a registered name": lambda config: config["config"]["layers"][1].update(registered_name="Own>Masking"),
    "a layer that carries code": lambda config: config["config"]["layers"][1].update(class_name="TFSMLayer"),
    "an internal module": lambda config: config["config"]["layers"][1].update(module="keras.src.utils"),
    "a lambda in a list": lambda config: config.update(more=[[{"a": {"class_name": "__lambda__"}}]]),
    "an object in the build": lambda config: config["build_config"].update(a=SYSTEM),
    "another function of the numbers' module": lambda config: config["config"]["layers"][1].update(
        module="keras.src.ops.numpy", class_name="Vectorize"
    ),
    "no model": lambda config: config.pop("class_name"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_job_file_can_make_is_refused(models: Path, tmp_path: Path, what: str) -> None:
    with pytest.raises(TrainerError, match=r"no job file can make|holds no model"):
        require_plain(changed(models, tmp_path / "model.keras", HOSTILE[what]))


def test_the_changed_model_is_refused_for_its_change_only(models: Path, tmp_path: Path) -> None:
    require_plain(changed(models, tmp_path / "model.keras", lambda config: None))


def test_other_members_and_broken_files_are_refused(models: Path, tmp_path: Path) -> None:
    more = changed(models, tmp_path / "more.keras", lambda config: None, **{"assets/vocabulary.txt": b"x"})
    with pytest.raises(TrainerError, match=r"a member 'assets/vocabulary.txt'"):
        require_plain(more)
    for content in (b"", b"PK", b"no archive at all"):
        (tmp_path / "broken.keras").write_bytes(content)
        with pytest.raises(TrainerError, match="not a whole model file"):
            require_plain(tmp_path / "broken.keras")
