"""How logins are compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.user import login_key, printable


@pytest.mark.parametrize(
    ("login", "key"),
    [
        ("li.wei", "li.wei"),
        (" Li.Wei ", "li.wei"),
        ("ＬＩ．ＷＥＩ", "li.wei"),
        ("STRASSE", "strasse"),
        ("straße", "strasse"),
        ("李伟", "李伟"),
        ("", ""),
        ("a\u202eb", ""),
        ("a\x00b", ""),
        ("x" * 201, ""),
    ],
)
def test_logins_that_look_alike_are_one(login, key) -> None:
    assert login_key(login) == key


@given(st.text(max_size=300))
def test_a_key_is_always_text_the_database_takes(login) -> None:
    key = login_key(login)
    key.encode("utf-8")
    assert "\x00" not in key
    assert len(key) <= 200
    assert key == "" or printable(key)
