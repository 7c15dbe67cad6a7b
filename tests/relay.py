"""A real TURN server for tests: coturn in a place of its own, with a certificate of its own."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from namespaces import Lines, Place
from self_signed import self_signed

SECRET = "the relay's secret in tests"
PLAIN_PORT, TLS_PORT = 3478, 443
REALM = "relay.test"
WAYS = ("udp", "tcp", "tls")


@dataclass
class Relay:
    """A running coturn."""

    address: str
    certificate: Path
    pin: str
    """What ``--ignore-certificate-errors-spki-list`` takes for its certificate."""

    def url(self, way: str) -> str:
        """Its address for ``udp``, ``tcp`` or ``tls``."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        if way == "tls":
            return f"turns:{host}:{TLS_PORT}?transport=tcp"
        return f"turn:{host}:{PLAIN_PORT}?transport={way}"


@contextlib.contextmanager
def relaying(place: Place, folder: Path, peer: str) -> Iterator[Relay]:
    """Run coturn in ``place``; it relays to ``peer`` and to nobody else."""
    turnserver = shutil.which("turnserver")
    if turnserver is None:
        pytest.skip("needs coturn")
    folder.mkdir()
    certificate, key, pin = _certificate(place.address, folder)
    settings = folder / "turnserver.conf"
    lines = [
        f"listening-ip={place.address}",
        f"relay-ip={place.address}",
        f"listening-port={PLAIN_PORT}",
        f"tls-listening-port={TLS_PORT}",
        "use-auth-secret",
        f"static-auth-secret={SECRET}",
        f"realm={REALM}",
        f"cert={certificate}",
        f"pkey={key}",
        "fingerprint",
        "no-cli",
        "denied-peer-ip=0.0.0.0-255.255.255.255",
        f"allowed-peer-ip={peer}",
        f"userdb={folder / 'turndb'}",
        f"pidfile={folder / 'pid'}",
        "log-file=stdout",
        "simple-log",
    ]
    settings.write_text("\n".join(lines) + "\n")
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        place.command(turnserver, "-c", str(settings)), stdout=log, stderr=log
    )
    try:
        _answers(process, place, TLS_PORT)
        yield Relay(place.address, certificate, pin)
    finally:
        process.terminate()
        process.wait(10)
        log.close()


@pytest.fixture
def relay(lines: Lines, tmp_path: Path) -> Iterator[Relay]:
    """A relay at a place of its own."""
    with relaying(lines.place("relay"), tmp_path / "relay", lines.address) as relay:
        yield relay


def _answers(process: subprocess.Popen[bytes], place: Place, port: int) -> None:
    until = time.monotonic() + 10
    with place.entered():
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError):
                socket.create_connection((place.address, port), 1).close()
                return
            time.sleep(0.05)
    raise RuntimeError("coturn does not listen")


def _certificate(address: str, folder: Path) -> tuple[Path, Path, str]:
    subject = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    authority = x509.BasicConstraints(ca=True, path_length=0)
    certificate, key, public = self_signed(folder, REALM, (subject, False), (authority, True))
    encoding, spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    digest = hashlib.sha256(public.public_bytes(encoding, spki)).digest()
    return certificate, key, base64.b64encode(digest).decode()
