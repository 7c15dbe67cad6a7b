"""Session descriptions (RFC 8866, RFC 9429): reading a peer's, and the codecs that are spoken of.

Parsing is aiortc's; what of it counts here, and what it leaves out, is said below. Ours are written
by :mod:`server.sfu.describe`. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiortc import RTCDtlsFingerprint, RTCIceParameters
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription, candidate_to_sdp

from rooms.errors import CodecUnsupported, SdpInvalid

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
AUDIO_LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID_URI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"

RIDS = ("l", "m", "h")
"""The layers of a simulcast that we take, from the lowest to the best."""

MAX_MEDIA = 32
"""Media sections in one description; more is refused."""

_KIND = {"H264": "video", "VP8": "video", "opus": "audio"}
_CLOCK_HZ = {"H264": 90000, "VP8": 90000, "opus": 48000}
_BASELINE = "42e01f"
"""The profile of H.264 where none is named: Constrained Baseline at level 3.1."""


def codec_kind(name: str) -> str:
    """``video`` or ``audio``."""
    return _KIND[name]


def codec_clock_hz(name: str) -> int:
    """The RTP clock of a codec."""
    return _CLOCK_HZ[name]


def codec_fmtp(name: str, profile: str = _BASELINE) -> str:
    """The format parameters of a codec as text; ``profile`` is that of H.264."""
    match name:
        case "H264":
            return f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
        case "opus":
            return "minptime=10;useinbandfec=1"
    return ""


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
        Codec(name, number, rtx.get(str(number)), codec_fmtp(name, _profile(c)))
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
        profile = _profile(codec).lower()
        return "H264" if mode == "1" and profile.startswith("42") else None
    if name == "vp8":
        return "VP8"
    if name == "opus" and codec.clockRate == 48000:
        return "opus"
    return None


def _profile(codec: RTCRtpCodecParameters) -> str:
    return str(codec.parameters.get("profile-level-id", _BASELINE))
