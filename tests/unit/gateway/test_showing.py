"""The CRM is asked what it shows, with the person's own session, and believed only when its answer is plain."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway import showing
from gateway.answer import AnswerTooLarge, UpstreamDown, UpstreamSlow
from gateway.exchange import Exchange, Head
from gateway.network import Tenant
from gateway.origin import Origins
from gateway.showing import Showing
from policies.decision import Decision
from policies.enforcer import Enforcer
from policies.profile import load_profile
from tests.drills.edit_crm import POLICY, PROFILE

CONTACTS = load_profile(str(PROFILE))
FORM = b'<form><input name="phone" value="1"><textarea name="note">\na\nb</textarea></form>'


class Pool:
    def __init__(self, answer: Callable[[], Any]) -> None:
        self.heads: list[bytes] = []
        self._answer = answer

    async def request(self, method: bytes, head: bytes) -> Any:
        assert method == b"GET"
        self.heads.append(head)
        return self._answer()


class Told:
    """An answer of the CRM."""

    def __init__(self, status: int, kind: str, body: bytes, fault: Exception | None = None) -> None:
        self.status, self.fields = status, [(b"content-type", kind.encode())]
        self._body, self._fault = body, fault

    async def read(self, _limit: int) -> bytes:
        if self._fault is not None:
            raise self._fault
        return self._body


VIEW = Enforcer(CONTACTS.field_specs, CONTACTS.operation_ids).load(POLICY)


def asking(
    answer: Callable[[], Any], target: str = "/contacts/5/edit", method: str = "POST", *, allowed: bool = True
) -> tuple[Showing, Pool]:
    pool, (path, _, query) = Pool(answer), target.partition("?")
    origins = Origins("https://crm.localhost", "http://127.0.0.1:8000")
    tenant = SimpleNamespace(profile=CONTACTS, pool=pool, origins=origins, forward_client=False)
    sent = (("content-type", "text/plain"), ("if-none-match", "x"), ("range", "bytes=0-1"), ("authorization", "Own"))
    head = Head(method, target, path, query, "crm.localhost", sent, True, 3)
    exchange = Exchange("x1", datetime(2026, 3, 1, tzinfo=UTC), head, tenant="acme")
    exchange.operation = CONTACTS.classify(method, path, query, b"{}", "application/json")
    pairs = [("sid", "own"), ("old", "ended"), ("__Host-crmgate", "ours")]
    decide = lambda operation: Decision(allowed, "", VIEW.decide("acme", ("clerk",), operation).view)  # noqa: E731
    return Showing(cast("Tenant", tenant), exchange, pairs, {"old"}, decide), pool


async def test_a_form_and_a_json_record_show_what_stands_in_them() -> None:
    shown, pool = asking(lambda: Told(200, "text/html", FORM))
    assert (await shown.text(("phone",)), await shown.text(("note",)), await shown.text(("name",))) == (
        "1",
        "a\nb",
        None,
    )
    assert len(pool.heads) == 1
    shown, _ = asking(
        lambda: Told(200, "application/json", b'{"phone":"1","in":{"phone":"2"}}'), "/api/contacts/5", "PUT"
    )
    assert (await shown.text(("phone",)), await shown.text(("in", "phone"))) == ("1", "2")


async def test_the_question_carries_the_persons_own_session_and_nothing_of_the_write() -> None:
    shown, pool = asking(lambda: Told(200, "text/html", FORM))
    await shown.text(("phone",))
    head = pool.heads[0].decode()
    assert head.startswith("GET /contacts/5/edit HTTP/1.1\r\n")
    assert "cookie: sid=own\r\n" in head
    assert "authorization: Own\r\n" in head
    for part in ("ended", "ours", "if-none-match", "range", "content-", "transfer-encoding"):
        assert part not in head


@pytest.mark.parametrize(
    "answer",
    [
        Told(403, "text/html", FORM),
        Told(302, "text/html", b""),
        Told(200, "text/html", b"<p>nothing</p>"),
        Told(200, "text/html", b'<form><input name="phone" value="1"><input name="phone" value="2"></form>'),
        Told(200, "application/json", b'{"phone": '),
        Told(200, "application/pdf", b"%PDF-1.7"),
        Told(200, "text/html", FORM, AnswerTooLarge("long")),
        Told(200, "text/html", FORM + FORM),
        Told(200, "text/html", FORM + FORM.replace(b"1", b"2")),
    ],
)
async def test_an_answer_that_is_not_plain_tells_nothing(answer: Told) -> None:
    shown, _ = asking(lambda: answer)
    assert await shown.text(("phone",)) is None


@pytest.mark.parametrize("fault", [UpstreamDown("down"), UpstreamSlow("slow")])
async def test_a_crm_that_is_away_tells_nothing(fault: Exception) -> None:
    def down() -> Any:
        raise fault

    shown, _ = asking(down)
    assert not shown.silent
    assert await shown.text(("phone",)) is None
    assert shown.silent


@pytest.mark.parametrize(("status", "silent"), [(200, False), (302, False), (403, False), (429, True), (503, True)])
async def test_a_crm_that_is_too_busy_has_told_nothing_and_may_be_asked_again(status: int, silent: bool) -> None:
    shown, _ = asking(lambda: Told(status, "text/html", FORM))
    assert await shown.text(("name",)) is None
    assert shown.silent is silent


async def test_who_may_not_open_the_page_is_told_nothing_of_it() -> None:
    shown, pool = asking(lambda: Told(200, "text/html", FORM), allowed=False)
    assert await shown.text(("phone",)) is None
    assert pool.heads == []


async def test_a_crm_that_hangs_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs(Told):
        async def read(self, _limit: int) -> bytes:
            await asyncio.Event().wait()
            return b""

    monkeypatch.setattr(showing, "ASK_S", 0.01)
    shown, _ = asking(lambda: Hangs(200, "text/html", FORM))
    assert await shown.text(("phone",)) is None
    assert shown.silent


@pytest.mark.parametrize(
    ("target", "method"),
    [("/contacts/5/edit?phone=13800138000", "POST"), ("/api/bulk", "POST"), ("/contacts/import", "POST")],
)
async def test_nothing_is_asked_where_the_address_tells_too_much_or_names_no_record(target: str, method: str) -> None:
    shown, pool = asking(lambda: Told(200, "text/html", FORM), target, method)
    assert await shown.text(("phone",)) is None
    assert pool.heads == []
