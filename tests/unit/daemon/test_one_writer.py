"""One place of the daemon changes the store, and handlers know services alone: read from the program's own text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import gpujobs.daemon
import gpujobs.store

DAEMON, STORE = (Path(next(iter(room.__path__))) for room in (gpujobs.daemon, gpujobs.store))

KEPT_APART = {"Store", "Uploads", "Devices", "UsageTable", "Reservations", "Pruning", "Presence", "News"}
"""The classes of the store whose methods change it."""


def writing_methods() -> set[str]:
    """By their own text: those that open a transaction, and those that call one that does, in however many steps."""
    methods = [
        method
        for path in STORE.glob("*.py")
        for kind in ast.walk(ast.parse(path.read_text()))
        if isinstance(kind, ast.ClassDef) and kind.name in KEPT_APART
        for method in kind.body
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("__")
    ]
    writing = {method.name for method in methods if "id='transaction'" in ast.dump(method)}
    while more := {method.name for method in methods if own_calls(method) & writing} - writing:
        writing |= more
    return {name for name in writing if not name.startswith("_")}


def own_calls(method: ast.AST) -> set[str]:
    """The methods that are called of `self`."""
    return {
        node.func.attr
        for node in ast.walk(method)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "self"
    }


def calls(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """(line, the name at the root, the method) of each call of a method: `self` for `self._store.uploads.add(...)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            root: ast.expr = node.func.value
            path = []
            while isinstance(root, ast.Attribute):
                path.append(root.attr)
                root = root.value
            if isinstance(root, ast.Name) and ("store" in path or "_store" in path or root.id == "store"):
                yield node.lineno, root.id, node.func.attr


def test_the_writing_methods_of_the_store_are_known() -> None:
    """Else the test below would hold nobody to anything."""
    assert {
        "submit",
        "start_attempt",
        "finish",
        "set_held",
        "set_priority",
        "set_time_limit",
        "set_reservation",
        "drain",
        "forget",
        "set_peak",
        "delete",
        "together",
    } <= (writing_methods())


def test_the_store_is_changed_within_the_writer_alone() -> None:
    """Such a function is given the store as `store`; who holds it as an attribute, reads."""
    writing = writing_methods()
    found = [
        f"{path.relative_to(DAEMON)}:{line} {method}"
        for path in sorted(DAEMON.rglob("*.py"))
        if path.name != "writer.py"
        for line, root, method in calls(ast.parse(path.read_text()))
        if method in writing and root != "store"
    ]
    assert found == []


def test_handlers_and_pages_import_no_store_no_cluster_and_no_whole_daemon() -> None:
    """They are given services. What they may have of the store are its values."""
    refused = (
        "gpujobs.daemon.build",
        "gpujobs.daemon.daemon",
        "gpujobs.daemon.writer",
        "gpujobs.cluster.link",
    )
    found = [
        f"{path.name}: {node.module}"
        for room in ("handlers", "live", "web")
        for path in sorted((DAEMON / room).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module in refused or node.module == "gpujobs.store.store")
    ]
    assert found == []
