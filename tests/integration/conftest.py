"""A directory for a daemon, and its settings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpujobs import failpoints
from gpujobs.config.settings import Settings, resolve
from gpujobs.daemon.build import Parts
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.paths import StatePaths
from tests.acceptance.harness import short_directory

from .node import new_daemon


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


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Parts]:
    """Its parts, without Ray; no fail point outlives the test."""
    made = new_daemon(tmp_path / "s")
    yield made
    failpoints.arm("")
    made.store.close()
