"""Commands in the pages exist, with these options, and README.md has all of them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from gpujobs.cli.app import COMMANDS
from gpujobs.cli.main import cli

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def lines(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    every = [line.removeprefix("sudo ") for block in blocks for line in block.splitlines()]
    found = [line for line in every if line.startswith("gpujobs ")]
    return [line for line in found if "COMMAND" not in line]


@pytest.mark.parametrize(
    ("page", "line"), [(page.name, line) for page in PAGES for line in lines(page)], ids=str
)
def test_commands_are_read_as_they_stand(page: str, line: str) -> None:
    _, name, *arguments = [word for word in shlex.split(line, comments=True) if word != "&"]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, page
    command.make_context(name, arguments)


def test_readme_has_every_command() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("| to | commands |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"`([a-z]+)`", table)) == sorted(COMMANDS)


def test_the_architecture_names_files_that_are_there() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")))
    there = [
        f"/{file.relative_to(ROOT)}"
        for room in ("gpujobs", "scripts", "tests")
        for file in (ROOT / room).rglob("*.py")
    ]
    assert len(named) > 50
    assert [name for name in sorted(named) if not any(file.endswith(f"/{name}") for file in there)] == []


def test_links_to_files_resolve() -> None:
    for page in [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"))]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
