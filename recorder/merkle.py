"""The Merkle tree of RFC 6962, section 2.1, grown leaf by leaf.

A leaf is one whole line of the ledger with its LF: ``SHA-256(00 || line)``; a node is ``SHA-256(01
|| left || right)``. Only the peaks of complete subtrees are needed for the root, so an append and
a root cost O(log n); the leaf hashes (32 bytes a line) are kept for inclusion proofs. No I/O.
"""

from __future__ import annotations

import hashlib

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(line: bytes) -> bytes:
    """The hash of a leaf, 32 bytes."""
    return hashlib.sha256(b"\x00" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node, 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """An append-only tree of ledger lines."""

    def __init__(self) -> None:
        self._leaves: list[bytes] = []
        self._peaks: list[bytes] = []

    def __len__(self) -> int:
        return len(self._leaves)

    def append(self, line: bytes) -> None:
        """Add ``line`` as the next leaf."""
        digest = leaf_hash(line)
        size = len(self._leaves)
        self._leaves.append(digest)
        while size & 1:
            digest = node_hash(self._peaks.pop(), digest)
            size >>= 1
        self._peaks.append(digest)

    def root(self) -> bytes:
        """The root over all leaves so far, 32 bytes."""
        if not self._peaks:
            return EMPTY_ROOT
        digest = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            digest = node_hash(peak, digest)
        return digest

    def inclusion_proof(self, index: int) -> list[bytes]:
        """The sibling hashes from leaf ``index`` up to the root (RFC 6962, 2.1.1).

        Raises :class:`IndexError` when there is no such leaf.
        """
        if not 0 <= index < len(self._leaves):
            raise IndexError(index)
        proof: list[bytes] = []
        level, position = self._leaves, index
        while len(level) > 1:
            sibling = position ^ 1
            if sibling < len(level):
                proof.append(level[sibling])
            level = [
                node_hash(level[i], level[i + 1]) if i + 1 < len(level) else level[i]
                for i in range(0, len(level), 2)
            ]
            position >>= 1
        return proof
