import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.text import is_id, is_text, storable

ANY_TEXT = st.text(st.characters(), max_size=30)  # lone surrogates and controls included


@pytest.mark.parametrize("text", ["讯问　休息", "a\nb", "👩🏽‍⚖️", "x" * 500])
def test_texts_that_may_be_stored(text):
    assert is_text(text, 500)


@pytest.mark.parametrize("text", ["", "x" * 501, "a\x00", "a\x1b[2J", "\ud800", None, 7])
def test_texts_that_may_not(text):
    assert not is_text(text, 500)


@pytest.mark.parametrize("text", ["", "a b", "a\n", "é", "x" * 129, None, "a\x7f"])
def test_what_is_no_id(text):
    assert not is_id(text)
    assert is_id("01J-abc_9:z")


@given(ANY_TEXT)
def test_storable_texts_are_texts_and_others_are_mended(text):
    mended = storable(text, 10)
    assert is_text(mended, 10) and mended.encode()
    if is_text(text, 10) and text.strip():
        assert mended == text
