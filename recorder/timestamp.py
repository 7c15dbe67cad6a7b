"""RFC 3161 time stamps: asking an authority, and being one.

The built-in authority makes an archive complete without any network. It runs on the same machine
and under the same CA as the seal, so it proves no more about *when* than the seal itself does, and
the verifier reports it as not independent. With ``seal.tsa_url`` an outside authority is asked;
its answer is kept only when it passes the checks of both OpenSSL and stricter clients, because a
token that one of them refuses is worth little in court.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.parse
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import rfc3161_client
from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rooms.errors import ConfigInvalid, TimestampRefused

POLICY = "2.25.311740226093915310452126735823915904837"
"""Policy of the built-in authority (a UUID under ITU-T X.667): own clock, not independent."""

REQUEST_TIMEOUT_S = 8.0
"""How long an outside authority may take; sealing waits for it."""

_MAX_RESPONSE_BYTES = 1 << 17
_ACCURACY_S = 1


def make_request(message: bytes, nonce: int) -> bytes:
    """A DER ``TimeStampReq`` for the SHA-256 of ``message``, asking for the certificate too."""
    return _dump(
        tsp.TimeStampReq(
            {
                "version": "v1",
                "message_imprint": {
                    "hash_algorithm": {"algorithm": "sha256"},
                    "hashed_message": hashlib.sha256(message).digest(),
                },
                "nonce": nonce,
                "cert_req": True,
            }
        )
    )


def new_nonce() -> int:
    """A random positive 63-bit number: a fresh answer cannot be an old one replayed."""
    return int.from_bytes(os.urandom(8), "big") >> 1


class Authority:
    """The built-in time-stamp authority: one ECDSA P-256 key whose certificate may only stamp."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, chain: Sequence[x509.Certificate]) -> None:
        """Take the key and its certificate (first), with intermediates, if any, after it."""
        self._key = key
        self._chain = [
            asn1_x509.Certificate.load(c.public_bytes(serialization.Encoding.DER)) for c in chain
        ]

    @classmethod
    def load(cls, cert_path: Path, key_path: Path) -> Authority:
        """Read both PEM files. Raises :class:`ConfigInvalid` when they cannot be used."""
        try:
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
            chain = x509.load_pem_x509_certificates(cert_path.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise ConfigInvalid(f"time-stamp authority: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigInvalid("time-stamp authority: the key is not ECDSA")
        if key.public_key() != chain[0].public_key():
            raise ConfigInvalid("time-stamp authority: key and certificate do not belong together")
        return cls(key, chain)

    def respond(self, request: bytes, now: datetime) -> bytes:
        """The DER ``TimeStampResp`` for a DER ``TimeStampReq``, granted at ``now``."""
        asked = tsp.TimeStampReq.load(request)
        info: dict[str, object] = {
            "version": "v1",
            "policy": POLICY,
            "message_imprint": asked["message_imprint"],
            "serial_number": new_nonce(),
            # DER allows no fraction that ends in zero; whole seconds avoid the question.
            "gen_time": now.astimezone(UTC).replace(microsecond=0),
            "accuracy": {"seconds": _ACCURACY_S},
            "tsa": asn1_x509.GeneralName("directory_name", self._chain[0].subject),
        }
        if asked["nonce"].native is not None:
            info["nonce"] = asked["nonce"]
        token = self._sign(_dump(tsp.TSTInfo(info)), now)
        return _dump(
            tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token})
        )

    def _sign(self, content: bytes, now: datetime) -> cms.ContentInfo:
        leaf = self._chain[0]
        certificate_id = tsp.ESSCertIDv2(
            {
                "hash_algorithm": {"algorithm": "sha256"},
                "cert_hash": hashlib.sha256(leaf.dump()).digest(),
                "issuer_serial": {
                    "issuer": [asn1_x509.GeneralName("directory_name", leaf.issuer)],
                    "serial_number": leaf.serial_number,
                },
            }
        )
        attributes = cms.CMSAttributes(
            [
                _attribute("content_type", "tst_info"),
                _attribute("signing_time", cms.Time({"utc_time": now.replace(microsecond=0)})),
                _attribute("signing_certificate_v2", {"certs": [certificate_id]}),
                _attribute("message_digest", hashlib.sha256(content).digest()),
            ]
        )
        signature = self._key.sign(_dump(attributes), ec.ECDSA(hashes.SHA256()))
        sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
        signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier(
                    "issuer_and_serial_number",
                    {"issuer": leaf.issuer, "serial_number": leaf.serial_number},
                ),
                "digest_algorithm": sha256,
                "signed_attrs": attributes,
                "signature_algorithm": {"algorithm": "sha256_ecdsa"},
                "signature": signature,
            }
        )
        signed = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [sha256],
                "encap_content_info": {
                    "content_type": "tst_info",
                    "content": core.ParsableOctetString(content),
                },
                "certificates": self._chain,
                "signer_infos": [signer],
            }
        )
        return cms.ContentInfo({"content_type": "signed_data", "content": signed})


