"""Session descriptions (RFC 8866, RFC 9429): reading a peer's, writing ours.

Parsing is aiortc's; writing is done here, because what this server says is small and always of one
form: one BUNDLE group, rtcp-mux, ICE and DTLS once, one codec with its retransmission format for
each medium. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aiortc import RTCDtlsFingerprint, RTCIceParameters
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription, candidate_to_sdp

from rooms.errors import CodecUnsupported, SdpInvalid

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
AUDIO_LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID_URI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
_EXTENSIONS = {
    "audio": (MID_URI, AUDIO_LEVEL_URI),
    "video": (MID_URI, RID_URI, REPAIRED_RID_URI),
}

RIDS = ("l", "m", "h")
"""The layers of a simulcast that we take, from the lowest to the best."""

MAX_MEDIA = 32
"""Media sections in one description; more is refused."""

_KIND = {"H264": "video", "VP8": "video", "opus": "audio"}
_CLOCK_HZ = {"H264": 90000, "VP8": 90000, "opus": 48000}
_SENDING_PAYLOAD_TYPE = {"H264": 102, "VP8": 96, "opus": 111}
_SENDING_RTX_PAYLOAD_TYPE = {"H264": 103, "VP8": 97}
_VIDEO_FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb")
_FMTP = {
    "H264": "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "opus": "minptime=10;useinbandfec=1",
}


def codec_kind(name: str) -> str:
    """``video`` or ``audio``."""
    return _KIND[name]


def codec_clock_hz(name: str) -> int:
    """The RTP clock of a codec."""
    return _CLOCK_HZ[name]


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec as one description numbers it. ``fmtp`` is its format parameters as text."""

    name: str
    payload_type: int
    rtx_payload_type: int | None = None
    fmtp: str = ""

    @property
    def clock_hz(self) -> int:
        """RTP clock."""
        return _CLOCK_HZ[self.name]


@dataclass(frozen=True, slots=True)
class OfferedMedia:
    """One media section of a peer's description."""

    mid: str
    kind: str
    direction: str
    codecs: tuple[Codec, ...]
    ssrc: int | None
    rtx_ssrc: int | None
    extensions: tuple[tuple[int, str], ...]
    rids: tuple[str, ...] = ()
    """The layers of a simulcast (RFC 8853) that can be taken, from the lowest to the best; empty
    where there is a single one, or where some are called otherwise than in :data:`RIDS`."""

    def choose(self, preferred: Sequence[str]) -> Codec:
        """The first of ``preferred`` that is offered; :class:`CodecUnsupported` if none is."""
        for name in preferred:
            for codec in self.codecs:
                if codec.name == name:
                    return codec
        raise CodecUnsupported(f"media section {self.mid!r} offers none of {', '.join(preferred)}")

    def extension_id(self, uri: str) -> int | None:
        """The number under which a header extension comes, if it was offered."""
        return next((number for number, name in self.extensions if name == uri), None)


@dataclass(frozen=True, slots=True)
class RemoteDescription:
    """A peer's offer or answer. ``setup`` is its DTLS role as said: actpass, active or passive."""

    ice: RTCIceParameters
    fingerprints: tuple[RTCDtlsFingerprint, ...]
    setup: str
    candidates: tuple[str, ...]
    media: tuple[OfferedMedia, ...]


_SETUP = {"auto": "actpass", "client": "active", "server": "passive"}


def parse(text: str, *, simulcast: bool = True) -> RemoteDescription:
    """Read a peer's description; :class:`SdpInvalid` says what is wrong with it.

    Without ``simulcast`` a picture has a single layer, whatever is offered.
    """
    try:
        description = SessionDescription.parse(text)
    except Exception as error:
        # aiortc's parser meets hostile text with whatever the failing line raises.
        raise SdpInvalid(f"the session description cannot be parsed: {error!r}"[:200]) from error
    if not description.media or len(description.media) > MAX_MEDIA:
        raise SdpInvalid(f"{len(description.media)} media sections")
    first = next((m for m in description.media if m.port != 0), description.media[0])
    if first.dtls is None or not first.dtls.fingerprints:
        raise SdpInvalid("no DTLS fingerprint or setup")
    if first.ice is None or not first.ice.usernameFragment or not first.ice.password:
        raise SdpInvalid("no ICE credentials")
    rids = _simulcasts(text) if simulcast else {}
    refused = _refused_sections(text)
    media = tuple(
        _media(m, rids.get(n, ()), refused=n in refused) for n, m in enumerate(description.media)
    )
    mids = [m.mid for m in media]
    if len(set(mids)) != len(mids) or not all(mids):
        raise SdpInvalid("media sections need distinct a=mid")
    if not all(_is_ssrc(m.ssrc) and _is_ssrc(m.rtx_ssrc) for m in media):
        raise SdpInvalid("an SSRC is a number of 32 bits")
    return RemoteDescription(
        ice=first.ice,
        fingerprints=tuple(first.dtls.fingerprints),
        setup=_SETUP[first.dtls.role],
        candidates=tuple(
            "candidate:" + candidate_to_sdp(c) for m in description.media for c in m.ice_candidates
        ),
        media=media,
    )


