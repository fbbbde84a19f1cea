"""Another authority and another secret for a cluster, without new token files for the boxes that are there.

Ray's TLS knows no revoked certificates, so this is what shuts somebody out of Ray's own ports. What is new is put
beside what counts (`tls/next`), on the head's box and on the others, and takes its place when all have it: on the
head's box when Ray is started anew, on a node when the head shows it. So whatever is cut off in between, both ends
still understand each other.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gpujobs.cluster import certificates, passes
from gpujobs.cluster.certificates import Pair, TlsFiles, Whose
from gpujobs.errors import MachineError
from gpujobs.linux import durable
from gpujobs.protocol.joining import Renewed, TokenFile, TokenTls

READY = "ready"
"""In `tls/next`: all of it is there, and it counts from now on. It goes last."""

SECRET = "secret"


def next_of(files: TlsFiles) -> TlsFiles:
    return TlsFiles(files.root / "next")


def secret_of(files: TlsFiles) -> Path:
    """On a node: the secret that has come in place of its token file's."""
    return files.root / SECRET


def replaced_of(files: TlsFiles) -> Path:
    """On a node: hashes of the authorities that count no more, so that its token file is not taken for a new one."""
    return files.root / "replaced.json"


# On the head's box


def prepare(files: TlsFiles, address: str, secret: str) -> TlsFiles:
    """What is to come, beside what counts."""
    coming = next_of(files)
    shutil.rmtree(coming.root, ignore_errors=True)
    coming.root.mkdir(mode=0o700)
    certificates.keep_box(coming, address)
    durable.write(coming.root / SECRET, secret.encode())
    return coming


def for_box(coming: TlsFiles, request: str, whose: Whose, address: str) -> Renewed:
    """What a box is told of it. Raises MachineError where its request makes no sense."""
    certificate = certificates.sign(coming, request, whose, address)
    return Renewed((coming.root / SECRET).read_text(), coming.authority.read_text(), certificate)


# On a node


def keep(files: TlsFiles, renewed: Renewed, key: bytes) -> None:
    """Beside what counts. `key`: for which the certificate was asked."""
    coming = next_of(files)
    shutil.rmtree(coming.root, ignore_errors=True)
    coming.root.mkdir(mode=0o700)
    durable.write(coming.authority, renewed.authority.encode())
    certificates.put_box(coming, Pair(renewed.certificate.encode(), key))
    durable.write(coming.root / SECRET, renewed.secret.encode())


def is_kept(files: TlsFiles) -> bool:
    return (next_of(files).root / SECRET).exists()


def in_place_of(files: TlsFiles, token: TokenFile) -> TokenFile:
    """What counts of a token file: where its authority was replaced since, what has come in its place."""
    assert token.tls is not None
    known = durable.read_json(replaced_of(files)) or {}
    if _hash_of(token.tls.authority.encode()) not in known.get("authorities", []):
        return token
    finish(files, secret_of(files))
    try:
        secret, authority = secret_of(files).read_text(), files.authority.read_text()
    except OSError as error:
        raise MachineError(
            f"{error.filename}, which took the place of what is in the token file, cannot be read: {error.strerror}; "
            f"{passes.NEW_FILE}"
        ) from error
    return replace(token, secret=secret, tls=TokenTls(authority=authority, certificate="", key=""))


# On both


def take(files: TlsFiles, secret: Path) -> None:
    """From now on it counts. `secret`: where that goes."""
    coming = next_of(files)
    durable.write(coming.root / READY, b"")
    if not coming.authority_key.exists():  # after READY: what is noted as replaced has something in its place
        _note_replaced(files)
    finish(files, secret)


def finish(files: TlsFiles, secret: Path) -> bool:
    """Whether there was something that counted, and was not in its place yet."""
    coming = next_of(files)
    if not (coming.root / READY).exists():
        return False
    for path in (passes.path_of(files), files.token, files.token_key):
        path.unlink(missing_ok=True)  # of the authority that counts no more
    if coming.box.exists():
        files.box.unlink(missing_ok=True)  # never is one there with another's key
    moves: list[tuple[Callable[[TlsFiles], Path], Path]] = [
        (lambda one: one.root / SECRET, secret),
        (lambda one: one.authority_key, files.authority_key),
        (lambda one: one.authority, files.authority),
        (lambda one: one.box_key, files.box_key),
        (lambda one: one.box, files.box),
    ]
    for source, target in moves:
        if source(coming).exists():
            durable.rename(source(coming), target)
    (coming.root / READY).unlink()
    shutil.rmtree(coming.root, ignore_errors=True)
    return True


def _note_replaced(files: TlsFiles) -> None:
    known = durable.read_json(replaced_of(files)) or {}
    before = [*known.get("authorities", []), _hash_of(files.authority.read_bytes())]
    durable.write_json(replaced_of(files), {"authorities": list(dict.fromkeys(before))})


def _hash_of(authority: bytes) -> str:
    return hashlib.sha256(authority).hexdigest()
