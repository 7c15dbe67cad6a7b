"""The installation's own keys: made at first start, used when the configuration names no others.

A platform CA issues two certificates, both ECDSA P-256: one seals archives, one belongs to the
built-in time-stamp authority (RFC 3161). OpenSSL 3.0 cannot verify a CMS signature made with
Ed25519, hence the curve. Whoever checks archives elsewhere is given ``trusted.pem``, on another
way than the archives themselves: a certificate that only travels inside an archive proves nothing
about it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from recorder.wire import SealJob
from rooms.errors import ArchiveDirUnwritable, ConfigInvalid

TRUSTED = "trusted.pem"
"""The platform CA: what ``openssl -CAfile`` and ``tingxun verify --trust`` take."""

TSA_TRUSTED = "tsa-trusted.pem"
"""Roots of an outside time-stamp authority; the operator puts it beside :data:`TRUSTED`."""

_CA_KEY, _SEAL_KEY, _TSA_KEY = "platform-ca.key", "seal.key", "tsa.key"
_SEAL_CERT, _TSA_CERT = "seal.pem", "tsa.pem"
_CA_DAYS, _LEAF_DAYS = 7300, 3650
_BACKDATED = timedelta(hours=1)
"""Clocks that lag a little must not find a certificate "not yet valid"."""

_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
"""id-kp-documentSigning, RFC 9336."""


def ensure(directory: Path, tsa_url: str | None = None) -> SealJob:
    """The seal job of this installation; its keys are made when ``directory`` has none.

    They appear all at once (a folder renamed into place), so two programs that start together end
    up with the same keys and a crash leaves none or all. Keys are readable by their owner alone.
    Raises :class:`ArchiveDirUnwritable` when they cannot be written and :class:`ConfigInvalid`
    when some are missing from a folder that has others: new ones would silently break with the
    old.
    """
    names = (TRUSTED, _CA_KEY, _SEAL_CERT, _SEAL_KEY, _TSA_CERT, _TSA_KEY)
    try:
        with _alone(directory):
            if not any((directory / name).exists() for name in names):
                _make_all(directory)
    except OSError as error:
        raise ArchiveDirUnwritable(f"cannot write keys to {directory.name}/: {error}") from error
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        raise ConfigInvalid(f"{directory}: {', '.join(missing)} missing beside the other keys")
    outside = directory / TSA_TRUSTED
    return SealJob(
        cert_path=str(directory / _SEAL_CERT),
        key_path=str(directory / _SEAL_KEY),
        chain_path=str(directory / TRUSTED),
        tsa_cert_path=str(directory / _TSA_CERT),
        tsa_key_path=str(directory / _TSA_KEY),
        tsa_url=tsa_url,
        tsa_roots_path=str(outside) if outside.is_file() else None,
    )


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep other programs of this installation out, by a lock on the folder above."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_all(directory: Path) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        _write_all(fresh)
        if directory.is_dir() and any(directory.iterdir()):
            # The folder holds an operator's files already (tsa-trusted.pem, say).
            for path in sorted(fresh.iterdir()):
                path.rename(directory / path.name)
        else:
            fresh.rename(directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write_all(directory: Path) -> None:
    ca_key = ec.generate_private_key(ec.SECP256R1())
    # The serial tells installations apart, whose CA certificates else bear the same name.
    mark = os.urandom(4).hex()
    ca_name = _name(f"Tingxun platform CA {mark}")
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    _write_key(directory / _CA_KEY, ca_key)
    _write_certificates(directory / TRUSTED, [ca])
    for cert_name, key_name, title, purpose, critical in (
        (_SEAL_CERT, _SEAL_KEY, "Tingxun archive seal", _DOCUMENT_SIGNING, False),
        (_TSA_CERT, _TSA_KEY, "Tingxun time stamp", ExtendedKeyUsageOID.TIME_STAMPING, True),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        # RFC 3161, 2.3: the extended key usage of a time-stamp authority is critical and alone.
        certificate = (
            _builder(_name(f"{title} {mark}"), ca_name, key.public_key(), _LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True, content_commitment=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=critical)
            .add_extension(issuer_key_id, critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        _write_key(directory / key_name, key)
        _write_certificates(directory / cert_name, [certificate])


def _name(title: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(
    *,
    digital_signature: bool = False,
    content_commitment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # Never readable by others, not even for a moment.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())


def _write_certificates(path: Path, certificates: Iterable[x509.Certificate]) -> None:
    pem = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)
    with path.open("wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
