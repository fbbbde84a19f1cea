"""Certificates of a cluster: its authority, in the state directory of the head's box, and one for each box.

`cryptography` takes a moment to import, so it is imported where something is made or looked at. All keys are on the
curve P-256, made where they are used, in files of mode 0600; only that of a token file ever travels.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gpujobs.errors import MachineError
from gpujobs.linux import durable
from gpujobs.protocol.joining import TokenTls

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.x509 import Certificate, CertificateBuilder, Name

AUTHORITY_DAYS = 3653
BOX_DAYS = 731
RENEW_DAYS = 366
"""A box's certificate that has less is made anew whenever its Ray is started."""

WARN_DAYS = 60
BACKDATED = timedelta(days=1)
"""Two clocks differ: how much is said in words, not by TLS."""

ANEW = "stop the daemon, remove tls/ from its state directory, start it, and give the other boxes new token files"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """`root`: tls/ of a state directory, 0700. On a node there is no key of the authority."""

    root: Path

    @property
    def authority(self) -> Path:
        return self.root / "ca.pem"

    @property
    def authority_key(self) -> Path:
        return self.root / "ca-key.pem"

    @property
    def box(self) -> Path:
        """What Ray shows for this box, and what it shows to the head when it joins again."""
        return self.root / "box.pem"

    @property
    def box_key(self) -> Path:
        return self.root / "box-key.pem"

    @property
    def token(self) -> Path:
        """What came in the token file: enough to ask the head for one of its own."""
        return self.root / "token.pem"

    @property
    def token_key(self) -> Path:
        return self.root / "token-key.pem"

    @property
    def environment(self) -> dict[str, str]:
        """With which every process of Ray speaks TLS, and with nobody who has no certificate of this authority."""
        return {
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(self.box),
            "RAY_TLS_SERVER_KEY": str(self.box_key),
            "RAY_TLS_CA_CERT": str(self.authority),
        }


@dataclass(frozen=True, slots=True)
class Whose:
    """`box`: the id of a box's state directory; `token`: of the token file that it was first let in with. Both are
    empty in what is no box's that has joined."""

    name: str
    box: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


# The head's side


def keep_authority(files: TlsFiles) -> None:
    """Makes it where there is none. Raises MachineError where half of it is missing, or others may have read it."""
    with _alone(files):
        there = [path for path in (files.authority, files.authority_key) if os.path.lexists(path)]
        if not there:
            pair = _made_authority()
            durable.write(files.authority_key, pair.key)
            durable.write(files.authority, pair.certificate)
        elif len(there) == 1:
            raise MachineError(
                f"{files.root} has {there[0].name}, but not its other half: put a copy of it back; or {ANEW}"
            )
    _key_of(files.authority_key)


def keep_box(files: TlsFiles, address: str) -> None:
    """The certificate of the head's own box, made anew where it is for another address, or near its end."""
    keep_authority(files)
    with _alone(files):
        if not _serves(files, address):
            put_box(files, issued(files, "head", address))


def issued(files: TlsFiles, name: str, address: str = "", until: datetime | None = None) -> Pair:
    """By the authority, with a new key. `address`: for which it holds, besides loopback; empty for none. `until`: when
    it ends, where that is to be sooner than usual."""
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    whose = Whose(name)
    return Pair(_signed(files, whose, address, key.public_key(), until), _pem_of(key))


def sign(files: TlsFiles, request: str, whose: Whose, address: str) -> str:
    """For a box that joins, by the key that it has made. Raises MachineError where the request is none."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        asked = x509.load_pem_x509_csr(request.encode())
        key = asked.public_key()
        is_well = asked.is_signature_valid and isinstance(key, ec.EllipticCurvePublicKey)
    except ValueError:
        is_well = False
    if not is_well:
        raise MachineError(
            f"the certificate that {whose.name} asks for makes no sense; are both of one gpujobs?"
        )
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return _signed(files, whose, address, key).decode()


def for_token(files: TlsFiles, until: datetime | None = None) -> TokenTls:
    keep_authority(files)
    pair = issued(files, "token", until=until)
    return TokenTls(
        authority=files.authority.read_text(), certificate=pair.certificate.decode(), key=pair.key.decode()
    )


# A node's side


def keep_token(files: TlsFiles, token: TokenTls) -> None:
    """What the token file has. Where it is another one than before, what that has given counts no more: this box may
    have been shut out since. Raises MachineError where it makes no sense."""
    try:
        _read(token.authority.encode())
        _read(token.certificate.encode())
    except ValueError:
        raise MachineError(
            "the certificates in the token file make no sense; `gpujobs node token FILE` on the head's box writes "
            "it anew"
        ) from None
    with _alone(files):
        kept = ((files.authority, token.authority), (files.token, token.certificate))
        if not all(path.exists() and path.read_text() == text for path, text in kept):
            files.box.unlink(missing_ok=True)
            files.box_key.unlink(missing_ok=True)
        durable.write(files.authority, token.authority.encode())
        durable.write(files.token_key, token.key.encode())
        durable.write(files.token, token.certificate.encode())


def keep_trial(files: TlsFiles, joined: TlsFiles, token: TokenTls) -> None:
    """As `keep_token`, for a look that is to change nothing of `joined`: what that has been given is shown too."""
    keep_token(files, token)
    if joined.token.exists() and joined.token.read_text() == token.certificate:
        for theirs, ours in ((joined.box, files.box), (joined.box_key, files.box_key)):
            if theirs.exists():
                durable.write(ours, theirs.read_bytes())


def asked(name: str) -> tuple[str, bytes]:
    """A request for a certificate, and the key that it is for, which stays here."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(_named(name)).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode(), _pem_of(key)


