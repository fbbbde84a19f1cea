"""`gpujobs node join`: what is wrong with its token file, or with its state directory, is said before all else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gpujobs.cli.commands.node import _box, _read_token
from gpujobs.cluster import certificates
from gpujobs.cluster.certificates import TlsFiles
from gpujobs.config.settings import cluster_address
from gpujobs.errors import UsageError
from gpujobs.paths import StatePaths
from gpujobs.protocol.joining import TokenFile, TokenTls

TOKEN = {"format": 1, "address": "10.0.0.5:8480", "secret": "5e", "instance": "9a"}


def written(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "node.json"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_what_node_token_wrote_is_read(tmp_path: Path) -> None:
    read = _read_token(written(tmp_path, json.dumps(TOKEN)))
    assert read == TokenFile(format=1, address="10.0.0.5:8480", secret="5e", instance="9a")


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (json.dumps(TOKEN), 0o640, "can be read by others (mode 0640); expected 0600: `chmod 600 "),
        ("", 0o600, "`gpujobs node token FILE` on the head's box writes one"),
        ("[]", 0o600, "`gpujobs node token FILE` on the head's box writes one"),
        (json.dumps({**TOKEN, "secret": 7}), 0o600, "secret is 7; expected string"),
        (json.dumps({"format": 1}), 0o600, "address is missing"),
    ],
)
def test_a_token_file_that_will_not_do_is_named(tmp_path: Path, text: str, mode: int, said: str) -> None:
    path = written(tmp_path, text, mode)
    with pytest.raises(UsageError) as caught:
        _read_token(path)
    assert str(caught.value).startswith(str(path)) and said in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give a file away")
def test_a_token_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps(TOKEN))
    os.chown(path, 12345, -1)
    with pytest.raises(UsageError, match="is a file of uid 12345, who can read and change it"):
        _read_token(path)


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory; `gpujobs node token FILE`"):
        _read_token(tmp_path / "node.json")


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.5", "10.0.0.5:", "10.0.0.5:80", "0.0.0.0:8480", "box:8480", "10.0.0.5:65500", "[::1]:8480"],
)
def test_an_address_by_which_no_box_can_be_reached_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no address for a cluster; expected this box's own IPv4 address"):
        cluster_address(text)


def test_an_address_is_read() -> None:
    assert cluster_address("10.0.0.5:8480") == ("10.0.0.5", 8480)


def token_of(tls: TokenTls | None, secret: str) -> TokenFile:
    return TokenFile(format=1, address="10.0.0.5:8480", secret=secret, instance="9a", tls=tls)


def test_a_look_changes_nothing_of_what_has_joined(tmp_path: Path) -> None:
    """Neither with an older token file, which has no certificate or another authority's, nor with the right one, whose
    certificate may have ended: what the head has given this box counts."""
    paths, heads = StatePaths(tmp_path / "s"), [TlsFiles(tmp_path / name) for name in ("now", "before")]
    paths.run.mkdir(parents=True)
    now, before = (certificates.for_token(head) for head in heads)
    kept = _box(paths, token_of(now, "5e"), "10.0.0.5", "box2", "", 1)
    assert kept.tls is not None
    certificates.put_box(kept.tls, certificates.issued(heads[0], "box2", "10.0.0.6"))

    def stored() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in paths.root.rglob("*") if path.is_file()}

    found = stored()
    for number, tls in enumerate((None, before, now)):
        looked = _box(paths, token_of(tls, "another"), "10.0.0.5", "box2", "", 1, tmp_path / str(number))
        assert stored() == found
        assert (looked.tls is None) == (tls is None)
        if looked.tls is not None:
            shown = certificates.shown(looked.tls)[0].read_bytes()
            assert (shown == kept.tls.box.read_bytes()) == (tls is now)


@pytest.mark.parametrize("text", ["box2.example.org", "::1", "10.0.0"])
def test_an_address_of_this_box_that_no_certificate_can_be_for_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        UsageError, match="expected an IPv4 address of this box, by which the others reach it"
    ):
        _box(StatePaths(tmp_path), token_of(None, "5e"), "10.0.0.5", "box2", text, 1)
    assert not list(tmp_path.iterdir())
