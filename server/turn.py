"""TURN relays for lines on which no media gets through directly, with credentials that expire.

The platform relays nothing itself: an operator runs a TURN server (docs/TURN.md) that shares a
secret with this one. Whoever joins gets its addresses and a credential that is good for a while,
by the scheme that coturn calls ``use-auth-secret`` (draft-uberti-behave-turn-rest-00, section 2.2):

    username   = expiry in Unix seconds ":" participant id
    credential = base64(HMAC-SHA1(secret, username))

The TURN server computes the same; nothing is registered there, and nothing is kept here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from rooms.errors import ConfigInvalid
from server.config import TurnSection


class Relays:
    """The TURN and STUN servers of the settings, for handing out.

    Raises :class:`~rooms.errors.ConfigInvalid` where the file of the secret cannot be read.
    """

    def __init__(self, section: TurnSection, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ttl_s = section.ttl_s
        self._stun = [url for url in section.urls if url.startswith("stun")]
        self._turn = [url for url in section.urls if url.startswith("turn")]
        self._secret = _secret(section)

    @property
    def renew_s(self) -> float | None:
        """How old credentials may get before new ones are sent; None where there are none."""
        return self._ttl_s / 2 if self._turn else None

    def ice_servers(self, participant_id: str) -> list[dict[str, Any]]:
        """What a client is to use: ``RTCConfiguration.iceServers`` as in WebRTC (4.2.1)."""
        servers: list[dict[str, Any]] = []
        if self._stun:
            servers.append({"urls": list(self._stun)})
        if self._turn:
            username, credential = self._credential(participant_id)
            servers.append(
                {"urls": list(self._turn), "username": username, "credential": credential}
            )
        return servers

    def links(self, participant_id: str) -> list[str]:
        """The same as values of ``Link`` headers (RFC 9725, 4.6), one for each address."""
        links = []
        for server in self.ice_servers(participant_id):
            for url in server["urls"]:
                link = f'<{url}>; rel="ice-server"'
                if "credential" in server:
                    link += (
                        f'; username="{server["username"]}"; credential="{server["credential"]}"'
                        '; credential-type="password"'
                    )
                links.append(link)
        return links

    def _credential(self, participant_id: str) -> tuple[str, str]:
        # Ids are the server's own; quoted, so that none can leave a header's quotes.
        username = f"{int(self._clock()) + self._ttl_s}:{quote(participant_id, safe='')}"
        # SHA-1 is the scheme's choice; as an HMAC it still holds.
        digest = hmac.new(self._secret, username.encode(), hashlib.sha1).digest()
        return username, base64.b64encode(digest).decode()


def _secret(section: TurnSection) -> bytes:
    if section.secret_file is None:
        return (section.secret or "").encode()
    try:
        secret = section.secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"turn.secret_file: {section.secret_file}: {error}") from error
    if not secret:
        raise ConfigInvalid(f"turn.secret_file: {section.secret_file} is empty")
    return secret.encode()
