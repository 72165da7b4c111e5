"""A REST CRM with tokens in its bodies: what a sign-in, a renewal and a sign-out teach, and what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.access.tokens import digest
from gateway.carried import require_live
from gateway.collaborators import Outgoing
from gateway.database import Pool
from gateway.exchange import Exchange, Head
from gateway.network import Tenant
from gateway.passage import Passage
from gateway.refusal import Refusal
from tests.unit.gateway.glue import JSON, Glue, open_glue

LOGIN, REFRESH, LOGOUT = "/api/auth/magic-link/verify/", "/api/auth/refresh-token/", "/api/auth/logout/"
TOLD = b'{"access_token":"one","refresh_token":"two","user":{"id":"u-1","email":"anna@staff.example.com"}}'


def hashed(*tokens: str) -> list[str]:
    return [digest(token).hex() for token in tokens]


@pytest.fixture
async def bottle(pool: Pool, keyring_path: Path) -> AsyncIterator[Glue]:
    async with open_glue(pool, keyring_path, "bottle") as made:
        yield made


def posted(bottle: Glue, path: str, body: bytes) -> Exchange:
    """An exchange whose head says what the body is."""
    exchange = bottle.exchange("POST", path, body=body, content_type=JSON)
    exchange.head = Head("POST", path, path, "", "crm.localhost", (("content-type", JSON),), True, None)
    return exchange


async def sent(bottle: Glue, path: str, body: bytes, answer: bytes, status: int = 200) -> None:
    exchange = posted(bottle, path, body)
    await bottle.protect(exchange, body, JSON)
    await bottle.answer(exchange, answer, JSON, status)


async def test_a_sign_in_tells_both_tokens_and_the_person(bottle: Glue) -> None:
    await sent(bottle, LOGIN, b'{"token":"link"}', TOLD)
    assert [token for _, token in bottle.sessions.tokens] == hashed("one", "two")
    assert bottle.sessions.identities == [("session-1", "anna@staff.example.com", "u-1")]


async def test_a_renewal_tells_both_tokens_and_no_other_person(bottle: Glue) -> None:
    await sent(bottle, REFRESH, b'{"refresh":"two"}', b'{"access":"three","refresh":"four"}')
    assert [token for _, token in bottle.sessions.tokens] == hashed("three", "four")
    assert bottle.sessions.identities == []


async def test_a_failed_sign_in_tells_nothing(bottle: Glue) -> None:
    await sent(bottle, LOGIN, b'{"token":"link"}', TOLD, status=400)
    assert bottle.sessions.tokens == []


async def test_a_sign_out_ends_what_was_presented_and_a_refused_one_does_not(bottle: Glue) -> None:
    await sent(bottle, LOGOUT, b'{"refresh":"two"}', b"{}", status=400)
    assert bottle.sessions.ended == []
    await sent(bottle, LOGOUT, b'{"refresh":"two"}', b'{"detail":"bye"}')
    assert bottle.sessions.ended == [("session-1", hashed("two"))]


@pytest.mark.parametrize(
    ("body", "live", "reason"),
    [
        (b'{"refresh":"two"}', {"two"}, ""),
        (b'{"refresh":"two"}', set(), "crm-token-ended"),
        (b'{"refresh":["two"]}', {"two"}, "body-unreadable"),
        (b"{", {"two"}, "body-unreadable"),
        (None, {"two"}, "body-unreadable"),
    ],
)
async def test_a_renewal_passes_with_a_live_token_only(
    bottle: Glue, body: bytes | None, live: set[str], reason: str
) -> None:
    known = set(hashed(*live))

    async def allowed(token: str, session: str) -> bool:
        assert session == "session-1"
        return token in known

    exchange = posted(bottle, REFRESH, body or b"")
    turn = SimpleNamespace(enter=lambda *_: None, rest=lambda *_: None)
    gateway: Any = SimpleNamespace(
        sessions=SimpleNamespace(crm_token_allowed=allowed), limits=SimpleNamespace(collaborator_s=1.0)
    )
    passage = cast(Passage, SimpleNamespace(exchange=exchange, gw=gateway, turn=turn))
    tenant = cast(Tenant, SimpleNamespace(profile=bottle.installation))
    if not reason:
        await require_live(passage, tenant, Outgoing(REFRESH, body))
        return
    with pytest.raises(Refusal) as refusal:
        await require_live(passage, tenant, Outgoing(REFRESH, body))
    assert refusal.value.reason.id == reason
