"""Many datagrams for one system call: ``recvmmsg``, ``sendmmsg`` and UDP segmentation (Linux).

Before this in a packet's path: the network. After it: :mod:`server.sfu.port`, which knows whose a
datagram is. On the way out it is the other way round.

:class:`Inbox` has room for a batch of arriving datagrams, :class:`Outlet` for what goes to one
address, :class:`Post` sends what has gathered in all outlets. Packets of equal length to one
address leave as one message which the kernel cuts up (``UDP_SEGMENT``, udp(7)): that costs a third
of sending them one by one. Memory is taken once; nothing is made for a packet.

The system's structures are written by their offsets, because a field set through cffi costs more
than all the rest. They are those of 64-bit Linux.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

from cffi import FFI

from server.sfu import rtp

ffi = FFI()
ffi.cdef(
    """
    typedef unsigned int socklen_t;
    struct iovec { void *iov_base; size_t iov_len; };
    struct msghdr {
        void *msg_name; socklen_t msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
        void *msg_control; size_t msg_controllen; int msg_flags;
    };
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    struct cmsghdr { size_t cmsg_len; int cmsg_level; int cmsg_type; };
    int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags, void *timeout);
    int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags);
    """
)
_libc = ffi.dlopen(None)

_IOVEC = struct.Struct("=QQ")
_MMSGHDR = struct.Struct("=QI4xQQQQi4xI4x")
"""struct mmsghdr: name, its length, iovec, their number, control, its length, flags, length."""

BATCH = 64
"""Datagrams read by one call, before others have their turn."""

SLOT_BYTES = 2048
MAX_PACKET_BYTES = 1500
"""A plain packet larger than this fits into no datagram of the networks that we meet."""

PACKET_SLOT_BYTES = 1536
"""Room for one, and what SRTP adds."""

NAME_BYTES = 28
"""The longest address, struct sockaddr_in6."""

MAX_QUEUED = 32
"""Packets that wait for one address before all are sent."""

MAX_MESSAGES = 512
"""Messages of one ``sendmmsg``."""

_UDP_SEGMENT = 103
_CONTROL = struct.Struct("=QiiH6x")
"""A control message with the length of a segment."""

_CONTROL_LENGTH = 18

Protect = Callable[[Any, Any, Any], int]
"""libsrtp's ``srtp_protect``: context, packet, its length in and out; 0 where it went well."""

SendPacket = Callable[[int, int, int, int, int, bytes], None]
"""First byte, marker and payload type, sequence number, timestamp, SSRC, payload."""

_LENGTH = ffi.new("int *")
_length = memoryview(ffi.buffer(_LENGTH)).cast("i")


def sockaddr(address: str, port: int, scope: int = 0) -> bytes:
    """An address as the kernel has it: struct sockaddr_in or sockaddr_in6."""
    if ":" in address:
        raw = socket.inet_pton(socket.AF_INET6, address)
        return (
            struct.pack("=H", socket.AF_INET6)
            + struct.pack("!HI16s", port, 0, raw)
            + (struct.pack("=I", scope))
        )
    raw = socket.inet_aton(address)
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, raw)


def address_of(name: bytes) -> tuple[str, int]:
    """The address and port in what the kernel wrote."""
    port = int.from_bytes(name[2:4])
    if int.from_bytes(name[:2], "little") == socket.AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, name[8:24]), port
    return socket.inet_ntoa(name[4:8]), port


def key_slice(family: int) -> slice:
    """What of an address tells it from others: port and address, for IPv6 with the flow between."""
    return slice(2, 24) if family == socket.AF_INET6 else slice(2, 8)


