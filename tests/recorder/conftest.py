"""A small sealed archive, made by hand through ledger, checkpoints and seal, for tampering."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scribe import Keys, Scribe, make_writable, write_session

from recorder import certificates


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    directory = tmp_path_factory.mktemp("installation") / "certificates"
    return Keys(directory, certificates.ensure(directory))


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    scribe = write_session(tmp_path_factory.mktemp("archives"))
    return scribe.seal(keys.job).layout.root


@pytest.fixture
def archive(_template: Path, tmp_path: Path) -> Iterator[Path]:
    """A fresh writable copy of a sealed archive."""
    root = tmp_path / _template.name
    shutil.copytree(_template, root)
    make_writable(root)
    yield root
    make_writable(root)


@pytest.fixture
def scribe(tmp_path: Path) -> Scribe:
    """An archive to be written from its first line."""
    return Scribe(tmp_path)


@pytest.fixture
def write() -> Callable[[Path], Scribe]:
    """Writes the usual session below a folder, ready to be sealed."""
    return write_session
