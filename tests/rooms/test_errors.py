import re

import pytest

from rooms import errors
from rooms.errors import REGISTRY, IllegalPhase, TingxunError

TREE = re.findall(r"[├└]── ([a-z][a-z0-9_]*) +(\d{3})$", errors.__doc__ or "", re.MULTILINE)


def test_the_tree_in_the_docstring_is_the_registry():
    assert sorted((code, int(status)) for code, status in TREE) == sorted(
        (code, cls.status) for code, cls in REGISTRY.items()
    )


def test_the_tree_shows_each_code_under_its_group():
    group = None
    for line in (errors.__doc__ or "").splitlines():
        if found := re.search(r"├── ([A-Z]\w+)", line):
            group = getattr(errors, found[1])
        elif found := re.search(r"│ +[├└]── (\w+)", line):
            assert group is not None and issubclass(REGISTRY[found[1]], group)


def test_every_error_is_imported_from_the_package():
    groups = set(re.findall(r"├── ([A-Z]\w+)", errors.__doc__ or ""))
    classes = {cls.__name__ for cls in REGISTRY.values()}
    assert set(errors.__all__) == classes | groups | {"TingxunError", "REGISTRY", "Fault"}


@pytest.mark.parametrize("code", sorted(REGISTRY))
def test_every_error_says_whose_fault_it_is_and_what_to_do(code):
    cls = REGISTRY[code]
    assert cls.code == code and re.fullmatch(r"[a-z][a-z0-9_]{2,40}", code)
    assert cls.fault in {"caller", "peer", "operator", "us"}
    assert 400 <= cls.status < 600
    assert cls.hint.endswith(".") and cls.title and not cls.title.endswith(".")
    # Somebody else's request cannot be our fault, nor our failure the caller's.
    assert (cls.fault in {"us", "operator"}) <= (cls.status >= 500)


def test_problem_details():
    assert IllegalPhase("the session is paused").to_problem() == {
        "type": "urn:tingxun:error:illegal_phase",
        "title": "The session is not in a phase that allows this",
        "status": 409,
        "code": "illegal_phase",
        "detail": "the session is paused",
        "hint": "Look at the phase of the session and try again.",
    }


def test_without_a_message_the_title_stands_for_it():
    error = IllegalPhase()
    assert error.message == str(error) == IllegalPhase.title


def test_a_code_belongs_to_one_class():
    with pytest.raises(TypeError, match="illegal_phase is taken by IllegalPhase"):

        class Again(TingxunError, code="illegal_phase"):
            """A second claim."""

    assert REGISTRY["illegal_phase"] is IllegalPhase
