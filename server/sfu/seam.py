"""Datagram to plain RTP and back: the only file with private names of aiortc, aioice, pylibsrtp.

Before this in a packet's path: :mod:`server.sfu.port`. After it: the peer whose packet it is, of a
publisher :mod:`server.sfu.publish_peer`. On the way out :mod:`server.sfu.downtrack` comes before
it, and an outlet of :mod:`server.sfu.datagrams` after it.

aiortc brings ICE (RFC 8445), DTLS (RFC 9147, RFC 5764) and the SRTP keys; its receiver and sender,
which decode, poll and queue, stay out of the path. What is taken from its inside, and why:

* ``aioice.Connection.get_component_candidates`` is overridden: gathering skips loopback and opens a
  socket for each connection, while all of ours share one (:mod:`server.sfu.port`), which tells
  STUN, DTLS and media apart and hands media on synchronously;
* ``aioice.Connection.data_received`` is overridden, to bound the queue that DTLS is read from;
* ``aioice.Connection.check_incoming`` is overridden, because it cannot do without an attribute that
  a stock encoder does not send, and to know the addresses of a peer;
* ``aioice.Connection.check_complete`` is overridden, to know the address to send to once instead of
  looking for it at every packet;
* ``RTCDtlsTransport`` keeps the SRTP sessions private, and pylibsrtp its libsrtp: they are used
  here directly, where the packet lies, without an object for each;
* ``RTCIceGatherer`` and ``RTCDtlsTransport`` are given our connection, the order in which SRTP
  profiles are preferred, and the role, which they would choose by themselves;
* ``RTCRtpSender`` of the headless terminal sends what was encoded before: wishes for a key frame go
  to the source, and the time in sender reports is the source's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import secrets
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import aioice.ice
import aioice.stun
from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aiortc import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCIceGatherer,
    RTCIceParameters,
    RTCIceTransport,
    RTCRtpSender,
)
from aiortc import rtcdtlstransport as dtls_module
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket
from aiortc.sdp import candidate_from_sdp
from pylibsrtp import Session
from pylibsrtp._binding import ffi, lib

from server.sfu.datagrams import SendPacket
from server.sfu.port import MAX_DATAGRAM_BYTES, MediaPort, MediaPorts

logger = logging.getLogger(__name__)

MAX_QUEUED_DATAGRAMS = 64
"""DTLS datagrams waiting for the handshake; a flood beyond that is dropped."""

MAX_REMOTE_CANDIDATES = 64

CONNECT_S = 30.0
"""ICE and DTLS take no longer; whoever answers and then never comes holds nothing of ours."""

MAX_ASKED = 64
"""Checks whose answers are timed; of older ones nothing is learned."""

_PROFILE_ORDER = (
    b"SRTP_AEAD_AES_128_GCM",
    b"SRTP_AEAD_AES_256_GCM",
    b"SRTP_AES128_CM_SHA1_80",
)

RtpSink = Callable[[bytes], None]
TakeDatagram = Callable[[Any, memoryview, int], None]

_LENGTH = ffi.new("int *")
protect, unprotect = lib.srtp_protect, lib.srtp_unprotect
"""libsrtp's own, for a packet where it lies: context, packet, its length in and out; 0 is well."""

_unprotect_rtcp = lib.srtp_unprotect_rtcp


def context_of(session: Session) -> Any:
    """What libsrtp needs of a session of pylibsrtp: the first argument of :data:`protect`."""
    return session._srtp[0]


def _nowhere(pointer: Any, view: memoryview, size: int) -> None:
    """Where media goes that comes before the keys, or after the end."""


def _not_connected(
    first: int, second: int, sequence: int, timestamp: int, ssrc: int, body: bytes
) -> None:
    """Where packets go before the connection stands, and after it ended: nowhere."""


