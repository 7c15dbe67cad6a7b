"""Steps 7 and 8: the CMS signature over the tag manifest, and the time stamp over that signature.

Written against RFC 5652 (CMS), RFC 3161 and RFC 5816 (time stamps): asn1crypto takes the
structures apart, cryptography checks the elliptic curves. One signer, SHA-256, signed attributes;
DER and nothing else, so that no byte of a file can be changed without a finding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from recorder.verify.der import check_der
from recorder.verify.trust import (
    MALFORMED,
    Purpose,
    Refused,
    Trust,
    check_sealing,
    check_stamping,
    find_path,
    load_certificate,
)

MAX_BYTES = 1 << 20
"""No signature and no time stamp is longer."""


_RSA = {"rsassa_pkcs1v15"}
"""RFC 3370, 3.2: the plain RSA identifier leaves the digest to the field beside it."""

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class Signed:
    """A CMS SignedData with one signer whose signature over its attributes holds."""

    signer: x509.Certificate
    embedded: tuple[x509.Certificate, ...]
    attributes: dict[str, Any]
    digest_algorithm: str
    content_type: str
    content: bytes | None

    def path(self, trust: Trust | None, at: datetime, purpose: Purpose) -> list[x509.Certificate]:
        """The signer's chain to a trusted certificate. Raises :class:`Refused`."""
        try:
            purpose(self.signer)
            return find_path(self.signer, self.embedded, trust, at)
        except MALFORMED as error:
            raise Refused("certificates that can be read", str(error)) from error


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time-stamp token that holds: when, by whose clock, under which policy."""

    time: datetime
    policy: str
    signed: Signed


def read_seal(der: bytes) -> tuple[Signed, str]:
    """The seal and the SHA-256 that it was made over, whatever lies beside it now.

    Raises :class:`Refused` when it is no detached CMS signature with ECDSA and SHA-256 that holds.
    """
    try:
        check_der(der)
        signed = _read_signed(cms.ContentInfo.load(der, strict=True))
        if signed.content is not None or signed.content_type != "data":
            raise Refused("a detached signature over data", signed.content_type)
        if signed.digest_algorithm != "sha256":
            raise Refused("SHA-256", signed.digest_algorithm)
        if not isinstance(signed.signer.public_key(), ec.EllipticCurvePublicKey):
            raise Refused("an ECDSA signature", "one by another kind of key")
        return signed, signed.attributes["message_digest"].native.hex()
    except MALFORMED as error:
        raise Refused("a CMS signature in DER", str(error)) from error


def check_seal(signed: Signed, trust: Trust | None, at: datetime) -> list[x509.Certificate]:
    """Step 7, who signed: a sealing certificate with a chain to a trusted one, valid at ``at``."""
    return signed.path(trust, at, check_sealing)


def read_stamp(der: bytes) -> tuple[Stamp, str, bytes]:
    """A time stamp, and the digest algorithm and digest of what was stamped.

    Raises :class:`Refused` when it is no granted RFC 3161 response with a token that holds.
    """
    try:
        check_der(der)
        response = tsp.TimeStampResp.load(der, strict=True)
        if (status := response["status"]["status"].native) != "granted":
            raise Refused("a granted time stamp", str(status))
        signed = _read_signed(response["time_stamp_token"])
        if signed.content_type != "tst_info" or signed.content is None:
            raise Refused("a time-stamp token", signed.content_type)
        digest = hashlib.new(signed.digest_algorithm, signed.content).digest()
        if digest != signed.attributes["message_digest"].native:
            raise Refused("content with the signed digest", digest.hex())
        info = tsp.TSTInfo.load(signed.content, strict=True)
        _check_named(signed)
        imprint = info["message_imprint"]
        time = info["gen_time"].native
        if time.tzinfo is None:
            raise Refused("a time in UTC", str(time))
        stamp = Stamp(time.astimezone(UTC), info["policy"].dotted, signed)
        algorithm = str(imprint["hash_algorithm"]["algorithm"].native)
        if algorithm not in _HASHES:
            raise Refused("a time stamp over SHA-2", algorithm)
        return stamp, algorithm, bytes(imprint["hashed_message"].native)
    except MALFORMED as error:
        raise Refused("an RFC 3161 response in DER", str(error)) from error


def check_stamp(stamp: Stamp, trust: Trust | None) -> list[x509.Certificate]:
    """Step 8, whose clock: a time-stamp certificate with a chain to a trusted one, valid then."""
    return stamp.signed.path(trust, stamp.time, check_stamping)


def _read_signed(info: Any) -> Signed:
    if info["content_type"].native != "signed_data":
        raise Refused("signed content", str(info["content_type"].native))
    body = info["content"]
    if len(body["signer_infos"]) != 1:
        raise Refused("one signer", f"{len(body['signer_infos'])} signers")
    signer = body["signer_infos"][0]
    encapsulated = body["encap_content_info"]
    content_type = str(encapsulated["content_type"].native)
    _check_versions(body, signer, content_type)
    algorithm = _digest_algorithm(body, signer)
    embedded = tuple(load_certificate(choice.chosen.dump()) for choice in body["certificates"])
    certificate = _find_signer(signer["sid"], embedded)
    attributes = _signed_attributes(signer["signed_attrs"])
    if attributes["content_type"].native != content_type:
        raise Refused(f"signed content type {content_type}", attributes["content_type"].native)
    _verify(
        certificate,
        signer["signature"].native,
        # RFC 5652, 5.4: signed are the attributes as a SET, not as they are tagged in the message.
        signer["signed_attrs"].untag().dump(),
        signer["signature_algorithm"],
        _HASHES[algorithm],
    )
    content = encapsulated["content"]
    return Signed(
        signer=certificate,
        embedded=embedded,
        attributes=attributes,
        digest_algorithm=algorithm,
        content_type=content_type,
        content=None if isinstance(content, core.Void) else bytes(content),
    )


def _check_versions(body: Any, signer: Any, content_type: str) -> None:
    """RFC 5652, 5.1 and 5.3: versions follow from the content; no signature covers them."""
    expected = (
        "v1" if content_type == "data" else "v3",
        "v1" if signer["sid"].name == "issuer_and_serial_number" else "v3",
    )
    found = (str(body["version"].native), str(signer["version"].native))
    if found != expected:
        raise Refused(f"versions {expected}", f"versions {found}")


def _digest_algorithm(body: Any, signer: Any) -> str:
    algorithms = [*body["digest_algorithms"], signer["digest_algorithm"]]
    names = {str(entry["algorithm"].native) for entry in algorithms}
    if len(algorithms) != 2 or len(names) != 1 or not names <= _HASHES.keys():
        raise Refused("one digest algorithm of SHA-2", ", ".join(sorted(names)))
    for entry in algorithms:
        if not isinstance(entry["parameters"], (core.Void, core.Null)):
            raise Refused("a digest algorithm without parameters", "some")
    return names.pop()


def _signed_attributes(found: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for attribute in found:
        kind = attribute["type"].native
        if kind in attributes or len(attribute["values"]) != 1:
            raise Refused("each signed attribute once", str(kind))
        attributes[kind] = attribute["values"][0]
    return attributes


def _find_signer(sid: Any, embedded: Sequence[x509.Certificate]) -> x509.Certificate:
    for certificate in embedded:
        if sid.name == "issuer_and_serial_number":
            issuer = certificate.issuer.public_bytes()
            if (sid.chosen["issuer"].dump(), sid.chosen["serial_number"].native) == (
                issuer,
                certificate.serial_number,
            ):
                return certificate
        else:
            key_id = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
            if sid.chosen.native == key_id.digest:
                return certificate
    raise Refused("the signer's certificate beside the signature", "no such certificate")


def _verify(
    certificate: x509.Certificate,
    signature: bytes,
    message: bytes,
    algorithm: Any,
    digest: hashes.HashAlgorithm,
) -> None:
    """The algorithm must be one for the key and for the digest that the message names."""
    key, name = certificate.public_key(), str(algorithm["algorithm"].native)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and name == f"{digest.name}_ecdsa":
            key.verify(signature, message, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey) and name in _RSA | {f"{digest.name}_rsa"}:
            key.verify(signature, message, padding.PKCS1v15(), digest)
        else:
            raise Refused(f"ECDSA or RSA with {digest.name}", name)
    except (InvalidSignature, UnsupportedAlgorithm) as error:
        raise Refused("a signature that holds", "one that does not") from error
    if not isinstance(algorithm["parameters"], (core.Void, core.Null)):
        raise Refused("a signature algorithm without parameters", "some")


def _check_named(signed: Signed) -> None:
    """RFC 5816, 2.2.1: the signed attributes name the certificate by its hash."""
    expected = "signed attributes that name the signer's certificate"
    if "signing_certificate_v2" in signed.attributes:
        entry = signed.attributes["signing_certificate_v2"]["certs"][0]
        algorithm = str(entry["hash_algorithm"]["algorithm"].native)
    elif "signing_certificate" in signed.attributes:
        entry = signed.attributes["signing_certificate"]["certs"][0]
        algorithm = "sha1"
    else:
        raise Refused(expected, "none")
    der = signed.signer.public_bytes(Encoding.DER)
    # SHA-1 names a certificate here and signs nothing (RFC 2634).
    if hashlib.new(algorithm, der, usedforsecurity=False).digest() != entry["cert_hash"].native:
        raise Refused(expected, "another certificate")
