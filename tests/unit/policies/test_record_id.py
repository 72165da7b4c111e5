"""Record ids: one spelling of each, and nothing else passes for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.matcher import PathTrie
from policies.record_id import RecordIds

UUID = "3f2b8c1e-5d4a-4b6c-9e7f-0a1b2c3d4e5f"


@pytest.mark.parametrize(
    ("shape", "text", "found"),
    [
        (RecordIds.NUMBER, "15", "15"),
        (RecordIds.NUMBER, "", None),
        (RecordIds.NUMBER, " 7", None),
        (RecordIds.NUMBER, "1x", None),
        (RecordIds.NUMBER, "１", None),
        (RecordIds.NUMBER, "1" * 21, None),
        (RecordIds.UUID, UUID, UUID),
        (RecordIds.UUID, UUID.upper(), UUID),
        (RecordIds.UUID, UUID.replace("-", ""), None),
        (RecordIds.UUID, "13800138000", None),
        (RecordIds.HEX24, "5F0A1b2c3d4e5f6a7b8c9d0e", "5f0a1b2c3d4e5f6a7b8c9d0e"),
        (RecordIds.HEX24, "5f0a1b2c3d4e5f6a7b8c9d0", None),
        # Both spellings as Salesforce's help shows them ("What is the difference between a 15 and 18 character ID").
        (RecordIds.SALESFORCE, "001A0000006Vm9r", "001A0000006Vm9rIAC"),
        (RecordIds.SALESFORCE, "001A0000006Vm9rIAC", "001A0000006Vm9rIAC"),
        (RecordIds.SALESFORCE, "001A0000006Vm9rAAA", None),
        (RecordIds.SALESFORCE, "001A0000006Vm9", None),
        (RecordIds.SALESFORCE, "zhang.wei@example.com", None),
    ],
)
def test_one_spelling(shape: RecordIds, text: str, found: str | None) -> None:
    assert shape.canonical(text) == found


@given(st.sampled_from(RecordIds), st.text(max_size=40))
def test_an_id_is_ascii_without_spaces_and_stays_itself(shape: RecordIds, text: str) -> None:
    found = shape.canonical(text)
    if found is not None:
        assert found.isascii()
        assert set(found) <= set("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-")
        assert shape.canonical(found) == found


def test_the_record_of_a_path_has_the_shape_of_the_profile_and_other_numbers_stay_numbers() -> None:
    trie: PathTrie[str] = PathTrie(RecordIds.UUID)
    trie.add("/contacts/{record}/notes/{note}", "note")
    assert trie.find(f"/contacts/{UUID.upper()}/notes/7") == ("note", {"record": UUID, "note": "7"})
    assert trie.find("/contacts/15/notes/7") is None
    assert trie.find(f"/contacts/{UUID}/notes/{UUID}") is None
