"""A participant's receiving connection: we offer what the room allows, again at each change.

Beside a packet's path: it has a :mod:`server.sfu.downtrack` for each track that goes to the
participant, through which the packets go, and hears what the participant tells of them. It decides
nothing: who may receive what is ``rooms``' business.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

from aiortc import RTCCertificate
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    unpack_remb_fci,
)

from rooms.errors import SdpInvalid
from server.sfu import describe, rtp, sdp
from server.sfu.downtrack import DownTrack
from server.sfu.port import MediaPorts
from server.sfu.pulse import until_next
from server.sfu.rationing import SPREAD, TICK_PULSES, TICK_S, Rationing, Told
from server.sfu.reception import Reception
from server.sfu.rtcp import RtcpIntake
from server.sfu.seam import MediaTransport
from server.sfu.uptrack import UpTrack

TICKS_PER_REPORT = 2
"""Sender reports: what a receiver needs to play picture and sound of one person in step."""

MAX_REPORTS = 40
"""Of them in one datagram: 28 bytes each."""


class SubscribePeer:
    """A participant's receiving connection: we offer, it answers; again at each change."""

    def __init__(
        self,
        name: str,
        certificate: RTCCertificate,
        ports: MediaPorts,
        on_offer: Callable[[str, str, list[tuple[str, UpTrack]]], None],
        on_closed: Callable[[SubscribePeer], None],
        *,
        controlling: bool = True,
        on_layers: Callable[[Told], None] = lambda told: None,
    ) -> None:
        self.name = name
        self.phase_s = 0.0
        """Of the session's moments: what is not done for each packet is done then."""
        self.rationing = Rationing(on_layers)
        """Which layers of what is sent this receiver gets."""
        self.heard_ns = 0
        """When the receiver last sent RTCP; 0 before it has."""
        self.rtcp = RtcpIntake()
        self._transport = MediaTransport(certificate, ports, controlling=controlling)
        self._transport.on_rtcp = self._on_rtcp
        self._transport.on_closed = lambda: on_closed(self)
        self._transport.on_connected = self._on_connected
        self._on_offer = on_offer
        self._wanted: list[UpTrack] = []
        self._sections: list[describe.SendingMedia] = []
        self._pairs: dict[str, tuple[UpTrack, DownTrack]] = {}
        self._receptions: dict[int, Reception] = {}
        self._answered = True
        self._changed = False
        self._started = False
        self._version = 0
        self._local: describe.LocalTransport | None = None
        self._reports: asyncio.Task[None] | None = None

    @property
    def rejected(self) -> int:
        """Datagrams that SRTP refused."""
        return self._transport.rejected

    @property
    def limit_bps(self) -> int | None:
        """What the receiver's line carries; None while nothing speaks of a limit."""
        return self.rationing.estimate.bps

    @property
    def sending(self) -> list[tuple[UpTrack, DownTrack, Reception]]:
        """Every track that goes to this receiver, with what it tells of it."""
        return [(up, down, self._receptions[down.ssrc]) for up, down in self._pairs.values()]

    async def want(self, tracks: list[UpTrack]) -> None:
        """Receive exactly ``tracks`` from now on. What is no longer wanted stops at once."""
        self._wanted = list(tracks)
        rested = [mid for mid, (up, _) in self._pairs.items() if up not in self._wanted]
        for mid in rested:
            self._detach(mid)
        if self._local is None:
            candidates = await self._transport.gather()
            self._local = describe.LocalTransport(
                self._transport.ice_parameters,
                tuple(self._transport.fingerprints),
                tuple(candidates),
            )
        present = {up for up, _ in self._pairs.values()}
        if rested or present != set(self._wanted):
            self._changed = True
        self._offer_if_stable()

    def show(self, heights: Mapping[str, int]) -> None:
        """The receiver shows pictures at these heights, by track; the others as they come."""
        self.rationing.show(heights, self.sending)

    def answered(self, text: str) -> None:
        """The other side's answer; :class:`SdpInvalid` where it is none that we wait for."""
        if self._answered:
            raise SdpInvalid("no offer of ours is waiting for an answer")
        remote = sdp.parse(text)
        self._answered = True
        directions = {m.mid: m.direction for m in remote.media}
        rtx = {m.mid: [c.rtx_payload_type for c in m.codecs] for m in remote.media}
        for mid, (up, down) in self._pairs.items():
            if directions.get(mid) in ("recvonly", "sendrecv") and down not in up.downs:
                section = self._sections[int(mid)]
                number = section.rtx_payload_type
                if number is not None and section.rtx_ssrc is not None and number in rtx[mid]:
                    down.again.use_stream(number, section.rtx_ssrc)
                up.attach(down)
                # Before the connection stands a key frame would be lost, and the next one late:
                # requests are merged.
                if self._transport.connected:
                    up.request_key_frame(down)
        if not self._started:
            self._started = True
            for candidate in remote.candidates:
                self._transport.add_remote_candidate(candidate)
            role = "client" if remote.setup == "passive" else "server"
            self._transport.start(remote.ice, remote.fingerprints, dtls_role=role)
        self._offer_if_stable()

    def add_candidate(self, text: str) -> None:
        """A trickled candidate of the other side."""
        self._transport.add_remote_candidate(text)

    async def close(self) -> None:
        """End the connection; nothing is sent from now on."""
        for mid in list(self._pairs):
            self._detach(mid)
        if self._reports is not None:
            self._reports.cancel()
        await self._transport.close()

    def _detach(self, mid: str) -> None:
        up, down = self._pairs.pop(mid)
        self._receptions.pop(down.ssrc, None)
        up.detach(down)
        for number, section in enumerate(self._sections):
            if section.mid == mid:
                self._sections[number] = describe.SendingMedia(mid, section.codec, None, "", "")

    def _offer_if_stable(self) -> None:
        if not self._answered or not self._changed or self._local is None:
            return
        self._changed = False
        present = {up for up, _ in self._pairs.values()}
        for up in self._wanted:
            if up not in present:
                self._add(up)
        if not self._sections:
            return
        self._answered = False
        self._version += 1
        text = describe.offer(self._local, self._sections, version=self._version)
        tracks = [(mid, up) for mid, (up, _) in self._pairs.items()]
        self._on_offer(self.name, text, tracks)

    def _add(self, up: UpTrack) -> None:
        # A rested section of the same codec is used again: descriptions must not grow for ever.
        place = next(
            (i for i, s in enumerate(self._sections) if s.ssrc is None and s.codec == up.codec),
            len(self._sections),
        )
        mid = str(place)
        section = describe.SendingMedia(
            mid,
            up.codec,
            rtp.random_ssrc(),
            up.track_id,
            up.participant_id,
            rtx_ssrc=rtp.random_ssrc() if up.is_video else None,
        )
        self._sections[place : place + 1] = [section]
        assert section.ssrc is not None
        self._receptions[section.ssrc] = Reception()
        self._pairs[mid] = (
            up,
            DownTrack(self._transport, up, section.ssrc, section.payload_type),
        )

    def _on_connected(self) -> None:
        if self._transport.round_trip_ms is not None:
            self.rationing.estimate.begin(self._transport.round_trip_ms, time.monotonic_ns())
        for up, down in self._pairs.values():
            up.request_key_frame(down)
        self._reports = asyncio.create_task(self._report_loop())

    def _on_rtcp(self, packet: bytes) -> None:
        now_ns = time.monotonic_ns()
        parts = self.rtcp.parts(packet, now_ns)
        if parts is None:
            return
        self.heard_ns = now_ns
        for part in parts:
            if isinstance(part, (RtcpRrPacket, RtcpSrPacket)):
                for report in part.reports:
                    reception = self._receptions.get(report.ssrc)
                    if reception is not None:
                        reception.reported(report, now_ns)
            elif isinstance(part, RtcpRtpfbPacket) and part.fmt == RTCP_RTPFB_NACK:
                for _, down in self._pairs.values():
                    if down.ssrc == part.media_ssrc:
                        self._receptions[down.ssrc].asked(part.lost)
                        down.retransmit(part.lost, now_ns)
            elif isinstance(part, RtcpPsfbPacket) and part.fmt == RTCP_PSFB_APP:
                self._take_estimate(part, now_ns)
            elif isinstance(part, RtcpPsfbPacket) and part.fmt == RTCP_PSFB_PLI:
                self._request_key_frame(part.media_ssrc)
            elif isinstance(part, RtcpPsfbPacket) and part.fmt == RTCP_PSFB_FIR:
                # FIR names its stream in each entry (RFC 5104, 4.3.1.1), not in the header.
                for at in range(0, len(part.fci) - 7, 8):
                    self._request_key_frame(int.from_bytes(part.fci[at : at + 4]))

    def _request_key_frame(self, ssrc: int) -> None:
        for up, down in self._pairs.values():
            if down.ssrc == ssrc:
                up.request_key_frame(down)

    def _take_estimate(self, part: RtcpPsfbPacket, now_ns: int) -> None:
        with contextlib.suppress(ValueError):
            bps, _ = unpack_remb_fci(part.fci)
            self.rationing.remb(bps, now_ns)

    async def _report_loop(self) -> None:
        ticks = 0
        while True:
            for _ in range(SPREAD):
                await asyncio.sleep(
                    TICK_S / SPREAD
                    if self.rationing.estimate.probe_bps
                    else until_next(self.phase_s, TICK_PULSES)
                )
                if not self.rationing.estimate.probe_bps:
                    break
                self.rationing.probe(self.sending, time.monotonic_ns())
            self.rationing.tick(self.sending, time.monotonic_ns(), self.heard_ns)
            ticks += 1
            if ticks % TICKS_PER_REPORT == 0:
                self._report()

    def _report(self) -> None:
        now_ns = time.monotonic_ns()
        reports = []
        for _, down in self._pairs.values():
            report = down.sender_report(now_ns)
            if report is not None:
                self._receptions[down.ssrc].sent(report, now_ns)
                reports.append(report)
        # Several in one datagram (RFC 3550, 6.1): each costs as much as all of them.
        for first in range(0, len(reports), MAX_REPORTS):
            self._transport.send_rtcp(b"".join(reports[first : first + MAX_REPORTS]))