class Inbox:
    """Room for :data:`BATCH` datagrams of one socket, with where each came from.

    After :meth:`read`, slot ``i`` of ``pointers`` and ``views`` has the bytes of datagram ``i``,
    ``length(i)`` says how many they are, ``keys[i]`` is the sender.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._descriptor = sock.fileno()
        self._buffers = ffi.new("char[]", BATCH * SLOT_BYTES)
        self._names = ffi.new("char[]", BATCH * NAME_BYTES)
        self._vectors = ffi.new("struct iovec[]", BATCH)
        self._messages = ffi.new("struct mmsghdr[]", BATCH)
        self._words = memoryview(ffi.buffer(self._messages)).cast("I")
        buffers, names = memoryview(ffi.buffer(self._buffers)), memoryview(ffi.buffer(self._names))
        key = key_slice(sock.family)
        self.pointers = [self._buffers + n * SLOT_BYTES for n in range(BATCH)]
        self.views = [buffers[n * SLOT_BYTES :][:SLOT_BYTES] for n in range(BATCH)]
        self._whole_names = [names[n * NAME_BYTES :][:NAME_BYTES] for n in range(BATCH)]
        self.keys = [name[key] for name in self._whole_names]
        for n in range(BATCH):
            self._vectors[n].iov_base = self.pointers[n]
            self._vectors[n].iov_len = SLOT_BYTES
            header = self._messages[n].msg_hdr
            header.msg_name = self._names + n * NAME_BYTES
            header.msg_namelen = NAME_BYTES
            header.msg_iov = self._vectors + n
            header.msg_iovlen = 1

    def read(self) -> int:
        """Read what has come, at most a batch; returns how many datagrams that is."""
        count: int = _libc.recvmmsg(
            self._descriptor, self._messages, BATCH, socket.MSG_DONTWAIT, ffi.NULL
        )
        return count

    def length(self, index: int) -> int:
        """Bytes of a datagram; :data:`SLOT_BYTES` where it was longer than a slot."""
        return self._words[16 * index + 14]

    def sender(self, index: int) -> tuple[str, int]:
        """Address and port that a datagram came from."""
        return address_of(bytes(self._whole_names[index]))


class Outlet:
    """Packets on their way to one address: protected in place, and kept until the post goes.

    :attr:`send` takes a packet; what waits is sent by :meth:`Post.flush`.
    """

    def __init__(self, post: Post, name: bytes, protect: Protect, context: Any) -> None:
        self._name = ffi.new("char[]", name)
        self.name = int(ffi.cast("uintptr_t", self._name)), len(name)
        self._area = ffi.new("char[]", MAX_QUEUED * PACKET_SLOT_BYTES)
        self._vectors = ffi.new("struct iovec[]", MAX_QUEUED)
        self.vectors = int(ffi.cast("uintptr_t", self._vectors))
        self.lengths = memoryview(ffi.buffer(self._vectors)).cast("Q")[1::2]
        base = int(ffi.cast("uintptr_t", self._area))
        for n in range(MAX_QUEUED):
            _IOVEC.pack_into(ffi.buffer(self._vectors), 16 * n, base + n * PACKET_SLOT_BYTES, 0)
        self.starts: list[int] = []
        """Where each message begins: all of its packets have one length, but the last."""
        self.count = 0
        self._segment = 0
        self.send: SendPacket = self._sending(post, protect, context)

    def packet(self, index: int) -> bytes:
        """A waiting packet as it is to be sent."""
        at = index * PACKET_SLOT_BYTES
        return bytes(ffi.buffer(self._area)[at : at + self.lengths[index]])

    def clear(self) -> None:
        """Everything was sent."""
        self.starts.clear()
        self.count = self._segment = 0

    def _sending(self, post: Post, protect: Protect, context: Any) -> SendPacket:
        """The function that takes one packet: all look-ups are done here, once."""
        pointers = [self._area + n * PACKET_SLOT_BYTES for n in range(MAX_QUEUED)]
        view, lengths = memoryview(ffi.buffer(self._area)), self.lengths
        pack_into, starts, waiting = rtp.HEADER.pack_into, self.starts, post.waiting

        def send(
            first: int, second: int, sequence: int, timestamp: int, ssrc: int, body: bytes
        ) -> None:
            size = 12 + len(body)
            count = self.count
            if size > MAX_PACKET_BYTES:
                post.unfit += 1
                return
            if count == MAX_QUEUED:
                post.flush()
                count = 0
            at = count * PACKET_SLOT_BYTES
            pack_into(view, at, first, second, sequence, timestamp, ssrc)
            view[at + 12 : at + size] = body
            _length[0] = size
            if protect(context, pointers[count], _LENGTH):
                post.unfit += 1
                return
            size = lengths[count] = _length[0]
            segment = self._segment
            if size != segment:
                if size > segment:
                    starts.append(count)
                    self._segment = size
                else:
                    # A shorter one may be the last of its message; the next begins another.
                    self._segment = 0
            self.count = count + 1
            if not count:
                waiting.append(self)
                if not post.collecting:
                    post.flush_soon()

        return send


class Post:
    """Sends what waits in the outlets of one socket.

    While :attr:`collecting`, whoever collects calls :meth:`flush` at the end; else the first packet
    has ``soon`` call it.
    """

    def __init__(self, sock: socket.socket, soon: Callable[[Callable[[], None]], Any]) -> None:
        self.waiting: list[Outlet] = []
        self.collecting = False
        self.unsent = 0
        """Packets that the kernel did not take."""
        self.unfit = 0
        """Packets that were too long, or that SRTP did not take."""
        self.segmenting = True
        self._socket = sock
        self._soon = soon
        self._scheduled = False
        self._messages = ffi.new("struct mmsghdr[]", MAX_MESSAGES)
        self._view = memoryview(ffi.buffer(self._messages))
        self._controls = ffi.new("char[]", MAX_MESSAGES * _CONTROL.size)
        self._control_view = memoryview(ffi.buffer(self._controls))
        self._control_at = int(ffi.cast("uintptr_t", self._controls))
        self._parts: list[tuple[Outlet, int, int]] = []
        """For each message: its outlet, its first packet and the one after its last."""

    def flush_soon(self) -> None:
        """Send at the end of this turn of the event loop."""
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._flush_late)

    def flush(self) -> None:
        """Send everything that waits."""
        waiting, parts = self.waiting, self._parts
        for outlet in waiting:
            starts, count = outlet.starts, outlet.count
            if not self.segmenting:
                starts[:] = range(count)
            if len(parts) + len(starts) > MAX_MESSAGES:
                self._submit()
            for at, start in enumerate(starts):
                end = starts[at + 1] if at + 1 < len(starts) else count
                self._write(outlet, start, end)
        if parts:
            self._submit()
        for outlet in waiting:
            outlet.clear()
        waiting.clear()

    def close(self) -> None:
        """Send nothing more."""
        for outlet in self.waiting:
            outlet.clear()
        self.waiting.clear()

    def _flush_late(self) -> None:
        self._scheduled = False
        self.flush()

    def _write(self, outlet: Outlet, start: int, end: int) -> None:
        number = len(self._parts)
        control = length = 0
        if end - start > 1:
            at = number * _CONTROL.size
            control, length = self._control_at + at, _CONTROL.size
            _CONTROL.pack_into(
                self._control_view,
                at,
                _CONTROL_LENGTH,
                socket.IPPROTO_UDP,
                _UDP_SEGMENT,
                outlet.lengths[start],
            )
        name, name_length = outlet.name
        _MMSGHDR.pack_into(
            self._view,
            number * _MMSGHDR.size,
            name,
            name_length,
            outlet.vectors + 16 * start,
            end - start,
            control,
            length,
            0,
            0,
        )
        self._parts.append((outlet, start, end))

    def _submit(self) -> None:
        parts, done = self._parts, 0
        descriptor = self._socket.fileno()
        while done < len(parts) and descriptor >= 0:
            sent = _libc.sendmmsg(
                descriptor, self._messages + done, len(parts) - done, socket.MSG_DONTWAIT
            )
            if sent > 0:
                done += sent
                continue
            problem = ffi.errno
            if problem == errno.EINTR:
                continue
            if problem in (errno.EAGAIN, errno.ENOBUFS):
                # The kernel is full: what is late already is not worth waiting for.
                break
            self._send_singly(*parts[done], problem)
            done += 1
        self.unsent += sum(end - start for _, start, end in parts[done:])
        parts.clear()

    def _send_singly(self, outlet: Outlet, start: int, end: int, problem: int) -> None:
        """A message that the kernel refused: its packets one by one, if there is more than one."""
        if end - start == 1:
            self.unsent += 1
            return
        if problem == errno.EIO:
            # The interface cannot cut messages up, and will not learn it.
            self.segmenting = False
        remote = address_of(bytes(ffi.buffer(outlet._name)[: outlet.name[1]]))
        for index in range(start, end):
            try:
                self._socket.sendto(outlet.packet(index), socket.MSG_DONTWAIT, remote)
            except OSError:
                self.unsent += 1
