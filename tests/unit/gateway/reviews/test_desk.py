"""A review from a look to its end: nobody judges themselves, the trail first, and removals that lock nobody out."""

from datetime import timedelta
from typing import Any

import orjson
import psycopg
import pytest

from audit.entry import AuditEntry
from audit.log import AuditUnavailable
from gateway.access.users import Profile
from gateway.bundles.bundle import State
from gateway.key_step import NotAllowed, Present
from gateway.reviews.desk import ReviewDesk, ReviewRefused, sums
from gateway.reviews.round import Decided, Finding, Sort
from kms.destruction import Person
from tests.unit.gateway.bundles.office import SHIPPED, TENANT, Office

EXPORTING = "p, sales, *, op:*, export, any"


def _who(office: Office, name: str) -> Present:
    user = office.people[name].user
    return Present(Person(user.id, user.login), user.roles, "192.0.2.7")


async def _append(office: Office, who: str = "li", ago: float = 1.0, **values: object) -> None:
    person = office.people[who].user
    usual: dict[str, object] = {
        "id": "a-1", "at": office.clock() - timedelta(days=ago), "tenant": TENANT, "kind": "outcome", "fields": {},
        "reason": "allowed", "status": 200, "operation": "party.read", "actor": person.id, "actor_login": person.login,
    }  # fmt: skip
    await office.log.append(AuditEntry(**(usual | values)))  # type: ignore[arg-type]


async def _reviews(office: Office) -> list[dict[str, Any]]:
    async with office.pool.connection() as db:
        cursor = await db.execute("SELECT body FROM audit_entry WHERE kind = 'review' ORDER BY index")
        return [orjson.loads(row[0]) for row in await cursor.fetchall()]


async def _started(office: Office, desk: ReviewDesk, by: str = "an") -> dict[tuple[str, str], int]:
    """Opens a round; (login or row, role) → number of the item."""
    number = await desk.start(_who(office, by), await desk.look())
    items = await desk.store.items(TENANT, number)
    return {(one.finding.login or one.finding.wording, one.finding.role): one.number for one in items}


def _of(findings: list[Finding], login: str, role: str) -> Finding:
    return next(one for one in findings if (one.login, one.role) == (login, role))


async def test_a_look_tells_since_when_and_what_was_used_last(office: Office, desk: ReviewDesk) -> None:
    await _append(office, ago=3)
    found = await desk.look()
    li = _of(found.of(Sort.ROLE), "li", "sales")
    assert li.last_used == office.clock() - timedelta(days=3)
    assert li.exact
    assert not li.unused
    assert _of(found.of(Sort.ROLE), "an", "administrator").unused
    assert found.whole
    rows = {one.wording for one in found.of(Sort.ROW)}
    assert EXPORTING in rows
    assert "p, sales, *, op:*, read, any" not in rows
    assert not any("op:console." in row for row in rows)


async def test_what_was_refused_is_no_use(office: Office, desk: ReviewDesk) -> None:
    await _append(office, kind="refusal", reason="not-allowed", status=403)
    assert _of((await desk.look()).of(Sort.ROLE), "li", "sales").unused


async def test_older_use_is_none_and_a_young_role_is_not_called_unused(office: Office, desk: ReviewDesk) -> None:
    await _append(office, ago=91)
    assert _of((await desk.look()).of(Sort.ROLE), "li", "sales").unused
    async with office.pool.connection() as db:
        await db.execute("UPDATE role_held SET since = %s", (office.clock() - timedelta(days=5),))
    assert not _of((await desk.look()).of(Sort.ROLE), "li", "sales").unused


async def test_being_at_the_console_uses_a_role_of_the_console(office: Office, desk: ReviewDesk) -> None:
    await _append(office, "bo", ago=2, kind="sign-in", reason="signed-in", operation="access.sign_in")
    found = (await desk.look()).of(Sort.ROLE)
    assert not _of(found, "bo", "administrator").unused
    assert _of(found, "an", "administrator").unused


async def test_since_follows_what_roles_and_departments_somebody_has(office: Office, desk: ReviewDesk) -> None:
    li = office.people["li"].user
    await office.access.users.change(li, Profile(roles=("manager",)))
    li = await office.access.users.get(TENANT, li.id) or li
    await office.access.users.place(li, ["dept:north"])
    held = {role for user, role in await desk.store.held(TENANT) if user == li.id}
    assert held == {"manager", "dept:north"}
    li = await office.access.users.get(TENANT, li.id) or li
    await office.access.users.change(li, Profile(roles=("sales", "manager")))
    assert {role for user, role in await desk.store.held(TENANT) if user == li.id} == {"manager", "sales", "dept:north"}


async def test_a_round_is_confirmed_removed_done_and_closed(office: Office, desk: ReviewDesk) -> None:
    items = await _started(office, desk)
    places = {
        items["li", "sales"]: Decided.REMOVE,
        items["bo", "administrator"]: Decided.KEEP,
        items[EXPORTING, "sales"]: Decided.REMOVE,
    }
    assert await desk.decide(_who(office, "an"), 1, places) == 3
    done = await desk.remove(_who(office, "an"), 1)
    assert (done.removed, done.left) == (1, 0)
    li = await office.access.users.get(TENANT, office.people["li"].user.id)
    assert li is not None
    assert li.roles == ()
    assert done.bundle is not None
    draft = await office.store.find(TENANT, done.bundle)
    assert draft is not None
    assert (draft.state, draft.drafted.login) == (State.DRAFT, "an")
    assert draft.rows == SHIPPED.replace(EXPORTING + "\n", "")
    closed = await desk.close(_who(office, "an"), 1)
    assert closed.number == 1
    found = sums(await desk.store.items(TENANT, 1))
    assert (found["keep"], found["remove"], found["done"]) == (1, 2, 2)
    assert found["undecided"] > 0
    told = [(one["operation"], one["reason"]) for one in await _reviews(office)]
    assert told == [
        ("review.start", "started"),
        ("review.decide", "remove"),
        ("review.decide", "keep"),
        ("review.decide", "remove"),
        ("review.remove", "role-removed"),
        ("review.close", "closed"),
    ]