class _Path(asyncio.DatagramTransport):
    """A port as ICE sees it: a transport on which only this connection's datagrams come."""

    def __init__(self, port: MediaPort, protocol: _Protocol) -> None:
        super().__init__()
        self.port = port
        self._protocol = protocol
        self._closing = False

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send one datagram of STUN, DTLS or RTCP."""
        if not self._closing and addr is not None:
            if data[:2] == b"\0\1":
                self._protocol.ask(data[8:20])
            self.port.send(data, addr, self._protocol)

    def is_closing(self) -> bool:
        """Whether nothing is sent any more."""
        return self._closing

    def close(self) -> None:
        """Let go of the port, which stays open for others."""
        if not self._closing:
            self._closing = True
            self.port.forget(self._protocol)
            self._protocol.connection_lost(None)


class _Protocol(aioice.ice.StunProtocol):
    """One connection on one port."""

    receiver: _Connection
    transport: _Path

    def __init__(self, receiver: _Connection, port: MediaPort) -> None:
        super().__init__(receiver)
        self.take: TakeDatagram = _nowhere
        self.asked: dict[bytes, float] = {}
        """When our checks went out that are not answered yet, by transaction."""
        self.transport = _Path(port, self)
        self.local_candidate = Candidate(
            foundation=candidate_foundation("host", "udp", port.host),
            component=1,
            transport="udp",
            priority=candidate_priority(1, "host"),
            host=port.host,
            port=port.port,
            type="host",
        )

    def ask(self, transaction: bytes) -> None:
        """A check goes out; of one that is repeated the first counts.

        Its answer may be to that one. Where it was lost the time is too long, which other checks
        and reports put right; too short would pass for a queue for ever after.
        """
        if transaction in self.asked:
            return
        while len(self.asked) >= MAX_ASKED:
            del self.asked[next(iter(self.asked))]
        self.asked[transaction] = time.monotonic()

    def take_dtls(self, datagram: bytes) -> None:
        """Part of the handshake."""
        self.receiver.data_received(datagram, 1)

    def take_stun(self, datagram: bytes, address: tuple[str, int]) -> None:
        """A check, or the answer to one; one with an attribute of a wrong size is dropped."""
        at = self.asked.pop(datagram[8:20], None)
        if at is not None:
            self.receiver.answered(time.monotonic() - at)
        # aioice does not expect an attribute that is too short for its value.
        with contextlib.suppress(struct.error, IndexError):
            self.datagram_received(datagram, address)


class _Connection(aioice.ice.Connection):
    """ICE on the ports of this process; media leaves it before any queue."""

    def __init__(self, ports: MediaPorts) -> None:
        super().__init__(ice_controlling=False, local_username=secrets.token_hex(8))
        self._ports = ports
        self.on_nominated: Callable[[], None] = lambda: None
        self.round_trip_s: float | None = None

    def answered(self, round_trip_s: float) -> None:
        """A check was answered after this time."""
        self.round_trip_s = min(round_trip_s, self.round_trip_s or round_trip_s)

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[Candidate]:
        """One candidate for each port."""
        for port in self._ports.open():
            protocol = _Protocol(self, port)
            port.expect(self.local_username, protocol)
            self._protocols.append(protocol)
        return [protocol.local_candidate for protocol in self._protocols]

    def check_incoming(
        self, message: aioice.stun.Message, addr: tuple[str, int], protocol: aioice.ice.StunProtocol
    ) -> None:
        """Take a check without PRIORITY (RFC 8445, 7.1.1) too, as FFmpeg 8.0 sends them."""
        message.attributes.setdefault("PRIORITY", candidate_priority(1, "prflx"))
        _found(protocol, addr)
        super().check_incoming(message, addr, protocol)

    def check_complete(self, pair: aioice.ice.CandidatePair) -> None:
        """Tell when another pair of addresses carries the media."""
        before = self._nominated.get(1)
        if pair.state is aioice.ice.CandidatePair.State.SUCCEEDED:
            _found(pair.protocol, pair.remote_addr)
        super().check_complete(pair)
        if self._nominated.get(1) is not before:
            self.on_nominated()

    def data_received(self, data: bytes, component: int) -> None:
        """DTLS goes to the queue that aiortc reads, as much of it as a handshake needs."""
        if self._queue.qsize() < MAX_QUEUED_DATAGRAMS:
            super().data_received(data, component)


class MediaTransport:
    """One ICE and DTLS-SRTP connection to a peer, as plain RTP and RTCP in both directions.

    Set :attr:`on_rtp`, :attr:`on_rtcp` and :attr:`on_closed` before :meth:`start`. The first two
    are called synchronously, with plain packets, from the datagram callback. ``on_closed`` is
    called once, when the connection failed or ended.
    """

    def __init__(
        self, certificate: RTCCertificate, ports: MediaPorts, *, controlling: bool
    ) -> None:
        self.on_rtp: RtpSink = lambda packet: None
        self.on_rtcp: RtpSink = lambda packet: None
        self.on_closed: Callable[[], None] = lambda: None
        self.on_connected: Callable[[], None] = lambda: None
        self.rejected = 0
        """Datagrams that SRTP refused: wrong key, replayed, damaged, too long."""
        self.send: SendPacket = _not_connected
        """Protect and send one RTP packet: its five header fields, and its payload."""
        self._binding = ports.binding
        self._connection = _Connection(ports)
        self._connection.ice_controlling = controlling
        gatherer = RTCIceGatherer(iceServers=[])
        gatherer._connection = self._connection
        self._gatherer = gatherer
        self._ice = RTCIceTransport(gatherer)
        self._dtls = dtls_module.RTCDtlsTransport(self._ice, [certificate])
        self._dtls._srtp_profiles = sorted(
            dtls_module.SRTP_PROFILES, key=lambda p: _PROFILE_ORDER.index(p.openssl_profile)
        )
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._remote_candidates = 0
        self._received_context: Any = None
        self._protect_rtcp: Callable[[bytes], bytes] | None = None
        self._nominated = self._connection._nominated
        self._connection.on_nominated = self._nomination_changed

    @property
    def connected(self) -> bool:
        """Whether keys are agreed and packets can go both ways."""
        return self._protect_rtcp is not None and not self._closed

    @property
    def round_trip_ms(self) -> float | None:
        """The shortest round trip of a check of ICE; before media, the line's own."""
        seconds = self._connection.round_trip_s
        return None if seconds is None else seconds * 1000

    @property
    def ice_parameters(self) -> RTCIceParameters:
        """User name fragment and password of this side."""
        return self._gatherer.getLocalParameters()

    @property
    def fingerprints(self) -> list[RTCDtlsFingerprint]:
        """Fingerprints of this side's certificate."""
        return self._dtls.getLocalParameters().fingerprints

    async def gather(self) -> list[str]:
        """Open the ports; return ``candidate:`` attribute values for the session description."""
        await self._gatherer.gather()
        lines = []
        for candidate in self._connection.local_candidates:
            parts = candidate.to_sdp().split(" ")
            parts[4] = self._binding.announced_for(parts[4])
            lines.append(" ".join(parts))
        return lines

    def start(
        self, ice: RTCIceParameters, fingerprints: Sequence[RTCDtlsFingerprint], *, dtls_role: str
    ) -> None:
        """Connect in the background; ``dtls_role`` is ours, ``server`` or ``client``."""
        self._task = asyncio.create_task(self._run(ice, list(fingerprints), dtls_role))

    async def _run(
        self, ice: RTCIceParameters, fingerprints: list[RTCDtlsFingerprint], dtls_role: str
    ) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._ice.start(ice)
                if self._ice.state != "completed":
                    return
                self._dtls._set_role(dtls_role)
                await self._dtls.start(RTCDtlsParameters(fingerprints=fingerprints))
            # A handshake that ends in the moment in which it is cancelled goes on: asyncio.wait_for
            # of Python 3.11 keeps the cancellation to itself, and nobody cancels twice.
            if self._closed or self._dtls.state != "connected":
                return
            self._received_context = context_of(self._dtls._rx_srtp)
            self._protect_rtcp = self._dtls._tx_srtp.protect_rtcp
            self._nomination_changed()
            self._listen(self._take)
            self.on_connected()
            ended = asyncio.Event()
            self._dtls.on("statechange", ended.set)
            self._ice.on("statechange", ended.set)
            while self._dtls.state == "connected" and self._ice.state == "completed":
                await ended.wait()
                ended.clear()
        except (ConnectionError, OSError, ValueError) as error:
            logger.info("transport ended: %s", error)
        finally:
            self._listen(_nowhere)
            if not self._closed:
                self.on_closed()

    def add_remote_candidate(self, text: str) -> None:
        """Take a trickled candidate (``candidate:...``); what does not parse is ignored.

        The other side's checks reach us in any case and become peer-reflexive candidates. Host
        names of mDNS are skipped: resolving them would ask the network.
        """
        if self._remote_candidates >= MAX_REMOTE_CANDIDATES:
            return
        try:
            candidate = candidate_from_sdp(text.removeprefix("candidate:"))
            ipaddress.ip_address(candidate.ip)
        except (ValueError, IndexError, AssertionError, KeyError):
            return
        if candidate.protocol.lower() != "udp" or candidate.component != 1:
            return
        # Counted here: an offer brings all of its own before the first of them is tried.
        self._remote_candidates += 1
        task = asyncio.ensure_future(self._ice.addRemoteCandidate(candidate))
        task.add_done_callback(lambda done: done.exception())

    def _take(self, pointer: Any, view: memoryview, size: int) -> None:
        """Decrypt the packet where it lies, and hand it on."""
        if not 12 <= size <= MAX_DATAGRAM_BYTES:
            self.rejected += 1
            return
        rtcp = 191 < view[1] < 224  # RTCP packet types, RFC 5761 section 4
        _LENGTH[0] = size
        if (_unprotect_rtcp if rtcp else unprotect)(self._received_context, pointer, _LENGTH):
            self.rejected += 1
            return
        (self.on_rtcp if rtcp else self.on_rtp)(bytes(view[: _LENGTH[0]]))

    def _listen(self, take: TakeDatagram) -> None:
        """Media of every address that ICE has found goes to ``take``."""
        for protocol in self._connection._protocols:
            cast(_Protocol, protocol).take = take

    def _nomination_changed(self) -> None:
        """Open the way for media to the address that ICE has chosen."""
        pair = self._nominated.get(1)
        if pair is None or self._protect_rtcp is None or self._closed:
            return
        port = cast(_Protocol, pair.protocol).transport.port
        context = context_of(self._dtls._tx_srtp)
        self.send = port.outlet(pair.remote_addr, protect, context).send

    def send_rtcp(self, packet: bytes) -> None:
        """Protect and send one compound RTCP packet."""
        protect = self._protect_rtcp
        pair = self._nominated.get(1)
        if protect is None or pair is None or pair.protocol.transport.is_closing():
            return
        pair.protocol.transport.sendto(protect(packet), pair.remote_addr)

    async def close(self) -> None:
        """End DTLS and ICE, let go of the ports. Can be called more than once."""
        if self._closed:
            return
        self._closed = True
        self._listen(_nowhere)
        self.send = _not_connected
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(ConnectionError, OSError):
            await self._dtls.stop()
        await self._ice.stop()


