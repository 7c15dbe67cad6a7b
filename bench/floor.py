"""The least that forwarding costs in Python on this machine: ``bench.forward``'s "floor".

A child process, ``python -m bench.floor PROFILE``, that does nothing but wait (epoll), read
(``recvmmsg``), decrypt, write the 12 bytes of a header, encrypt for each receiver and send
(``sendmmsg``): no event loop, no ICE, no DTLS, no RTCP, no order of packets, nothing kept. Its keys
are fixed, who receives whom is told on its standard input as ``{"SENDER": [RECEIVER, ...]}`` of UDP
ports. What it costs is the system's share, the waking up above all, and libsrtp's.

The clients send and count as :mod:`bench.load` does. libsrtp itself, which pylibsrtp keeps private,
comes from :mod:`server.sfu.seam`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import select
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pylibsrtp import Policy, Session

from bench import processes
from bench.load import Receiving
from bench.media import FPS, Media
from bench.packets import Tally
from bench.sending import Numbers, Stream
from server.sfu import rtp
from server.sfu.datagrams import Inbox, Outlet, Post, ffi, sockaddr
from server.sfu.seam import context_of, protect, unprotect

HOST = "127.0.0.1"
READY_WITHIN_S = 10.0
_BUFFER_BYTES = 8 << 20
_KEY_BYTES = {"gcm": 16 + 12, "cm": 16 + 14}
_PROFILE = {
    "gcm": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "cm": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}
_PAYLOAD_TYPES = {"VP8": 96, "H264": 102, "opus": 111}


def _session(profile: str, *, outbound: bool) -> Session:
    return Session(
        Policy(
            key=bytes(range(_KEY_BYTES[profile])),
            ssrc_type=Policy.SSRC_ANY_OUTBOUND if outbound else Policy.SSRC_ANY_INBOUND,
            srtp_profile=_PROFILE[profile],
        )
    )


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.bind((HOST, 0))
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    return made


def serve(profile: str) -> None:
    """Forward for ever; the first line printed is the port."""
    sock = _socket()
    print(sock.getsockname()[1], flush=True)
    told: dict[str, list[int]] = json.loads(sys.stdin.readline())
    post, inbox = Post(sock, lambda flush: None), Inbox(sock)
    sessions, outlets, routes = [], {}, {}
    for sender, receivers in told.items():
        inbound = _session(profile, outbound=False)
        sessions.append(inbound)
        for port in receivers:
            if port not in outlets:
                outbound = _session(profile, outbound=True)
                sessions.append(outbound)
                outlets[port] = Outlet(post, sockaddr(HOST, port), protect, context_of(outbound))
        key = sockaddr(HOST, int(sender))[2:8]
        routes[key] = (context_of(inbound), [outlets[port].send for port in receivers])
    post.collecting = True
    poll = select.epoll()
    poll.register(sock.fileno(), select.EPOLLIN)
    _forward(poll, inbox, post, routes)


def _forward(
    poll: select.epoll, inbox: Inbox, post: Post, routes: dict[bytes, tuple[Any, list[Any]]]
) -> None:
    length, unpack = ffi.new("int *"), rtp.HEADER.unpack_from
    while True:
        poll.poll()
        while (count := inbox.read()) > 0:
            for index in range(count):
                context, sends = routes[bytes(inbox.keys[index])]
                length[0] = inbox.length(index)
                if unprotect(context, inbox.pointers[index], length):
                    continue
                packet = inbox.views[index][: length[0]]
                first, second, sequence, timestamp, ssrc = unpack(packet)
                body = bytes(packet[12:])
                for send in sends:
                    send(first, second, sequence, timestamp, ssrc, body)
        post.flush()


class Floor:
    """The running child, and its clients once they are connected."""

    def __init__(self, process: asyncio.subprocess.Process, profile: str, people: int) -> None:
        self.pid = process.pid
        self._process = process
        self._profile = profile
        self._port = 0
        self._sockets = [_socket() for _ in range(2 * people)]
        self._sessions: list[Session] = []
        self._streams: list[Stream] = []

    async def ready(self) -> None:
        """Wait until it listens."""
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_WITHIN_S):
            self._port = int(await self._process.stdout.readline())

    def connect(self, media: Media, tally: Tally, rng: random.Random, publishers: int) -> None:
        """Let the first ``publishers`` send camera and microphone to everybody else."""
        half = len(self._sockets) // 2
        sending, receiving = self._sockets[:publishers], self._sockets[half:]
        routes = {
            sender.getsockname()[1]: [
                one.getsockname()[1] for at, one in enumerate(receiving) if at != number
            ]
            for number, sender in enumerate(sending)
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(routes).encode() + b"\n")
        for sock in receiving:
            self._receive(sock, media, tally)
        for sock in sending:
            self._send(sock, media, tally, rng)

    def _receive(self, sock: socket.socket, media: Media, tally: Tally) -> None:
        session = _session(self._profile, outbound=False)
        self._sessions.append(session)
        receiving, inbox, length = Receiving(tally), Inbox(sock), ffi.new("int *")
        receiving.payload_types = {_PAYLOAD_TYPES[media.codec]: True, _PAYLOAD_TYPES["opus"]: False}
        context = context_of(session)

        def readable() -> None:
            while (count := inbox.read()) > 0:
                for index in range(count):
                    length[0] = inbox.length(index)
                    if not unprotect(context, inbox.pointers[index], length):
                        receiving.take(bytes(inbox.views[index][: length[0]]))

        asyncio.get_running_loop().add_reader(sock.fileno(), readable)

    def _send(self, sock: socket.socket, media: Media, tally: Tally, rng: random.Random) -> None:
        session = _session(self._profile, outbound=True)
        self._sessions.append(session)
        post = Post(sock, asyncio.get_running_loop().call_soon)
        name = sockaddr(HOST, self._port)
        outlet = Outlet(post, name, protect, context_of(session))
        for codec, frames in ((media.codec, media.video), ("opus", media.audio)):
            numbers = Numbers(codec, _PAYLOAD_TYPES[codec], rtp.random_ssrc())
            stream = Stream(outlet, post, numbers, frames, tally)
            self._streams.append(stream)
            stream.begin(rng.randrange(1000), FPS, rng.random())

    async def close(self) -> None:
        """End the child and the clients."""
        for stream in self._streams:
            stream.end()
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@contextlib.asynccontextmanager
async def floor(cpus: processes.Cpus, profile: str, people: int) -> AsyncIterator[Floor]:
    """The child on the server's CPU, waiting to be connected."""
    with cpus.for_server():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.floor",
            profile,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[1],
            start_new_session=True,
        )
    bare = Floor(process, profile, people)
    try:
        await bare.ready()
        yield bare
    finally:
        await bare.close()


if __name__ == "__main__":
    serve(sys.argv[1])
