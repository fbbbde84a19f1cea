"""A changed gpujobs.toml under a daemon's running parts, without its cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpujobs.config.settings import resolve
from gpujobs.daemon import reload
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.paths import StatePaths

BEFORE = """\
max_retries = 3
[limits]
max_running = 4
[quotas]
results = "1GiB"
"""
AFTER = """\
cpu_slots = 7
max_retries = 5
[access]
hide_names = true
[limits]
max_running = 2
[quotas]
results = "2GiB"
data = "3GiB"
connections = 5
[priority]
half_life = "1d"
max_age = "1d"
[foreign]
policy = "ignore"
[retention]
results = "10d"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gpujobs.toml"
    path.write_text(BEFORE)
    return path


@pytest.fixture
def daemon(tmp_path: Path, config: Path) -> Iterator[Parts]:
    settings = resolve({"config": str(config), "state_dir": str(tmp_path / "s")}, mode="site", environ={})
    prepare_state(StatePaths(settings.state_dir), Mode.SITE)
    daemon = build(settings)
    daemon.in_force.file_values = reload.file_values(config)
    yield daemon
    daemon.store.close()


def test_rules_change_and_the_rest_is_named(
    daemon: Parts, config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config.write_text(AFTER)
    said = reload.reload(daemon.in_force)
    assert said.endswith("cpu_slots, priority.half_life, foreign.policy, quotas.connections need a restart")
    assert (
        daemon.snapshots.rules is daemon.in_force.rules
        and daemon.in_force.rules.limits.default.max_running == 2
    )
    assert daemon.in_force.settings.max_retries == 5
    assert daemon.in_force.access.access.hide_names and not daemon.foreign.names_people
    assert daemon.uploads.quotas is not None and daemon.uploads.quotas.data == 3 << 30
    assert daemon.specs.site.quotas.results == 2 << 30
    assert daemon.in_force.site.retention.results == 10 * 86400
    kept = daemon.in_force.site
    assert (kept.priority.half_life, kept.quotas.connections, str(kept.foreign.policy)) == (
        7 * 86400,
        64,
        "avoid",
    )
    assert daemon.in_force.rules.priority.max_age_seconds == 86400
    assert "limits.max_running: 4 -> 2" in caplog.text or "needs a restart" in caplog.text


def test_a_second_reload_still_names_what_waits(daemon: Parts, config: Path) -> None:
    config.write_text(AFTER)
    reload.reload(daemon.in_force)
    assert "priority.half_life" in reload.reload(daemon.in_force)
    assert "cpu_slots" in reload.reload(daemon.in_force)


def test_a_bad_file_changes_nothing_and_each_mistake_is_logged(
    daemon: Parts, config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = daemon.in_force.site, daemon.in_force.rules, daemon.in_force.settings
    config.write_text("[limits]\nmax_running = 'x'\n[quotas]\ndata = 'y'\n")
    assert "what counted before still counts" in reload.reload(daemon.in_force)
    assert (daemon.in_force.site, daemon.in_force.rules, daemon.in_force.settings) == before
    messages = [record.getMessage() for record in caplog.records]
    assert any(f"{config}:2: limits.max_running" in message for message in messages)
    assert any(f"{config}:4: quotas.data" in message for message in messages)
    config.write_text(BEFORE)
    assert reload.reload(daemon.in_force).endswith("0 settings changed")
