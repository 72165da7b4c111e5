"""What a field is, and that writing and restoring are each other's way back."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.protect.judge import MIXED, NO_ROOM, Piece, State, judge, restored, written
from policies.profile import FieldSpec
from policies.taxonomy import Kind

EMAIL = FieldSpec("contact", "email", Kind.EMAIL, 254)
ADDRESS = FieldSpec("contact", "billing_address", Kind.ADDRESS, 500)
NOTE = FieldSpec("contact", "description", None, 65_000)


def test_states() -> None:
    assert judge("  ", EMAIL, 0, [], {}).state is State.EMPTY
    assert judge("a@example.com", EMAIL, 0, [], {}).state is State.CLEAR
    assert judge("a@example.com", EMAIL, 0, [(0, 13)], {}).state is State.PROTECTED
    assert judge("x a@example.com", EMAIL, 0, [(2, 15)], {}).why == MIXED
    assert judge("a@example.com", EMAIL, 40, [], {}).why == NO_ROOM
    assert judge("nothing", NOTE, 0, [], {}).state is State.NOTHING
    assert judge("ask Luc", NOTE, 0, [], {"Luc": "name"}).pieces[0].clear == "Luc"


def test_a_value_that_is_not_of_its_kind_is_stored_as_short_text() -> None:
    assert judge("ask the desk", EMAIL, 0, [], {}).pieces[0].kind == Kind.NAME
    assert judge("A@Example.com", EMAIL, 0, [], {}).pieces[0].kind == Kind.EMAIL


def test_an_address_goes_line_by_line_where_there_is_room_and_whole_where_not() -> None:
    text = "12 rue X\r\n\n75001 Paris"
    assert [one.clear for one in judge(text, ADDRESS, 0, [], {}).pieces] == ["12 rue X", "75001 Paris"]
    assert [one.clear for one in judge(text, ADDRESS, 30, [], {}).pieces] == [text]


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5)), max_size=4))
def test_restoring_what_was_written_gives_the_text(text: str, cuts: list[tuple[int, int]]) -> None:
    pieces, at = [], 0
    for start, size in sorted(cuts):
        end = min(start + size, len(text))
        if start >= at and end > start:
            pieces.append(Piece(start, end, "name", text[start:end], surrogate=f"Zq{len(pieces):014d}"))
            at = end
    new, places = written(text, pieces)
    back = [(start, start + 16, piece.clear) for (start, _), piece in zip(places, pieces, strict=True)]
    assert restored(new, back) == text