def put_box(files: TlsFiles, pair: Pair) -> None:
    """The old certificate goes first: never is one there with another's key."""
    files.box.unlink(missing_ok=True)
    durable.write(files.box_key, pair.key)
    durable.write(files.box, pair.certificate)


def shown(files: TlsFiles) -> tuple[Path, Path]:
    """The certificate that a node shows when it joins, and its key: its own while that is in force, since a token file
    may be for one box, or for a while."""
    both = [(files.box, files.box_key), (files.token, files.token_key)]
    there = [pair for pair in both if pair[0].exists() and pair[1].exists()]
    if not there:
        raise MachineError(f"{files.root} has no certificate of this box: join again, with the token file")
    if there[0][0] == files.box and ends(files.box) > datetime.now(UTC):
        return there[0]
    return max(there, key=lambda pair: ends(pair[0]))


def ends(path: Path) -> datetime:
    """Raises MachineError where it cannot be read."""
    try:
        return _read(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise MachineError(f"{path} is no certificate ({error}); {ANEW}") from error


def days_left(path: Path) -> int:
    return (ends(path) - datetime.now(UTC)).days


# Making them


@contextmanager
def _alone(files: TlsFiles) -> Iterator[None]:
    """The head and the daemon both may be the first."""
    files.root.mkdir(mode=0o700, exist_ok=True)
    lock = durable.lock(files.root / "lock")
    try:
        yield
    finally:
        os.close(lock)


def _serves(files: TlsFiles, address: str) -> bool:
    from cryptography import x509

    if not files.box.exists() or not files.box_key.exists():
        return False
    try:
        found = _read(files.box.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found.verify_directly_issued_by(_read(files.authority.read_bytes()))
    except Exception:  # noqa: BLE001 - of another authority, or damaged: it is made anew in any case
        return False
    is_for = ipaddress.ip_address(address) in names.get_values_for_type(x509.IPAddress)
    return is_for and days_left(files.box) >= RENEW_DAYS


def _made_authority() -> Pair:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _named(f"gpujobs cluster {os.urandom(4).hex()}")
    builder = (
        _begun(AUTHORITY_DAYS, key.public_key())
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return Pair(_finished(builder, key, key.public_key(), is_authority=True), _pem_of(key))


def _signed(
    files: TlsFiles,
    whose: Whose,
    address: str,
    key: EllipticCurvePublicKey,
    until: datetime | None = None,
) -> bytes:
    from cryptography import x509

    own, authority = _key_of(files.authority_key), _read(files.authority.read_bytes())
    places = ["127.0.0.1", *([address] if address not in ("", "127.0.0.1") else [])]
    names = [x509.DNSName("localhost"), *(x509.IPAddress(_address(place)) for place in places)]
    left = days_left(files.authority)
    if left < 0:
        raise MachineError(f"the cluster's authority has ended ({files.authority}): {ANEW}")
    builder = (
        _begun(min(BOX_DAYS, left), key, until)
        .subject_name(_named(whose.name, whose.box, whose.token))
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return _finished(builder, own, own.public_key(), is_authority=False)


def _address(text: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        raise MachineError(
            f"{text!r} is no address for a certificate; expected an IPv4 one, such as 10.0.0.6: `--address` names it"
        ) from None


def _now() -> datetime:
    return datetime.now(UTC)


def _begun(days: int, key: EllipticCurvePublicKey, until: datetime | None = None) -> CertificateBuilder:
    from cryptography import x509

    now = _now()
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end if until is None else min(end, until))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _finished(
    builder: CertificateBuilder,
    signer: EllipticCurvePrivateKey,
    issuer: EllipticCurvePublicKey,
    *,
    is_authority: bool,
) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    usage = x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
    whole = builder.add_extension(usage, critical=True).add_extension(identifier, critical=False)
    return whole.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


def _named(name: str, box: str = "", token: str = "") -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = [
        (NameOID.COMMON_NAME, name[:64] or "box"),
        (NameOID.SERIAL_NUMBER, box[:64]),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, token[:64]),
    ]
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts if text])


def serial_of(pem: str) -> str:
    """As `ssl` shows it, in small letters. Raises ValueError."""
    text = f"{_read(pem.encode()).serial_number:x}"
    return text.zfill(len(text) + len(text) % 2)


def _pem_of(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read(pem: bytes) -> Certificate:
    """Raises ValueError."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(pem)


def _key_of(path: Path) -> EllipticCurvePrivateKey:
    """Raises MachineError where it is damaged, or somebody else may have read or written it."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if status.st_mode & 0o077 or status.st_uid != os.geteuid():
                raise MachineError(
                    f"{path} can be read by others than this daemon's user, who could join as any box: {ANEW}"
                )
            key = load_pem_private_key(file.read(), None)
    except (OSError, ValueError, TypeError) as error:
        raise MachineError(f"{path} is no key ({error}): put a copy of it back; or {ANEW}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise MachineError(f"{path} is no key of ours: {ANEW}")
    return key
