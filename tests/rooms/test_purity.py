"""rooms/ reads no clock and does no I/O; what import-linter cannot see is looked for here."""

import ast
from pathlib import Path

import pytest

import rooms

ROOMS = Path(rooms.__file__).parent
SOURCES = sorted(ROOMS.rglob("*.py"))
IMPURE_CALLS = {"now", "utcnow", "today", "open", "print", "input", "getenv", "urandom"}
ALLOWED_IMPORTS = {
    "__future__",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "re",
    "rooms",
    "typing",
    "unicodedata",
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOMS)))
def test_only_pure_modules_are_imported_and_no_clock_is_read(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert {name.name.split(".")[0] for name in node.names} <= ALLOWED_IMPORTS
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.module.split(".")[0] in ALLOWED_IMPORTS
        elif isinstance(node, ast.Call):
            function = node.func
            name = getattr(function, "attr", getattr(function, "id", None))
            assert name not in IMPURE_CALLS
