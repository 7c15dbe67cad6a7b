"""Datagram to plain RTP and back: the only file that touches private names of aiortc and aioice.

First on a packet's path (a datagram arrives here), and last (a rewritten packet leaves here);
between the two come :mod:`server.sfu.uptrack` and :mod:`server.sfu.downtrack`.

aiortc brings ICE (RFC 8445), DTLS (RFC 9147, RFC 5764) and the SRTP keys; its receiver and sender,
which decode, poll and queue, stay out of the path. What is taken from its inside, and why:

* ``aioice.Connection.get_component_candidates`` is overridden, because gathering skips loopback and
  takes any port, while the address and the port range are the operator's to set;
* ``aioice.StunProtocol.datagram_received`` is overridden to tell STUN from media by the first byte
  (RFC 7983) instead of by a failed parse of every packet;
* ``aioice.Connection.data_received`` is overridden: it is called synchronously for each datagram
  that is not STUN, so media goes on from there without a queue or a task switch;
* ``aioice.Connection.check_incoming`` is overridden, because it cannot do without an attribute that
  a stock encoder does not send;
* ``aioice.Connection.check_complete`` is overridden, to know the address to send to once instead of
  looking for it at every packet;
* ``RTCDtlsTransport`` keeps the SRTP sessions private, and pylibsrtp its libsrtp: they are used
  here directly, in one buffer, without an object for each packet.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
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
from pylibsrtp._binding import ffi, lib

from server.sfu import rtp
from server.sfu.binding import Binding

logger = logging.getLogger(__name__)

UDP_BUFFER_BYTES = 4 << 20
"""Asked of the kernel for each media socket: a key frame of a big picture arrives in one burst."""

MAX_QUEUED_DATAGRAMS = 64
"""DTLS datagrams waiting for the handshake; a flood beyond that is dropped."""

MAX_REMOTE_CANDIDATES = 64

CONNECT_S = 30.0
"""ICE and DTLS take no longer; whoever answers and then never comes holds nothing of ours."""

MAX_READS = 64
"""Datagrams taken from one socket before others have their turn."""

_PROFILE_ORDER = (
    b"SRTP_AEAD_AES_128_GCM",
    b"SRTP_AEAD_AES_256_GCM",
    b"SRTP_AES128_CM_SHA1_80",
)

RtpSink = Callable[[bytes], None]
SendPacket = Callable[[int, int, int, int, int, bytes], None]
"""First byte, marker and payload type, sequence number, timestamp, SSRC, payload."""

MAX_DATAGRAM_BYTES = 2000
MAX_PACKET_BYTES = 1500
"""A plain packet larger than this fits into no datagram of the networks that we meet."""

# One buffer for every packet in and out: all of it runs in one thread, and nothing else comes
# between filling the buffer and being done with it.
_BUFFER = ffi.new("char[]", 2304)
_VIEW = memoryview(ffi.buffer(_BUFFER))
_LENGTH = ffi.new("int *")
_protect, _unprotect = lib.srtp_protect, lib.srtp_unprotect
_unprotect_rtcp = lib.srtp_unprotect_rtcp


def _nowhere(packet: bytes) -> None:
    """Where media goes that comes before the keys, or after the end."""


def _not_connected(
    first: int, second: int, sequence: int, timestamp: int, ssrc: int, body: bytes
) -> None:
    """Where packets go before the connection stands, and after it ended: nowhere."""


class _Protocol(aioice.ice.StunProtocol):
    """A media socket that tells STUN from the rest by its first byte (RFC 7983)."""

    receiver: _Connection

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Hand STUN to ICE, and all else straight to the connection."""
        if not data:
            return
        first = cast(bytes, data)[0]
        if first > 127:
            self.receiver.srtp_sink(cast(bytes, data))
        elif first > 3:
            self.receiver.data_received(cast(bytes, data), 1)
        else:
            super().datagram_received(data, addr)


