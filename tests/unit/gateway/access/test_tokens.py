"""Bearer tokens: shape, uniqueness, digests."""

import secrets

import pytest

from gateway.access.tokens import Reserve, digest, new_id, new_token, well_formed


def test_a_token_carries_256_bits_and_fits_a_cookie() -> None:
    tokens = {new_token(secrets.token_bytes) for _ in range(100)}
    assert len(tokens) == 100
    assert all(well_formed(token) and len(token) == 43 for token in tokens)


def test_a_token_is_exactly_the_randomness_given() -> None:
    assert new_token(lambda count: b"\xfb" * count) == "-_v7" * 10 + "-_s"


def test_an_id_says_what_it_is_of() -> None:
    assert new_id("u", lambda count: bytes(count)) == "u-" + "00" * 12


@pytest.mark.parametrize("junk", ["", "a" * 42, "a" * 44, "a" * 42 + "=", "a" * 42 + " ", "é" * 43, "\ud800" * 43])
def test_what_cannot_be_a_token_is_known_without_asking_anybody(junk) -> None:
    assert not well_formed(junk)
    assert len(digest(junk)) == 32


def test_a_reserve_gives_no_byte_twice() -> None:
    reserve = Reserve()
    parts = [reserve(12) for _ in range(1000)]
    assert len(set(parts)) == 1000
    assert {len(part) for part in parts} == {12}
    assert len(reserve(5000)) == 5000
