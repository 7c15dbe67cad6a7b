"""Which certificates this installation trusts when it verifies an archive."""

from __future__ import annotations

from pathlib import Path

from recorder import certificates
from server.config import Config


def trusted_files(config: Config) -> list[Path]:
    """PEM files of certificates: the installation's own, and those that its settings name.

    The operator's ``seal.chain`` belongs to them as much as the platform's CA: archives were sealed
    with either. Empty before the first start.
    """
    folder = config.certificates_dir
    own = [folder / certificates.TRUSTED, folder / certificates.TSA_TRUSTED]
    named = [config.seal.chain, config.seal.tsa_roots]
    return [path for path in own if path.is_file()] + [path for path in named if path is not None]
