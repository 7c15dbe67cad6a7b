"""Which private names of foreign packages a source file uses, read from the source itself (ast)."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PACKAGES = ("aiortc", "aioice", "pylibsrtp")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_private(name: str) -> bool:
    """One underscore in front, or two without two behind."""
    return name.startswith("_") and not name.endswith("__") and name != "_"


def on_self(node: ast.Attribute) -> bool:
    """Whether it is an attribute of the object itself."""
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


@dataclass
class Definitions:
    """Private names that a source defines: attributes, methods, functions, variables."""

    names: set[str] = field(default_factory=set)
    functions: dict[str, list[Function]] = field(default_factory=dict)

    def read(self, tree: ast.AST, owner: str = "") -> None:
        """Add what is defined in this module, or in the class ``owner``."""
        for node in ast.iter_child_nodes(tree):
            self.read(node, node.name if isinstance(node, ast.ClassDef) else owner)
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    if is_private(name):
                        self._add(name, owner)
                        self.functions.setdefault(name, []).append(node)
                case ast.Attribute(attr=name, ctx=ast.Store()) if on_self(node):
                    self._add(name, owner)
                case ast.Name(id=name, ctx=ast.Store()):
                    self._add(name, owner)
                case ast.Constant(value=str(name)):
                    self._add(name, owner)  # an entry of __slots__

    def _add(self, name: str, owner: str) -> None:
        if is_private(name) and name.isidentifier():
            self.names.add(name)
            if name.startswith("__") and owner:
                self.names.add(f"_{owner.lstrip('_')}{name}")


def defined(tree: ast.AST) -> Definitions:
    """What a module or a class defines."""
    found = Definitions()
    found.read(tree)
    return found


def sources(package: str) -> Iterator[Path]:
    """The Python files of an installed package."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed"
    for folder in spec.submodule_search_locations or ():
        yield from sorted(Path(folder).rglob("*.py"))


@cache
def foreign() -> Definitions:
    """What the installed packages define."""
    found = Definitions()
    for package in PACKAGES:
        for path in sources(package):
            found.read(ast.parse(path.read_text()))
    return found


def foreign_imports(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """The statements that import the packages or parts of them."""
    found: list[ast.Import | ast.ImportFrom] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        else:
            continue
        if any(module.partition(".")[0] in PACKAGES for module in modules):
            found.append(node)
    return found


def used(tree: ast.Module) -> dict[str, list[ast.Attribute]]:
    """The packages' private names that a module uses as attributes, with the places.

    On ``self`` a name is the packages' where the class does not define it itself, on anything else
    always: such a name is not to be used for something of our own beside it.
    """
    found: dict[str, list[ast.Attribute]] = {}

    def look(node: ast.AST, ours: set[str]) -> None:
        if isinstance(node, ast.ClassDef):
            ours = defined(node).names
        if (
            isinstance(node, ast.Attribute)
            and node.attr in foreign().names
            and not (on_self(node) and node.attr in ours)
        ):
            found.setdefault(node.attr, []).append(node)
        for child in ast.iter_child_nodes(node):
            look(child, ours)

    look(tree, set())
    return found


def calls(tree: ast.Module, name: str) -> list[ast.Call]:
    """The calls of a method or function of that name."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == name
    ]


def takes(function: Function, call: ast.Call) -> bool:
    """Whether a method, called on an object, takes what a call gives it."""
    terms = function.args
    names = [term.arg for term in (*terms.posonlyargs, *terms.args)][1:]
    given = [keyword.arg for keyword in call.keywords]
    count = len(call.args)
    if count > len(names) and terms.vararg is None:
        return False
    required = names[: len(names) - len(terms.defaults)]
    allowed = {*names[count:], *(term.arg for term in terms.kwonlyargs)}
    return all(name in given for name in required[count:]) and all(
        name is None or name in allowed or terms.kwarg is not None for name in given
    )
