"""Verification of an archive from its bytes alone, in ten numbered steps.

This package shares no code with what writes and seals archives: it is a second reading of
``docs/ARCHIVE.md``, section 9, and a third exists in JavaScript. It trusts nothing that it reads:
hostile paths, links, endless lines and broken JSON are findings. Two verdicts: *sealed* (steps 1
to 9) and *anchored* (step 10), see :mod:`recorder.verify.report`.
"""

from __future__ import annotations

from recorder.verify.report import Failure, Report, Step, render
from recorder.verify.trust import Trust
from recorder.verify.verifier import verify

__all__ = ["Failure", "Report", "Step", "Trust", "render", "verify"]
