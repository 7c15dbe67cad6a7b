"""What a terminal asks of aiortc's peer connections: codecs, and whether a way is there.

Used by :mod:`server.agent.terminal`, which makes the connections.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from aiortc import RTCPeerConnection, RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.sdp import SessionDescription

from rooms.errors import CodecUnsupported, MediaUnreachable


def preferences(codecs: Sequence[str]) -> list[RTCRtpCodecCapability]:
    """Capabilities in the order of ``codecs``, constrained baseline first, with retransmission.

    Raises CodecUnsupported.
    """
    available = RTCRtpSender.getCapabilities("video").codecs
    preferred = []
    for name in codecs:
        found = [c for c in available if c.name.upper() == name.upper()]
        if not found:
            raise CodecUnsupported(f"this terminal cannot encode {name}")
        preferred += sorted(found, key=lambda c: c.parameters.get("profile-level-id") != "42e01f")
    return preferred + [c for c in available if c.name.lower() == "rtx"]


def codecs_of(sdp: str) -> dict[str, str]:
    """Media id -> name of the first codec of its section."""
    return {
        media.rtp.muxId: media.rtp.codecs[0].name
        for media in SessionDescription.parse(sdp).media
        if media.rtp.codecs
    }


async def await_connected(peer: RTCPeerConnection, patience_s: float) -> None:
    """Wait until media can flow. Raises MediaUnreachable when it cannot, or not in time."""
    changed = asyncio.Event()
    peer.on("connectionstatechange", changed.set)
    try:
        async with asyncio.timeout(patience_s):
            while peer.connectionState != "connected":
                if is_over(peer):
                    raise MediaUnreachable("the media connection failed")
                changed.clear()
                await changed.wait()
    except TimeoutError as error:
        raise MediaUnreachable(f"no media connection in {patience_s:.0f} s") from error


def is_over(peer: RTCPeerConnection | None) -> bool:
    """Whether there was a connection and nothing more comes of it."""
    return peer is not None and peer.connectionState in {"failed", "closed"}


async def close(peer: RTCPeerConnection) -> None:
    """End a connection, and the tracks that it still sends.

    aiortc may be about to do it as well, and both then wait for one future of its own: whoever is
    cancelled there cancels it for the other. So whoever waits for this waits apart.
    """
    closing = asyncio.ensure_future(peer.close())
    closing.add_done_callback(lambda done: done.cancelled() or done.exception())
    with contextlib.suppress(asyncio.InvalidStateError):
        await asyncio.shield(closing)