class _Connection(aioice.ice.Connection):
    """ICE on the operator's address and ports; media leaves it before any queue."""

    def __init__(self, binding: Binding) -> None:
        super().__init__(ice_controlling=False)
        self._binding = binding
        self.srtp_sink: RtpSink = _nowhere
        self.on_nominated: Callable[[], None] = lambda: None

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[Candidate]:
        """Open one socket for each address of the binding, within its port range."""
        found = []
        for address in self._binding.addresses():
            protocol = await self._open(address)
            if protocol is None:
                continue
            host, port = protocol.transport.get_extra_info("sockname")[:2]
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=host,
                port=port,
                type="host",
            )
            self._protocols.append(protocol)
            found.append(protocol.local_candidate)
        return found

    async def _open(self, address: str) -> _Protocol | None:
        loop = asyncio.get_running_loop()
        for port in self._binding.ports():
            try:
                transport, protocol = await loop.create_datagram_endpoint(
                    lambda: _Protocol(self), local_addr=(address, port)
                )
            except OSError:
                continue
            sock = transport.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UDP_BUFFER_BYTES)
            return protocol
        return None

    def check_incoming(
        self, message: aioice.stun.Message, addr: tuple[str, int], protocol: aioice.ice.StunProtocol
    ) -> None:
        """Take a check without PRIORITY (RFC 8445, 7.1.1) too, as FFmpeg 8.0 sends them."""
        message.attributes.setdefault("PRIORITY", candidate_priority(1, "prflx"))
        super().check_incoming(message, addr, protocol)

    def check_complete(self, pair: aioice.ice.CandidatePair) -> None:
        """Tell when another pair of addresses carries the media."""
        before = self._nominated.get(1)
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

    def __init__(self, certificate: RTCCertificate, binding: Binding, *, controlling: bool) -> None:
        self.on_rtp: RtpSink = lambda packet: None
        self.on_rtcp: RtpSink = lambda packet: None
        self.on_closed: Callable[[], None] = lambda: None
        self.on_connected: Callable[[], None] = lambda: None
        self.rejected = 0
        """Datagrams that SRTP refused: wrong key, replayed, damaged, too long."""
        self.unsent = 0
        """Packets that the kernel or SRTP did not take."""
        self.send: SendPacket = _not_connected
        """Protect and send one RTP packet: its five header fields, and its payload."""
        self._binding = binding
        self._connection = _Connection(binding)
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
        self._received_context: Any = None
        self._protect_rtcp: Callable[[bytes], bytes] | None = None
        self._nominated = self._connection._nominated
        self._socket: socket.socket | None = None
        self._connection.on_nominated = self._nomination_changed

    @property
    def connected(self) -> bool:
        """Whether keys are agreed and packets can go both ways."""
        return self._protect_rtcp is not None and not self._closed

    @property
    def ice_parameters(self) -> RTCIceParameters:
        """User name fragment and password of this side."""
        return self._gatherer.getLocalParameters()

    @property
    def fingerprints(self) -> list[RTCDtlsFingerprint]:
        """Fingerprints of this side's certificate."""
        return self._dtls.getLocalParameters().fingerprints

    async def gather(self) -> list[str]:
        """Open the sockets; return ``candidate:`` attribute values for the session description."""
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
            if self._dtls.state != "connected":
                return
            self._received_context = self._dtls._rx_srtp._srtp[0]
            self._protect_rtcp = self._dtls._tx_srtp.protect_rtcp
            self._nomination_changed()
            self._connection.srtp_sink = self._srtp_received
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
            self._connection.srtp_sink = _nowhere
            if not self._closed:
                self.on_closed()

    def add_remote_candidate(self, text: str) -> None:
        """Take a trickled candidate (``candidate:...``); what does not parse is ignored.

        The other side's checks reach us in any case and become peer-reflexive candidates. Host
        names of mDNS are skipped: resolving them would ask the network.
        """
        if len(self._connection.remote_candidates) >= MAX_REMOTE_CANDIDATES:
            return
        try:
            candidate = candidate_from_sdp(text.removeprefix("candidate:"))
            ipaddress.ip_address(candidate.ip)
        except (ValueError, IndexError, AssertionError, KeyError):
            return
        if candidate.protocol.lower() != "udp" or candidate.component != 1:
            return
        task = asyncio.ensure_future(self._ice.addRemoteCandidate(candidate))
        task.add_done_callback(lambda done: done.exception())

    def _srtp_received(self, data: bytes) -> None:
        size = len(data)
        if size <= MAX_DATAGRAM_BYTES:
            _VIEW[:size] = data
            self._take(size)
        else:
            self.rejected += 1

    def _take(self, size: int) -> None:
        """Decrypt the ``size`` bytes in the buffer, and hand the packet on."""
        if size < 12:
            self.rejected += 1
            return
        rtcp = 191 < _VIEW[1] < 224  # RTCP packet types, RFC 5761 section 4
        _LENGTH[0] = size
        if (_unprotect_rtcp if rtcp else _unprotect)(self._received_context, _BUFFER, _LENGTH):
            self.rejected += 1
            return
        (self.on_rtcp if rtcp else self.on_rtp)(bytes(_VIEW[: _LENGTH[0]]))

    def _nomination_changed(self) -> None:
        """Open the way for media to and from the address that ICE has chosen."""
        pair = self._nominated.get(1)
        if pair is None or self._protect_rtcp is None or self._closed:
            return
        self._close_socket()
        transport = pair.protocol.transport
        sock = transport.get_extra_info("socket")
        try:
            self._socket = _connected_socket(sock, pair.remote_addr)
        except (OSError, AttributeError):
            # Through a relay there is no socket of ours, and some systems share no port.
            self.send = self._sending_through(lambda d: transport.sendto(d, pair.remote_addr))
            return
        self.send = self._sending_through(self._socket.send)
        asyncio.get_running_loop().add_reader(
            self._socket.fileno(), self._readable, self._socket, pair.protocol, pair.remote_addr
        )

    def _readable(
        self, sock: socket.socket, protocol: aioice.ice.StunProtocol, address: tuple[str, int]
    ) -> None:
        """Take what has come from the chosen address, straight into the buffer."""
        try:
            for _ in range(MAX_READS):
                size = sock.recv_into(_VIEW, MAX_DATAGRAM_BYTES)
                if size and _VIEW[0] > 127:
                    self._take(size)
                else:
                    protocol.datagram_received(bytes(_VIEW[:size]), address)
        except OSError:
            # Nothing more to read; or the far end has closed its port, which ICE will notice.
            return

    def _close_socket(self) -> None:
        self.send = _not_connected
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _sending_through(self, transmit: Callable[[memoryview], Any]) -> SendPacket:
        """The function that protects and sends one packet: all look-ups are done here, once."""
        context, pack_into = self._dtls._tx_srtp._srtp[0], rtp.HEADER.pack_into

        def send(
            first: int, second: int, sequence: int, timestamp: int, ssrc: int, body: bytes
        ) -> None:
            size = 12 + len(body)
            if size > MAX_PACKET_BYTES:
                self.unsent += 1
                return
            pack_into(_VIEW, 0, first, second, sequence, timestamp, ssrc)
            _VIEW[12:size] = body
            _LENGTH[0] = size
            if _protect(context, _BUFFER, _LENGTH):
                self.unsent += 1
                return
            try:
                transmit(_VIEW[: _LENGTH[0]])
            except OSError:
                self.unsent += 1

        return send

    def send_rtcp(self, packet: bytes) -> None:
        """Protect and send one compound RTCP packet."""
        protect = self._protect_rtcp
        pair = self._nominated.get(1)
        if protect is None or pair is None or pair.protocol.transport.is_closing():
            return
        pair.protocol.transport.sendto(protect(packet), pair.remote_addr)

    async def close(self) -> None:
        """End DTLS and ICE, close the sockets. Can be called more than once."""
        if self._closed:
            return
        self._closed = True
        self._connection.srtp_sink = _nowhere
        self._close_socket()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(ConnectionError, OSError):
            await self._dtls.stop()
        await self._ice.stop()


def _connected_socket(own: socket.socket, remote: tuple[str, int]) -> socket.socket:
    """A second socket on the port of ``own``, for what comes from and goes to ``remote`` alone.

    The kernel gives it every datagram of that address and finds its way once instead of for each
    packet; other addresses still reach ``own``. ``own`` was bound alone, so no stranger has the
    port: it is shared only now.
    """
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock = socket.socket(own.family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UDP_BUFFER_BYTES)
        sock.bind(own.getsockname())
        sock.connect(remote)
    except OSError:
        sock.close()
        raise
    return sock


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