def _found(protocol: aioice.ice.StunProtocol, address: tuple[str, int]) -> None:
    """ICE has proved that the peer of ``protocol`` is at ``address``."""
    ours = cast(_Protocol, protocol)
    ours.transport.port.found(address, ours)


def bind_address(address: str) -> None:
    """Let connections that aiortc makes by itself in this process gather this one local address.

    For the headless terminal, which uses :class:`aiortc.RTCPeerConnection` as any other peer would;
    aioice leaves out loopback otherwise.
    """
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [address]


def on_key_frame_request(sender: RTCRtpSender, callback: Callable[[], None]) -> None:
    """Call ``callback`` when the other side asks ``sender`` for a key frame (PLI or FIR).

    For senders of pre-encoded packets: aiortc itself can only pass the wish to its own encoder.
    """
    sender._send_keyframe = callback  # type: ignore[method-assign]


def stamp_sender_reports(sender: RTCRtpSender, newest_ntp: Callable[[], int]) -> None:
    """Let ``newest_ntp`` say which time (64-bit NTP) the newest packet of ``sender`` stands for.

    aiortc puts the time at which it sent the packet into its reports (RFC 3550, 6.4.1). On a
    machine that is busy for a moment that is late, while a source knows when it captured.
    """
    send = sender._send_rtcp

    async def stamped(packets: list[AnyRtcpPacket]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket) and packet.sender_info.packet_count:
                packet.sender_info.ntp_timestamp = newest_ntp()
        await send(packets)

    sender._send_rtcp = stamped  # type: ignore[method-assign]
