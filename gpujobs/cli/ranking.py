"""The jobs of a group as a table: the best first, what the sweep sets for each beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gpujobs.cli import output

MAX_COLUMNS = 4
"""More of a sweep's fields than this share one column."""


def lines(ranking: dict[str, Any]) -> list[str]:
    """An answer to `GET /v1/ranking`, for people."""
    group, members = ranking["group"], ranking["members"]
    title = f"g{group['id']} {group['name']}: {group['jobs']} jobs, {output.counts(group['counts'])}"
    return [output.printable(title), *_how(ranking), "", *_table(ranking["metric"], members), *_best(ranking)]


def has_figures(ranking: dict[str, Any]) -> bool:
    return any(member["figures"] for member in ranking["members"])


def _how(ranking: dict[str, Any]) -> list[str]:
    if ranking["metric"] is None:
        if has_figures(ranking):
            return [
                "no figure compares these jobs by itself; --metric NAME ranks them by one that you choose"
            ]
        return ["no job has figures to rank by yet"]
    better = "less" if ranking["mode"] == "min" else "more"
    return [output.printable(f"ranked by {ranking['metric']} ({better} is better), {ranking['why']}")]


def _table(metric: str | None, members: Sequence[dict[str, Any]]) -> list[str]:
    keys = list(dict.fromkeys(key for member in members for key in member["job"]["sweep"] or ()))
    names = short_names(keys)
    rows = [
        (
            member["rank"] or "-",
            member["job"]["id"],
            _value(member),
            *_settings(member["job"]["sweep"] or {}, names),
        )
        for member in members
    ]
    columns = ["SETTINGS"] if len(names) > MAX_COLUMNS else names.values()
    head = ("RANK", "JOB", (metric or "state").upper(), *map(str.upper, columns))
    return output.table(head, rows, flexible=len(head) - 1)


def _settings(sweep: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """What a sweep sets for one job: a cell for each field, or one for all."""
    if len(names) > MAX_COLUMNS:
        return [" ".join(f"{names[key]}={setting(value)}" for key, value in sweep.items())]
    return [setting(sweep[key]) if key in sweep else "" for key in names]


def _value(member: dict[str, Any]) -> str:
    """The figure; where there is none, the state, and what a job has failed of."""
    job = member["job"]
    if member["value"] is not None:
        return f"{member['value']:.5g}"
    return f"FAILED {job['reason']}" if job["state"] == "FAILED" else str(job["state"])


def _best(ranking: dict[str, Any]) -> list[str]:
    if ranking["best"] is None:
        return []
    best = ranking["members"][0]
    job = best["job"]
    found = f"{ranking['metric']} {best['value']:.5g}"
    return [
        "",
        output.printable(f"best: job {job['id']}, {found}; `gpujobs fetch {job['id']}` copies its results"),
    ]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """As much of the end of each dotted key as tells it from the others."""
    parts = {key: key.split(".") for key in keys}
    names = {}
    for key in keys:
        for length in range(1, len(parts[key]) + 1):
            ends = Counter(tuple(other[-length:]) for other in parts.values())
            names[key] = ".".join(parts[key][-length:])
            if ends[tuple(parts[key][-length:])] == 1:
                break
    return names


def setting(value: object) -> str:
    """A value of a sweep; what has a name and arguments in Keras's way: SGD(momentum=0.9)."""
    if isinstance(value, dict) and len(value) == 1:
        ((name, arguments),) = value.items()
        if arguments is None or isinstance(arguments, dict):
            inside = ", ".join(f"{key}={setting(one)}" for key, one in (arguments or {}).items())
            return f"{name}({inside})" if inside else str(name)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {setting(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(setting, value)) + "]"
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
