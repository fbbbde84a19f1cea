"""Dotted keys: `--set training.epochs=5` and the fields of a sweep, put into a copy of the tree."""

from __future__ import annotations

import re
from typing import Any

from gpujobs.jobfile.keras_names import catalogue, nearest
from gpujobs.jobfile.reader import Path
from gpujobs.jobfile.validate import fields, model_at


class SettingError(ValueError):
    """A key that leads nowhere; the message says what is wrong, without the key."""


FREE_FORM: tuple[Path, ...] = (
    ("model", "layers"),
    ("training", "loss"),
    ("training", "optimizer"),
    ("training", "metrics"),
    ("training", "class_weight"),
    ("data", "x"),
    ("data", "y"),
    *(("data", part, "arrays") for part in ("train", "validation", "test")),
    ("model", "branches"),
)
"""Below these, names are Keras's or the user's; they are checked when the whole is."""


def parse_key(key: str) -> Path:
    """`model.layers.0.LSTM.units` or `model.layers[0].LSTM.units`. Raises SettingError for an unknown key."""
    if found := re.fullmatch(r"sweep\.(grid|random\.distributions)\.(.+)", key):
        parse_key(found[2])  # the key of a sweep is one key, however many dots it has
        return ("sweep", *found[1].split("."), found[2])
    path = path_of(key)
    _refuse_unknown(path)
    return path


def path_of(key: str) -> Path:
    return tuple(
        int(part) if re.fullmatch(r"\d{1,6}", part, re.ASCII) else part
        for part in re.sub(r"\[(\d{1,6})\]", r".\1", key).split(".")
    )


def _refuse_unknown(path: Path) -> None:
    if path == ("at_most",):  # stands beside the fields of a job, as the sweep does
        return
    for length, part in enumerate(path):
        if path[:length] in FREE_FORM or path[0] == "sweep":
            return
        if isinstance(part, int):
            continue
        known = fields(path[:length])
        if part not in known:
            prefix = "".join(f"{one}." for one in path[:length])
            raise SettingError(f"unknown key{_nearest_key(prefix, part, known)}")


def _nearest_key(prefix: str, part: str, known: list[str]) -> str:
    if path := place_of_argument(part) if prefix in ("", "training.") else None:
        return f"; did you mean {path}?"
    hint = nearest(part, known)
    if hint:
        return hint.replace("did you mean ", f"did you mean {prefix}", 1)
    everywhere = {f"{top}.{name}" for top in fields(()) if model_at((top,)) for name in fields((top,))}
    inside = [key for key in everywhere if key.endswith(f".{part}")]
    return f"; did you mean {inside[0]}?" if inside else ""


def place_of_argument(name: str) -> str | None:
    """Where an argument of optimizers belongs that somebody gives to the training: Keras's own place for it."""
    name = "learning_rate" if name in ("lr", "learning-rate") else name
    return f"training.optimizer.Adam.{name}" if name in catalogue()["optimizers"]["classes"]["Adam"] else None


def canonical(name: str) -> str | None:
    """Keras's own name of a layer, a loss, an optimizer or a metric, whichever way it is written."""
    for section in ("optimizers", "losses", "layers", "metrics"):
        known = catalogue()[section]
        if name in known["classes"]:
            return name
        if name in known["ids"]:
            return str(known["ids"][name])
    return None


def with_value(tree: Any, path: Path, value: Any) -> Any:
    """A copy of `tree` with `value` at `path`; what is not on the way is shared. Raises SettingError."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(head, int):
        if not isinstance(tree, list) or head >= len(tree):
            if tree is None:
                raise SettingError(
                    f"there is no entry {head}: the file has no list there; set all of it, as [...]"
                )
            held = f"has {len(tree)} entries" if isinstance(tree, list) else "is not a list"
            raise SettingError(f"there is no entry {head}: what is there {held}")
        return [*tree[:head], with_value(tree[head], rest, value), *tree[head + 1 :]]
    if isinstance(tree, list):
        numbers = f", 0 to {len(tree) - 1}" if tree else ", which is empty; set all of it, as [...]"
        raise SettingError(f"{head} is not the number of an entry of the list there{numbers}")
    if isinstance(tree, str):  # the short form: a data path, or a name without arguments
        tree = {"path": tree} if head in ("path", "in_place") else {tree: {}}
    base = tree if isinstance(tree, dict) else {}
    if head not in base and len(base) == 1 and rest and (known := canonical(head)) is not None:
        (written,) = base
        if (own := canonical(written)) == known:
            head = written
        elif own is not None:
            raise SettingError(f"the file has {written} there, not {head}")
    return {**base, head: with_value(base.get(head), rest, value)}
