"""Values keep their type through an envelope; what has none is refused in words without the value."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.envelope import Context, EnvelopeInvalid, FieldKey, seal
from kms.original import Value, ValueRefused, decoded, encoded, open_value, seal_value

KEY = FieldKey(b"\x01\x02\x03\x04", bytes(range(32)))
KEYS = {KEY.id: KEY}
CONTEXT = Context("acme", "crm", "contact", "birthday", "1")
NONCE = bytes(range(12))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
VALUES: Any = st.one_of(
    st.text(),
    st.text(alphabet=st.characters()),
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.dates(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(JSON, max_size=4),
    st.dictionaries(st.text(), JSON, max_size=4),
)


@given(VALUES, st.sampled_from([0, 16]))
def test_every_value_comes_back_equal_and_of_its_type(value: Value, pad_to: int) -> None:
    back = open_value(KEYS, seal_value(KEY, value, CONTEXT, NONCE, pad_to=pad_to), CONTEXT)
    assert back == value
    assert type(back) is type(value)
    assert repr(back) == repr(value)  # 1.50 is not 1.5, -0.0 not 0.0


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"bytes",
        datetime(2026, 1, 1, tzinfo=UTC),
        Decimal("NaN"),
        Decimal("Infinity"),
        float("nan"),
        float("inf"),
        10**20000,
        {"a": float("nan")},
        [b"bytes"],
        (1, 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_form_is_refused_without_repeating_it(value: Any) -> None:
    with pytest.raises(ValueRefused) as caught:
        encoded(value)
    assert "bytes'" not in str(caught.value)
    assert "2026" not in str(caught.value)
    assert caught.value.permanent


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (2, b"1_0"),
        (2, b"+1"),
        (2, "٣".encode()),
        (2, b"01"),
        (2, b""),
        (3, b" 1"),
        (3, b"NaN"),
        (3, b"x"),
        (4, b"20260101"),
        (4, b"2026-02-30"),
        (5, b"2"),
        (5, b""),
        (6, b"{"),
        (6, b"[" * 100_000),
        (1, b"\xff"),
    ],
)
def test_sealed_nonsense_does_not_open(kind: int, data: bytes) -> None:
    with pytest.raises(EnvelopeInvalid):
        open_value(KEYS, seal(KEY, data, CONTEXT, NONCE, kind=kind), CONTEXT)


def test_text_with_half_a_pair_of_surrogates_survives() -> None:
    assert decoded(*encoded("\ud83d")) == "\ud83d"


def test_equal_values_of_two_types_differ_when_sealed() -> None:
    kinds = {encoded(value)[0] for value in ("1", 1, Decimal(1), True, 1.0, date(2026, 1, 1))}
    assert len(kinds) == 6
