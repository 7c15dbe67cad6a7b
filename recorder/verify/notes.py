"""Step 6: the signed checkpoints of the ledger (C2SP signed note, tlog-checkpoint).

They are signed with a key that no longer exists, so they hold even against somebody who has the
sealing key: what a checkpoint covers cannot have been changed after it was signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from recorder.verify.chain import CHAIN, Chain
from recorder.verify.report import Findings
from recorder.verify.tree import MAX_FILES

CHECKPOINTS = "data/checkpoints.txt"
_NOTE_LINES = 5
_MAX_LINE_BYTES = 1024
_SIZE = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_SIGNATURE = "\u2014 "


@dataclass(frozen=True, slots=True)
class Note:
    """One checkpoint as it stands in the file; ``root`` and ``signature`` are decoded."""

    index: int
    text: bytes
    origin: str
    size: int
    root: bytes
    signer: str
    key_id: bytes
    signature: bytes

    @property
    def place(self) -> str:
        """Which checkpoint, for people; its first line in the file."""
        return f"checkpoint {self.index}, line {self.index * _NOTE_LINES - _NOTE_LINES + 1}"


class _Key(NamedTuple):
    name: str
    key_id: bytes
    public: Ed25519PublicKey


def parse_notes(content: bytes | None, findings: Findings) -> list[Note]:
    """The notes of ``checkpoints.txt``; the first that is none ends the list with a finding."""
    notes: list[Note] = []
    if content is None:
        findings.add(6, CHECKPOINTS, "", "a file", "nothing that can be read")
        return notes
    stream = io.BytesIO(content)
    while stream.tell() < len(content):
        index = len(notes) + 1
        lines = [stream.readline(_MAX_LINE_BYTES) for _ in range(_NOTE_LINES)]
        try:
            if index > MAX_FILES:
                raise ValueError("too many")
            notes.append(_parse_note(index, lines))
        except ValueError as error:
            place = f"checkpoint {index}, line {(index - 1) * _NOTE_LINES + 1}"
            findings.add(6, CHECKPOINTS, place, "a signed note of five lines", str(error))
            break
    return notes


def _parse_note(index: int, raw: list[bytes]) -> Note:
    if not all(line.endswith(b"\n") for line in raw):
        raise ValueError("it ends too early, or a line is too long")
    origin, size, root, empty, signature = (line[:-1].decode("utf-8") for line in raw)
    if empty or not signature.startswith(_SIGNATURE):
        raise ValueError("no empty line and signature line at its end")
    if not _SIZE.fullmatch(size):
        raise ValueError("its second line is no size")
    signer, _, encoded = signature.removeprefix(_SIGNATURE).rpartition(" ")
    signed = _decode(encoded)
    if len(signed) != 68:
        raise ValueError("its signature has not 4 + 64 bytes")
    if len(digest := _decode(root)) != 32:
        raise ValueError("its third line is no root")
    text = b"".join(raw[:3])
    return Note(index, text, origin, int(size), digest, signer, signed[:4], signed[4:])


def _decode(text: str) -> bytes:
    """Base64 in its one canonical form: another spelling of the same bytes is another file."""
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    if base64.b64encode(content).decode() != text:
        raise ValueError("no canonical base64")
    return content


def _parse_key(text: str) -> _Key:
    """A C2SP verifier key ``<name>+<key id>+<base64(01 || public key)>``."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    material = _decode(encoded)
    if len(material) != 33 or material[0] != 1:
        raise ValueError("no Ed25519 key")
    expected = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    if key_id != expected.hex():
        raise ValueError(f"key id {key_id}, not {expected.hex()}")
    return _Key(name, expected, Ed25519PublicKey.from_public_bytes(material[1:]))


def check_notes(notes: list[Note], chain: Chain, findings: Findings) -> None:
    """Step 6. Signed by the key of line 0, over the roots that this ledger has, up to its end."""
    if chain.opening is None:
        findings.add(6, CHAIN, "line 0", "the key of the session", "no open line")
        return
    try:
        key = _parse_key(chain.opening["key"])
    except ValueError as error:
        findings.add(6, CHAIN, "line 0", "a C2SP verifier key", str(error))
        return
    origin = chain.opening["origin"]
    if key.name != origin:
        findings.add(6, CHAIN, "line 0", f"a key named {origin}", f"one named {key.name}")
    if not notes:
        findings.add(6, CHECKPOINTS, "", "at least one checkpoint", "none")
        return
    covered = 0
    for note in notes:
        if _check_note(note, key, origin, covered, chain, findings):
            covered = note.size
    if notes[-1].size != chain.lines:
        found = f"{notes[-1].size} of {chain.lines} lines"
        findings.add(6, CHECKPOINTS, notes[-1].place, "the last covers the whole ledger", found)
    findings.details[6] = f"{len(notes)} checkpoints by the session's own key, the last over all"


def _check_note(
    note: Note, key: _Key, origin: str, covered: int, chain: Chain, findings: Findings
) -> bool:
    """Whether the note is genuine and the ledger has its root."""
    if note.origin != origin or note.signer != origin:
        found = f"{note.origin}, signed by {note.signer}"
        findings.add(6, CHECKPOINTS, note.place, f"origin and signer {origin}", found)
        return False
    try:
        if note.key_id != key.key_id:
            raise InvalidSignature
        key.public.verify(note.signature, note.text)
    except InvalidSignature:
        expected = f"a signature by key {key.key_id.hex()} of line 0"
        findings.add(6, CHECKPOINTS, note.place, expected, "one that does not hold")
        return False
    if note.size < covered:
        findings.add(6, CHECKPOINTS, note.place, f"a size from {covered} on", str(note.size))
        return False
    root = chain.roots.get(note.size)
    if root is None:
        found = f"{chain.lines} lines: its end was cut off"
        findings.add(6, CHAIN, note.place, f"at least {note.size} lines, as was signed", found)
        return False
    if root != note.root:
        place = f"one of the lines {covered} to {note.size - 1}; {note.place}"
        findings.add(6, CHAIN, place, f"root {note.root.hex()}, as was signed", root.hex())
        return False
    return True
