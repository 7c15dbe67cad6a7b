"""The contract with aiortc, aioice and pylibsrtp: every private name that the seam uses.

When one of these fails after an upgrade, the seam has to be read again beside the new version.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aioice.ice
import pylibsrtp
import pytest
from aiortc import RTCCertificate, RTCIceGatherer, RTCIceTransport, RTCRtpSender
from aiortc import rtcdtlstransport as dtls_module
from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi, lib

from server.sfu import seam
from server.sfu.binding import Binding
from server.sfu.port import MediaPorts

ROOT = Path(__file__).parents[3]


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("package", ["aiortc", "aioice", "pylibsrtp"])
def test_the_versions_are_the_pinned_ones(package: str) -> None:
    pinned = re.search(rf"^{package}==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert version(package) == pinned[1]


def test_what_is_overridden_in_aioice_is_there_and_called_alike() -> None:
    protocol, connection = aioice.ice.StunProtocol, aioice.ice.Connection
    assert parameters(protocol.datagram_received) == ["self", "data", "addr"]
    assert parameters(connection.data_received) == ["self", "data", "component"]
    assert parameters(connection.check_complete) == ["self", "pair"]
    assert parameters(connection.get_component_candidates) == [
        "self",
        "component",
        "addresses",
        "timeout",
    ]
    assert inspect.iscoroutinefunction(connection.get_component_candidates)
    assert parameters(aioice.ice.get_host_addresses) == ["use_ipv4", "use_ipv6"]
    # The pair says where to send: a protocol with a transport, and an address.
    assert parameters(aioice.ice.CandidatePair.__init__)[1] == "protocol"
    assert isinstance(aioice.ice.CandidatePair.remote_addr, property)


async def test_a_connection_of_aioice_has_what_is_read_from_it() -> None:
    connection = aioice.ice.Connection(ice_controlling=False)
    assert connection.ice_controlling is False
    assert connection._protocols == []
    assert connection._nominated == {}
    assert isinstance(connection._queue, asyncio.Queue)
    assert connection.remote_candidates == []
    await connection.close()
    ports = MediaPorts(Binding("127.0.0.1"))
    ours = seam._Connection(ports)
    found = await ours.get_component_candidates(1, [])
    (protocol,) = ours._protocols
    assert protocol.receiver is ours
    assert [protocol.local_candidate] == found
    assert found[0].port == ports.open()[0].port
    await ours.close()
    assert protocol.transport.is_closing()
    ports.close()


async def test_aiortc_takes_our_connection_and_gives_its_keys() -> None:
    gatherer = RTCIceGatherer(iceServers=[])
    ours = seam._Connection(MediaPorts(Binding()))
    assert isinstance(gatherer._connection, aioice.ice.Connection)
    gatherer._connection = ours
    ice = RTCIceTransport(gatherer)
    assert ice._connection is ours
    dtls = dtls_module.RTCDtlsTransport(ice, [RTCCertificate.generateCertificate()])
    assert dtls._rx_srtp is None
    assert dtls._tx_srtp is None
    assert parameters(dtls._set_role) == ["role"]
    assert dtls._srtp_profiles == dtls_module.SRTP_PROFILES
    assert {p.openssl_profile for p in dtls_module.SRTP_PROFILES} == set(seam._PROFILE_ORDER)
    await ice.stop()


def test_libsrtp_is_called_as_pylibsrtp_calls_it() -> None:
    key = bytes(range(30))
    out = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    into = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND))
    plain = b"\x80\x60" + bytes(10) + b"payload"
    buffer, length = ffi.new("char[]", 2304), ffi.new("int *")
    view = memoryview(ffi.buffer(buffer))
    view[: len(plain)] = plain
    length[0] = len(plain)
    assert lib.srtp_protect(out._srtp[0], buffer, length) == 0
    assert bytes(view[: length[0]]) != plain
    assert lib.srtp_unprotect(into._srtp[0], buffer, length) == 0
    assert bytes(view[: length[0]]) == plain
    report = b"\x80\xc9\x00\x01" + bytes(4)
    sealed = out.protect_rtcp(report)
    view[: len(sealed)] = sealed
    length[0] = len(sealed)
    assert lib.srtp_unprotect_rtcp(into._srtp[0], buffer, length) == 0
    assert bytes(view[: length[0]]) == report
    # Whatever is refused is refused by a number, not by an exception.
    assert lib.srtp_unprotect_rtcp(into._srtp[0], buffer, length) != 0
    assert pylibsrtp.Error.__mro__[1] is Exception


def test_a_sender_of_aiortc_tells_of_requests_and_reports() -> None:
    assert parameters(RTCRtpSender._send_keyframe) == ["self"]
    assert parameters(RTCRtpSender._send_rtcp) == ["self", "packets"]
    assert inspect.iscoroutinefunction(RTCRtpSender._send_rtcp)


async def test_a_check_that_is_repeated_is_timed_from_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a line of 600 ms the answer comes after aioice has asked again."""
    now_s = [100.0]
    monkeypatch.setattr(seam.time, "monotonic", lambda: now_s[0])
    ports = MediaPorts(Binding("127.0.0.1"))
    connection = seam._Connection(ports)
    try:
        await connection.get_component_candidates(1, [])
        (protocol,) = connection._protocols
        for at_s in (100.0, 100.5):
            now_s[0] = at_s
            protocol.ask(b"transaction!")  # type: ignore[attr-defined]
        now_s[0] = 100.6
        protocol.take_stun(  # type: ignore[attr-defined]
            b"\x01\x01\0\0\x21\x12\xa4\x42transaction!", ("127.0.0.1", 9)
        )
        assert connection.round_trip_s == pytest.approx(0.6)
    finally:
        await connection.close()
        ports.close()


async def test_a_handshake_that_ends_as_it_is_cancelled_does_not_keep_the_connection_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As asyncio.wait_for of Python 3.11 does in aiortc's handshake, once in a while."""
    ports = [MediaPorts(Binding("127.0.0.1")) for _ in range(2)]
    certificate = RTCCertificate.generateCertificate()
    one, other = (
        seam.MediaTransport(certificate, each, controlling=number == 0)
        for number, each in enumerate(ports)
    )
    shaking_hands, start = asyncio.Event(), one._dtls.start

    async def not_cancelled(remote: Any) -> None:
        task = asyncio.ensure_future(start(remote))
        shaking_hands.set()
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await task

    monkeypatch.setattr(one._dtls, "start", not_cancelled)
    try:
        lines = [await end.gather() for end in (one, other)]
        for end, far, role in ((one, other, "client"), (other, one, "server")):
            for line in lines[end is one]:
                end.add_remote_candidate(line)
            end.start(far.ice_parameters, far.fingerprints, dtls_role=role)
        async with asyncio.timeout(10):
            await shaking_hands.wait()
            await one.close()
    finally:
        await other.close()
        for each in ports:
            each.close()
