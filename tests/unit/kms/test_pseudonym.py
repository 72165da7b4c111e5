"""Pseudonyms: the same for who has the key, chance for everybody else."""

import pytest

from kms.pseudonym import alias, is_pseudonym, pseudonym

KEY, OTHER_KEY = bytes(32), bytes([1]) * 32
HOLDER, OTHER = bytes(16), bytes([1]) * 16


def test_a_pseudonym_depends_on_key_tenant_and_holder() -> None:
    one = pseudonym(KEY, "acme", HOLDER)
    assert one == pseudonym(KEY, "acme", HOLDER)
    others = {pseudonym(OTHER_KEY, "acme", HOLDER), pseudonym(KEY, "beta", HOLDER), pseudonym(KEY, "acme", OTHER)}
    assert len({one} | others) == 4
    assert is_pseudonym(one)


def test_a_holder_that_is_none_has_no_pseudonym() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        pseudonym(KEY, "acme", b"short")


def test_an_alias_depends_on_epoch_and_tenant_and_shows_nothing_of_the_pseudonym() -> None:
    name = pseudonym(KEY, "acme", HOLDER)
    aliases = {alias(KEY, "acme", name), alias(OTHER_KEY, "acme", name), alias(KEY, "beta", name)}
    assert len(aliases) == 3
    assert {len(one) for one in aliases} == {16}


@pytest.mark.parametrize(
    "text", ["", "42", "ds_", "ds_" + "A" * 21, "ds_" + "A" * 23, "ds_" + "=" * 22, "DS_" + "A" * 22]
)
def test_a_record_key_is_no_pseudonym(text: str) -> None:
    assert not is_pseudonym(text)
