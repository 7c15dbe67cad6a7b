"""Time stamps: each token must pass OpenSSL and a strict client; bad answers are refused."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import rfc3161_client
from asn1crypto import tsp
from cryptography import x509

from recorder import certificates, timestamp
from recorder.timestamp import Authority
from rooms.errors import ConfigInvalid, TimestampRefused

NOW = datetime(2026, 11, 23, 14, 5, 7, 250_000, tzinfo=UTC)
MESSAGE = b"the seal"


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificates of another authority, with a root of its own."""
    directory = tmp_path_factory.mktemp("outside") / "certificates"
    certificates.ensure(directory)
    return directory


@pytest.fixture
def authority(outside: Path) -> Authority:
    return Authority.load(outside / "tsa.pem", outside / "tsa.key")


@pytest.fixture
def roots(outside: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((outside / "trusted.pem").read_bytes())


def test_openssl_takes_the_token(outside: Path, authority: Authority, tmp_path: Path) -> None:
    request = timestamp.make_request(MESSAGE, 4711)
    for name, content in (
        ("message", MESSAGE),
        ("request", request),
        ("response", authority.respond(request, datetime.now(UTC))),
    ):
        (tmp_path / name).write_bytes(content)
    command = [
        "openssl",
        "ts",
        "-verify",
        "-in",
        "response",
        "-CAfile",
        str(outside / "trusted.pem"),
    ]
    for source in (["-data", "message"], ["-queryfile", "request"]):
        subprocess.run([*command, *source], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "message").write_bytes(b"another")
    refused = subprocess.run(
        [*command, "-data", "message"], cwd=tmp_path, check=False, capture_output=True
    )
    assert refused.returncode != 0


def test_a_strict_client_takes_the_token(
    authority: Authority, roots: list[x509.Certificate]
) -> None:
    response = authority.respond(timestamp.make_request(MESSAGE, 4711), datetime.now(UTC))
    timestamp.check_response(response, MESSAGE, 4711, roots)
    decoded = rfc3161_client.decode_timestamp_response(response)
    assert decoded.tst_info.nonce == 4711
    assert decoded.tst_info.policy.dotted_string == timestamp.POLICY


def test_the_token_says_when_and_who(authority: Authority) -> None:
    response = authority.respond(timestamp.make_request(MESSAGE, 1), NOW)
    info = tsp.TimeStampResp.load(response)["time_stamp_token"]["content"]["encap_content_info"]
    content = info["content"].parsed.native
    assert content["gen_time"] == NOW.replace(microsecond=0)
    assert content["accuracy"]["seconds"] == 1
    assert content["serial_number"] > 0


@pytest.mark.parametrize(("nonce", "message"), [(4712, MESSAGE), (4711, b"another message")])
def test_an_answer_to_another_question(
    authority: Authority, roots: list[x509.Certificate], nonce: int, message: bytes
) -> None:
    response = authority.respond(timestamp.make_request(MESSAGE, 4711), datetime.now(UTC))
    with pytest.raises(TimestampRefused):
        timestamp.check_response(response, message, nonce, roots)


def test_an_authority_that_nobody_configured(keys: Any, authority: Authority) -> None:
    response = authority.respond(timestamp.make_request(MESSAGE, 1), datetime.now(UTC))
    with pytest.raises(TimestampRefused):
        timestamp.check_response(response, MESSAGE, 1, list(keys.trust.roots))
    with pytest.raises(TimestampRefused, match="no root"):
        timestamp.check_response(response, MESSAGE, 1, [])


def test_every_byte_of_an_answer_counts(
    authority: Authority, roots: list[x509.Certificate]
) -> None:
    response = authority.respond(timestamp.make_request(MESSAGE, 1), datetime.now(UTC))
    for at in range(0, len(response), 29):
        changed = bytearray(response)
        changed[at] ^= 0x01
        with pytest.raises(TimestampRefused):
            timestamp.check_response(bytes(changed), MESSAGE, 1, roots)
    for at in range(0, len(response), 101):
        with pytest.raises(TimestampRefused):
            timestamp.check_response(response[:at], MESSAGE, 1, roots)


def test_key_and_certificate_must_belong_together(outside: Path) -> None:
    with pytest.raises(ConfigInvalid):
        Authority.load(outside / "tsa.pem", outside / "seal.key")
    with pytest.raises(ConfigInvalid):
        Authority.load(outside / "tsa.key", outside / "tsa.key")
    with pytest.raises(ConfigInvalid):
        Authority.load(outside / "missing", outside / "tsa.key")


Answer = Callable[[bytes], tuple[int, bytes]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Serves one kind of answer over HTTP; gives the address."""
    servers: list[HTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["Content-Type"] == "application/timestamp-query"
                status, body = answer(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_fetch_from_an_authority(
    serve: Callable[[Answer], str], authority: Authority, roots: list[x509.Certificate]
) -> None:
    url = serve(lambda request: (200, authority.respond(request, datetime.now(UTC))))
    response = timestamp.fetch(url, MESSAGE, roots)
    imprint = rfc3161_client.decode_timestamp_response(response).tst_info.message_imprint
    assert len(imprint.message) == 32


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: (500, b""),
        lambda _: (200, b""),
        lambda _: (200, b"<html>"),
        lambda _: (200, b"\x30\x80" * 200),
        lambda _: (200, bytes(200_000)),
        lambda _: (200, tsp.TimeStampResp({"status": {"status": "rejection"}}).dump()),
    ],
)
def test_answers_that_are_no_token(
    serve: Callable[[Answer], str], roots: list[x509.Certificate], answer: Answer
) -> None:
    with pytest.raises(TimestampRefused):
        timestamp.fetch(serve(answer), MESSAGE, roots)


def test_an_old_answer_cannot_be_replayed(
    serve: Callable[[Answer], str], authority: Authority, roots: list[x509.Certificate]
) -> None:
    old = authority.respond(timestamp.make_request(MESSAGE, 5), datetime.now(UTC))
    with pytest.raises(TimestampRefused, match="Nonce"):
        timestamp.fetch(serve(lambda _: (200, old)), MESSAGE, roots)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1:1/", "nonsense"])
def test_an_authority_that_cannot_be_reached(url: str, roots: list[x509.Certificate]) -> None:
    with pytest.raises(TimestampRefused):
        timestamp.fetch(url, MESSAGE, roots, timeout_s=2)
