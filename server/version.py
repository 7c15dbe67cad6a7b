"""What this software calls itself in ledgers and answers."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("tingxun")
except PackageNotFoundError:
    # A checkout that was not installed has no version: better none than a wrong one in a ledger.
    VERSION = "unreleased"

SOFTWARE = f"tingxun/{VERSION}"
