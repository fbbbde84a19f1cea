"""How the steps of a model's inputs come to its outputs, as the job file has the layers: whether an output has a value
for each step of an input, whether steps are masked on the way, and which layers see an input as the file has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gpujobs.jobfile.consistency import outputs_of
from gpujobs.jobfile.layer_names import RECURRENT

ENDING_STEPS = (
    "Flatten", "Reshape", "RepeatVector", "Permute",
    *(f"Global{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)),
)  # fmt: skip
CHANGING_STEPS = ("Cropping", "ZeroPadding", "UpSampling", "MaxPooling", "AveragePooling", "Adaptive")
"""The beginnings of the names of layers behind which a step is another than the input's."""
KEEPING_ZEROS = ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout")
KEEPING_VALUES = ("Identity", "ActivityRegularization")


@dataclass(frozen=True, slots=True)
class Way:
    """How an input comes to a place of the model. `is_masked`: on every way to it. `has_values`: as the file has them;
    `has_zeros`: what is 0 in the file is still 0."""

    is_masked: bool = False
    has_values: bool = True
    has_zeros: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """An Embedding or a Masking that reads an input as the file has it; not `is_own`: a Masking that reads what a layer
    has made of it."""

    input: str
    kind: str
    arguments: Mapping[str, Any]
    is_own: bool = True


Ways = dict[str, Way]


def steps_of(job: Mapping[str, Any], output: str, own: Iterable[str]) -> dict[str, bool]:
    """The inputs, of those that have steps (`own`), for whose steps an output (the only one need not be called so) has
    a value each; and whether a mask of the input's own padding is on every way from it."""
    places = _places(job, own, [])
    names = outputs_of(job)
    found = places[output if output in names else names[0]] if names else places[""]
    return {name: way.is_masked for name, way in found.items()}


def readings(job: Mapping[str, Any], inputs: Iterable[str]) -> list[Reading]:
    """In the order of the file."""
    return [one for one in _readings(job, inputs) if one.is_own]


def has_learned_mask(job: Mapping[str, Any], inputs: Iterable[str]) -> bool:
    """Whether steps are masked by what layers make of them, which depends on what they have learned."""
    return any(not one.is_own for one in _readings(job, inputs))


def _readings(job: Mapping[str, Any], inputs: Iterable[str]) -> list[Reading]:
    found: list[Reading] = []
    _places(job, inputs, found)
    return found


def _places(job: Mapping[str, Any], inputs: Iterable[str], found: list[Reading]) -> dict[str, Ways]:
    """What comes out of each branch, by name; of layers without branches, by \"\"."""
    branches = job["model"].get("branches")
    given = {name: Way() for name in inputs}
    if not branches:
        return {"": _through(job["model"]["layers"], given, found)}
    places: dict[str, Ways] = {name: {name: way} for name, way in given.items()}
    for name, branch in branches.items():
        places[name] = _through(branch["layers"], _merged(places, branch["inputs"]), found)
    return places


def _merged(places: Mapping[str, Ways], names: list[str]) -> Ways:
    """Where several come together no input is as the file has it. What comes from no input's steps (facts, a vector
    that is repeated) has none of its own."""
    if len(names) == 1:
        return places.get(names[0], {})
    merged: Ways = {}
    for one in names:
        for name, way in places.get(one, {}).items():
            is_masked = way.is_masked and merged.get(name, way).is_masked
            merged[name] = Way(is_masked, has_values=False, has_zeros=False)
    return merged


def _through(layers: Iterable[Any], ways: Ways, found: list[Reading]) -> Ways:
    for kind, arguments in _kinds(layers):
        if kind in ENDING_STEPS or (kind in RECURRENT and not arguments.get("return_sequences")):
            return {}
        ways = {name: _after(kind, arguments, name, way, found) for name, way in ways.items()}
    return ways


def _kinds(layers: Iterable[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for layer in layers:
        ((kind, arguments),) = layer.items()
        if kind == "Bidirectional":
            ((kind, arguments),) = arguments["layer"].items()
        yield kind, arguments or {}


def _after(kind: str, arguments: Mapping[str, Any], name: str, way: Way, found: list[Reading]) -> Way:
    """A mask of anything else than an input's own values is Keras's business: it depends on weights. So is one behind a
    layer that makes other steps: Keras has none there."""
    if kind.startswith(CHANGING_STEPS):
        return Way(has_values=False, has_zeros=False)
    if kind in KEEPING_VALUES:
        return way
    if kind in KEEPING_ZEROS:
        return replace(way, has_values=False)
    masks = kind == "Masking" and (way.has_values or (way.has_zeros and not arguments.get("mask_value")))
    if kind == "Masking" and not masks:
        found.append(Reading(name, kind, arguments, is_own=False))
    if masks or (kind == "Embedding" and way.has_values):
        found.append(Reading(name, kind, arguments))
        masks = masks or bool(arguments.get("mask_zero"))
    return Way(way.is_masked or masks, has_values=False, has_zeros=False)
