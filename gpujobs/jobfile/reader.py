"""From the text of a job file to plain values, and from each value back to its line.

YAML is read as version 1.2, core schema: `no` is a string, `010` is ten, `1:30` is a string. JSON is
YAML 1.2. What makes a file mean something other than what it looks like is refused: aliases, tags, merge
keys, duplicate keys.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml: the same events, thirty times slower
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_KEY_LENGTH = 200

Path = tuple[str | int, ...]
"""Keys and list positions from the top of the file."""


class ReadError(ValueError):
    """What makes a text unreadable. `line` counts from 1; None where no line is to blame."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Document:
    """`tree`: the file's mapping. `lines`: the line of each key and list entry. Neither is ever changed."""

    tree: dict[str, Any]
    lines: dict[Path, int]
    problems: tuple[tuple[int, str], ...] = ()

    def line(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest thing around it that the file has."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


@lru_cache(maxsize=64)
def read(text: str, language: str) -> Document:
    """`language`: "toml", anything else is YAML. Raises ReadError where nothing sensible can be read."""
    _refuse_unreadable(text)
    return _read_toml(text) if language == "toml" else _YamlReader(text).document()


def _refuse_unreadable(text: str) -> None:
    if len(text) > MAX_BYTES:
        raise ReadError(None, f"the file has {len(text)} characters; a job file has at most {MAX_BYTES}")
    if not text.strip("\ufeff \t\r\n"):
        raise ReadError(None, "the file is empty; expected a job file (see jobs/tutorial.yaml)")
    bad = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]", text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        if "\ud800" <= bad.group() <= "\udfff":
            raise ReadError(line, "the file is not UTF-8 text; save it as UTF-8")
        what = (
            "a NUL byte (0x00)" if bad.group() == "\0" else f"the control character {ord(bad.group()):#04x}"
        )
        raise ReadError(line, f"the file has {what}; is it a text file?")


_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def plain_scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar (YAML 1.2.2, section 10.3.2). ValueError for unusable numbers."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        if len(text) > 20:
            raise ValueError(f"{text[:20]}... is too large a number")
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ValueError(f"{text[:20]} is too large a number")
        return value
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number; quote it if text is meant")
    return text


@dataclass(slots=True)
class _Open:
    """A collection that is being read. `key` is the key whose value comes next."""

    value: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None


