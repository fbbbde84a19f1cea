"""Checks layers, losses, optimizers and metrics against Keras's own names, without importing Keras.

`catalogue.json` holds the names and signatures; `scripts/catalogue` writes it from the installed Keras.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache, partial
from importlib.resources import files
from typing import Any

from gpujobs.backends import TENSORFLOW
from gpujobs.jobfile.reader import Path, describe, dotted

MAX_HINTS = 20
"""Looking for near names takes a millisecond each, and a hostile file can hold thousands of wrong ones."""

MAX_LISTED = 25
TAKEN = ("loss", "val_loss", "epoch", "learning_rate")
"""Columns of history.csv that are no metrics: a metric of such a name would stand in their place."""

CODE_LAYERS = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_SINGULAR = {
    "layers": "layer",
    "losses": "loss",
    "metrics": "metric",
    "optimizers": "optimizer",
    "schedules": "learning rate schedule",
    "activations": "activation",
    "initializers": "initializer",
    "regularizers": "regularizer",
    "constraints": "constraint",
}
_EXAMPLE = {
    "layers": "LSTM",
    "optimizers": "Adam",
    "losses": "Huber",
    "metrics": "AUC",
    "initializers": "HeNormal",
    "schedules": "ExponentialDecay",
    "activations": "tanh",
    "regularizers": "L2",
    "constraints": "MaxNorm",
}
_SECTION_OF = {
    "activation": "activations",
    "initializer": "initializers",
    "regularizer": "regularizers",
    "constraint": "constraints",
    "layer": "layers",
}


SCOPES = {"layers": "[A-Za-z0-9_.>-]*", "optimizers": "([A-Za-z0-9.][A-Za-z0-9_.>-]*)?"}
SCOPES |= {"losses": SCOPES["layers"], "schedules": SCOPES["layers"]}
"""What TensorFlow takes for the `name` of what has a scope of its own in its graph; an optimizer's is outermost."""


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Any]:
    text = files("gpujobs.jobfile").joinpath("catalogue.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


CALLED = {
    "lr": "learning_rate",
    "rmse": "root_mean_squared_error",
    "sep": "separator",
    "delimiter": "separator",
}
"""What people call what Keras names otherwise."""


OF_QUANTILES = re.compile("quantile|pinball", re.IGNORECASE)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing where no known name resembles it."""
    name = CALLED.get(name.lower(), name)
    by_lower = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""


def among(name: str, known: Iterable[str]) -> str:
    """As `nearest`; where nothing resembles it, all that there is."""
    known = list(known)
    shown, more = known[:MAX_LISTED], len(known) - MAX_LISTED
    every = f"; expected {', '.join(shown)}{f' or one of {more} more' if more > 0 else ''}" if known else ""
    return nearest(name, known) or every


def _plain_name(name: str) -> str:
    """One like it that every backend takes."""
    letters = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    ascii_only = "".join(c for c in letters if not unicodedata.combining(c))
    return re.sub(r"[^A-Za-z0-9.-]+", "_", ascii_only).strip("_-") or "another_name"


UNFIT = {
    "glu": "halves what a layer gives, and Keras counts on all of it; expected one that keeps it, such as swish",
    "threshold": "Keras cannot compute without arguments, which an activation has none of; expected relu, say",
}
"""Activations that Keras knows by name, and that no layer of a job can use: why, and which can be."""

GIVEN = {"Normalization": ("mean", "variance")}
"""Arguments of layers that Keras takes from data by `adapt` where they are not given."""

LARGEST = 3.4e38
"""What Keras computes with are float32."""


def _is_number(value: Any) -> bool:
    """Finite ones: of others nothing is learned."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_integer(value) and value >= 1


def _is_amount(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _one_or_some(accepts: Callable[[Any], bool], value: Any) -> bool:
    return accepts(value) or (isinstance(value, list) and bool(value) and all(map(accepts, value)))


def _nested(accepts: Callable[[Any], bool], value: Any) -> bool:
    """A number, or lists of them of any depth."""
    if isinstance(value, list):
        return bool(value) and all(_nested(accepts, one) for one in value)
    return accepts(value)


RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "count": (_is_count, "an integer of at least 1"),
    "size": (partial(_one_or_some, _is_count), "an integer of at least 1, or a list of them"),
    "rate": (lambda value: _is_number(value) and 0 <= value < 1, "a number of at least 0 and below 1"),
    "number": (_is_number, "a number"),
    "share": (lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "amount": (_is_amount, "a number of at least 0"),
    "positive": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "integer": (_is_integer, "an integer"),
    "index": (lambda value: _is_integer(value) and value >= 0, "an integer of at least 0"),
    "zero": (
        lambda value: _is_integer(value) and value == 0,
        "0: Keras computes no other in a training's step",
    ),
    "axes": (partial(_one_or_some, _is_integer), "the number of an axis, or a list of them"),
    "numbers": (partial(_nested, _is_number), "a number, or a list of numbers"),
    "amounts": (partial(_nested, _is_amount), "a number of at least 0, or a list of such numbers"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "string": (lambda value: isinstance(value, str), "text"),
    "any": (lambda value: True, ""),
}


@dataclass(slots=True)
class KerasCheck:
    """One pass over what a job file says in Keras's words. Problems gather in `problems`, by path."""

    problems: list[tuple[Path, str]] = field(default_factory=list)
    backend: str = TENSORFLOW
    """Keras's own rule is that a name has no slash; TensorFlow has more."""

    def layers(self, value: list[Any], path: Path) -> list[dict[str, Any]]:
        """Every layer as {Name: {arguments}}."""
        return [self.named("layers", layer, (*path, index)) for index, layer in enumerate(value)]

    def loss(self, value: Any, path: Path) -> Any:
        return self.named("losses", value, path)

    def metrics(self, value: list[Any], path: Path) -> list[Any]:
        return [self.named("metrics", metric, (*path, index)) for index, metric in enumerate(value)]

    def optimizer(self, value: Any, path: Path) -> Any:
        """As {Name: {arguments}}, whichever way it was written."""
        return self.named("optimizers", value, path)

    def named(self, section: str, value: Any, path: Path) -> Any:
        """A name, or {Name: {arguments}}, of a section of the catalogue; as the resolved form has it."""
        known = catalogue()[section]
        if isinstance(value, str):
            return self._bare_name(section, value, path)
        if not isinstance(value, dict) or len(value) != 1:
            found = f"has {len(value)} keys" if isinstance(value, dict) else f"is {describe(value)}"
            form = f"the name of one {_SINGULAR[section]}"
            if known["classes"]:
                form += f", or {{{_EXAMPLE.get(section, 'Name')}: {{arguments}}}}"
            self._report(path, f"{found}; expected {form}")
            return value
        [(written, arguments)] = value.items()
        name = known["ids"].get(written, written)
        signature = known["classes"].get(name)
        if signature is None:
            if written in known["ids"]:
                self._report(
                    (*path, written), f"is a function, which takes no arguments; write {written} alone"
                )
            else:
                self._unknown(section, written, (*path, written))
            return value
        checked = self._arguments(signature, arguments, (*path, written))
        self._require_given(section, name, checked, (*path, written))
        self._check_name(section, checked.get("name"), (*path, written, "name"))
        if section == "metrics" and checked.get("name") in TAKEN:
            self._report(
                (*path, written, "name"),
                f'is "{checked["name"]}", a column of history.csv already; expected another name',
            )
        return {name: checked}

    def _bare_name(self, section: str, written: str, path: Path) -> Any:
        known = catalogue()[section]
        name = known["ids"].get(written, written)
        signature = known["classes"].get(name)
        if signature is None:
            if written not in known["ids"]:
                self._unknown(section, written, path)
            elif section == "activations" and name in UNFIT:
                self._report(path, f"is {written}, which {UNFIT[name]}")
            return written
        missing = self._missing(signature, ())
        if missing:
            self._report(
                path, f"is {written}, which needs {missing}; write {{{written}: {{{missing}: ...}}}}"
            )
        self._require_given(section, name, {}, path)
        return {name: {}} if section in ("layers", "optimizers", "schedules") else written

    def _require_given(self, section: str, name: str, arguments: dict[str, Any], path: Path) -> None:
        lacking = [key for key in GIVEN.get(name, ()) if arguments.get(key) is None]
        if section == "layers" and lacking:
            needs = "needs" if path[-1] == name else f"is {name}, which needs"
            self._report(
                path,
                f"{needs} {' and '.join(lacking)}: Keras learns them in a call of its own, which no job makes, and "
                "without them the layer changes nothing; give them, or leave it out and say data.scaling",
            )

    def _unknown(self, section: str, name: str, path: Path) -> None:
        known = catalogue()[section]
        if name in CODE_LAYERS:
            message = "is a layer that carries code; only Keras's built-in layers without code can be used"
        else:
            hint = self._hint(name, [*known["classes"], *known["ids"]])
            hint = hint or f"; expected the name of one of Keras's, such as {_EXAMPLE[section]}"
            if section == "losses" and OF_QUANTILES.search(name):
                hint = (
                    ": Keras has none of quantiles; expected mean_absolute_error, say, which makes the median"
                )
            message = f"is not a known {_SINGULAR[section]}{hint}"
            if path[-1] != name:
                message = f"is {describe(name)}, {message[3:]}"
        self._report(path, message)

    def _hint(
        self, name: str, known: Iterable[str], how: Callable[[str, Iterable[str]], str] = nearest
    ) -> str:
        return how(name, known) if len(self.problems) < MAX_HINTS else ""

    def _arguments(self, signature: dict[str, Any], arguments: Any, path: Path) -> dict[str, Any]:
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, dict):
            first = next((name for name, one in signature.items() if one.get("required")), None)
            hint = f"; write {path[-1]}: {{{first}: {arguments}}}" if first and _is_number(arguments) else ""
            self._report(path, f"is {describe(arguments)}; expected a mapping of arguments{hint}")
            return {}
        checked = {}
        for name, value in arguments.items():
            if name not in signature:
                self._report(
                    (*path, name), f"is not an argument of {path[-1]}{self._hint(name, signature, among)}"
                )
            else:
                checked[name] = self._argument(signature[name], value, (*path, name))
        missing = self._missing(signature, arguments)
        if missing:
            self._report(path, f"needs {missing}")
        return checked

    def _check_name(self, section: str, name: Any, path: Path) -> None:
        if section not in SCOPES or not isinstance(name, str):
            return
        allowed = SCOPES[section] if self.backend == TENSORFLOW else "[^/]*"
        if re.fullmatch(allowed, name):
            return
        expected = "a name without /"
        if self.backend == TENSORFLOW:
            expected = "letters from a to z, digits, '_', '-' and '.'"
            expected += ", the first a letter, digit or '.'" if section == "optimizers" else ""
        self._report(path, f'is "{name}"; expected {expected}; write {_plain_name(name)}')

    @staticmethod
    def _missing(signature: dict[str, Any], given: Iterable[str]) -> str:
        required = [name for name, one in signature.items() if one.get("required") and name not in given]
        return " and ".join(required)

    def _argument(self, rule: dict[str, Any], value: Any, path: Path) -> Any:
        kind = rule["type"]
        if value is None and (rule.get("optional") or kind in ("activation", "any")):
            return None
        if kind in _SECTION_OF:
            return self.named(_SECTION_OF[kind], value, path)
        if kind == "learning_rate":
            return self._learning_rate(value, path)
        accepts, expected = RULES[kind]
        if not accepts(value):
            self._report(path, f"is {describe(value)}; expected {expected}")
        return value

    def _learning_rate(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return self.named("schedules", value, path)
        if not _is_amount(value):
            self._report(
                path, f"is {describe(value)}; expected a number of at least 0, or a learning rate schedule"
            )
        return value

    def _report(self, path: Path, message: str) -> None:
        self.problems.append((path, f"{dotted(path)} {message}"))
