"""The trail replayed against a draft: what is read, how far, and for whom."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from psycopg.errors import OperationalError

from audit.entry import AuditEntry
from gateway.bundles import replaying
from gateway.bundles.replaying import Replay, replay
from kms.store import StoreUnavailable
from policies.rows import PolicyInvalid
from tests.unit.gateway.bundles.office import DELETING, SHIPPED, TENANT, Office

WITHOUT_READING = SHIPPED.replace("p, sales, *, op:*, read, any\n", "")


async def _append(office: Office, who: str = "li", ago: float = 1.0, **values: object) -> None:
    person = office.people[who].user
    usual: dict[str, object] = {
        "id": "a-1", "at": office.clock() - timedelta(days=ago), "tenant": TENANT, "kind": "outcome", "fields": {},
        "reason": "allowed", "status": 200, "operation": "party.read", "entity": "party", "actor": person.id,
        "actor_login": person.login, "method": "GET",
    }  # fmt: skip
    await office.log.append(AuditEntry(**(usual | values)))  # type: ignore[arg-type]


async def _replay(office: Office, rows: str, days: int = 7, limit: int = 10_000) -> tuple[Replay, list[float]]:
    number = await office.desk.draft(office.given("an"), rows, "", "")
    bundle = await office.store.find(TENANT, number)
    assert bundle is not None
    parts: list[float] = []
    return await replay(office.desk, office.pool, bundle, days, limit=limit, tell=parts.append), parts


def _told(found: Replay) -> Sequence[tuple[str, str, str, list[tuple[str, int]]]]:
    return [
        (one.change.what, one.change.before, one.change.after, [(found.logins[p.person], p.count) for p in one.people])
        for one in found.found.lines
    ]


async def test_what_was_read_is_lost_and_what_was_refused_is_gained(office: Office) -> None:
    for _ in range(3):
        await _append(office)
    await _append(office, kind="refusal", reason="not-allowed", status=403, operation="party.delete")
    found, parts = await _replay(office, WITHOUT_READING + DELETING)
    assert _told(found) == [
        ("op:party.read", "allowed", "refused", [("li", 3)]),
        ("op:party.delete", "refused", "allowed", [("li", 1)]),
    ]
    assert found.whole
    assert parts[-1] == 1.0
    assert parts == sorted(parts)


async def test_forms_and_written_fields_are_replayed(office: Office) -> None:
    await _append(office, fields={"shown": {"party.phone": {"7": {"masked": 2}}}, "written": ["party.phone"]})
    rows = SHIPPED.replace("#phone, masked, own", "#phone, clear, own").replace("p, sales, *, kind:*, write, any\n", "")
    found, _ = await _replay(office, rows)
    told = {(what, before, after) for what, before, after, _ in _told(found)}
    assert ("field:party.phone", "masked", "clear") in told
    assert ("field:party.phone", "allowed", "refused") in told


async def test_each_part_of_a_batch_counts_and_a_decision_does_not(office: Office) -> None:
    await _append(office, kind="decision")
    await _append(office, operation="batch", fields={"parts": ["party.read:1", "party.read:2"]})
    found, _ = await _replay(office, WITHOUT_READING)
    assert _told(found) == [("op:party.read", "allowed", "refused", [("li", 1)])]


async def test_later_parts_of_an_answer_are_the_same_exchange(office: Office) -> None:
    await _append(office, fields={"release": 1})
    await _append(office, fields={"release": 2})
    found, _ = await _replay(office, WITHOUT_READING)
    assert _told(found)[0][3] == [("li", 1)]


async def test_work_at_the_console_counts(office: Office) -> None:
    await _append(office, "bo", kind="console", operation="console.users", method="POST")
    rows = SHIPPED.replace("op:console.users, *, any", "op:console.users, read, any")
    found, _ = await _replay(office, rows)
    assert [one[:3] for one in _told(found)] == [("op:console.users", "allowed", "refused")]
    assert found.found.lines[0].change.right == "update"


async def test_older_work_does_not_count(office: Office) -> None:
    await _append(office, ago=9)
    await _append(office, ago=8)
    found, _ = await _replay(office, WITHOUT_READING)
    assert found.found.lines == ()
    assert found.whole


async def test_more_than_the_limit_is_said(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "PAGE_ENTRIES", 2)
    for _ in range(6):
        await _append(office)
    found, _ = await _replay(office, WITHOUT_READING, limit=5)
    assert not found.whole
    found, _ = await _replay(office, WITHOUT_READING)
    assert found.whole
    assert _told(found)[0][3] == [("li", 6)]


async def test_closed_accounts_are_left_out_and_counted(office: Office) -> None:
    await _append(office)
    await office.access.users.disable(office.people["li"].user)
    found, _ = await _replay(office, WITHOUT_READING)
    assert found.found.lines == ()
    assert found.found.gone >= 1


async def test_a_draft_that_cannot_be_read_is_refused(office: Office) -> None:
    with pytest.raises(PolicyInvalid):
        await _replay(office, "p, sales\n")


async def test_a_trail_that_does_not_answer_ends_it(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **__: object) -> None:
        raise OperationalError

    monkeypatch.setattr(replaying, "recent", away)
    with pytest.raises(StoreUnavailable):
        await _replay(office, WITHOUT_READING)


async def test_entries_that_make_no_sense_are_counted(office: Office) -> None:
    await _append(office, fields={"shown": {"party.phone": [1]}})
    found, _ = await _replay(office, SHIPPED)
    assert found.damaged == 1
