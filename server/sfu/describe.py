"""Session descriptions (RFC 8866, RFC 9429): writing ours.

What this server says is small and always of one form: one BUNDLE group, rtcp-mux, ICE and DTLS
once, one codec with its retransmission format for each medium. Those of peers are read by
:mod:`server.sfu.sdp`. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aiortc import RTCDtlsFingerprint, RTCIceParameters

from server.sfu.sdp import (
    AUDIO_LEVEL_URI,
    MID_URI,
    REPAIRED_RID_URI,
    RID_URI,
    Codec,
    OfferedMedia,
    RemoteDescription,
    codec_fmtp,
    codec_kind,
)

_EXTENSIONS = {
    "audio": (MID_URI, AUDIO_LEVEL_URI),
    "video": (MID_URI, RID_URI, REPAIRED_RID_URI),
}
_PAYLOAD_TYPE = {"H264": 102, "VP8": 96, "opus": 111}
_RTX_PAYLOAD_TYPE = {"H264": 103, "VP8": 97}
_RTPMAP = {"H264": "H264/90000", "VP8": "VP8/90000", "opus": "opus/48000/2"}
_VIDEO_FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb")


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """This side's half of ICE and DTLS, for writing a description."""

    ice: RTCIceParameters
    fingerprints: tuple[RTCDtlsFingerprint, ...]
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendingMedia:
    """One media section in which we send: a track, or (``ssrc`` None) one that has ended.

    ``rtx_ssrc`` is the stream of its retransmissions, for a picture.
    """

    mid: str
    codec: str
    ssrc: int | None
    track_id: str
    participant_id: str
    rtx_ssrc: int | None = None

    @property
    def payload_type(self) -> int:
        """The number that we give to the codec when we offer."""
        return _PAYLOAD_TYPE[self.codec]

    @property
    def rtx_payload_type(self) -> int | None:
        """The number that we give to its retransmission format, where it has one."""
        return _RTX_PAYLOAD_TYPE.get(self.codec)


def _session_lines(version: int, mids: Iterable[str]) -> list[str]:
    return [
        "v=0",
        f"o=tingxun 1 {version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE " + " ".join(mids),
        "a=msid-semantic:WMS *",
    ]


def _transport_lines(local: LocalTransport, setup: str, *, with_candidates: bool) -> list[str]:
    lines = [
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        f"a=ice-ufrag:{local.ice.usernameFragment}",
        f"a=ice-pwd:{local.ice.password}",
        "a=ice-options:trickle",
        *(f"a=fingerprint:{f.algorithm} {f.value}" for f in local.fingerprints),
        f"a=setup:{setup}",
        "a=rtcp-mux",
        "a=rtcp-rsize",
    ]
    if with_candidates:
        lines += [f"a=candidate:{c}" for c in local.candidates]
        lines.append("a=end-of-candidates")
    return lines


def _codec_lines(codec: Codec) -> list[str]:
    pt = codec.payload_type
    lines = [f"a=rtpmap:{pt} {_RTPMAP[codec.name]}"]
    if codec.fmtp:
        lines.append(f"a=fmtp:{pt} {codec.fmtp}")
    if codec_kind(codec.name) == "video":
        lines += [f"a=rtcp-fb:{pt} {feedback}" for feedback in _VIDEO_FEEDBACK]
        if codec.rtx_payload_type is not None:
            lines.append(f"a=rtpmap:{codec.rtx_payload_type} rtx/90000")
            lines.append(f"a=fmtp:{codec.rtx_payload_type} apt={pt}")
    else:
        lines.append(f"a=rtcp-fb:{pt} nack")
    return lines


def _join(lines: Iterable[str]) -> str:
    return "\r\n".join(lines) + "\r\n"


