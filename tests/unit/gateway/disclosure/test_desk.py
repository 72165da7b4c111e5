"""Revealing: everything about it is on record before the value leaves, and whatever fails reveals nothing."""

import asyncio
from dataclasses import replace

import pytest

from audit.log import AuditUnavailable
from gateway.access.place_store import PlaceStore
from gateway.database import Pool
from gateway.disclosure.config import RevealSettings
from gateway.disclosure.desk import Given
from gateway.disclosure.handle import Mask
from gateway.refusal import Refusal
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable
from tests.unit.gateway.disclosure.room import PHONE, Book, open_room

WHY = "因为客户来电询问发货情况"


async def refused(room, asking, mask, given) -> str:
    with pytest.raises(Refusal) as told:
        await room.desk.reveal(asking, mask, given)
    return told.value.reason.id


async def test_a_value_is_shown_once_it_is_asked_counted_and_written_down(pool: Pool, keyring_path) -> None:
    async with open_room(pool, keyring_path) as room:
        code = room.access.code(room.li.secret)
        shown = await room.desk.reveal(room.asking(step_up=True), room.mask, Given("other", WHY, code))
        assert (shown.value, shown.left) == (PHONE, 19)
        assert room.trail.reasons == ["reveal-asked", "reveal-shown"]
        assert all(PHONE not in repr(one) and "发货" not in repr(one) for one in room.trail.entries)
        assert room.trail.entries[1].fields["shown"] == {"contact.phone": {"7": {"clear": 1}}}
        rows = await room.desk.ledger.page("t1")
        assert [(row.outcome, row.record, row.step_up) for row in rows] == [("shown", Book().pseudonym("7"), True)]
        assert "发货".encode() not in rows[0].reason
        (line,) = await room.desk.lines("t1", rows)
        assert (line.reason, line.words, line.record) == ("other", WHY, "7")
        for record, found in (("7", 1), ("8", 0)):
            names = await room.desk.people.names_of("t1", "", record)
            assert len(await room.desk.ledger.page("t1", records=names)) == found
        assert isinstance(room.desk.people, Book)
        room.desk.people.erased.add("7")
        (line,) = await room.desk.lines("t1", rows)
        assert (line.reason, line.words, line.record) == ("other", "", "")
        assert (
            await refused(room, room.asking(step_up=True), room.mask, Given("contact", "", code)) == "reveal-code-wrong"
        )


async def test_who_may_not_or_gives_no_reason_sees_nothing(pool: Pool, keyring_path) -> None:
    async with open_room(pool, keyring_path) as room:
        given, mask = room.given(), room.mask
        cases = [
            (room.asking(crm_user="crm-other"), mask, given, "reveal-not-allowed"),
            (room.asking(crm_user=None), mask, given, "reveal-not-allowed"),
            (room.asking(roles=()), mask, given, "reveal-not-allowed"),
            (room.asking(), replace(mask, field="email", kind="email"), given, "reveal-not-allowed"),
            (room.asking(), replace(mask, record="8"), given, "reveal-not-allowed"),
            (room.asking(), replace(mask, surrogate="+8887000000123"), given, "reveal-nothing"),
            (room.asking(), mask, Given("nonsense"), "reveal-reason"),
            (room.asking(), mask, Given("other", "short"), "reveal-reason"),
            (room.asking(), mask, Given("contact", "x" * 501), "reveal-reason"),
            (room.asking(step_up=True), mask, Given("contact", "", "000000"), "reveal-code-wrong"),
        ]
        for asking, wanted, gave, reason in cases:
            assert await refused(room, asking, wanted, gave) == reason
        assert room.trail.reasons[::2] == ["reveal-asked"] * len(cases)
        assert room.trail.reasons[1::2] == [case[3] for case in cases]
        assert await refused(room, room.asking(tenant="t2"), mask, given) == "reveal-off"


