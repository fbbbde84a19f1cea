"""The tables of gpujobs.toml, and the file that an installation begins with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gpujobs.config import settings as config
from gpujobs.config import site
from gpujobs.config.site import SiteConfig
from gpujobs.errors import ConfigError, UsageError

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "scripts/gpujobs.toml"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gpujobs.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[access]\nshare_by_default = true", "access: share_by_default needs a share_group"),
        ("[access]\nadmin_group = 3", "access.admin_group is 3: expected text in quotes"),
        ("[access]\nadmin_gruop = 'a'", "unknown key access.admin_gruop; did you mean admin_group?"),
        (
            "[quotas]\ndata = '5 GB'",
            "quotas.data is '5 GB': expected a size such as 512MiB or 3GiB, or bytes",
        ),
        ("[quotas]\nlog = -1", "quotas.log is -1: expected at least 0"),
        ("[quotas]\nconnections = 1", "quotas.connections is 1: expected at least 4"),
    ],
)
def test_a_value_that_makes_no_sense_is_named_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        site.read(path)
    line = 1 if message.startswith("access: ") else 2
    assert str(caught.value) == f"{path}:{line}: {message}"


MANY = """\
cpu_slots = "two"
stat_dir = "/x"
[access]
admin_gruop = "a"
share_by_default = true
broken = = 3
[quotas]
data = '5 GB'
[limits.users.bob]
max_gpu = 1
[reservatons
max_length = "1d"
[devices]
exclude = ["0"]
"""


def test_every_mistake_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    """Also after those that make the file no TOML; what stands below a broken heading counts for nothing."""
    with pytest.raises(ConfigError) as caught:
        site.read(written(tmp_path, MANY))
    assert [(problem.line, problem.message.partition(";")[0]) for problem in caught.value.problems] == [
        (1, "cpu_slots is 'two'"),
        (2, "unknown key stat_dir"),
        (3, "access: share_by_default needs a share_group"),
        (4, "unknown key access.admin_gruop"),
        (6, "not TOML: Invalid value"),
        (8, "quotas.data is '5 GB': expected a size such as 512MiB or 3GiB, or bytes"),
        (10, "unknown key limits.users.bob.max_gpu"),
        (11, "not TOML: Expected ']' at the end of a table declaration"),
        (14, "devices.exclude.0 is '0': expected a UUID that begins with GPU-, MIG- or CPU-, as `gpujobs gpus --json` "
             "shows them"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "is no UTF-8 text"),
        (b"[quotas]\nlog = [1,\n", "not TOML"),
        (b"a = 1\n" * 2, "not TOML: Cannot overwrite a value"),
    ],
)
def test_what_is_no_configuration_at_all_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "gpujobs.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        site.read(path)


def test_sizes_are_bytes_or_have_a_unit(tmp_path: Path) -> None:
    read = site.read(written(tmp_path, "[quotas]\ndata = '5GiB'\nlog = 100\nresults = '3 KiB'"))
    assert (read.quotas.data, read.quotas.log, read.quotas.results) == (5 << 30, 100, 3 << 10)


def test_no_file_and_an_empty_one_are_the_defaults(tmp_path: Path) -> None:
    assert site.read(None) == site.read(written(tmp_path, "")) == SiteConfig()


def uncommented(text: str) -> str:
    return re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE)


def test_the_shipped_file_is_all_comments_and_names_every_key() -> None:
    text = SHIPPED.read_text()
    assert not any(tomllib.loads(text)[table] for table in tomllib.loads(text))
    shown = tomllib.loads(uncommented(text))
    assert set(config.KEYS) <= set(shown)
    for table in config.TABLES:
        kind: Any = SiteConfig.model_fields[table].annotation
        assert set(shown[table]) == set(kind.model_fields)


def test_the_shipped_file_shows_the_defaults(tmp_path: Path) -> None:
    """All but the groups and the limits, which have none."""
    path = written(tmp_path, uncommented(SHIPPED.read_text()))
    read, defaults = site.read(path), SiteConfig()
    groups = {"admin_group": None, "share_group": None}
    assert read.access.model_copy(update=groups) == defaults.access
    for table in ("quotas", "priority", "shares", "packing", "foreign", "devices", "reservations"):
        assert getattr(read, table) == getattr(defaults, table)
    limits = dict.fromkeys(("max_running", "max_gpus", "max_waiting", "max_time_limit", "default_time_limit"))
    assert read.limits.model_copy(update=limits) == defaults.limits
    settings = config.resolve({"config": str(path)}, mode="site", environ={"HOME": str(tmp_path)})
    plain = config.resolve(mode="site", environ={"HOME": str(tmp_path), "GPUJOBS_CONFIG": "/dev/null"})
    for name in ("state_dir", "socket", "require_gpu", "max_retries"):
        assert getattr(settings, name) == getattr(plain, name)


def test_every_rule_of_retention_is_documented() -> None:
    page = (ROOT / "docs/admin.md").read_text(encoding="utf-8").partition("## Retention")[2]
    for key in site.Retention.model_fields:
        assert f"`{key}`" in page, key
