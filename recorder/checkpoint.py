"""Signed tree heads of the ledger, as C2SP signed notes (tlog-checkpoint).

A checkpoint says "the ledger of this session had ``size`` lines with this Merkle root", signed by
an Ed25519 key that is made for this session alone, published in line 0 of the ledger and destroyed
at close. Each one leaves at once for terminals and witnesses, so what it covers cannot be
rewritten later, not even by somebody who holds the sealing key. Format: ``docs/ARCHIVE.md``,
section 6.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from recorder.ledger import AppendFile
from rooms.errors import FieldInvalid

NOTE_LINES = 5
"""Every note in ``checkpoints.txt``: origin, size, root, empty line, one signature."""

_ED25519 = b"\x01"


class SessionKey:
    """The key of one session: signs its checkpoints and nothing else.

    ``seed`` is 32 random bytes, ``origin`` names the ledger and is also the key's name (for
    instance ``tingxun/<session id>``). Raises :class:`FieldInvalid` when either cannot be used.
    """

    def __init__(self, seed: bytes, origin: str) -> None:
        if len(seed) != 32:
            raise FieldInvalid("a session key seed is 32 bytes")
        if not origin or "+" in origin or any(c.isspace() or not c.isprintable() for c in origin):
            raise FieldInvalid("an origin has no space, no plus sign and is not empty")
        self.origin = origin
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._key_id = hashlib.sha256(origin.encode() + b"\n" + _ED25519 + public).digest()[:4]
        self._public = public

    @property
    def verifier_key(self) -> str:
        """The C2SP verifier key ``<name>+<id>+<base64(01 || public key)>``, for line 0."""
        public = base64.b64encode(_ED25519 + self._public).decode()
        return f"{self.origin}+{self._key_id.hex()}+{public}"

    def sign(self, size: int, root: bytes) -> str:
        """The checkpoint of a ledger of ``size`` lines with Merkle root ``root`` (32 bytes)."""
        text = f"{self.origin}\n{size}\n{base64.b64encode(root).decode()}\n"
        signature = self._key.sign(text.encode())
        return (
            f"{text}\n\u2014 {self.origin} {base64.b64encode(self._key_id + signature).decode()}\n"
        )


class CheckpointFile:
    """``checkpoints.txt``: notes one after the other, each of :data:`NOTE_LINES` lines.

    Sync the ledger before signing: a checkpoint over a line that a power cut takes away accuses an
    honest archive. After the ``close`` line exactly one more note is written, over the whole
    ledger.
    """

    def __init__(self, file: AppendFile, count: int) -> None:
        self._file = file
        self.count = count

    @classmethod
    def create(cls, path: Path) -> CheckpointFile:
        """Start the file. Raises the errors of :meth:`AppendFile.create`."""
        return cls(AppendFile.create(path), 0)

    @classmethod
    def resume(cls, path: Path) -> CheckpointFile:
        """Go on after a crash; a note that was only partly written is cut off."""
        raw = path.read_bytes() if path.exists() else b""
        lines = raw.split(b"\n")[:-1]
        count = len(lines) // NOTE_LINES
        keep = sum(len(line) + 1 for line in lines[: count * NOTE_LINES])
        return cls(AppendFile.resume(path, keep), count)

    def append(self, note: str) -> None:
        """Write one note and make it durable. Raises the errors of :meth:`AppendFile.append`."""
        self._file.append(note.encode(), sync=True)
        self.count += 1

    def close(self) -> None:
        """Close the file; further appends raise."""
        self._file.close()
