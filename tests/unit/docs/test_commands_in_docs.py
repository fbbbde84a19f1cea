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
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
ABOUT_THE_CODE = [*PAGES, *DECISIONS, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]
ROOMS = [ROOT / room for room in ("gpujobs", "scripts", "tests", "docs")]
THERE = [str(file) for room in ROOMS for file in room.rglob("*") if "__pycache__" not in file.parts]
"""Files and folders."""


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


def names(page: Path, pattern: str) -> set[str]:
    return set(re.findall(rf"`({pattern})`", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", ABOUT_THE_CODE, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = names(page, r"[\w./-]+\.py") | names(page, r"(?:gpujobs|scripts|tests|docs)/[\w./-]+")
    assert [
        name for name in sorted(named) if not any(file.endswith(f"/{name.rstrip('/')}") for file in THERE)
    ] == []


def test_the_pages_name_files() -> None:
    assert len(names(ROOT / "ARCHITECTURE.md", r"[\w/]+\.py")) > 50
    assert len(names(ROOT / "CONTRIBUTING.md", r"[\w/]+\.py")) > 20


def test_recipes_name_what_is_in_the_code() -> None:
    """Constants, functions and tests, but for what a reader of the recipes makes."""
    text = "".join(Path(file).read_text(encoding="utf-8") for file in THERE if file.endswith(".py"))
    named = names(ROOT / "CONTRIBUTING.md", r"[A-Z_]{4,}|_?[a-z]+_[a-z_]+")
    assert len(named) > 25
    assert [name for name in sorted(named) if not re.search(rf"\b{name}\b", text)] == []


def test_private_names_that_are_imported_have_their_row() -> None:
    page = (ROOT / "docs/decisions/0010-private-apis.md").read_text(encoding="utf-8")
    private = re.compile(r"from (?:keras\.src|tensorflow\.python|ray\._private)\S* import (\w+)")
    sources = [Path(file) for file in THERE if file.startswith(f"{ROOT}/gpujobs/") and file.endswith(".py")]
    found = {name for source in sources for name in private.findall(source.read_text(encoding="utf-8"))}
    assert len(found) > 8
    unnamed = [name for name in sorted(found) if not re.search(rf"\b{name}\b", page)]
    assert unnamed == ["context"]  # a module: its class, EagerContext, has the row


def test_links_to_files_resolve() -> None:
    for page in [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"))]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
