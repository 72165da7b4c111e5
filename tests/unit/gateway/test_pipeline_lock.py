"""A locked session opens nothing of the CRM; an export that needs a proof waits for a fresh one."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway.access.sessions import SessionLocked
from policies.decision import Decision, FieldView
from policies.profile import Action, Operation
from tests.unit.gateway.test_pipeline import ANNA, FORM, SECRET, FakeGateway, FakeSessions, call

PAGE = ((b"accept", b"text/html"), (b"sec-fetch-dest", b"document"))
TARGET = "/persons/contacts?page=2&sort=-name"
ONWARD = "/persons/contacts%3Fpage%3D2%26sort%3D-name"
PROOF = Decision(True, "granted", FieldView("v1", {}, {}), proof=True)


class LockedSessions(FakeSessions):
    """Every session there is has been locked."""

    hit = None

    async def principal(self, token: str, _now: datetime, *, tenant: str, active: bool = True) -> Any:
        raise SessionLocked(ANNA)


def locked() -> FakeGateway:
    gw = FakeGateway()
    gw.sessions = LockedSessions()
    return gw


def exporting(since: timedelta | None, decision: Decision = PROOF) -> FakeGateway:
    """A gateway asked for an export by a session whose last proof is this old."""
    gw = FakeGateway()
    gw.profile.operation = Operation("contact.export", "contact", Action.EXPORT)
    gw.enforcer.decision = decision
    gw.sessions.hit = replace(ANNA, proved_at=None if since is None else gw.clock() - since)
    return gw


async def test_a_page_of_a_locked_session_leads_to_the_lock_page_and_back() -> None:
    gw = locked()
    reply = await call(gw, "GET", TARGET, *PAGE)
    assert (reply.status, reply.fields["location"]) == (303, f"/.crmgate/lock?next={ONWARD}")
    assert reply.body == b""
    assert gw.pool.asked == []


async def test_a_program_with_a_locked_session_is_told_so() -> None:
    gw = locked()
    reply = await call(gw, "GET", TARGET)
    assert (reply.status, reply.reason) == (401, "session-locked")
    assert reply.fields["content-type"] == "application/problem+json"
    assert "www-authenticate" in reply.fields
    assert gw.pool.asked == []
    assert SECRET not in reply.body


@pytest.mark.parametrize(
    ("language", "words"), [("en", "did not reach the CRM"), ("zh", "未送达 CRM")], ids=["en", "zh"]
)
async def test_what_a_locked_session_sends_never_arrives_and_the_page_says_so(language: str, words: str) -> None:
    gw = locked()
    came_from = (b"referer", b"https://crm.localhost:8443" + TARGET.encode())
    reply = await call(
        gw, "POST", "/x", FORM, *PAGE, came_from, (b"accept-language", language.encode()), body=b"phone=13800138000"
    )
    assert reply.status == 401
    assert words in reply.body.decode()
    assert f'href="/.crmgate/lock?next={ONWARD}"' in reply.body.decode()
    assert gw.pool.asked == []
    assert "protect" not in gw.log


@pytest.mark.parametrize(
    "age",
    [None, timedelta(seconds=FakeGateway().limits.proof_s), timedelta(days=1), timedelta(seconds=-1)],
    ids=["never proved", "just too old", "long ago", "in the future"],
)
async def test_an_export_with_a_stale_proof_is_refused_before_the_crm_is_asked(age: timedelta | None) -> None:
    gw = exporting(age)
    reply = await call(gw, "GET", "/export")
    assert (reply.status, reply.reason) == (401, "step-up-needed")
    assert gw.pool.asked == []
    assert [entry.reason for entry in gw.audit.entries] == ["step-up-needed"]
    assert gw.audit.entries[0].actor == ANNA.id
    page = await call(exporting(age), "GET", TARGET, *PAGE)
    assert (page.status, page.fields["location"]) == (303, f"/.crmgate/step-up?next={ONWARD}")


async def test_an_export_with_a_fresh_proof_passes() -> None:
    gw = exporting(timedelta(seconds=FakeGateway().limits.proof_s - 1))
    assert (await call(gw, "GET", "/export")).status == 200
    assert len(gw.pool.asked) == 1


async def test_without_the_row_nothing_asks() -> None:
    gw = exporting(None, replace(PROOF, proof=False))
    assert (await call(gw, "GET", "/export")).status == 200