async def test_the_budget_holds_for_parallel_tries_on_two_nodes(pool: Pool, keyring_path) -> None:
    few = RevealSettings(enabled=True, per_hour=3)
    async with open_room(pool, keyring_path, few) as one, open_room(pool, keyring_path, few) as two:
        tries = [room.desk.reveal(room.asking(), room.mask, room.given()) for room in (one, two) * 6]
        done = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(not isinstance(each, BaseException) for each in done) == 3
        assert {each.reason.id for each in done if isinstance(each, Refusal)} == {"reveal-budget"}
        alarms = [each for room in (one, two) for each in room.trail.entries if each.kind == "alarm"]
        assert [each.fields["count"] for each in alarms] == [3]
        for room in (one, two):
            room.clock.advance(hours=1)
        assert (await one.desk.reveal(one.asking(), one.mask, one.given())).left == 2


@pytest.mark.parametrize("away", [0, 1])
async def test_without_a_trail_nothing_is_revealed(pool: Pool, keyring_path, away: int) -> None:
    async with open_room(pool, keyring_path) as room:
        room.trail.away = away
        with pytest.raises(AuditUnavailable):
            await room.desk.reveal(room.asking(), room.mask, room.given())


class Away:
    """A collaborator that is away."""

    def __init__(self, fault: Exception) -> None:
        self._fault = fault

    def __getattr__(self, _name: str):
        async def call(*_: object, **__: object) -> None:
            raise self._fault

        return call


@pytest.mark.parametrize("what", ["vault", "counts", "ledger", "sealer", "records"])
@pytest.mark.parametrize("fault", [KeysUnavailable("away", "away"), StoreUnavailable("away")])
async def test_whatever_is_away_nothing_is_revealed(pool: Pool, keyring_path, what: str, fault: Exception) -> None:
    async with open_room(pool, keyring_path) as room:
        broken = replace(room.desk, **{what: Away(fault)})
        with pytest.raises(type(fault)):
            await broken.reveal(room.asking(), room.mask, room.given())
        assert "reveal-shown" not in room.trail.reasons


async def test_a_list_holds_masks_of_what_may_be_revealed_and_nothing_else(pool: Pool, keyring_path) -> None:
    async with open_room(pool, keyring_path) as room:
        others = [replace(room.mask, record="8"), replace(room.mask, surrogate="+8887000000123")]
        email = Mask(room.mask.surrogate, "email", "contact", "email", "7")
        listed = await room.desk.listed(room.principal, [*others, email, room.mask])
        assert [(one.number, one.mask) for one in listed] == [(3, room.mask)]
        assert PHONE not in repr(listed)
        assert "*" in listed[0].text


async def test_an_ended_session_is_nobody(pool: Pool, keyring_path) -> None:
    async with open_room(pool, keyring_path) as room:
        await room.access.sessions.open(room.li.user, "192.0.2.7", room.clock())
        (row,) = await room.access.sessions.list("t1", room.clock())
        assert (await room.desk.present("t1", row.id, room.li.user.id, "192.0.2.7")).session_id == row.id
        for tenant, session, user in (
            ("t2", row.id, room.li.user.id),
            ("t1", "s-x", room.li.user.id),
            ("t1", row.id, "u-x"),
        ):
            with pytest.raises(Refusal, match="session-ended"):
                await room.desk.present(tenant, session, user, "192.0.2.7")
        await PlaceStore(pool).set_networks("t1", room.li.user.id, "198.51.100.0/24")
        with pytest.raises(Refusal, match="place-not-allowed"):
            await room.desk.present("t1", row.id, room.li.user.id, "192.0.2.7")
        assert (await room.desk.present("t1", row.id, room.li.user.id, "198.51.100.9")).session_id == row.id
        assert await room.access.sessions.lock(row.id)
        with pytest.raises(Refusal, match="session-ended"):
            await room.desk.present("t1", row.id, room.li.user.id, "198.51.100.9")
        await room.access.sessions.end(row.id)
        with pytest.raises(Refusal, match="session-ended"):
            await room.desk.present("t1", row.id, room.li.user.id, "192.0.2.7")