@dataclass(slots=True)
class _YamlReader:
    """Builds the tree from parser events, so that depth and aliases are seen before they cost anything."""

    text: str
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    roots: list[Any] = field(default_factory=list)

    def document(self) -> Document:
        try:
            for event in self._events():
                self._take(event)
        except yaml.MarkedYAMLError as error:
            raise ReadError(*_yaml_problem(error, self.text)) from None
        except yaml.YAMLError as error:
            raise ReadError(None, f"not YAML: {' '.join(str(error).split())}") from None
        if not self.roots:
            raise ReadError(
                None, "the file holds only comments; expected a job file (see jobs/tutorial.yaml)"
            )
        root = self.roots[0]
        if not isinstance(root, dict):
            raise ReadError(
                1, f"the file is {describe(root)}; expected a mapping with keys such as name, data, model"
            )
        return Document(root, self.lines, tuple(self.problems))

    def _events(self) -> Iterator[Any]:
        loader = _Loader(self.text)
        try:
            while loader.check_event():
                yield loader.get_event()
        finally:
            loader.dispose()

    def _take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_node_properties(event, line)
            self._scalar(event, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._refuse_node_properties(event, line)
            self._open({} if isinstance(event, yaml.MappingStartEvent) else [], line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.stack.pop()
        elif isinstance(event, yaml.AliasEvent):
            raise ReadError(
                line, f"*{event.anchor} is an alias; write the value out (sweep: makes many jobs of one file)"
            )
        elif isinstance(event, yaml.DocumentStartEvent) and self.roots:
            raise ReadError(
                line, "a second document starts here; a job file holds one (sweep: makes many jobs)"
            )

    def _refuse_node_properties(self, event: Any, line: int) -> None:
        if event.anchor is not None:
            raise ReadError(line, f"&{event.anchor} is an anchor; job files have none, write values out")
        if event.tag is not None:
            raise ReadError(line, f"{event.tag} is a tag; job files hold plain values only")

    def _scalar(self, event: Any, line: int) -> None:
        value: Any = event.value
        if event.implicit[0]:
            try:
                value = plain_scalar(value)
            except ValueError as error:
                self.problems.append((line, str(error)))
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, value, event, line)
        else:
            self._place(value, line)

    def _key(self, top: _Open, key: Any, event: Any, line: int) -> None:
        if key == "<<" and event.implicit[0]:
            raise ReadError(line, "<< is a merge key; job files have none, write the values out")
        if not isinstance(key, str):
            self.problems.append((line, f"the key {event.value} is not text; quote it"))
            key = str(event.value)
        if len(key) > MAX_KEY_LENGTH:
            raise ReadError(line, f"a key of {len(key)} characters; keys have at most {MAX_KEY_LENGTH}")
        path = (*top.path, key)
        assert isinstance(top.value, dict)
        if key in top.value:
            first = self.lines[path]
            self.problems.append(
                (line, f"the key {dotted(path)} is here twice; the first is on line {first}")
            )
        else:
            self.lines[path] = line
        top.key = key

    def _open(self, value: dict[str, Any] | list[Any], line: int) -> None:
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            raise ReadError(line, "a key is a list or a mapping here; keys are text")
        if len(self.stack) >= MAX_DEPTH:
            raise ReadError(line, f"more than {MAX_DEPTH} levels of nesting")
        self.stack.append(_Open(value, self._place(value, line)))

    def _place(self, value: Any, line: int) -> Path:
        if not self.stack:
            self.roots.append(value)
            return ()
        top = self.stack[-1]
        if isinstance(top.value, list):
            path: Path = (*top.path, len(top.value))
            self.lines[path] = line
            top.value.append(value)
            return path
        assert top.key is not None
        path = (*top.path, top.key)
        top.value.setdefault(top.key, value)
        top.key = None
        return path


def _yaml_problem(error: yaml.MarkedYAMLError, text: str) -> tuple[int | None, str]:
    mark = error.problem_mark or error.context_mark
    line = None if mark is None else mark.line + 1
    if mark is not None and "cannot start any token" in (error.problem or ""):
        return line, f"not YAML: {_cannot_begin(text[mark.index : mark.index + 1])}"
    where = f", {error.context}" if error.context else ""
    return line, f"not YAML: {error.problem or 'unreadable'}{where}"


def _cannot_begin(character: str) -> str:
    if character == "\t":
        return "a tab stands where the line is indented; use spaces"
    return f"no value can begin with {character!r}; quote it if text is meant"


def read_value(text: str) -> Any:
    """One YAML value, as `--set KEY=VALUE` and no file has it. Raises ReadError."""
    document = _YamlReader("value:\n  " + text if "\n" not in text else "value: " + text)
    try:
        found = document.document()
    except ReadError as error:
        raise ReadError(None, error.message) from None
    if found.problems:
        raise ReadError(None, found.problems[0][1])
    if set(found.tree) != {"value"}:
        raise ReadError(None, "one value is expected; quote text that holds ': ' or '#'")
    return found.tree["value"]


def _read_toml(text: str) -> Document:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\(at line (\d+), column \d+\)", str(error))
        message = str(error)[: at.start()].strip() if at else str(error)
        last_line = text.rstrip("\n").count("\n") + 1
        raise ReadError(int(at[1]) if at else last_line, f"not TOML: {message}") from None
    except (RecursionError, ValueError):
        raise ReadError(None, f"more than {MAX_DEPTH} levels of nesting, or too large a number") from None
    lines = toml_lines(text)
    problems: list[tuple[int, str]] = []
    _check_plain(tree, (), Document(tree, lines), problems)
    return Document(tree, lines, tuple(problems))


_TOML_TABLE = re.compile(r"\s*(\[\[?)\s*([\w.\-\"' ]+?)\s*\]\]?\s*(#.*)?$")
_TOML_KEY = re.compile(r"\s*([\w\-\"']+(?:\s*\.\s*[\w\-\"']+)*)\s*=")


def toml_lines(text: str) -> dict[Path, int]:
    """The lines of tables and of `key =`; keys inside inline tables have the line of what is around them."""
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TOML_TABLE.match(line):
            table = _toml_table(header, counts)
        elif key := _TOML_KEY.match(line):
            path = (*table, *_toml_parts(key[1]))
            lines.setdefault(path, number)
            continue
        else:
            continue
        lines.setdefault(table, number)
    return lines


def _toml_table(header: re.Match[str], counts: dict[Path, int]) -> Path:
    path: Path = ()
    parts = _toml_parts(header[2])
    for position, part in enumerate(parts):
        path = (*path, part)
        is_new_entry = header[1] == "[[" and position == len(parts) - 1
        if is_new_entry:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _toml_parts(text: str) -> list[str]:
    return [part.strip().strip("\"'") for part in text.split(".")]


def _check_plain(value: Any, path: Path, document: Document, problems: list[tuple[int, str]]) -> None:
    if len(path) > MAX_DEPTH:
        raise ReadError(document.line(path), f"more than {MAX_DEPTH} levels of nesting")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(item, (*path, key), document, problems)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_plain(item, (*path, index), document, problems)
    elif not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        message = f"{dotted(path)} is {value}; expected text, a finite number, true or false"
        problems.append((document.line(path) or 1, message))


def dotted(path: Path) -> str:
    """("model", "layers", 0, "LSTM") as model.layers[0].LSTM."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def describe(value: Any) -> str:
    """A value as a message shows it: short, on one line."""
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        shown = value if len(value) <= 60 else value[:57] + "..."
        return f'"{shown}"'
    return str(value)
