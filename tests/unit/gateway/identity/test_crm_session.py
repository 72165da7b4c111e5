"""A sign-in at a CRM is a session, a no, or nonsense: never success by accident."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.identity.crm_session import CrmLoginWrong, CrmSignInUnreadable, cookie_of, sign_in, sign_out
from gateway.protect.client import Page
from policies.profile import load_profile

FORM = (
    b"<form method=post><input type=hidden name=csrfmiddlewaretoken value=t>"
    b"<input name=username><input name=password type=password></form>"
)
CREME, TRYTON = load_profile("creme"), load_profile("tryton")


class Crm:
    """Stands for gateway.protect.client.CrmClient: answers what it is told to."""

    def __init__(self, get: Page | Callable[[str], Page], post: Page, **cookies: str) -> None:
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.sent: list[tuple[str, bytes]] = []
        self._get, self._post, self._set = get, post, cookies

    async def get(self, target: str) -> Page:
        self.sent.append((target, b""))
        return self._get if isinstance(self._get, Page) else self._get(target)

    async def post(self, target: str, body: bytes, _content_type: str) -> Page:
        self.sent.append((target, body))
        self.cookies.update(self._set)
        return self._post


def client(get: Page, post: Page, **cookies: str) -> Any:
    return Crm(get, post, **cookies)


LOGIN = Page(200, {}, FORM)


async def test_creme_s_form_goes_with_its_hidden_fields_and_opens_a_session() -> None:
    crm = client(LOGIN, Page(302, {"location": "/"}, b""), sessionid="s", csrftoken="c")
    session = await sign_in(crm, CREME, "wang", "pä ss&", "")
    assert crm.sent[1] == ("/creme_login/", b"csrfmiddlewaretoken=t&username=wang&password=p%C3%A4+ss%26")
    assert session.cookies == {"sessionid": "s"}
    assert "secret" not in session.given
    assert "s" not in repr(session).split("=")[-1]


@pytest.mark.parametrize(
    ("get", "post", "cookies"),
    [
        (Page(500, {}, b""), LOGIN, {}),
        (Page(200, {}, b"<p>maintenance</p>"), LOGIN, {}),
        (LOGIN, Page(200, {}, b"<p>maintenance</p>"), {}),
        (LOGIN, Page(302, {"location": "/"}, b""), {}),
        (LOGIN, Page(302, {"location": "/"}, b""), {"csrftoken": "c"}),
        (LOGIN, Page(500, {}, FORM), {"sessionid": "s", "csrftoken": "c"}),
        (LOGIN, Page(204, {}, b""), {"sessionid": "s", "csrftoken": "c"}),
    ],
)
async def test_an_answer_that_is_neither_yes_nor_no_is_no_session(
    get: Page, post: Page, cookies: dict[str, str]
) -> None:
    with pytest.raises(CrmSignInUnreadable) as caught:
        await sign_in(client(get, post, **cookies), CREME, "wang", "pass-word", "")
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize("post", [Page(200, {}, FORM), Page(302, {"location": "/creme_login/?next=/"}, b"")])
async def test_the_form_again_means_a_wrong_password(post: Page) -> None:
    with pytest.raises(CrmLoginWrong):
        await sign_in(client(LOGIN, post, sessionid="s", csrftoken="c"), CREME, "wang", "x", "")


@pytest.mark.parametrize(
    ("post", "fault"),
    [
        (Page(401, {}, b""), CrmLoginWrong),
        (Page(429, {}, b""), CrmSignInUnreadable),
        (Page(200, {}, b'{"id":1,"result":null}'), CrmSignInUnreadable),
        (Page(200, {}, b'{"id":1,"error":["LoginException",[]]}'), CrmSignInUnreadable),
        (Page(200, {}, b"<html>"), CrmSignInUnreadable),
        (Page(200, {}, b'{"id":1,"result":[true,"k"]}'), CrmSignInUnreadable),
    ],
)
async def test_tryton_s_answers_count_for_what_they_are(post: Page, fault: type[Exception]) -> None:
    with pytest.raises(fault):
        await sign_in(client(LOGIN, post), TRYTON, "wang", "x", "crm")


async def test_tryton_s_session_is_borne_and_ended() -> None:
    crm = client(LOGIN, Page(200, {}, b'{"id":1,"result":[7,"key",null]}'))
    session = await sign_in(crm, TRYTON, "wang", "x", "crm")
    assert session.user == "7"
    assert TRYTON.carried is not None
    line = session.bearing(TRYTON.carried).lines
    assert line.startswith("authorization: Session ")
    assert await sign_out(crm, TRYTON.carried, session)
    assert crm.headers["authorization"] == line.rstrip("\r\n").partition(": ")[2]
    assert b"common.db.logout" in crm.sent[-1][1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sessionid=abc; Path=/; HttpOnly", ("sessionid", "abc")),
        ('sessionid="abc"; Path=/', ("sessionid", "abc")),
        ("sessionid=; Max-Age=0", ("sessionid", None)),
        ("sessionid=abc; Max-Age=0; Path=/", ("sessionid", None)),
        ("=abc", None),
        ("", None),
        ("a b=c", None),
    ],
)
def test_a_set_cookie_is_read_strictly(text: str, told: object) -> None:
    assert cookie_of(text) == told
