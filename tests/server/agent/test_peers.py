"""What the terminal asks of a peer connection of aiortc."""

from __future__ import annotations

import asyncio

import pytest
from aiortc import RTCPeerConnection

from server.agent import peers


async def test_who_is_cancelled_while_closing_does_not_break_the_other_who_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What has failed aiortc closes by itself, at the same time as we do."""
    peer = RTCPeerConnection()
    transceiver = peer.addTransceiver("audio")
    stopped = asyncio.Event()
    monkeypatch.setattr(transceiver, "stop", stopped.wait)
    its_own = asyncio.ensure_future(peer.close())
    await asyncio.sleep(0)
    ours = asyncio.ensure_future(peers.close(peer))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ours.cancel()
    await asyncio.gather(ours, return_exceptions=True)
    assert ours.cancelled()
    stopped.set()
    await its_own
    await peers.close(peer)
