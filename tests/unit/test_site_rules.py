"""gpujobs.toml: what its tables make of the policy's rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpujobs.config import settings, site
from gpujobs.errors import UsageError
from gpujobs.policy.inputs.rules import (
    DAY,
    HOUR,
    ForeignPolicy,
    Limits,
    PackingRules,
    PriorityRules,
    ReservationRules,
    Rules,
    Shares,
    UserLimits,
)

WHOLE = """
max_retries = 3
[access]
admin_group = "admins"
[priority]
weight_priority = 50
weight_fair_share = 4000
weight_age = 0.5
max_age = "3d"
half_life = "12h"
charge_ahead = 0
max_priority = 2
[shares]
users = {alice = 2, bob = 0.5}
groups = {vision = 10}
[limits]
max_running = 8
max_time_limit = "2d"
[limits.users.alice]
max_gpus = 4
max_waiting = 1000
[limits.groups.students]
max_running = 2
default_time_limit = "1:00:00"
[packing]
margin = "1GiB"
settle = "30s"
max_jobs = 4
[foreign]
policy = "charge"
[devices]
exclude = ["GPU-11111111-2222"]
[reservations]
default_length = "4h"
max_length = "2d"
max_ahead = "30d"
"""


def rules_of(path: Path, text: str) -> Rules:
    file = path / "gpujobs.toml"
    file.write_text(text)
    settings.resolve({"config": str(file)}, environ={})
    return site.read(file).rules()


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert rules_of(tmp_path, "") == Rules() == site.read(None).rules()
    assert site.read(tmp_path / "missing.toml") == site.SiteConfig()


def test_every_key_arrives(tmp_path: Path) -> None:
    assert rules_of(tmp_path, WHOLE) == Rules(
        priority=PriorityRules(50, 4000, 0.5, 3 * DAY, 12 * HOUR, 0, 2),
        shares=Shares({"alice": 2, "bob": 0.5}, {"vision": 10}),
        limits=Limits(
            UserLimits(max_running=8, max_time_limit_seconds=2 * DAY),
            {"alice": UserLimits(max_gpus=4, max_waiting=1000)},
            {"students": UserLimits(max_running=2, default_time_limit_seconds=HOUR)},
        ),
        packing=PackingRules(1 << 30, 30, 4),
        foreign=ForeignPolicy.CHARGE,
        reservations=ReservationRules(4 * HOUR, 2 * DAY, 30 * DAY),
        excluded=frozenset({"GPU-11111111-2222"}),
    )


def test_every_key_of_the_policy_the_pages_and_the_news_is_documented() -> None:
    for name, field in site.SiteConfig.model_fields.items():
        if name not in ("access", "quotas", "retention"):  # docs/security.md and docs/admin.md have these
            pages = {
                "web": "docs/web.md",
                "metrics": "docs/web.md",
                "notify": "docs/news.md",
                "cluster": "docs/cluster.md",
                "nodes": "docs/cluster.md",
            }
            document = pages.get(name, "docs/scheduling.md")
            page = (Path(__file__).parents[2] / document).read_text(encoding="utf-8")
            assert f"[{name}]" in page, name
            for key in field.annotation.model_fields:  # type: ignore[union-attr]
                assert re.search(rf"\b{key}\b", page.partition(f"[{name}]")[2]), f"{name}.{key}"


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/scheduling.md").read_text(encoding="utf-8")
    rules = rules_of(tmp_path, page.partition("```toml\n")[2].partition("```")[0])
    assert rules.shares == Shares({"alice": 2}, {"vision": 3, "speech": 1})


def test_every_table_is_known_to_both_readers() -> None:
    assert set(settings.TABLES) == set(site.SiteConfig.model_fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[priority]\nhalf_live = 1", "unknown key priority.half_live; did you mean half_life?"),
        ("[limits.users.bob]\nmax_gpu = 1", "unknown key limits.users.bob.max_gpu; did you mean max_gpus?"),
        ("[priority]\nhalf_life = '7 days'", "priority.half_life is '7 days': expected a duration such as"),
        ("[priority]\nhalf_life = 0", "priority.half_life is 0: expected at least 1"),
        ("[priority]\nweight_age = nan", "priority.weight_age is nan: expected a finite number"),
        ("[shares]\nusers = {bob = -1}", "shares.users.bob is -1: expected at least 0"),
        ("[limits]\nmax_running = '3'", "limits.max_running is '3': expected a whole number"),
        ("[packing]\nmargin = '1 GB'", "packing.margin is '1 GB': expected a size such as 512MiB"),
        ("[foreign]\npolicy = 'kill'", "foreign.policy is 'kill': expected one of avoid, charge, ignore"),
        ("[devices]\nexclude = ['0']", "devices.exclude.0 is '0': expected a UUID that begins with"),
        ("prioritys = 1", "unknown key prioritys; did you mean priority?"),
    ],
)
def test_a_bad_value_is_named_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        rules_of(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'gpujobs.toml'}:")
    assert message in str(caught.value)