def fetch(
    url: str,
    message: bytes,
    roots: Sequence[x509.Certificate],
    timeout_s: float = REQUEST_TIMEOUT_S,
) -> bytes:
    """A time stamp over ``message`` from the authority at ``url`` (RFC 3161, 3.4: HTTP).

    Returns the DER ``TimeStampResp``, checked by :func:`check_response`. Raises
    :class:`TimestampRefused` when the authority cannot be reached or its token does not hold.
    """
    nonce = new_nonce()
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        raise TimestampRefused("seal.tsa_url is no http address")
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        url,
        data=make_request(message, nonce),
        headers={"Content-Type": "application/timestamp-query"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            response: bytes = answer.read(_MAX_RESPONSE_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TimestampRefused(f"the authority cannot be reached: {error}") from error
    if len(response) > _MAX_RESPONSE_BYTES:
        raise TimestampRefused("the authority's answer is too long")
    check_response(response, message, nonce, roots)
    return response


def check_response(
    response: bytes, message: bytes, nonce: int, roots: Sequence[x509.Certificate]
) -> None:
    """Refuse a token that does not answer the request or that a strict client would not take.

    Checks with rfc3161-client (signature by a chain that ends in one of ``roots``, critical
    time-stamping purpose, nonce, digest) and, as ``openssl ts -verify`` does, that the signed
    attribute names the signer's certificate. Raises :class:`TimestampRefused`.
    """
    if not roots:
        raise TimestampRefused("no root certificate of the authority is configured")
    builder = rfc3161_client.VerifierBuilder(nonce=nonce, roots=list(roots))
    try:
        strict = rfc3161_client.decode_timestamp_response(response)
        builder.build().verify_message(strict, message)
        _check_as_der(response)
        _check_named_certificate(response)
    except (ValueError, TypeError, KeyError, rfc3161_client.VerificationError) as error:
        raise TimestampRefused(f"the authority's token does not hold: {error}") from error


def _check_as_der(response: bytes) -> None:
    """The verifier takes DER only, so that no byte of a token can change unseen."""
    if tsp.TimeStampResp.load(response, strict=True).dump(force=True) != response:
        raise ValueError("it is not in DER")


def _check_named_certificate(response: bytes) -> None:
    """RFC 5816: the signed attribute must carry the hash of the certificate that signed."""
    signed = tsp.TimeStampResp.load(response)["time_stamp_token"]["content"]
    signer = signed["signer_infos"][0]
    named: tuple[str, bytes] | None = None
    for attribute in signer["signed_attrs"]:
        if attribute["type"].native == "signing_certificate_v2":
            entry = attribute["values"][0]["certs"][0]
            named = (entry["hash_algorithm"]["algorithm"].native, entry["cert_hash"].native)
        elif attribute["type"].native == "signing_certificate" and named is None:
            named = ("sha1", attribute["values"][0]["certs"][0]["cert_hash"].native)
    if named is None:
        raise ValueError("it does not name its certificate")
    algorithm, expected = named
    serial = signer["sid"].chosen["serial_number"].native
    for choice in signed["certificates"]:
        certificate = choice.chosen
        if certificate.serial_number == serial:
            digest = hashlib.new(algorithm, certificate.dump()).digest()
            if digest == expected:
                return
    raise ValueError("it names another certificate than the one that signed")


def _attribute(kind: str, value: object) -> cms.CMSAttribute:
    return cms.CMSAttribute({"type": kind, "values": [value]})


def _dump(value: core.Asn1Value) -> bytes:
    encoded: bytes = value.dump()
    return encoded
