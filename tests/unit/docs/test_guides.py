"""The guides name commands, settings, places and pictures that are there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from gpujobs.cli.app import COMMANDS
from gpujobs.cli.main import cli
from gpujobs.config import site

DOCS = Path(__file__).parents[3] / "docs"
GUIDES = [DOCS / "guide-users.md", DOCS / "guide-admin.md"]
TEXTS = {guide.name: guide.read_text(encoding="utf-8") for guide in GUIDES}
PICTURES = sorted((DOCS / "pictures").iterdir())

COMMAND = re.compile(r"(?:^|`|sudo )gpujobs ([a-z]+)((?: [^`#\n]+)?)", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_commands_and_their_options_exist_also_within_sentences(guide: Path) -> None:
    found = COMMAND.findall(TEXTS[guide.name])
    assert len(found) > 20
    for name, rest in found:
        assert name in COMMANDS, name
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known | {"--help"}, f"{name}{rest}"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_links_lead_to_headings_that_are_there(guide: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", TEXTS[guide.name])
    assert links
    for page, anchor in links:
        assert anchor in anchors(DOCS / page if page else guide), f"{page}#{anchor}"


def test_pictures_are_small_and_those_that_are_shown_are_there() -> None:
    sizes = [picture.stat().st_size for picture in PICTURES]
    assert sizes and max(sizes) < 200_000 and sum(sizes) < 2_000_000
    shown = {name for text in TEXTS.values() for name in re.findall(r"\(pictures/([^)]+)\)", text)}
    assert shown <= {picture.name for picture in PICTURES}


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", TEXTS["guide-admin.md"], re.DOTALL))
def test_settings_of_the_admins_guide_are_read(text: str, tmp_path: Path) -> None:
    file = tmp_path / "gpujobs.toml"
    file.write_text(text)
    assert site.read(file) != site.SiteConfig()


def test_examples_of_the_users_guide_are_those_of_the_samples() -> None:
    (data, _) = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", TEXTS["guide-users.md"], re.DOTALL))
    sample = yaml.safe_load((DOCS.parent / "jobs/forecast-load.yaml").read_text())["data"]
    assert data["data"].items() <= {**sample, "train": "load.csv"}.items()


def test_figures_that_an_alarm_is_made_of_are_on_the_page_of_metrics() -> None:
    page = (DOCS / "web.md").read_text(encoding="utf-8")
    names = re.findall(r"gpujobs_\w+", TEXTS["guide-admin.md"])
    assert names
    for name in names:  # the page has `…_foreign_processes` for that of a device
        assert f"`{name}`" in page or f"`{name.replace('gpujobs_device', '…')}`" in page, name
