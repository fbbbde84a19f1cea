"""TensorFlow's traced functions as bytes, and from bytes in another process: the definition of a function, with what it
takes and gives. The function is called as the process that has traced it calls it, with this one's own variables.

What a definition may do it may do with the rights of who runs it: it is read from where only that user writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.function_pb2 import FunctionDef, FunctionDefLibrary
from tensorflow.python.eager import context

LEAF = "batch_"
"""How the arguments of a function are named: the number says which leaf of a batch it is."""


def written(concrete: Any, variables: Sequence[Any]) -> bytes | None:
    """A concrete function that takes a batch, whose leaves are named by `leaf`, and of all else these variables. None
    of one that takes more, or gives what is no tensor and no mapping of names to tensors."""
    graph = concrete.graph
    known = {id(variable.value.handle): number for number, variable in enumerate(variables)}
    captured = [known.get(id(outer)) for outer, _ in graph.captures]
    leaves = [_number_of(one) for one in graph.inputs[: len(graph.inputs) - len(captured)]]
    names = _names_of(graph)
    if None in captured or None in leaves or names is None:
        return None
    library = [*graph.as_graph_def().library.function, concrete.function_def]
    definitions = _renamed(library).SerializeToString(deterministic=True)
    told = {
        "captured": captured, "leaves": leaves, "names": names, "gives": len(graph.outputs),
        "variables": _told(variables),
    }  # fmt: skip
    return json.dumps(told).encode() + b"\n" + definitions


def read(content: bytes, variables: Sequence[Any]) -> Callable[[Any], Any] | None:
    """What `written` has made, of variables like these; None where these are others. Raises what TensorFlow raises
    where it does not know what is in it."""
    head, _, definitions = content.partition(b"\n")
    told = json.loads(head)
    if told["variables"] != _told(variables):
        return None
    library, here = FunctionDefLibrary.FromString(definitions), context.context()
    here.ensure_initialized()
    for definition in library.function:
        if not here.has_function(definition.signature.name):
            here.add_function_def(definition)
    name, gives = library.function[-1].signature.name.encode(), told["gives"]
    handles = [variables[number].value.handle for number in told["captured"]]

    def step(batch: Any) -> Any:
        leaves = keras.tree.flatten(batch)
        given = [leaves[number] for number in told["leaves"]]
        return _named(told["names"], here.call_function(name, [*given, *handles], gives))

    step.captured = handles  # type: ignore[attr-defined]
    return step


def leaf(number: int) -> str:
    return f"{LEAF}{number}"


def _number_of(placeholder: Any) -> int | None:
    digits: str = placeholder.op.name.removeprefix(LEAF)
    return int(digits) if digits.isdecimal() else None


def _names_of(graph: Any) -> list[list[Any]] | int | None:
    """Of the outputs: each name with its place, or the place of the only one; None where they are something else."""
    places = {id(tensor): number for number, tensor in enumerate(graph.outputs)}
    given = graph.structured_outputs
    if isinstance(given, Mapping):
        named = [[name, places.get(id(tensor))] for name, tensor in given.items()]
        return named if all(isinstance(name, str) and place is not None for name, place in named) else None
    return places.get(id(given))


def _named(names: list[list[Any]] | int, outputs: Sequence[Any]) -> Any:
    return outputs[names] if isinstance(names, int) else {name: outputs[place] for name, place in names}


def _told(variables: Iterable[Any]) -> list[list[Any]]:
    return [[one.path, list(one.shape), keras.backend.standardize_dtype(one.dtype)] for one in variables]


def _renamed(library: Sequence[Any]) -> Any:
    """With names that no function has that is traced elsewhere: those are numbered in each process alike."""
    mark = hashlib.sha256(b"".join(one.SerializeToString(deterministic=True) for one in library)).hexdigest()[
        :24
    ]
    names = {one.signature.name: f"gpujobs_{mark}_{number}" for number, one in enumerate(library)}
    found = FunctionDefLibrary()
    for one in library:
        definition: Any = FunctionDef()
        definition.CopyFrom(one)
        definition.signature.name = names[one.signature.name]
        for node in definition.node_def:
            node.op = names.get(node.op, node.op)
            _rename(node.attr.values(), names)
        _rename(definition.attr.values(), names)
        found.function.append(definition)
    return found


def _rename(attributes: Iterable[Any], names: Mapping[str, str]) -> None:
    for attribute in attributes:
        for function in _functions(attribute):
            function.name = names.get(function.name, function.name)
            _rename(function.attr.values(), names)
        if (text := attribute.s.decode("latin1")) in names:
            attribute.s = names[text].encode()


def _functions(attribute: AttrValue) -> Iterator[Any]:
    if attribute.WhichOneof("value") == "func":
        yield attribute.func
    yield from attribute.list.func


def is_of_use() -> bool:
    """On a GPU it has not been measured."""
    return not tf.config.list_logical_devices("GPU")
