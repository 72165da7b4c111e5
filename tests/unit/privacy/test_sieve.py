"""The sieve never says "nothing" where the recognisers, or the scan before them, would find something."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy import glimpse
from privacy.recognise import AT, PLUS, SEPARATORS
from privacy.sieve import HAS_HYPERSCAN

PIECES = (
    *AT,
    *PLUS,
    *SEPARATORS,
    *'0139 é张伟؟٣५５𝟘；;&%#\\"\0\n\r\u2028\u2029/uvwxyz',
    *("912345678", "amp;", "#64;", "plus;", "commat", "nbsp", "c2%a0", "%20", "u0040", "\\u0040", "\\n", "\\u5f20"),
)


@settings(max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.integers(0, 3))
def test_every_place_is_let_through(text: str, cut: int) -> None:
    data = text.encode()[cut:]
    found = [match.start() for match in glimpse._PLACES.finditer(data)]
    assert glimpse.places(data) == found


@pytest.mark.parametrize("digit", ["0", "٣", "५", "５", "𝟘", "𞥐", "🯰"])
def test_digits_of_every_script_count(digit: str) -> None:
    assert glimpse.places((digit * 11).encode()) == [0]


def test_ordinary_answers_need_no_closer_look() -> None:
    text = '{"id":1,"note":"第一行 \\"x\\" 2026-03-01T08:00:00Z","city":"北京，朝阳","turnover":120017}'
    assert glimpse.places(text.encode()) == []
    if HAS_HYPERSCAN:
        assert glimpse._SIEVE is not None
        assert not glimpse._SIEVE.holds(text.encode())