async def test_nobody_decides_about_themselves(office: Office, desk: ReviewDesk) -> None:
    items = await _started(office, desk)
    mine = items["an", "administrator"]
    for decision in Decided:
        with pytest.raises(ReviewRefused, match="own"):
            await desk.decide(_who(office, "an"), 1, {mine: decision})
    assert (await _reviews(office))[-1]["reason"] == "own-item"
    with pytest.raises(psycopg.errors.CheckViolation):  # and the table refuses it, too
        async with office.pool.connection() as db:
            await db.execute(
                "UPDATE review_item SET decision = 'keep', decided_by = user_id WHERE number = %s", (mine,)
            )
    assert await desk.decide(_who(office, "bo"), 1, {mine: Decided.KEEP}) == 1


async def test_nobody_takes_a_role_from_themselves(office: Office, desk: ReviewDesk) -> None:
    items = await _started(office, desk)
    await desk.decide(_who(office, "bo"), 1, {items["an", "administrator"]: Decided.REMOVE})
    assert (await desk.remove(_who(office, "an"), 1)).left == 1
    assert (await desk.remove(_who(office, "bo"), 1)).removed == 1


async def test_the_last_who_may_change_accounts_keeps_that(office: Office, desk: ReviewDesk) -> None:
    items = await _started(office, desk)
    for name in ("bo", "chen"):
        await desk.decide(_who(office, "an"), 1, {items[name, "administrator"]: Decided.REMOVE})
    await desk.decide(_who(office, "bo"), 1, {items["an", "administrator"]: Decided.REMOVE})
    done = await desk.remove(_who(office, "bo"), 1)  # its own stays, an's and chen's go
    assert (done.removed, done.left) == (2, 1)
    outsider = Present(Person("u-other", "other"), ("administrator",), "192.0.2.9")
    done = await desk.remove(outsider, 1)
    assert (done.removed, done.left) == (0, 1)
    bo = await office.access.users.get(TENANT, office.people["bo"].user.id)
    assert bo is not None
    assert bo.roles == ("administrator",)
    assert (await _reviews(office))[-1]["reason"] == "role-kept"


async def test_one_round_at_a_time_and_a_closed_one_stays_as_it_is(office: Office, desk: ReviewDesk) -> None:
    items = await _started(office, desk)
    with pytest.raises(ReviewRefused, match="open"):
        await desk.start(_who(office, "bo"), await desk.look())
    await desk.close(_who(office, "bo"), 1)
    with pytest.raises(ReviewRefused, match="closed"):
        await desk.decide(_who(office, "an"), 1, {items["li", "sales"]: Decided.REMOVE})
    with pytest.raises(ReviewRefused, match="closed"):
        await desk.close(_who(office, "an"), 1)
    with pytest.raises(ReviewRefused, match="not there"):
        await desk.close(_who(office, "an"), 7)
    assert await desk.start(_who(office, "an"), await desk.look()) == 2


async def test_who_may_not_change_accounts_does_nothing(office: Office, desk: ReviewDesk) -> None:
    items = await _started(office, desk)
    li, found = _who(office, "li"), await desk.look()
    for step in (
        lambda: desk.start(li, found),
        lambda: desk.decide(li, 1, {items["an", "administrator"]: Decided.REMOVE}),
        lambda: desk.remove(li, 1),
        lambda: desk.close(li, 1),
    ):
        with pytest.raises(NotAllowed):
            await step()
    assert (await _reviews(office))[-1]["reason"] == "refused"


async def test_credentials_prove_who_it_is_at_the_command_line(office: Office, desk: ReviewDesk) -> None:
    assert await desk.start(office.given("an"), await desk.look()) == 1
    with pytest.raises(NotAllowed):
        await desk.close(office.given("li"), 1)


async def test_credentials_are_enough_for_the_draft_that_a_removal_makes(office: Office, desk: ReviewDesk) -> None:
    items = await _started(office, desk)
    await desk.decide(office.given("bo"), 1, {items[EXPORTING, "sales"]: Decided.REMOVE})
    done = await desk.remove(office.given("bo"), 1)
    assert done.bundle == 2
    assert (await desk.remove(office.given("chen"), 1)).bundle is None  # it is drafted once


async def test_without_the_trail_nothing_is_decided_or_removed(
    office: Office, desk: ReviewDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = await _started(office, desk)
    await desk.decide(_who(office, "an"), 1, {items["li", "sales"]: Decided.REMOVE})

    async def away(_entry: object) -> int:
        raise AuditUnavailable

    monkeypatch.setattr(office.log, "append", away)
    for step in (
        lambda: desk.decide(_who(office, "an"), 1, {items["bo", "administrator"]: Decided.REMOVE}),
        lambda: desk.remove(_who(office, "an"), 1),
        lambda: desk.close(_who(office, "an"), 1),
    ):
        with pytest.raises(AuditUnavailable):
            await step()
    li = await office.access.users.get(TENANT, office.people["li"].user.id)
    assert li is not None
    assert li.roles == ("sales",)
    assert sums(await desk.store.items(TENANT, 1))["remove"] == 1
