"""Dotted keys: `--set training.epochs=5` and the fields of a sweep, put into a copy of the tree."""

from __future__ import annotations

import re
from typing import Any

from gpujobs.jobfile.keras_names import nearest
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
    parts: list[str | int] = []
    for part in re.sub(r"\[(\d{1,6})\]", r".\1", key).split("."):
        parts.append(int(part) if re.fullmatch(r"\d{1,6}", part, re.ASCII) else part)
    path: Path = tuple(parts)
    _refuse_unknown(path)
    return path


def _refuse_unknown(path: Path) -> None:
    if path == ("at_most",):  # stands beside the fields of a job, as the sweep does
        return
    for length, part in enumerate(path):
        if path[:length] in FREE_FORM:
            return
        if isinstance(part, int):
            continue
        known = fields(path[:length])
        if part not in known:
            prefix = "".join(f"{one}." for one in path[:length])
            raise SettingError(f"unknown key{_nearest_key(prefix, part, known)}")


def _nearest_key(prefix: str, part: str, known: list[str]) -> str:
    hint = nearest(part, known)
    if hint:
        return hint.replace("did you mean ", f"did you mean {prefix}", 1)
    everywhere = {f"{top}.{name}" for top in fields(()) if model_at((top,)) for name in fields((top,))}
    inside = [key for key in everywhere if key.endswith(f".{part}")]
    return f"; did you mean {inside[0]}?" if inside else ""


def with_value(tree: Any, path: Path, value: Any) -> Any:
    """A copy of `tree` with `value` at `path`; what is not on the way is shared. Raises SettingError."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(head, int):
        if not isinstance(tree, list) or head >= len(tree):
            held = f"has {len(tree)} entries" if isinstance(tree, list) else "is not a list"
            raise SettingError(f"there is no entry {head}: what is there {held}")
        return [*tree[:head], with_value(tree[head], rest, value), *tree[head + 1 :]]
    if isinstance(tree, list):
        raise SettingError(f"{head} is not the number of an entry of the list there, 0 to {len(tree) - 1}")
    if isinstance(tree, str):  # the short form: a data path, or a name without arguments
        tree = {"path": tree} if head in ("path", "in_place") else {tree: {}}
    base = tree if isinstance(tree, dict) else {}
    return {**base, head: with_value(base.get(head), rest, value)}
