"""Who may vouch for an archive: chains, purposes, validity; and what anchors it."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from recorder import certificates
from recorder.timestamp import Authority
from recorder.verify import Trust, verify
from recorder.verify.trust import Refused, check_sealing, check_stamping, find_path
from rooms.errors import ConfigInvalid

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey
Issued = tuple[x509.Certificate, Key]


def issue(
    name: str,
    by: Issued | None = None,
    *,
    ca: bool = False,
    path_length: int | None = None,
    usage: str | None = None,
    purpose: list[x509.ObjectIdentifier] | None = None,
    critical: bool = True,
    days: tuple[int, int] = (-1, 10),
    extra: x509.ObjectIdentifier | None = None,
) -> Issued:
    """A certificate for a fresh key, by itself or by another."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[0].subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if usage is not None:
        flags = dict.fromkeys(
            (
                "digital_signature", "content_commitment", "key_encipherment", "key_agreement",
                "data_encipherment", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
            ),
            False,
        )  # fmt: skip
        builder = builder.add_extension(x509.KeyUsage(**{**flags, usage: True}), critical=True)
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purpose), critical=critical)
    if extra is not None:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(extra, b"\x05\x00"), critical=True
        )
    return builder.sign(by[1] if by else key, hashes.SHA256()), key


def trusting(*issued: Issued) -> Trust:
    return Trust(tuple(certificate for certificate, _ in issued), "test.pem")


def test_a_chain_over_an_intermediate() -> None:
    root = issue("root", ca=True)
    between = issue("between", root, ca=True, path_length=0)
    leaf, _ = issue("leaf", between)
    path = find_path(leaf, [between[0], leaf], trusting(root), NOW)
    assert [c.subject.rfc4514_string() for c in path] == ["CN=leaf", "CN=between", "CN=root"]


@pytest.mark.parametrize(
    ("root", "between", "leaf"),
    [
        ({"ca": True}, {"ca": False}, {}),
        ({"ca": True, "path_length": 0}, {"ca": True}, {}),
        ({"ca": True, "usage": "digital_signature"}, {"ca": True}, {}),
        ({"ca": True}, {"ca": True, "days": (-10, -5)}, {}),
        ({"ca": True, "days": (5, 10)}, {"ca": True}, {}),
        ({"ca": True}, {"ca": True}, {"days": (1, 5)}),
        ({"ca": True}, {"ca": True}, {"extra": x509.ObjectIdentifier("1.2.3.4")}),
    ],
)
def test_chains_that_do_not_hold(root: Any, between: Any, leaf: Any) -> None:
    first = issue("root", **root)
    second = issue("between", first, **between)
    third = issue("leaf", second, **leaf)
    with pytest.raises(Refused):
        find_path(third[0], [second[0]], trusting(first), NOW)


def test_roots_that_only_bear_the_name() -> None:
    root, other = issue("root", ca=True), issue("root", ca=True)
    leaf, _ = issue("leaf", root)
    with pytest.raises(Refused, match="a chain to a certificate of test.pem"):
        find_path(leaf, [root[0]], trusting(other), NOW)


def test_certificates_that_issue_each_other() -> None:
    one = issue("one", ca=True)
    other = issue("other", one, ca=True)
    loop = issue("one", other, ca=True)
    leaf, _ = issue("leaf", loop)
    with pytest.raises(Refused):
        find_path(leaf, [loop[0], other[0]], trusting(issue("root", ca=True)), NOW)


@pytest.mark.parametrize(
    "options",
    [
        {"ca": True},
        {"usage": "key_encipherment"},
        {"purpose": [ExtendedKeyUsageOID.SERVER_AUTH]},
        {"purpose": [ExtendedKeyUsageOID.TIME_STAMPING]},
    ],
)
def test_certificates_that_are_not_for_sealing(options: Any) -> None:
    with pytest.raises(Refused):
        check_sealing(issue("leaf", **options)[0])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"usage": "key_encipherment", "purpose": [ExtendedKeyUsageOID.TIME_STAMPING]},
        {"purpose": [ExtendedKeyUsageOID.TIME_STAMPING], "critical": False},
        {"purpose": [ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.SERVER_AUTH]},
    ],
)
def test_certificates_that_are_not_for_stamping(options: Any) -> None:
    with pytest.raises(Refused):
        check_stamping(issue("leaf", **options)[0])


