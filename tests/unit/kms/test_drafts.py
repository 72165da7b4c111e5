"""Surrogates of names end in a digit, so that no CRM takes their last letters for a title."""

import itertools

import pytest

from kms.drafts import KindKeys, Maker, draft
from kms.entry import NewValue, Origin
from kms.envelope import FieldKey
from kms.surrogate import ADDRESS, NAME, SHAPES, confirm_short_text


@pytest.mark.parametrize("kind", [NAME, ADDRESS])
def test_a_name_ends_in_a_digit_whatever_is_drawn(kind: str) -> None:
    key = FieldKey(b"k" * 4, b"s" * 32)
    keys = {kind: KindKeys(key, (key,), key, {})}
    drawn = itertools.count(1)
    maker = Maker("main", keys, SHAPES, lambda size: next(drawn).to_bytes(size), lambda most: most - 1)
    given = [NewValue(kind, f"Value {number}", Origin("contact", "name", None)) for number in range(200)]
    for one in draft(given, keys, "x1"):
        surrogate = maker.entry(one).surrogate
        assert surrogate[-1] in "234567"
        assert confirm_short_text([key.secret], kind, surrogate[2:])
