"""The connection of a WHEP player: it offers to receive, we answer once.

Besides that a :class:`~server.sfu.subscribe_peer.SubscribePeer`: the same down tracks, feedback and
reports, but no stream for retransmissions: these come in the stream itself. Which track goes into
which media section is settled by the answer; whether it may still be received is told by
:meth:`PlayerPeer.want` at each change, and is ``rooms``' business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiortc import RTCCertificate

from server.sfu import describe, rtp, sdp
from server.sfu.downtrack import DownTrack
from server.sfu.port import MediaPorts
from server.sfu.reception import Reception
from server.sfu.subscribe_peer import SubscribePeer
from server.sfu.uptrack import UpTrack


class PlayerPeer(SubscribePeer):
    """A receiving connection whose media sections are the player's.

    ``on_closed`` is called once, when the connection is over for whatever reason.
    """

    def __init__(
        self,
        name: str,
        certificate: RTCCertificate,
        ports: MediaPorts,
        on_closed: Callable[[str], None],
    ) -> None:
        super().__init__(
            name,
            certificate,
            ports,
            on_offer=lambda name, text, tracks: None,
            on_closed=lambda peer: self._over(),
            controlling=False,
        )
        self._tell: Callable[[str], None] | None = on_closed
        self._chosen: dict[str, tuple[str, sdp.Codec]] = {}

    async def answer(
        self, remote: sdp.RemoteDescription, tracks: Mapping[str, tuple[UpTrack, sdp.Codec]]
    ) -> str:
        """Answer the offer: ``tracks`` says which section gets which track, in which numbering.

        Media sections not named are refused. Returns the text of the answer.
        """
        candidates = tuple(await self._transport.gather())
        local = describe.LocalTransport(
            self._transport.ice_parameters, tuple(self._transport.fingerprints), candidates
        )
        sending = {}
        for mid, (up, codec) in tracks.items():
            self._chosen[mid] = (up.track_id, codec)
            section = describe.SendingMedia(
                mid, codec.name, self._send(mid, up, codec), up.track_id, up.participant_id
            )
            sending[mid] = (codec, section)
        setup, role = describe.answering(remote)
        for candidate in remote.candidates:
            self._transport.add_remote_candidate(candidate)
        self._transport.start(remote.ice, remote.fingerprints, dtls_role=role)
        return describe.answer_player(remote, local, sending, setup=setup)

    async def want(self, tracks: list[UpTrack]) -> None:
        """Receive nothing but ``tracks`` from now on, of those that were chosen in the answer.

        A chosen one that was gone and is published again goes on in its section, by a new SSRC.
        """
        allowed = {up.track_id: up for up in tracks}
        for mid, (track_id, codec) in self._chosen.items():
            up, pair = allowed.get(track_id), self._pairs.get(mid)
            if pair is not None and pair[0] is up:
                continue
            if pair is not None:
                self._detach(mid)
            if up is not None:
                self._send(mid, up, codec)

    async def close(self) -> None:
        """End the connection; nothing is sent from now on."""
        self._chosen.clear()
        await super().close()
        self._over()

    def _send(self, mid: str, up: UpTrack, codec: sdp.Codec) -> int:
        ssrc = rtp.random_ssrc()
        down = DownTrack(self._transport, up, ssrc, codec.payload_type)
        self._receptions[ssrc] = Reception()
        self._pairs[mid] = (up, down)
        up.attach(down)
        up.request_key_frame(down)
        return ssrc

    def _over(self) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(self.name)
