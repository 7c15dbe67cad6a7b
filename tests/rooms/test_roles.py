import pytest

from rooms.media import Source
from rooms.roles import MATRIX, SOURCES, Permission, Role

# Written out a second time on purpose: a change of rights has to be made twice.
EXPECTED = {
    "questioner": {"publish", "subscribe", "open", "pause", "resume", "close", "mark"},
    "second_officer": {"publish", "subscribe", "mark"},
    "clerk": {"publish", "subscribe", "mark"},
    "subject": {"publish", "subscribe"},
    "interpreter": {"publish", "subscribe"},
    "observer": {"subscribe"},
}


def test_permission_matrix():
    assert {str(role): {str(each) for each in MATRIX[role]} for role in MATRIX} == EXPECTED


@pytest.mark.parametrize("role", Role)
def test_a_role_has_sources_exactly_when_it_may_publish(role):
    assert bool(SOURCES[role]) == (Permission.PUBLISH in MATRIX[role])


def test_the_subject_shows_no_evidence():
    assert SOURCES[Role.SUBJECT] == set(Source) - {Source.EVIDENCE_DISPLAY}
