"""The line of joining over TLS: both ends show a certificate of the cluster's authority, and say in words what is in
the way where one does not."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gpujobs.cluster.certificates import TlsFiles, shown
from gpujobs.errors import MachineError

C = TypeVar("C", bound=ssl.SSLContext)

NEW_FILE = "`gpujobs node token FILE` on the head's box writes a new file"

OF_ANOTHER = (20, 21, 18, 19, 7)
"""OpenSSL: no issuer, no way to one, self-signed, self-signed in the chain, its signature is wrong."""
NOT_YET, EXPIRED, WRONG_ADDRESS = 9, 10, 64


class _Failing(ssl.SSLObject):
    failed: Callable[[], None]

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            self.failed()
            raise


class HeadContext(ssl.SSLContext):
    """For one connection, of the certificates that are `shared` by all. asyncio drops the alert of a handshake that
    fails, in which OpenSSL tells the other end why: it is kept here, to be sent."""

    shared: ssl.SSLContext
    alert = b""

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **keys: Any
    ) -> ssl.SSLObject:
        def failed() -> None:
            self.alert = outgoing.read()

        made = self.shared.wrap_bio(incoming, outgoing, *args, **keys)
        assert isinstance(made, _Failing)
        made.failed = failed
        return made


def of_the_head(files: TlsFiles) -> Callable[[], HeadContext]:
    """What lets nobody in who shows no certificate of this authority. The files are read again when they have
    changed; what is returned raises MachineError where they cannot be used."""
    read: tuple[Sequence[object], ssl.SSLContext] | None = None

    def for_one() -> HeadContext:
        nonlocal read
        stamps = _stamps(files)
        if read is None or read[0] != stamps:
            read = stamps, _shared(files)
        context = HeadContext(ssl.PROTOCOL_TLS_SERVER)
        context.shared = read[1]
        return context

    return for_one


def _shared(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _Failing
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # each connection shows its certificate anew
    return _with(context, files, str(files.box), str(files.box_key))


def _stamps(files: TlsFiles) -> Sequence[object]:
    """Others once a file is another one. None for one that is not there."""
    return [_stamp(path) for path in (files.authority, files.box, files.box_key)]


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def of_a_node(files: TlsFiles) -> ssl.SSLContext:
    certificate, key = shown(files)
    return _with(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), files, str(certificate), str(key))


def _with(context: C, files: TlsFiles, certificate: str, key: str) -> C:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(files.authority)
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        raise MachineError(
            f"the certificates in {files.root} cannot be used ({error}); {NEW_FILE}"
        ) from error
    return context


def words_of_the_head(error: OSError) -> str:
    """Why somebody was not let in."""
    said = _reason(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in OF_ANOTHER:
            return f"its certificate is not of this cluster; {NEW_FILE}"
        return f"its certificate is not taken: {error.verify_message}"
    if "NOT_RETURN_A_CERTIFICATE" in said:
        return f"it shows no certificate; {NEW_FILE} with one"
    if "ALERT_UNKNOWN_CA" in said:
        return f"this head's certificate is not of its cluster; {NEW_FILE}"
    return f"TLS does not come about: {said or 'the connection was closed'}"


def words_of_a_node(error: OSError, where: str) -> str | None:
    """Why `where` does not let this box in, or is not let in; None where it is nothing of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{where}: {_of_the_heads_certificate(error)}"
    said = _reason(error)
    if not said or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return None
    if "CERTIFICATE_EXPIRED" in said:
        return f"{where} finds this box's certificate expired; {NEW_FILE}; or its clock is wrong"
    if "CERTIFICATE_REQUIRED" in said or "UNKNOWN_CA" in said or "ALERT" in said:
        return f"{where} does not take the certificate of this token file ({said}); {NEW_FILE}"
    return (
        f"{where} does not speak TLS as this token file expects ({said}): its [cluster] tls may have been turned "
        f"off; {NEW_FILE} that suits"
    )


def _of_the_heads_certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in OF_ANOTHER:
        return f"its certificate is not of the cluster that this token file is for; {NEW_FILE}"
    if error.verify_code == EXPIRED:
        return "its certificate has expired, or this box's clock is wrong; a restart of the daemon there makes another"
    if error.verify_code == NOT_YET:
        return "its certificate is not valid yet: the clock of this box is behind (chrony, systemd-timesyncd)"
    if error.verify_code == WRONG_ADDRESS or "mismatch" in error.verify_message:
        return "its certificate is for another address; expected the one that `listen` under [cluster] names there"
    return f"its certificate is not taken: {error.verify_message}"


def _reason(error: OSError) -> str:
    """Such as TLSV13_ALERT_CERTIFICATE_REQUIRED."""
    return (error.reason or "") if isinstance(error, ssl.SSLError) else ""