def _sections(text: str) -> list[str]:
    return re.split(r"^m=", text, flags=re.MULTILINE)[1:]


def _refused_sections(text: str) -> set[int]:
    """The media sections whose port is 0, but for those that say so to be bundled or not at all.

    RFC 9143, 6: encoders and players with the policy "max-bundle" offer all but the first like
    that.
    """
    bundled = re.compile(r"^a=bundle-only\r?$", re.MULTILINE)
    return {
        number
        for number, section in enumerate(_sections(text))
        if re.match(r"\S+ 0[ /]", section) and not bundled.search(section)
    }


def _simulcasts(text: str) -> dict[int, tuple[str, ...]]:
    """The layers that each media section offers to send, which aiortc's classes leave out.

    An alternative (RFC 8853, 5.1) counts by its first stream id, and a paused one as any other.
    """
    found = {}
    for number, section in enumerate(_sections(text)):
        said = re.search(r"^a=simulcast:(?:.* )?send ([^ \r\n]+)", section, flags=re.MULTILINE)
        if said is None:
            continue
        rids = {stream.split(",")[0].lstrip("~") for stream in said[1].split(";")}
        announced = set(re.findall(r"^a=rid:([^ \r\n]+) send", section, flags=re.MULTILINE))
        if len(rids) > 1 and rids <= announced and rids <= set(RIDS):
            found[number] = tuple(rid for rid in RIDS if rid in rids)
    return found


def _is_ssrc(number: int | None) -> bool:
    return number is None or 0 <= number < 1 << 32


def _media(media: MediaDescription, rids: tuple[str, ...], *, refused: bool) -> OfferedMedia:
    numbered = [(c.payloadType or 0, c) for c in media.rtp.codecs]
    rtx = {
        str(c.parameters.get("apt", "")): number
        for number, c in numbered
        if c.mimeType.lower().endswith("/rtx")
    }
    codecs = tuple(
        Codec(name, number, rtx.get(str(number)), _fmtp(name, c))
        for number, c in numbered
        if (name := _codec_name(c)) is not None and _KIND[name] == media.kind
    )
    ssrc = media.ssrc[0].ssrc if media.ssrc else None
    rtx_ssrc = None
    for group in media.ssrc_group:
        if group.semantic == "FID" and len(group.items) == 2:
            ssrc, rtx_ssrc = int(group.items[0]), int(group.items[1])
    return OfferedMedia(
        mid=media.rtp.muxId,
        kind=media.kind,
        direction="inactive" if refused else (media.direction or "sendrecv"),
        codecs=codecs,
        ssrc=ssrc,
        rtx_ssrc=rtx_ssrc,
        extensions=tuple((e.id, e.uri) for e in media.rtp.headerExtensions),
        rids=rids if media.kind == "video" else (),
    )


def _codec_name(codec: RTCRtpCodecParameters) -> str | None:
    name = codec.mimeType.split("/")[-1].lower()
    if name == "h264":
        # Baseline in packetization mode 1: every browser decodes it, and the archive takes it.
        mode = str(codec.parameters.get("packetization-mode", "0"))
        profile = str(codec.parameters.get("profile-level-id", "42e01f")).lower()
        return "H264" if mode == "1" and profile.startswith("42") else None
    if name == "vp8":
        return "VP8"
    if name == "opus" and codec.clockRate == 48000:
        return "opus"
    return None


def _fmtp(name: str, codec: RTCRtpCodecParameters) -> str:
    if name == "H264":
        profile = codec.parameters.get("profile-level-id", "42e01f")
        return f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
    return _FMTP.get(name, "")


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
        return _SENDING_PAYLOAD_TYPE[self.codec]

    @property
    def rtx_payload_type(self) -> int | None:
        """The number that we give to its retransmission format, where it has one."""
        return _SENDING_RTX_PAYLOAD_TYPE.get(self.codec)


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


_RTPMAP = {"H264": "H264/90000", "VP8": "VP8/90000", "opus": "opus/48000/2"}


def _codec_lines(codec: Codec) -> list[str]:
    pt = codec.payload_type
    lines = [f"a=rtpmap:{pt} {_RTPMAP[codec.name]}"]
    if codec.fmtp:
        lines.append(f"a=fmtp:{pt} {codec.fmtp}")
    if _KIND[codec.name] == "video":
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
        if codec.rtx_payload_type is not None and _KIND[codec.name] == "video":
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
            _FMTP.get(section.codec, ""),
        )
        numbers = " ".join(str(n) for n in (codec.payload_type, codec.rtx_payload_type) if n)
        lines.append(f"m={_KIND[section.codec]} 9 UDP/TLS/RTP/SAVPF {numbers}")
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
