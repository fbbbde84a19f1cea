"""The man page gpujobs(1), made from the help of the commands: `python -m gpujobs.cli.manual`.

One page with all commands, as git's and pueue's users find theirs by searching; click-man makes a page of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from gpujobs import __version__
from gpujobs.cli.app import COMMANDS
from gpujobs.cli.main import cli

EXIT_CODES = (
    ("0", "done"),
    ("1", "a job did not complete"),
    ("2", "usage, or an invalid job file"),
    ("3", "the daemon cannot be reached, or is of another version"),
    ("4", "the machine lacks something (driver, store, disk)"),
    ("5", "not permitted"),
    ("130", "interrupted"),
)

FILES = (
    (
        "/etc/gpujobs/gpujobs.toml",
        "the configuration of a site; gpujobs.toml in the user's configuration directory",
    ),
    ("/var/lib/gpujobs", "the store, data and results of a site"),
    ("/run/gpujobs/gpujobs.sock", "where a site's daemon is reached"),
)

ENVIRONMENT = (
    ("GPUJOBS_SOCKET, GPUJOBS_STATE_DIR, GPUJOBS_CONFIG", "as the options of these names"),
    ("NO_COLOR", "where it is set, no colours are used"),
)


def page() -> str:
    """In the man macros, man(7)."""
    lines = [
        f'.TH GPUJOBS 1 "" "gpujobs {__version__}" "User Commands"',
        ".SH NAME",
        r"gpujobs \- training jobs on the GPUs of a shared machine",
        ".SH SYNOPSIS",
        ".B gpujobs",
        ".I COMMAND",
        "[OPTION]... [ARGUMENT]...",
        ".SH DESCRIPTION",
        _text(cli.help or ""),
        ".SH COMMANDS",
    ]
    for name in COMMANDS:
        lines += _command(name)
    lines += [".SH OPTIONS OF EVERY COMMAND", *_options(_contexts(cli, "gpujobs"))]
    for title, pairs in (("EXIT STATUS", EXIT_CODES), ("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT)):
        lines += [f".SH {title}", *_pairs(pairs)]
    return "\n".join(lines) + "\n"


def _contexts(command: click.Command, name: str) -> click.Context:
    return click.Context(command, info_name=name)


def _command(name: str) -> Iterator[str]:
    command = cli.get_command(_contexts(cli, "gpujobs"), name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=_contexts(cli, "gpujobs"))
    yield f".SS {_text(f'gpujobs {name}')} {_text(' '.join(command.collect_usage_pieces(context)))}"
    for paragraph in (command.help or "").split("\n\n"):
        yield from (_text(" ".join(paragraph.split())), ".PP")
    yield from _options(context)
    example = (command.epilog or "").partition("Example:")[2].strip()
    if example:
        yield from (".PP", "Example:", ".PP", ".nf", ".RS", _text(example), ".RE", ".fi")


def _options(context: click.Context) -> Iterator[str]:
    """Without those that every command has, which stand once."""
    shared = {"socket", "state_dir", "config", "verbose"} if context.parent else set()
    for parameter in context.command.get_params(context):
        is_told = isinstance(parameter, click.Option) and "--help" not in parameter.opts
        record = parameter.get_help_record(context) if is_told else None
        if record is not None and parameter.name not in shared:
            yield from _pairs([record])


def _pairs(pairs: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> Iterator[str]:
    for term, text in pairs:
        yield from (".TP", rf"\fB{_text(term)}\fR", _text(text))


def _text(text: str) -> str:
    r"""A line may begin with neither a dot nor an apostrophe; `-` is a hyphen, `\-` what people type."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^(?=[.'])", r"\\&", escaped, flags=re.MULTILINE)


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201
