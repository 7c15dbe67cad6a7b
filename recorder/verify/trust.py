"""Certificates: what is trusted, and whether a chain leads there (RFC 5280, 6, as far as needed).

Trust comes from outside the archive. A root that lies only inside it proves nothing: whoever
forges an archive forges that too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from rooms.errors import ConfigInvalid

_T = TypeVar("_T", bound=x509.ExtensionType)
MALFORMED = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the parsers raise on structures and certificates that nobody made in earnest."""

_MAX_PATH = 6
_SOUND_HASHES = ("sha256", "sha384", "sha512")
_KNOWN_EXTENSIONS = (
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
)
_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
_SEALING = (
    _DOCUMENT_SIGNING,
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ExtendedKeyUsageOID.CODE_SIGNING,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
)


@dataclass(frozen=True, slots=True)
class Trust:
    """The certificates that whoever verifies trusts, and where they come from, for the report."""

    roots: tuple[x509.Certificate, ...]
    source: str

    @classmethod
    def load(cls, *paths: Path) -> Trust:
        """Read PEM files of certificates. Raises :class:`ConfigInvalid`."""
        roots: list[x509.Certificate] = []
        for path in paths:
            try:
                roots += x509.load_pem_x509_certificates(path.read_bytes())
            except (OSError, *MALFORMED) as error:
                raise ConfigInvalid(f"trusted certificates {path}: {error}") from error
        return cls(tuple(roots), ", ".join(path.name for path in paths))

    @classmethod
    def of_installation(cls, directory: Path) -> Trust:
        """What this installation trusts: the files that :mod:`recorder.certificates` describes.

        ``trusted.pem`` (its own CA) and, when the operator has put it there, ``tsa-trusted.pem``.
        """
        outside = directory / "tsa-trusted.pem"
        return cls.load(directory / "trusted.pem", *([outside] if outside.is_file() else []))


class Refused(Exception):
    """A signature, token or certificate does not hold: what was expected and what was found."""

    def __init__(self, expected: str, found: str, *, of_trust: bool = False) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found
        self.of_trust = of_trust


def load_certificate(der: bytes) -> x509.Certificate:
    """Read a certificate to the end, so that no later use of it fails on how it is written.

    Raises one of :data:`MALFORMED`.
    """
    certificate = x509.load_der_x509_certificate(der)
    for name in (certificate.subject, certificate.issuer):
        name.rfc4514_string()
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.extensions
    if certificate.serial_number <= 0:
        raise ValueError("a serial number that is not positive")
    return certificate


def name_of(certificate: x509.Certificate) -> str:
    """The subject of a certificate, for people."""
    return certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:x}"


def find_path(
    leaf: x509.Certificate,
    embedded: Sequence[x509.Certificate],
    trust: Trust | None,
    at: datetime,
) -> list[x509.Certificate]:
    """The certificates from ``leaf`` to a trusted one, all valid at the time ``at``.

    Raises :class:`Refused` when there is no such chain; without any trust that is always so.
    """
    if trust is None or not trust.roots:
        raise Refused(
            "a trusted certificate from outside the archive (--trust FILE)",
            f"none was given; the signer's is issued by {leaf.issuer.rfc4514_string()}",
            of_trust=True,
        )
    path = [leaf]
    trusted = {certificate.public_bytes(Encoding.DER) for certificate in trust.roots}
    while path[-1].public_bytes(Encoding.DER) not in trusted:
        _check_validity(path[-1], at)
        issuer = _issuer_of(path[-1], (*trust.roots, *embedded))
        if issuer is None or issuer in path or len(path) >= _MAX_PATH:
            raise Refused(
                f"a chain to a certificate of {trust.source}",
                f"one that ends at {name_of(path[-1])}, "
                f"issued by {path[-1].issuer.rfc4514_string()}",
                of_trust=True,
            )
        _check_issuer(issuer, len(path) - 1)
        path.append(issuer)
    _check_validity(path[-1], at)
    return path


def _issuer_of(
    certificate: x509.Certificate, candidates: Iterable[x509.Certificate]
) -> x509.Certificate | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is not None and algorithm.name not in _SOUND_HASHES:
        return None
    for candidate in candidates:
        try:
            certificate.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return candidate
    return None


def _check_validity(certificate: x509.Certificate, at: datetime) -> None:
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise Refused(
            f"{name_of(certificate)} valid at {at:%Y-%m-%d %H:%M:%SZ}",
            f"valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%SZ} "
            f"to {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}",
        )
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _KNOWN_EXTENSIONS:
            raise Refused("no critical extension that is unknown here", extension.oid.dotted_string)


def _check_issuer(certificate: x509.Certificate, below: int) -> None:
    """``below`` is how many intermediates stand between this issuer and the leaf."""
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.value.ca:
        raise Refused("a certificate authority as issuer", name_of(certificate))
    if constraints.value.path_length is not None and constraints.value.path_length < below:
        raise Refused(f"{name_of(certificate)} allows {below} authorities below it", "fewer")
    if usage is not None and not usage.value.key_cert_sign:
        raise Refused(f"{name_of(certificate)} may sign certificates", "it may not")


def check_sealing(certificate: x509.Certificate) -> None:
    """Refuse a certificate that is not for signing documents."""
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise Refused("a certificate for sealing", "one of a certificate authority")
    _check_may_sign(certificate)
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and not any(purpose in _SEALING for purpose in purposes.value):
        names = ", ".join(purpose.dotted_string for purpose in purposes.value)
        raise Refused("a certificate for signing documents", f"one only for {names}")


def check_stamping(certificate: x509.Certificate) -> None:
    """Refuse a certificate that is not for time stamps alone (RFC 3161, 2.3)."""
    _check_may_sign(certificate)
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    expected = "a certificate whose one critical purpose is time stamping"
    if purposes is None or not purposes.critical:
        raise Refused(expected, "no critical purpose")
    if list(purposes.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise Refused(expected, ", ".join(purpose.dotted_string for purpose in purposes.value))


def _check_may_sign(certificate: x509.Certificate) -> None:
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not (usage.value.digital_signature or usage.value.content_commitment):
        raise Refused("a certificate whose key may sign", "one whose key may not")


def _extension(certificate: x509.Certificate, kind: type[_T]) -> x509.Extension[_T] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


Purpose = Callable[[x509.Certificate], None]
"""A check of what a certificate is for; raises :class:`Refused`."""
