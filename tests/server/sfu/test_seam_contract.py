"""The seam's contract with aiortc, aioice and pylibsrtp, derived from its own source.

What it uses is read from ``server/sfu/seam.py``, what there is from the installed packages: an
upgrade that takes something away fails here and names it, and nothing that the seam begins to use
is forgotten. What the names must be good for is tested in ``test_seam.py``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import aioice.ice
import pytest
from aiortc import RTCCertificate, RTCIceGatherer, RTCIceTransport, RTCRtpReceiver, RTCRtpSender
from aiortc import rtcdtlstransport as dtls_module
from private_names import (
    PACKAGES,
    calls,
    defined,
    foreign,
    foreign_imports,
    is_private,
    takes,
    used,
)
from pylibsrtp import Policy, Session

from server.sfu import seam

ROOT = Path(__file__).parents[3]
SEAM = ROOT / "server/sfu/seam.py"
TREE = ast.parse(SEAM.read_text())
USED = used(TREE)
LOAD_CLIENT = [ROOT / "bench/load.py", ROOT / "bench/sending.py"]
"""The bench's client, which says that it reaches inside too."""


def specimens() -> dict[str, Any]:
    """One of everything that the seam makes or is given, as the packages make it."""
    ice = aioice.ice.Connection(ice_controlling=False)
    gatherer = RTCIceGatherer(iceServers=[])
    transport = RTCIceTransport(gatherer)
    dtls = dtls_module.RTCDtlsTransport(transport, [RTCCertificate.generateCertificate()])
    return {
        "aioice.Connection": ice,
        "aioice.StunProtocol": aioice.ice.StunProtocol(ice),
        "RTCIceGatherer": gatherer,
        "RTCIceTransport": transport,
        "RTCDtlsTransport": dtls,
        "RTCRtpSender": RTCRtpSender("video", dtls),
        "RTCRtpReceiver": RTCRtpReceiver("video", dtls),
        "pylibsrtp.Session": Session(
            Policy(key=bytes(30), ssrc_type=Policy.SSRC_ANY_OUTBOUND),
        ),
    }


def test_the_seam_uses_private_names_and_they_are_found() -> None:
    # Were these empty, the tests below would hold nothing.
    assert {"_srtp", "_rx_srtp", "_tx_srtp", "_srtp_profiles", "_set_role"} <= USED.keys()
    assert foreign_imports(TREE)


@pytest.mark.parametrize("name", sorted(USED))
async def test_a_private_attribute_is_there(name: str) -> None:
    lines = [node.lineno for node in USED[name]]
    holders = [what for what, one in specimens().items() if hasattr(one, name)]
    assert holders, (
        f"seam.py uses {name} (lines {lines}), and nothing that the installed "
        f"{', '.join(PACKAGES)} make has it"
    )


@pytest.mark.parametrize("name", sorted(USED))
def test_a_private_method_takes_what_the_seam_gives(name: str) -> None:
    functions = foreign().functions.get(name, [])
    for call in calls(TREE, name):
        assert any(takes(function, call) for function in functions), (
            f"seam.py line {call.lineno} calls {name} with other arguments than it takes"
        )


def test_every_private_attribute_of_an_object_is_one_of_ours_or_theirs() -> None:
    known = defined(TREE).names | foreign().names
    unknown = {
        f"{node.attr} (line {node.lineno})"
        for node in ast.walk(TREE)
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in known
    }
    assert not unknown, f"seam.py uses what neither it nor {', '.join(PACKAGES)} define"


def overrides() -> list[tuple[type, type, str]]:
    """The methods of packages' classes that the seam's own classes replace."""
    found = []
    for one in vars(seam).values():
        if not inspect.isclass(one) or one.__module__ != seam.__name__:
            continue
        for base in one.__mro__[1:]:
            if base.__module__.partition(".")[0] in PACKAGES:
                found += [
                    (one, base, name)
                    for name, value in vars(one).items()
                    if inspect.isfunction(value) and name in vars(base) and name != "__init__"
                ]
    return found


@pytest.mark.parametrize(
    ("ours", "theirs", "name"), [pytest.param(*one, id=one[2]) for one in overrides()]
)
def test_an_overridden_method_is_called_alike(ours: type, theirs: type, name: str) -> None:
    mine, base = getattr(ours, name), getattr(theirs, name)
    assert list(inspect.signature(mine).parameters) == list(inspect.signature(base).parameters)
    assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(base)


def modules() -> dict[str, ModuleType]:
    """The packages' modules that the seam has by name."""
    return {
        name: value
        for name, value in vars(seam).items()
        if isinstance(value, ModuleType) and value.__name__.partition(".")[0] in PACKAGES
    }


def test_what_the_seam_reads_from_their_modules_is_there() -> None:
    for node in foreign_imports(TREE):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
        else:
            for alias in node.names:
                importlib.import_module(alias.name)
    known = modules()
    for node in ast.walk(TREE):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            holder = vars(seam).get(node.value.id)
            # The cffi library is no module, and its functions exist only when they are asked for.
            if node.value.id in known or type(holder).__name__ == "Lib":
                assert hasattr(holder, node.attr), f"{node.value.id}.{node.attr} is gone"


def test_what_the_seam_replaces_in_their_modules_is_called_alike() -> None:
    for node in ast.walk(TREE):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Lambda):
            continue
        for target in node.targets:
            dotted = ast.unparse(target)
            root, _, rest = dotted.partition(".")
            if root in modules() and rest:
                holder: Any = modules()[root]
                for part in rest.split("."):
                    holder = getattr(holder, part)
                ours = [term.arg for term in node.value.args.args]
                assert list(inspect.signature(holder).parameters) == ours, dotted


def ours() -> list[Path]:
    """Every other source file."""
    return [
        path
        for folder in ("server", "recorder", "rooms", "bench")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != SEAM
    ]


def test_no_other_file_touches_private_names_of_these_packages() -> None:
    trees = {path: ast.parse(path.read_text()) for path in ours()}
    own = set().union(*(defined(tree).names for tree in trees.values()))
    found = []
    for path, tree in trees.items():
        imports = foreign_imports(tree)
        for node in imports:
            names = [alias.name for alias in node.names]
            names += (node.module or "").split(".") if isinstance(node, ast.ImportFrom) else []
            found += [
                f"{path.relative_to(ROOT)}:{node.lineno} imports {name}"
                for name in names
                if any(is_private(part) for part in name.split("."))
            ]
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno} uses {name}"
            for name, nodes in used(tree).items()
            for node in nodes
            if name not in own
        ]
    assert not found, found


@pytest.mark.parametrize("path", LOAD_CLIENT, ids=lambda path: path.name)
def test_what_the_load_client_uses_is_there(path: Path) -> None:
    tree = ast.parse(path.read_text())
    known = defined(tree).names | foreign().names
    names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and is_private(n.attr)}
    assert names & foreign().names
    assert names <= known, names - known