def answer(
    remote: RemoteDescription,
    local: LocalTransport,
    choose: Callable[[OfferedMedia], Codec | None],
    *,
    setup: str,
    version: int,
) -> str:
    """Our answer to a publisher: receive what ``choose`` gives a codec for, refuse the rest.

    ``setup`` is our DTLS role as :func:`answering` has it.
    """
    chosen = [(media, choose(media)) for media in remote.media]
    lines = _session_lines(version, [m.mid for m, codec in chosen if codec is not None])
    first = True
    for media, codec in chosen:
        if codec is None:
            lines += _refused(media)
            continue
        numbers = [codec.payload_type]
        if codec.rtx_payload_type is not None and codec_kind(codec.name) == "video":
            numbers.append(codec.rtx_payload_type)
        lines.append(f"m={media.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, numbers))}")
        lines += _transport_lines(local, setup, with_candidates=first)
        first = False
        lines.append(f"a=mid:{media.mid}")
        lines += [
            f"a=extmap:{number} {uri}"
            for number, uri in media.extensions
            if uri in _EXTENSIONS[media.kind]
        ]
        lines.append("a=recvonly" if media.direction in ("sendonly", "sendrecv") else "a=inactive")
        lines += _codec_lines(codec)
        if media.rids:
            lines += [f"a=rid:{rid} recv" for rid in media.rids]
            lines.append("a=simulcast:recv " + ";".join(media.rids))
    return _join(lines)


def answering(remote: RemoteDescription) -> tuple[str, str]:
    """Our half of DTLS in answer to an offer: the ``setup`` to write, and our role.

    Passive wherever the offer leaves it open: as DTLS server it is we who choose the SRTP profile.
    """
    return ("active", "client") if remote.setup == "passive" else ("passive", "server")


def _refused(media: OfferedMedia) -> list[str]:
    numbers = str(media.codecs[0].payload_type) if media.codecs else "0"
    return [
        f"m={media.kind} 0 UDP/TLS/RTP/SAVPF {numbers}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{media.mid}",
        "a=inactive",
    ]


def answer_player(
    remote: RemoteDescription,
    local: LocalTransport,
    sending: Mapping[str, tuple[Codec, SendingMedia]],
    *,
    setup: str,
) -> str:
    """Our answer to a player: send what ``sending`` names by mid, refuse the rest.

    Retransmissions come in the stream itself: each codec is given without its RTX format.
    """
    lines = _session_lines(1, [m.mid for m in remote.media if m.mid in sending])
    first = True
    for media in remote.media:
        if media.mid not in sending:
            lines += _refused(media)
            continue
        codec, section = sending[media.mid]
        stream = f"{section.participant_id} {section.track_id}"
        lines.append(f"m={media.kind} 9 UDP/TLS/RTP/SAVPF {codec.payload_type}")
        lines += _transport_lines(local, setup, with_candidates=first)
        first = False
        lines += [f"a=mid:{media.mid}", "a=sendonly", f"a=msid:{stream}"]
        lines += _codec_lines(replace(codec, rtx_payload_type=None))
        lines.append(f"a=ssrc:{section.ssrc} cname:{section.participant_id}")
        lines.append(f"a=ssrc:{section.ssrc} msid:{stream}")
    return _join(lines)


def offer(
    local: LocalTransport, media: Sequence[SendingMedia], *, setup: str = "actpass", version: int
) -> str:
    """Our offer to a receiver: one section for each track; ended ones keep their place."""
    lines = _session_lines(version, [m.mid for m in media])
    for number, section in enumerate(media):
        codec = Codec(
            section.codec,
            section.payload_type,
            section.rtx_payload_type,
            codec_fmtp(section.codec),
        )
        numbers = " ".join(str(n) for n in (codec.payload_type, codec.rtx_payload_type) if n)
        lines.append(f"m={codec_kind(section.codec)} 9 UDP/TLS/RTP/SAVPF {numbers}")
        lines += _transport_lines(local, setup, with_candidates=number == 0)
        lines.append(f"a=mid:{section.mid}")
        if section.ssrc is None:
            lines.append("a=inactive")
        else:
            # One stream for each participant: a browser keeps its picture and sound in step.
            stream = f"{section.participant_id} {section.track_id}"
            lines += ["a=sendonly", f"a=msid:{stream}"]
        lines += _codec_lines(codec)
        ssrcs = [ssrc for ssrc in (section.ssrc, section.rtx_ssrc) if ssrc is not None]
        if len(ssrcs) == 2:
            lines.append(f"a=ssrc-group:FID {section.ssrc} {section.rtx_ssrc}")
        for ssrc in ssrcs:
            lines.append(f"a=ssrc:{ssrc} cname:{section.participant_id}")
            lines.append(f"a=ssrc:{ssrc} msid:{section.participant_id} {section.track_id}")
    return _join(lines)
