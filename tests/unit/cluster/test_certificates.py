"""Certificates as others see them: `cryptography` and OpenSSL, and whoever comes while one is being exchanged."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from gpujobs.cluster import certificates
from gpujobs.cluster.certificates import TlsFiles, Whose
from gpujobs.errors import MachineError
from gpujobs.linux import durable


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    made = TlsFiles(tmp_path / "tls")
    certificates.keep_box(made, "127.0.0.1")
    return made


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def are_a_pair(certificate: Path, key: Path) -> bool:
    ours = load_pem_private_key(key.read_bytes(), None).public_key()
    kind = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return ours.public_bytes(*kind) == read(certificate).public_key().public_bytes(*kind)


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602])
def test_a_key_of_an_authority_that_others_may_read_or_write_is_not_used(files: TlsFiles, mode: int) -> None:
    files.authority_key.chmod(mode)
    with pytest.raises(MachineError, match="can be read by others"):
        certificates.issued(files, "box2", "10.0.0.6")


def test_a_key_of_an_authority_that_is_anothers_is_not_used(
    files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(MachineError, match="can be read by others"):
        certificates.issued(files, "box2", "10.0.0.6")


def test_a_link_to_a_key_is_not_followed(files: TlsFiles, tmp_path: Path) -> None:
    files.authority_key.rename(tmp_path / "elsewhere.pem")
    files.authority_key.symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(MachineError, match="is no key"):
        certificates.issued(files, "box2", "10.0.0.6")


def test_a_box_cannot_sign_for_others(files: TlsFiles) -> None:
    for certificate, is_authority in ((read(files.authority), True), (read(files.box), False)):
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert limits.critical and usage.critical
        assert limits.value.ca is usage.value.key_cert_sign is usage.value.crl_sign is is_authority
        assert usage.value.digital_signature is not is_authority


def test_no_certificate_outlasts_its_authority_or_the_time_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "AUTHORITY_DAYS", 30)
    files, now = TlsFiles(tmp_path / "tls"), datetime.now(UTC)
    certificates.keep_box(files, "127.0.0.1")
    assert read(files.box).not_valid_after_utc <= read(files.authority).not_valid_after_utc
    for asked, expected in ((timedelta(days=2), timedelta(days=2)), (timedelta(days=90), timedelta(days=30))):
        pair = certificates.issued(files, "token", until=now + asked)
        left = x509.load_pem_x509_certificate(pair.certificate).not_valid_after_utc - now
        assert expected - timedelta(days=1, minutes=1) <= left <= expected + timedelta(minutes=1)


def test_a_certificate_counts_where_a_clock_is_behind(files: TlsFiles) -> None:
    assert read(files.box).not_valid_before_utc < datetime.now(UTC) - timedelta(hours=23)


def test_a_box_of_another_authority_is_given_a_certificate_of_this_one(files: TlsFiles) -> None:
    files.authority.unlink()
    files.authority_key.unlink()
    certificates.keep_box(files, "127.0.0.1")
    read(files.box).verify_directly_issued_by(read(files.authority))
    assert are_a_pair(files.box, files.box_key)


def test_a_box_whose_key_is_gone_is_given_both(files: TlsFiles) -> None:
    files.box_key.unlink()
    certificates.keep_box(files, "127.0.0.1")
    assert are_a_pair(files.box, files.box_key)


def test_a_certificate_is_never_there_with_anothers_key(
    files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks before or after each write, as Ray does and a daemon that was killed meanwhile."""
    write, looks = durable.write, list[bool]()

    def look() -> None:
        looks.append(not files.box.exists() or are_a_pair(files.box, files.box_key))

    def watched(path: Path, data: bytes) -> None:
        look()
        write(path, data)
        look()

    pair = certificates.issued(files, "head", "10.0.0.5")
    monkeypatch.setattr(durable, "write", watched)
    certificates.put_box(files, pair)
    assert looks == [True] * 4
    assert files.box.read_bytes() == pair.certificate


def test_a_request_with_anothers_signature_is_refused(files: TlsFiles) -> None:
    """Or a box could be given a certificate for a key that it does not have."""
    ours, theirs = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "box2")])
    asked = x509.CertificateSigningRequestBuilder().subject_name(name).sign(ours, hashes.SHA256())
    kind = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    swapped = asked.public_bytes(Encoding.DER).replace(
        ours.public_key().public_bytes(*kind), theirs.public_key().public_bytes(*kind)
    )
    request = x509.load_der_x509_csr(swapped).public_bytes(Encoding.PEM).decode()
    with pytest.raises(MachineError, match="the certificate that box2 asks for makes no sense"):
        certificates.sign(files, request, Whose("box2", "id2"), "10.0.0.6")
    assert certificates.sign(files, asked.public_bytes(Encoding.PEM).decode(), Whose("box2"), "10.0.0.6")


def test_another_token_file_takes_away_what_the_one_before_has_given(files: TlsFiles, tmp_path: Path) -> None:
    node = TlsFiles(tmp_path / "node")
    first, second = certificates.for_token(files), certificates.for_token(files)
    certificates.keep_token(node, first)
    certificates.put_box(node, certificates.issued(files, "box2", "10.0.0.6"))
    certificates.keep_token(node, first)
    assert certificates.shown(node) == (node.box, node.box_key)
    certificates.keep_token(node, second)
    assert not node.box.exists() and not node.box_key.exists()
    assert certificates.shown(node) == (node.token, node.token_key)


def test_a_look_with_another_token_file_shows_nothing_that_was_given_with_the_one_before(
    files: TlsFiles, tmp_path: Path
) -> None:
    node, trial, other = (TlsFiles(tmp_path / name) for name in ("node", "trial", "other"))
    first = certificates.for_token(files)
    certificates.keep_token(node, first)
    certificates.put_box(node, certificates.issued(files, "box2", "10.0.0.6"))
    certificates.keep_trial(trial, node, first)
    assert trial.box.read_bytes() == node.box.read_bytes() and are_a_pair(trial.box, trial.box_key)
    certificates.keep_trial(other, node, certificates.for_token(files))
    assert not other.box.exists() and certificates.shown(other) == (other.token, other.token_key)


def test_a_serial_number_is_as_openssl_writes_it() -> None:
    """In whole bytes: that of an odd number of digits begins with 0."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    for number in (0xABC, 0xABCD):
        made = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(number)
            .public_key(key.public_key()).not_valid_before(now).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=made)
        (found,) = context.get_ca_certs()
        assert certificates.serial_of(made) == str(found["serialNumber"]).lower()
