"""The one encoding that DER allows (ITU-T X.690, 10 and 11), as far as structure goes.

Parsers take BER: lengths in several forms, streams without end. Then bytes of a signature file
could be changed and nobody would see. Iterative and linear, since what it reads may have been made
to be slow.
"""

from __future__ import annotations

_MAX_DEPTH = 40
_INTEGER, _BOOLEAN, _SET = 0x02, 0x01, 0x31


def check_der(der: bytes) -> None:
    """Refuse what is not exactly one value in DER. Raises :class:`ValueError`.

    Looks into everything that is constructed; what lies inside octet strings is bytes to it.
    """
    end = _check_value(der, 0, len(der))
    if end != len(der):
        raise ValueError("more than one value")
    # Pairs of (position, end) of contents that are still to be looked into.
    pending = [(_head(der, 0, len(der))[1], end, 0)] if der[0] & 0x20 else []
    while pending:
        at, end, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deep")
        while at < end:
            after = _check_value(der, at, end)
            if der[at] & 0x20:
                pending.append((_head(der, at, end)[1], after, depth + 1))
            at = after


def _check_value(der: bytes, at: int, limit: int) -> int:
    """The end of the value at ``at``."""
    tag, start, end = _head(der, at, limit)
    content = der[start : min(end, start + 2)]
    if tag == _BOOLEAN and der[start:end] not in (b"\x00", b"\xff"):
        raise ValueError("a truth value that is neither 00 nor FF")
    if tag == _INTEGER:
        if not content:
            raise ValueError("an integer without bytes")
        if len(content) == 2 and content[0] in (0x00, 0xFF) and (content[0] ^ content[1]) < 0x80:
            raise ValueError("an integer with a byte too many")
    if tag == _SET:
        _check_order(der, start, end)
    return end


def _check_order(der: bytes, at: int, end: int) -> None:
    before = b""
    while at < end:
        after = _head(der, at, end)[2]
        if der[at:after] < before:
            raise ValueError("a set out of order")
        before = der[at:after]
        at = after


def _head(der: bytes, at: int, limit: int) -> tuple[int, int, int]:
    """Tag, start of the content and end of the value at ``at``."""
    if at + 2 > limit:
        raise ValueError("it ends too early")
    tag, length, start = der[at], der[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise ValueError("a tag of several bytes")
    if length == 0x80:
        raise ValueError("a length that is not given")
    if length > 0x80:
        count = length & 0x7F
        digits = der[start : start + count]
        start += count
        length = int.from_bytes(digits, "big")
        if count > 4 or start > limit or digits[0] == 0 or length < 0x80:
            raise ValueError("a length in a longer form than needed")
    if start + length > limit:
        raise ValueError("it ends too early")
    return tag, start, start + length
