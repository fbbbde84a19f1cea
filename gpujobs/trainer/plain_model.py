"""What a model file may be made of that somebody else may have written.

A `.keras` file names the classes and functions that it is made of, and Keras's `safe_mode` has been got round
again and again (CVE-2025-1550, CVE-2025-8747, CVE-2025-9905, CVE-2025-9906). So a model is loaded only if it
consists of what a job file can say: Keras's own layers by name, none that carries code.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpujobs.jobfile.keras_names import catalogue
from gpujobs.trainer.failures import TrainerError

MAX_CONFIG_BYTES = 16 << 20
MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
OF_MASKS = {"Any", "Concatenate", "ExpandDims", "LogicalOr", "NotEqual", "OnesLike", "ZerosLike"}
"""What a Functional model records of the masks that its layers make and merge, by Keras's own classes."""
MERGES = {"Concatenate", "Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"}


def copy(source: Path, directory: Path) -> Path:
    """A copy that its owner cannot exchange any more, after it was looked at. Raises TrainerError."""
    target = directory / "model.keras"
    shutil.copyfile(source, target)
    require_plain(target)
    return target


def require_plain(path: Path) -> None:
    """Raises TrainerError, naming what no model of a job file has."""
    known = allowed()
    for part in _objects(_config(path)):
        module, name = part.get("module"), part["class_name"]
        is_registered = part.get("registered_name") not in (None, name)
        if is_registered or name not in known.get(str(module), ()):
            raise TrainerError(f"{path.name} holds {module!a}.{name!a}, which no job file can make")


def allowed() -> dict[str, set[str]]:
    """Class names by the module that a `.keras` file gives them; a tensor has none."""
    names = {section: set(entry["classes"]) for section, entry in catalogue().items() if section != "keras"}
    return {
        "None": {"__keras_tensor__"},
        "keras": {"Sequential", "DTypePolicy"},
        "keras.src.models.functional": {"Functional"},
        "keras.src.ops.numpy": OF_MASKS,
        "keras.layers": names["layers"] | MERGES | {"InputLayer"},
        **{f"keras.{section}": names[section] for section in ("initializers", "regularizers", "constraints")},
    }


def _config(path: Path) -> Any:
    """Without what is only for training on: the optimizer and the loss are not loaded."""
    try:
        with zipfile.ZipFile(path) as archive:
            if not set(archive.namelist()) <= MEMBERS:
                more = sorted(set(archive.namelist()) - MEMBERS)[0]
                raise TrainerError(
                    f"{path.name} holds a member {more!a}; expected {', '.join(sorted(MEMBERS))}"
                )
            with archive.open("config.json") as member:
                text = member.read(MAX_CONFIG_BYTES + 1)
        config = json.loads(text)
    except (OSError, ValueError, KeyError, RecursionError, NotImplementedError, zipfile.BadZipFile) as error:
        raise TrainerError(f"{path.name} is not a whole model file ({type(error).__name__})") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise TrainerError(f"{path.name} holds no model")
    return {key: value for key, value in config.items() if key != "compile_config"}


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every object that Keras would make, whatever it is inside of."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            if "class_name" in one:
                yield one
            pending += one.values()
        elif isinstance(one, list):
            pending += one
