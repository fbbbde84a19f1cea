"""A changed gpujobs.toml, taken over by a daemon that runs: `systemctl reload`, which is SIGHUP.

What cannot change under way keeps its value, and is named. A file with mistakes changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpujobs.config import file as configfile
from gpujobs.config import site as siteconfig
from gpujobs.config.settings import KEYS, config_path
from gpujobs.config.site import SiteConfig
from gpujobs.daemon.in_force import InForce
from gpujobs.errors import ConfigError

FIXED = ("state_dir", "socket", "cpu_slots", "require_gpu")
"""Keys of the file's top that a daemon begins with."""

log = logging.getLogger(__name__)


def reload(in_force: InForce) -> str:
    """Says in one line what has come of it; the log has each change and each mistake."""
    path = in_force.settings.config or config_path(mode=in_force.mode)
    try:
        site = siteconfig.read(path)
    except ConfigError as error:
        for problem in error.problems:
            log.error("%s", problem)
        said = f"{path} has mistakes: nothing of it was taken, what counted before still counts"
        log.error("%s", said)
        return said
    values = file_values(path)
    waiting = [*_fixed_keys(in_force.file_values, values), *_fixed_values(in_force.site, site)]
    changed = list(_changes(in_force.site, site))
    _apply(in_force, _with_fixed_values(in_force.site, site), values)
    for line in changed:
        log.info("reloaded: %s", line)
    if waiting:
        log.warning("needs a restart: %s; until then the old values count", ", ".join(waiting))
    said = f"{path} was read again: {len(changed)} settings changed"
    return said + (f"; {', '.join(waiting)} need a restart" if waiting else "")


def file_values(path: Path | None) -> dict[str, Any]:
    """The keys of the file's top that it gives."""
    if path is None or not path.exists():
        return {}
    return {key: value for key, value in configfile.read(path).values.items() if key in KEYS}


def _fixed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    return (key for key in FIXED if before.get(key) != now.get(key))


def _fixed_values(before: SiteConfig, now: SiteConfig) -> Iterator[str]:
    """The half-life is in all that was counted so far, the policy for strangers in who looks at the devices."""
    if before.priority.half_life != now.priority.half_life:
        yield "priority.half_life"
    if before.foreign != now.foreign:
        yield "foreign.policy"
    if before.quotas.connections != now.quotas.connections:
        yield "quotas.connections"
    if before.web != now.web:
        yield "web"
    if before.cluster != now.cluster:
        yield "cluster"


def _with_fixed_values(before: SiteConfig, now: SiteConfig) -> SiteConfig:
    """The new configuration, with the old values of what cannot change."""
    priority = now.priority.model_copy(update={"half_life": before.priority.half_life})
    quotas = now.quotas.model_copy(update={"connections": before.quotas.connections})
    kept = {"foreign": before.foreign, "web": before.web, "cluster": before.cluster}
    return now.model_copy(update={"priority": priority, "quotas": quotas, **kept})


def _changes(before: SiteConfig, now: SiteConfig) -> Iterator[str]:
    old, new = before.model_dump(), _with_fixed_values(before, now).model_dump()
    for table, keys in new.items():
        for key, value in keys.items():
            if old[table][key] != value:
                yield f"{table}.{key}: {old[table][key]} -> {value}"


def _apply(in_force: InForce, site: SiteConfig, values: dict[str, Any]) -> None:
    retries = values.get("max_retries", KEPT_RETRIES)
    # What waits for a restart keeps its first value, so that the next reload names it again.
    in_force.file_values = {**values, **{key: in_force.file_values.get(key) for key in FIXED}}
    in_force.replace(replace(in_force.settings, max_retries=retries), site)


KEPT_RETRIES = 10
"""The default of `max_retries`."""
