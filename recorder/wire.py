"""Framing of the tap: what the media server tells a recorder, and what the recorder answers.

Before this in a packet's path: :mod:`server.sfu.tap`. After it: :mod:`recorder.frames`.

A frame is ``length u32 | kind u8 | body`` in network byte order; ``length`` counts the body alone.
Inputs that decide the bytes of an archive are *numbered*: their body starts with ``n u64 |
arrival_us u64``, where ``n`` counts up by one over all tracks of a recording and ``arrival_us`` is
the session clock (microseconds since the command to open). A recorder is a function of its numbered
inputs and of nothing else, so two recorders fed the same inputs write the same track files, and a
recorder that takes over from a dead one needs only those inputs that were not yet acknowledged by
:class:`Durable`.

No I/O here: bytes in, messages out, and back.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from rooms.errors import MessageMalformed, MessageTooLarge

MAX_BODY_BYTES = 1 << 20
"""A frame larger than this is refused: the largest honest one is a JSON record of some kilobytes.
"""

_HEAD = struct.Struct("!IB")
_NUMBERED = struct.Struct("!QQ")
_RTP = struct.Struct("!QQH")
_SENDER_REPORT = struct.Struct("!QQHQI")

_JOB, _TRACK, _RTP_PACKET, _REPORT, _EVENT, _TICK, _CLOSE = range(1, 8)
_HELLO, _DURABLE, _KEY_FRAME, _CHECKPOINT, _SEALED, _FAILED = range(32, 38)


@dataclass(frozen=True, slots=True)
class SealJob:
    """Where the sealing keys and certificates lie (PEM files), and the time-stamp authority to ask.

    ``tsa_cert_path`` and ``tsa_key_path`` are the built-in authority's. With ``tsa_url`` an outside
    one is asked, whose roots are in ``tsa_roots_path``; the built-in one stamps when it fails.
    """

    cert_path: str
    key_path: str
    chain_path: str
    tsa_cert_path: str
    tsa_key_path: str
    tsa_url: str | None = None
    tsa_roots_path: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What a recorder needs to know before the first input; sent once on each connection.

    ``session_key`` is the 32-byte Ed25519 seed made for this session alone. The server keeps it in
    memory and the recorder in its resume state, so that whoever takes over signs with the same key;
    sealing destroys both.
    """

    session_id: str
    archive_parent: str
    session_key: bytes
    origin: str
    opened_wall: str
    session: dict[str, Any]
    software: str
    segment_target_us: int
    chunk_us: int
    repair_wait_us: int
    recover: bool
    seal: SealJob


class TrackInput(NamedTuple):
    """From here on, packets of ``track_index`` belong to the track ``track_id``, with this SSRC."""

    n: int
    arrival_us: int
    track_index: int
    track_id: str
    source: str
    codec: str
    clock_hz: int
    ssrc: int
    participant_id: str
    site_id: str
    label: str


class RtpInput(NamedTuple):
    """One whole plain RTP packet (RFC 3550); a retransmission (RFC 4588) is already undone."""

    n: int
    arrival_us: int
    track_index: int
    packet: bytes


class SenderReportInput(NamedTuple):
    """A sender report's pair of times (RFC 3550, 6.4.1): 64-bit NTP and 32-bit RTP."""

    n: int
    arrival_us: int
    track_index: int
    ntp: int
    rtp: int


class EventInput(NamedTuple):
    """A room event as :func:`rooms.events.to_record` gives it; becomes a ledger line."""

    n: int
    arrival_us: int
    record: dict[str, Any]


class TickInput(NamedTuple):
    """Time passes although nothing arrives: waits for packets end by these, never by a clock."""

    n: int
    arrival_us: int


class CloseInput(NamedTuple):
    """The end: drain, write what is missing, seal. ``record`` has ``closed_us``."""

    n: int
    arrival_us: int
    record: dict[str, Any]


Input = TrackInput | RtpInput | SenderReportInput | EventInput | TickInput | CloseInput


@dataclass(frozen=True, slots=True)
class Hello:
    """First answer of a recorder: everything numbered up to ``durable`` is already on its disk."""

    durable: int


@dataclass(frozen=True, slots=True)
class Durable:
    """Everything numbered up to ``n`` never has to be sent again, whatever dies.

    ``recorded_us`` is the session clock up to which media of every live track is on disk;
    ``tracks`` maps a track id to ``segments``, ``captured_us`` and ``last_us`` for tracks that have
    media on disk.
    """

    n: int
    recorded_us: int
    bytes: int
    tracks: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyFrameWanted:
    """A segment of this track is due to end: ask its sender for a key frame."""

    track_index: int


@dataclass(frozen=True, slots=True)
class CheckpointMade:
    """A signed checkpoint of the ledger (C2SP tlog-checkpoint), to be handed to every terminal."""

    note: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """The archive is sealed; ``tracks`` is the ``close`` line's account of each track."""

    archive: str
    root_sha256: str
    tracks: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Failed:
    """The recorder cannot go on; ``code`` is a stable error code, what is on disk is kept."""

    code: str
    message: str


