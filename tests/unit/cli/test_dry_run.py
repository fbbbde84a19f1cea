"""What `gpujobs doctor --config` says of a file without mistakes, as of what this machine has."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from gpujobs.cli.dry_run import findings

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("table", "key", "ok", "said"),
    [
        ("", "web", None, "pages on 127.0.0.1:8470"),
        ('listen = ""', "web", None, "no pages, and no /metrics"),
        ('listen = "127.0.0.1:9000"', "web", None, "pages on 127.0.0.1:9000"),
        (
            'url = "https://gpu.example.org"',
            "web",
            None,
            "pages on 127.0.0.1:8470, which people reach as https://gpu.example.org",
        ),
        (
            'proxy_user = "no-such-user"',
            "web.proxy_user",
            False,
            "no-such-user is not a user of this machine",
        ),
        (f'proxy_user = "{ME}"', "web.proxy_user", None, f"a proxy that runs as {ME}"),
    ],
)
def test_a_dry_run_says_where_the_pages_are_and_whose_proxy_is_in_front(
    tmp_path: Path, table: str, key: str, ok: bool | None, said: str
) -> None:
    file = tmp_path / "gpujobs.toml"
    file.write_text(f"[web]\n{table}\n")
    found = {name: (is_ok, text) for name, is_ok, text in findings(file)[0]}
    assert found[key][0] is ok and found[key][1].startswith(said)
