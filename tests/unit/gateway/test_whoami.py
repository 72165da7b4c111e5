"""Whom the CRM takes a person for: asked with their own session, and nobody when the answer is not plain."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.answer import UpstreamDown
from gateway.network import Tenant
from gateway.whoami import Whoami
from policies.profile import Action, Operation, Profile, load_profile

LOGIN = Operation("auth.login", "auth", Action.LOGIN)
PAGE = b'<form><select name="user"><option value="1">A</option><option value="7" selected>B</option></select></form>'


class _Pool:
    def __init__(self, answer: Callable[[], Any]) -> None:
        self.heads: list[bytes] = []
        self._answer = answer

    async def request(self, _method: bytes, head: bytes) -> Any:
        self.heads.append(head)
        return self._answer()


class _Answer:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body

    async def read(self, _limit: int) -> bytes:
        return self._body


def _asking(answer: Callable[[], Any]) -> tuple[Whoami, _Pool]:
    pool = _Pool(answer)
    tenant = SimpleNamespace(origins=SimpleNamespace(upstream_host="127.0.0.1:1"), pool=pool)
    return Whoami({"main": cast("Tenant", tenant)}), pool


@pytest.fixture(scope="module")
def creme() -> Profile:
    return load_profile("creme")


async def test_the_selected_owner_of_an_empty_form_is_the_user(creme: Profile) -> None:
    whoami, pool = _asking(lambda: _Answer(200, PAGE))
    assert await whoami.ask("main", creme, LOGIN, "abc123") == "7"
    assert b"\r\ncookie: sessionid=abc123\r\n" in pool.heads[0]


@pytest.mark.parametrize("answer", [_Answer(302, b""), _Answer(200, b"<p>nothing</p>"), _Answer(500, PAGE)])
async def test_another_answer_names_nobody(creme: Profile, answer: _Answer) -> None:
    whoami, _ = _asking(lambda: answer)
    assert await whoami.ask("main", creme, LOGIN, "abc123") is None


async def test_crm_that_is_down_names_nobody(creme: Profile) -> None:
    def down() -> Any:
        raise UpstreamDown("gone")

    whoami, _ = _asking(down)
    assert await whoami.ask("main", creme, LOGIN, "abc123") is None


@pytest.mark.parametrize("token", ["", "a\r\nx: y", "a;b", "ä", 'a"b'])
async def test_session_that_would_not_stay_in_its_line_is_never_sent(creme: Profile, token: str) -> None:
    whoami, pool = _asking(lambda: _Answer(200, PAGE))
    assert await whoami.ask("main", creme, LOGIN, token) is None
    assert pool.heads == []


async def test_crm_that_tells_at_sign_in_is_not_asked() -> None:
    whoami, pool = _asking(lambda: _Answer(200, PAGE))
    assert await whoami.ask("main", load_profile("tryton"), LOGIN, "abc") is None
    assert pool.heads == []
