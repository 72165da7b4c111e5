"""Credentials in other headers and in bodies: what is told, and what is told as unreadable."""

import pytest

from policies.credential import CredentialUnreadable, bodies, header_names, in_body

RULES = (
    {"cookie": "sessionid"},
    {"header": "authorization", "scheme": "bearer"},
    {"header": "token"},
    {"body": "refresh", "operations": ["auth.refresh", "auth.logout"]},
    {"body": "refresh_token", "operations": ["auth.refresh"]},
)
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def test_headers_and_members_are_told_by_their_rules() -> None:
    assert header_names(RULES) == {"token"}
    assert bodies(RULES) == {"auth.refresh": ("refresh", "refresh_token"), "auth.logout": ("refresh",)}


@pytest.mark.parametrize(
    ("content_type", "body", "told"),
    [
        (JSON, b'{"refresh": "a.b.c", "other": "x"}', ("a.b.c",)),
        (JSON, b'{"ref\\u0072esh": "a.b.c"}', ("a.b.c",)),
        ("Application/JSON; charset=UTF-8", b'{"refresh": "a"}', ("a",)),
        (JSON, b'{"other": 3}', ()),
        (FORM, b"refresh=a.b%2Ec&refresh=d", ("a.b.c", "d")),
        (FORM, b"", ()),
    ],
)
def test_what_a_body_carries_is_told(content_type: str, body: bytes, told: tuple[str, ...]) -> None:
    assert in_body(("refresh",), content_type, body) == told


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b'{"refresh": "a"'),
        (JSON, b'["refresh"]'),
        (JSON, b'{"refresh": ["a"]}'),
        ("application/json; charset=utf-16", '{"refresh": "a"}'.encode("utf-16")),
        ('application/json; charset="utf-7"', b'{"refresh": "a"}'),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("text/plain", b"refresh=a"),
        (FORM, b"refresh=\xff"),
        (FORM, b"&".join(b"a%d=1" % number for number in range(200))),
    ],
)
def test_what_only_the_crm_might_read_is_unreadable(content_type: str, body: bytes) -> None:
    with pytest.raises(CredentialUnreadable):
        in_body(("refresh",), content_type, body)
