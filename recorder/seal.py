"""Sealing: manifests over the digests that are already known, a signature, a time stamp, read-only.

Before this: :mod:`recorder.ledger` has its ``close`` line and the last checkpoint covers it; every
media file was hashed as it was written and is hashed no more. After it: the archive is final.
Steps, each of which a crash may interrupt and :func:`seal_archive` then simply does again: tag
files, CMS signature, time stamp, rename to the final name (the moment at which the archive counts
as sealed), read-only.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

from recorder import manifest, timestamp
from recorder.archive import Layout
from recorder.ledger import storage_error, sync_directory
from recorder.manifest import Digest
from recorder.wire import SealJob
from rooms.errors import ArchiveBroken, ConfigInvalid, TimestampRefused

logger = logging.getLogger(__name__)

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SealResult:
    """What sealing made.

    ``root_sha256`` is the SHA-256 of ``tagmanifest-sha256.txt``, the check value that people sign.
    ``stamped`` says whose time stamp it is: the built-in authority's own or an outside one's.
    ``stamp_problem`` is why an outside authority that is configured did not stamp.
    """

    layout: Layout
    root_sha256: str
    stamped: Literal["own", "authority"]
    stamp_problem: str | None = None


def seal_archive(
    layout: Layout,
    session: Mapping[str, Any],
    digests: Mapping[str, tuple[int, str]],
    seal: SealJob,
    software: str = "tingxun",
) -> SealResult:
    """Seal the archive at ``layout`` and move it to its final name.

    ``session`` is what line 0 of the ledger carries as ``session``. ``digests`` maps the relative
    path of every file under ``data/`` to size and SHA-256; ledger and checkpoints may be left out,
    they are small and hashed here. ``software`` goes into ``bag-info.txt``.

    Raises :class:`ArchiveBroken` when the files on disk are not those of ``digests``,
    :class:`DiskFull`, :class:`ArchiveDirUnwritable`, or :class:`ConfigInvalid` for keys that cannot
    be used. Until the rename the archive is still an unsealed one and sealing can be repeated.
    """
    payload = {path: Digest(size, sha256) for path, (size, sha256) in digests.items()}
    try:
        for path in (layout.chain, layout.checkpoints):
            if not path.is_file():
                raise ArchiveBroken(f"{layout.relative(path)} is missing")
            payload[layout.relative(path)] = _hash_file(path)
        _check_payload(layout, payload)
        tags = {
            "bagit.txt": manifest.BAGIT,
            "bag-info.txt": manifest.bag_info(
                session_id=layout.archive_id,
                sealed_on=datetime.now(UTC).date().isoformat(),
                software=software,
                payload=payload,
            ),
            "session.json": manifest.session_json(session),
            "manifest-sha256.txt": manifest.manifest(payload),
        }
        signed = manifest.tag_manifest(tags)
        for name, content in tags.items():
            _write(layout.root / name, content)
        _write(layout.tag_manifest, signed)
        layout.seal_dir.mkdir(exist_ok=True)
        signature = sign(signed, seal)
        _write(layout.seal, signature)
        response, stamped, problem = _stamp(signature, seal)
        _write(layout.timestamp, response)
        for directory in _directories(layout.root):
            sync_directory(directory)
        final = finish(layout)
    except OSError as error:
        raise storage_error(error, layout.root) from error
    return SealResult(final, hashlib.sha256(signed).hexdigest(), stamped, problem)


def finish(layout: Layout) -> Layout:
    """Give a complete archive its final name and make it read-only; return where it now is.

    Also for an archive that already has its name, when a crash came before it was read-only. Raises
    :class:`OSError`.
    """
    final = Layout(layout.sealed_root)
    if layout.in_progress:
        layout.root.rename(final.root)
        sync_directory(final.root.parent)
    for directory in _directories(final.root):
        for entry in os.scandir(directory):
            if entry.is_file(follow_symlinks=False):
                Path(entry.path).chmod(0o444)
        directory.chmod(0o555)
    return final


def sign(content: bytes, seal: SealJob) -> bytes:
    """A detached CMS signature (RFC 5652) over ``content``, DER, with the certificate chain.

    ECDSA P-256 with SHA-256 and signed attributes (content type, digest, signing time). Raises
    :class:`ConfigInvalid` when key and certificates cannot be read or do not belong together.
    """
    try:
        key = serialization.load_pem_private_key(Path(seal.key_path).read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(Path(seal.cert_path).read_bytes())
        chain = x509.load_pem_x509_certificates(Path(seal.chain_path).read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise ConfigInvalid(f"keys of the seal: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ConfigInvalid("keys of the seal: the key is not ECDSA P-256")
    if key.public_key() != certificate.public_key():
        raise ConfigInvalid("keys of the seal: key and certificate do not belong together")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    builder = builder.add_signer(certificate, key, hashes.SHA256())
    for issuer in chain:
        if issuer != certificate:
            builder = builder.add_certificate(issuer)
    options = [
        pkcs7.PKCS7Options.DetachedSignature,
        pkcs7.PKCS7Options.Binary,
        pkcs7.PKCS7Options.NoCapabilities,
    ]
    return builder.sign(serialization.Encoding.DER, options)


def _stamp(message: bytes, seal: SealJob) -> tuple[bytes, Literal["own", "authority"], str | None]:
    problem = None
    if seal.tsa_url is not None:
        try:
            roots = _roots(seal.tsa_roots_path)
            return timestamp.fetch(seal.tsa_url, message, roots), "authority", None
        except TimestampRefused as error:
            # A seal without any time stamp would be worse; who verifies sees whose it is.
            problem = error.message
            logger.warning("%s; the built-in authority stamps instead", problem)
    authority = timestamp.Authority.load(Path(seal.tsa_cert_path), Path(seal.tsa_key_path))
    request = timestamp.make_request(message, timestamp.new_nonce())
    return authority.respond(request, datetime.now(UTC)), "own", problem


def _roots(path: str | None) -> list[x509.Certificate]:
    if path is None:
        return []
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise TimestampRefused(f"the authority's roots cannot be read: {error}") from error


def _check_payload(layout: Layout, payload: Mapping[str, Digest]) -> None:
    """The seal must not vouch for a file that is missing, was cut short or came from elsewhere."""
    found: dict[str, int] = {}
    for directory in _directories(layout.payload):
        for entry in os.scandir(directory):
            if not entry.is_dir(follow_symlinks=False):
                size = entry.stat(follow_symlinks=False).st_size
                found[layout.relative(Path(entry.path))] = size
    for path in sorted(found.keys() | payload.keys()):
        if path not in payload:
            raise ArchiveBroken(f"{path} belongs to no ledger line")
        if path not in found:
            raise ArchiveBroken(f"{path} is missing")
        if payload[path].size != found[path]:
            raise ArchiveBroken(f"{path} has {found[path]} bytes, not {payload[path].size}")


def _directories(root: Path) -> Iterator[Path]:
    """``root`` and every folder below it, the deepest first."""
    for current, _, _ in os.walk(root, topdown=False):
        yield Path(current)


def _hash_file(path: Path) -> Digest:
    size, running = 0, hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            running.update(piece)
            size += len(piece)
    return Digest(size, running.hexdigest())


def _write(path: Path, content: bytes) -> None:
    """Replace ``path`` as a whole: an interrupted seal leaves no half file behind."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