def test_certificates_for_their_purposes() -> None:
    check_sealing(issue("leaf")[0])
    check_sealing(issue("leaf", usage="digital_signature")[0])
    check_stamping(issue("leaf", purpose=[ExtendedKeyUsageOID.TIME_STAMPING])[0])


def test_trust_is_read_from_pem(tmp_path: Path, keys: Any) -> None:
    assert len(Trust.load(keys.pem, keys.pem).roots) == 2
    for content in (
        b"",
        b"nonsense",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ):
        (tmp_path / "bad.pem").write_bytes(content)
        with pytest.raises(ConfigInvalid):
            Trust.load(tmp_path / "bad.pem")
    with pytest.raises(ConfigInvalid):
        Trust.of_installation(tmp_path / "missing")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A time-stamp authority of its own root, over HTTP: its address and its root."""
    directory = tmp_path / "outside"
    certificates.ensure(directory)
    authority = Authority.load(directory / "tsa.pem", directory / "tsa.key")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            body = authority.respond(request, datetime.now(UTC))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    yield f"http://127.0.0.1:{server.server_port}/", directory / "trusted.pem"
    server.shutdown()
    server.server_close()


def test_an_outside_time_stamp_anchors(
    tmp_path: Path, keys: Any, write: Callable[[Path], Any], outside: tuple[str, Path]
) -> None:
    url, root_pem = outside
    job = dataclasses.replace(keys.job, tsa_url=url, tsa_roots_path=str(root_pem))
    result = write(tmp_path).seal(job)
    assert (result.stamped, result.stamp_problem) == ("authority", None)
    root = result.layout.root
    report = verify(root, Trust.load(keys.pem, root_pem))
    assert (report.sealed, report.anchored) == (True, True)
    assert "independent of the seal" in report.reasons[0]
    # Who does not trust the authority does not have its word.
    report = verify(root, keys.trust)
    assert [f.step for f in report.failures] == [8]
    assert not report.anchored
    # An installation that lists the authority trusts it by itself.
    shutil.copytree(keys.directory, tmp_path / "installation")
    shutil.copy(root_pem, tmp_path / "installation" / certificates.TSA_TRUSTED)
    assert verify(root, Trust.of_installation(tmp_path / "installation")).anchored


def seal_job(directory: Path, keys: Any, root: Issued, leaf: Issued) -> Any:
    """A seal job with the given certificates and the installation's own time stamp."""
    directory.mkdir()
    pem = serialization.Encoding.PEM
    (directory / "cert.pem").write_bytes(leaf[0].public_bytes(pem))
    (directory / "chain.pem").write_bytes(root[0].public_bytes(pem))
    (directory / "key.pem").write_bytes(
        leaf[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return dataclasses.replace(
        keys.job,
        cert_path=str(directory / "cert.pem"),
        key_path=str(directory / "key.pem"),
        chain_path=str(directory / "chain.pem"),
    )


@pytest.mark.parametrize("days", [(-20, -10), (8_000, 9_000)])
def test_a_certificate_that_was_not_valid_when_it_was_stamped(
    tmp_path: Path, keys: Any, write: Callable[[Path], Any], days: tuple[int, int]
) -> None:
    root = issue("root", ca=True, days=(-2_000, 10_000))
    leaf = issue("leaf", root, days=days)
    job = seal_job(tmp_path / "keys", keys, root, leaf)
    archive = write(tmp_path).seal(job).layout.root
    trust = Trust((root[0], *keys.trust.roots), "test.pem")
    report = verify(archive, trust, now=NOW)
    assert [(f.step, f.file) for f in report.failures] == [(7, "seal/seal.p7s")]
    assert "valid at" in report.failures[0].expected


def test_a_certificate_that_has_run_out_since_is_no_fault(archive: Path, keys: Any) -> None:
    """The time stamp says when it was used: an archive outlives its certificates."""
    later = datetime.now(UTC) + timedelta(days=50 * 365)
    assert verify(archive, keys.trust, now=later).sealed


def test_without_a_time_stamp_it_must_be_valid_now(archive: Path, keys: Any) -> None:
    (archive / "seal/seal.tsr").unlink()
    later = datetime.now(UTC) + timedelta(days=50 * 365)
    steps = {f.step for f in verify(archive, keys.trust, now=later).failures}
    assert steps == {1, 7, 8}
