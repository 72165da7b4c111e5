"""A field of the form decides what is asked for, and only where it says one thing."""

from policies.choice import FORM, Choice

CHOICE = Choice("action", {"export": "an export", "delete": "a deletion"})


def test_the_value_of_the_field_decides() -> None:
    assert CHOICE.pick("plain", b"action=export&x=1", FORM) == "an export"
    assert CHOICE.pick("plain", b"x=1&action=delete&action=delete", FORM + "; charset=utf-8") == "a deletion"
    assert CHOICE.pick("plain", b"action=other", FORM) == "plain"
    assert CHOICE.pick("plain", b"x=1", FORM) == "plain"
    assert CHOICE.pick("plain", b"", FORM) == "plain"
    assert CHOICE.pick("plain", None, "") == "plain"


def test_a_body_that_does_not_say_one_thing_is_none_of_them() -> None:
    assert CHOICE.pick("plain", b"action=other&action=delete", FORM) is None
    assert CHOICE.pick("plain", b"action=&action=export", FORM) is None
    assert CHOICE.pick("plain", b'{"action": "export"}', "application/json") is None
    assert CHOICE.pick("plain", b"--x\r\n", "multipart/form-data; boundary=x") is None
    assert CHOICE.pick("plain", b"&".join(b"a=1" for _ in range(5001)), FORM) is None
