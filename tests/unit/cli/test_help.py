"""What `--help` prints: readable at 80 columns, and its example is a command that would be read."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from gpujobs.cli.app import COMMANDS
from gpujobs.cli.main import cli


def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


def text_of(name: str) -> str:
    context = click.Context(
        command(name), info_name=f"gpujobs {name}", terminal_width=80, max_content_width=80
    )
    return context.get_help()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_columns_and_has_no_gaps_within_a_sentence(name: str) -> None:
    text = text_of(name)
    assert max(map(len, text.splitlines())) <= 80, text
    description = text.split("Options:")[0].split("\n", 1)[1]
    assert not re.search(r"\S {2,}\S", description), description


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    for option in command(name).params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help and option.help.endswith("."), option.name


@pytest.mark.parametrize("name", COMMANDS)
def test_what_stands_for_arguments_is_explained(name: str) -> None:
    """Where it is not just jobs or job files."""
    text = text_of(name)
    for argument in command(name).params:
        if isinstance(argument, click.Argument):
            (word, *_) = re.findall(r"[A-Z]+", argument.metavar or "")
            said = text.split("\n", 1)[1].split("Options:")[0]
            assert word in ("ID", "FILE") or re.search(rf"\b{word}\b", said), argument.metavar


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_is_read_as_it_stands(name: str) -> None:
    example = text_of(name).split("Example:\n")[1].strip()
    program, command_name, *arguments = shlex.split(example.removesuffix("&").split(">")[0])
    assert (program, command_name) == ("gpujobs", name)
    command(name).make_context(name, arguments)
