"""Reading and clearing of our cookies."""

import pytest
from starlette.responses import Response

from gateway.access.cookies import clear_cookie, expire_crm_cookies, read_cookie

NAME = "__Host-crmgate"


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ([], ""),
        ([(b"cookie", b"__Host-crmgate=abc")], "abc"),
        ([(b"cookie", b"a=1; __Host-crmgate=abc; b=2")], "abc"),
        ([(b"cookie", b"a=1;__Host-crmgate=abc")], "abc"),
        ([(b"cookie", b"__host-crmgate=abc")], ""),
        ([(b"cookie", b"x__Host-crmgate=abc")], ""),
        ([(b"cookie", b"__Host-crmgate=a; __Host-crmgate=b")], ""),
        ([(b"cookie", b"__Host-crmgate=a"), (b"cookie", b"__Host-crmgate=a")], ""),
        ([(b"cookie", b"__Host-crmgate")], ""),
        ([(b"cookie", b"\xff=\xfe; __Host-crmgate=abc")], "abc"),
        ([(b"x-cookie", b"__Host-crmgate=abc")], ""),
    ],
)
def test_one_cookie_of_the_exact_name_is_read_and_two_are_none(headers, value) -> None:
    assert read_cookie(headers, NAME) == value


def test_a_cookie_is_taken_back_with_the_attributes_it_was_set_with() -> None:
    response = Response()
    clear_cookie(response, NAME)
    header = response.headers["set-cookie"].lower()
    for part in ("max-age=0", "path=/", "secure", "httponly", "samesite=lax"):
        assert part in header


def test_the_cookies_of_the_crm_are_expired_by_name() -> None:
    response = Response()
    expire_crm_cookies(response, ["crm_sessionid", "csrf"])
    headers = response.headers.getlist("set-cookie")
    assert [header.split("=")[0] for header in headers] == ["crm_sessionid", "csrf"]
    assert all("Max-Age=0" in header and "Path=/" in header for header in headers)