Report = Hello | Durable | KeyFrameWanted | CheckpointMade | Sealed | Failed
Message = Job | Input | Report

_REPORTS: dict[int, type[Report]] = {
    _HELLO: Hello,
    _DURABLE: Durable,
    _KEY_FRAME: KeyFrameWanted,
    _CHECKPOINT: CheckpointMade,
    _SEALED: Sealed,
    _FAILED: Failed,
}
_REPORT_KINDS: dict[type[Report], int] = {cls: kind for kind, cls in _REPORTS.items()}


def _frame(kind: int, body: bytes) -> bytes:
    return _HEAD.pack(len(body), kind) + body


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def encode_job(job: Job) -> bytes:
    """The frame of a :class:`Job`."""
    return _frame(_JOB, _json({**asdict(job), "session_key": job.session_key.hex()}))


def encode_track(track: TrackInput) -> bytes:
    """The frame of a :class:`TrackInput`."""
    rest = track._asdict()
    head = _NUMBERED.pack(rest.pop("n"), rest.pop("arrival_us"))
    return _frame(_TRACK, head + _json(rest))


def encode_rtp(n: int, arrival_us: int, track_index: int, packet: bytes) -> bytes:
    """The frame of one RTP packet, in one allocation: this is on the per-packet path."""
    return (
        _HEAD.pack(_RTP.size + len(packet), _RTP_PACKET)
        + _RTP.pack(n, arrival_us, track_index)
        + packet
    )


def encode_sender_report(n: int, arrival_us: int, track_index: int, ntp: int, rtp: int) -> bytes:
    """The frame of a :class:`SenderReportInput`."""
    return _frame(_REPORT, _SENDER_REPORT.pack(n, arrival_us, track_index, ntp, rtp))


def encode_event(n: int, arrival_us: int, record: Mapping[str, Any]) -> bytes:
    """The frame of an :class:`EventInput`."""
    return _frame(_EVENT, _NUMBERED.pack(n, arrival_us) + _json(record))


def encode_tick(n: int, arrival_us: int) -> bytes:
    """The frame of a :class:`TickInput`."""
    return _frame(_TICK, _NUMBERED.pack(n, arrival_us))


def encode_close(n: int, arrival_us: int, record: Mapping[str, Any]) -> bytes:
    """The frame of a :class:`CloseInput`."""
    return _frame(_CLOSE, _NUMBERED.pack(n, arrival_us) + _json(record))


def encode_report(report: Report) -> bytes:
    """The frame of anything that a recorder says."""
    # Not asdict(): it copies everything inside, and this is done twice a second for hours.
    fields = {name: getattr(report, name) for name in report.__dataclass_fields__}
    return _frame(_REPORT_KINDS[type(report)], _json(fields))


def _parse_json(body: bytes) -> dict[str, Any]:
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _parse_job(body: bytes) -> Job:
    value = _parse_json(body)
    value["session_key"] = bytes.fromhex(value["session_key"])
    value["seal"] = SealJob(**value["seal"])
    return Job(**value)


def _parse(kind: int, body: bytes) -> Message:
    if kind == _RTP_PACKET:
        n, arrival_us, index = _RTP.unpack_from(body)
        return RtpInput(n, arrival_us, index, body[_RTP.size :])
    if kind == _REPORT:
        return SenderReportInput(*_SENDER_REPORT.unpack(body))
    if kind == _TICK:
        return TickInput(*_NUMBERED.unpack(body))
    if kind in (_EVENT, _CLOSE, _TRACK):
        n, arrival_us = _NUMBERED.unpack_from(body)
        value = _parse_json(body[_NUMBERED.size :])
        if kind == _TRACK:
            return TrackInput(n=n, arrival_us=arrival_us, **value)
        return (EventInput if kind == _EVENT else CloseInput)(n, arrival_us, value)
    if kind == _JOB:
        return _parse_job(body)
    if kind in _REPORTS:
        return _REPORTS[kind](**_parse_json(body))
    raise ValueError(f"unknown kind {kind}")


class Decoder:
    """Cuts a byte stream into messages.

    Feed it whatever arrived; it keeps an incomplete frame until the rest comes. Raises
    :class:`~rooms.errors.MessageTooLarge` on a length that no honest sender makes and
    :class:`~rooms.errors.MessageMalformed` on anything that does not parse: after either the stream
    is of no further use.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """Yield every message that ``chunk`` completes; use them up before the next call."""
        buffer = self._buffer
        buffer += chunk
        start, end = 0, len(buffer)
        try:
            while end - start >= _HEAD.size:
                length, kind = _HEAD.unpack_from(buffer, start)
                if length > MAX_BODY_BYTES:
                    raise MessageTooLarge(f"tap frame of {length} bytes")
                stop = start + _HEAD.size + length
                if stop > end:
                    break
                body = bytes(memoryview(buffer)[start + _HEAD.size : stop])
                start = stop
                try:
                    message = _parse(kind, body)
                except (ValueError, TypeError, KeyError, struct.error) as error:
                    raise MessageMalformed(f"tap frame of kind {kind}: {error}") from error
                yield message
        finally:
            del buffer[:start]
