"""What Keras calls the layers of a model: as the file does, or by their kind and number; no two alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from gpujobs.jobfile.reader import Path, dotted

RECURRENT = ("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Bidirectional")
INNER = ("layer", "backward_layer")
"""The arguments of wrappers that are layers."""

INPUT = "input_layer"
"""What Keras calls the only input of a model without branches."""


class Named(NamedTuple):
    """A layer of the model's own, none inside of another. `place`: its path in words; `is_given`: by the file.
    `is_merge`: the file has no layer there, but several inputs of a branch."""

    path: Path
    place: str
    kind: str
    name: str
    is_given: bool
    is_merge: bool = False


def named_layers(job: Mapping[str, Any]) -> list[Named]:
    """Those that lead to an output: Keras leaves others out of the model, though it numbers them too."""
    branches = job["model"].get("branches")
    counts: Counter[str] = Counter()
    if not branches:
        return [*_named(("model", "layers"), job["model"].get("layers") or [], counts)]
    used, found = _used(job["model"]), []
    for name, branch in branches.items():
        where: Path = ("model", "branches", name)
        own = []
        if len(branch["inputs"]) > 1:
            kind = branch.get("merge") or "Concatenate"
            place = f"the {kind} of {dotted(where)}"
            own.append(Named(where, place, kind, _default(kind, counts), False, is_merge=True))
        own += _named((*where, "layers"), branch["layers"], counts)
        found += own if name in used else []
    return found


def input_names(job: Mapping[str, Any]) -> list[str]:
    """Those of the model's inputs: an only one is called as its array."""
    x = job["data"]["x"]
    return list(x) if isinstance(x, Mapping) else [x]


def recurrent_names(job: Mapping[str, Any]) -> list[str]:
    """The names of the recurrent layers, as Keras gives them where the file does not."""
    return [one.name for one in named_layers(job) if one.kind in RECURRENT]


def doubled(job: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Each layer whose name something else of the model has too, which Keras refuses, with its line."""
    by_name: dict[str, list[Named]] = {}
    for layer in named_layers(job):
        by_name.setdefault(layer.name, []).append(layer)
    inputs = input_names(job) if job["model"].get("branches") else [INPUT]
    for name, layers in by_name.items():
        if name in inputs:
            also = "as Keras names the model's input" if name == INPUT else "as an input is named"
            yield from (_problem(one, also) for one in layers)
        elif len(layers) > 1:
            for one in layers:
                if not one.is_merge:
                    yield _problem(one, _also(next(other for other in layers if other is not one)))


def _problem(layer: Named, also: str) -> tuple[Path, str]:
    if layer.is_given:
        called = f'{layer.place}.name is "{layer.name}"'
    else:
        called = f'{layer.place} has no name, and Keras gives it "{layer.name}"'
    path = (*layer.path, "name") if layer.is_given else layer.path
    return path, f"{called}, {also}; expected a name that nothing else in the model has"


def _also(other: Named) -> str:
    return f"as {other.place} is named" if other.is_given else f"as Keras names {other.place}"


def _used(model: Mapping[str, Any]) -> set[str]:
    """The branches that lead to an output."""
    branches = model["branches"]
    waiting, used = [*(model.get("outputs") or [[*branches][-1]])], set()
    while waiting:
        name = waiting.pop()
        if name in branches and name not in used:
            used.add(name)
            waiting += branches[name]["inputs"]
    return used


def _named(path: Path, layers: Iterable[Any], counts: Counter[str]) -> Iterator[Named]:
    for index, layer in enumerate(layers):
        ((kind, arguments),) = layer.items()
        where = (*path, index, kind)
        name = _name(kind, arguments, counts)
        yield Named(where, dotted(where), kind, name, is_given=arguments.get("name") is not None)


def _name(kind: str, arguments: Mapping[str, Any], counts: Counter[str]) -> str:
    """Those inside of a wrapper are made, and numbered, before it."""
    for key, inner in arguments.items():
        if key in INNER and isinstance(inner, Mapping):
            ((inner_kind, inner_arguments),) = inner.items()
            _name(inner_kind, inner_arguments or {}, counts)
    given = arguments.get("name")
    return _default(kind, counts) if given is None else str(given)


def _default(kind: str, counts: Counter[str]) -> str:
    base = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()
    number = counts[base]
    counts[base] += 1
    return f"{base}_{number}" if number else base
