"""Rows of a bundle: exactly a row, or the bundle is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.rows import Grant, Inheritance, PolicyInvalid, parse_rows


def test_rows_comments_and_blank_lines() -> None:
    text = "# comment\n\np, sales, *, field:contact.phone#phone, masked, own\ng, lead, sales, north\n"
    assert parse_rows(text) == (
        (Grant("sales", "*", "field:contact.phone#phone", "masked", "own", "allow"),),
        (Inheritance("lead", "sales", "north"),),
    )


def test_same_row_twice_is_one_row() -> None:
    row = "p, a, *, op:*, read, any\n"
    assert len(parse_rows(row * 3)[0]) == 1


@pytest.mark.parametrize(
    "row",
    [
        "p, sales, *, field:contact.phone, masked",
        "p, sales, *, field:contact.phone, masked, own, deny, more",
        "p, , *, op:x, read, any",
        "p, sa les, *, op:x, read, any",
        "p, sales, *, field:contact, masked, own",
        "p, sales, *, field:contact.phone#shoe, masked, own",
        "p, sales, *, kind:shoe, clear, any",
        "p, sales, *, field:contact.phone, blurred, own",
        "p, sales, *, field:contact.phone, write, own",
        "p, sales, *, op:contact.*, read, own",
        "p, sales, *, op:contact.*, juggle, any",
        "p, sales, *, op:, read, any",
        "p, sales, *, op:con*tact, read, any",
        "p, sales, *, page:x, read, any",
        "p, sales, *, op:x, read, sometimes",
        "p, sales, *, op:x, read, any, perhaps",
        "p, sales, te nant, op:x, read, any",
        "g, a, b",
        "g, a, b c, *",
        "g, a, b, c d",
        "g2, a, b, *",
        "q, a, b, *",
        "sales",
        'p, "sales, *, op:x, read, any',
        "g, a, a, *",
    ],
)
def test_malformed_row_refuses_the_bundle(row: str) -> None:
    good = "p, sales, *, op:x, read, any\n"
    with pytest.raises(PolicyInvalid) as caught:
        parse_rows(good + row)
    assert caught.value.permanent
    assert len(caught.value.problems) == 1


def test_inheritance_in_a_circle_is_refused() -> None:
    with pytest.raises(PolicyInvalid, match="inherits itself"):
        parse_rows("g, a, b, *\ng, b, c, *\ng, c, a, *\n")


def test_inheritance_longer_than_casbin_follows_is_refused() -> None:
    chain = "".join(f"g, r{step}, r{step + 1}, *\n" for step in range(12))
    with pytest.raises(PolicyInvalid, match="nine steps"):
        parse_rows(chain)


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(PolicyInvalid):
        parse_rows(text)
