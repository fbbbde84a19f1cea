"""A directory for a daemon, and its settings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpujobs.config.settings import Settings, resolve
from gpujobs.daemon.daemon import Mode
from gpujobs.daemon.main import prepare_state
from gpujobs.paths import StatePaths
from tests.acceptance.harness import short_directory


@pytest.fixture
def root() -> Iterator[Path]:
    directory = short_directory()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def settings(root: Path) -> Settings:
    (root / "gpujobs.toml").write_text("")
    flags = {"state_dir": str(root / "s"), "config": str(root / "gpujobs.toml")}
    settings = resolve(flags, environ={})
    prepare_state(StatePaths(settings.state_dir), Mode.PERSONAL)
    return settings
