"""Rights that two people give: who may not be which of them, what is given in the end, what happens at once."""

import asyncio
from dataclasses import replace

import pytest
from psycopg.errors import CheckViolation, RaiseException

from gateway.access.giving import Giving, Rights, rights_changed, rights_of
from gateway.access.role_changes import RoleChangeRefused
from gateway.access.users import AccountRefused, Profile

MANAGER = Rights(("manager", "sales"), (), "")


async def refusal(step) -> str:
    with pytest.raises((RoleChangeRefused, AccountRefused)) as caught:
        await step
    return caught.value.problem


@pytest.fixture(autouse=True)
def two_people(access, other_node) -> None:
    for node in (access, other_node):
        node.users.giving = Giving(two_people=True, joins=lambda _, held: {"dpo", "auditor"} <= set(held))


@pytest.fixture
def enrol(access):
    """Users as they stand when two people are asked for from now on."""

    async def enrolled(login, *roles):
        from tests.unit.gateway.access.world import enrol_in

        kept, access.users.giving = access.users.giving, Giving()
        made = await enrol_in(access, login, *roles)
        access.users.giving = kept
        return made

    return enrolled


@pytest.fixture
async def admins(enrol):
    """Two administrators."""
    return (await enrol("gao.ning", "administrator")).user, (await enrol("he.lan", "administrator")).user


async def now(access, user):
    return rights_of(await access.users.get("t1", user.id))


async def test_nothing_changes_before_a_second_person_agrees_and_open_sessions_follow(access, li, admins) -> None:
    first, second = admins
    token = await access.sessions.open(li.user, "192.0.2.7", access.clock())
    after = Rights(("manager", "sales"), ("dept:north",), "7")
    change = await access.role_changes.ask(li.user, after, first.id, "new-duty")
    assert await now(access, li.user) == rights_of(li.user)
    assert (await access.sessions.principal(token, access.clock())).roles == ("sales",)
    found = await access.role_changes.approve("t1", change, second.id)
    assert (found.login, found.asked_login) == ("li.wei", "gao.ning")
    assert rights_changed(found.before, found.after) == ["+dept:north", "+manager", "crm_user"]
    assert await now(access, li.user) == after
    assert (await access.sessions.principal(token, access.clock())).roles == ("manager", "sales", "dept:north")
    assert await refusal(access.role_changes.approve("t1", change, second.id)) == "change-gone"


async def test_one_person_gives_nothing_by_any_door(access, li, admins) -> None:
    users = access.users
    assert await refusal(users.create("t1", "zhou", Profile(roles=("sales",)))) == "two-people"
    assert await refusal(users.create("t1", "zhou", Profile(crm_user="7"))) == "two-people"
    assert await refusal(users.change(li.user, Profile(roles=("sales", "manager")))) == "two-people"
    assert await refusal(users.change(li.user, Profile(roles=("sales",), crm_user="7"))) == "two-people"
    assert await refusal(users.place(li.user, ["dept:north"])) == "two-people"
    assert await now(access, li.user) == rights_of(li.user)
    # An account without rights, a name, and taking rights away need nobody else.
    await users.create("t1", "zhou", Profile())
    await users.change(li.user, Profile(display_name="Li", roles=()))
    assert (await now(access, li.user)).roles == ()


async def test_taking_a_role_that_takes_something_away_needs_a_second_person(access, enrol) -> None:
    narrowed = (await enrol("xu.fei", "manager", "dpo")).user
    access.users.giving = replace(access.users.giving, narrows=lambda _, gone: "dpo" in gone)
    assert await refusal(access.users.change(narrowed, Profile(roles=("manager",)))) == "two-people"
    await access.users.change(narrowed, Profile(roles=("dpo",)))


async def test_all_three_are_different_people(access, li, admins) -> None:
    first, second = admins
    changes = access.role_changes
    assert await refusal(changes.ask(first, MANAGER, first.id, "new-duty")) == "own-roles"
    mine = await changes.ask(first, MANAGER, second.id, "new-duty")
    assert await refusal(changes.approve("t1", mine, first.id)) == "own-roles"
    assert await refusal(changes.approve("t1", mine, second.id)) == "change-same"
    assert await refusal(changes.approve("t2", mine, li.user.id)) == "change-gone"
    for wrong in (first.id, second.id, "u-nobody"):
        assert not await changes._store.approve("t1", mine, wrong, access.clock())
    assert await now(access, first) == rights_of(first)


@pytest.mark.parametrize(
    ("asked", "agreed"), [("li", None), ("gao", "gao"), ("gao", "li")], ids=["own", "same", "beneficiary"]
)
async def test_the_table_itself_refuses_one_person(access, li, admins, pool, asked, agreed) -> None:
    ids = {"li": li.user.id, "gao": admins[0].id, None: None}
    with pytest.raises(CheckViolation):
        async with pool.connection() as db:
            await db.execute(
                """INSERT INTO app_role_change (tenant, id, user_id, roles_before, roles, placements_before, placements,
                     crm_user_before, crm_user, reason, asked_by, asked_at, expires_at, approved_by, approved_at)
                   VALUES ('t1', 'g', %s, '{}', '{manager}', '{}', '{}', '', '', 'x', %s, now(), now() + interval '1 h',
                     %s, CASE WHEN %s::text IS NULL THEN NULL ELSE now() END)""",
                (li.user.id, ids[asked], ids[agreed], ids[agreed]),
            )


async def test_what_was_asked_for_and_decided_never_changes(access, li, admins, pool) -> None:
    first, second = admins
    change = await access.role_changes.ask(li.user, MANAGER, first.id, "new-duty")

    async def tampered(what: str) -> None:
        async with pool.connection() as db:
            await db.execute(f"UPDATE app_role_change SET {what} WHERE id = %s", (change,))

    for what in ("roles = '{administrator}'", f"asked_by = '{second.id}'", f"user_id = '{second.id}'"):
        with pytest.raises(RaiseException):
            await tampered(what)
    await access.role_changes.approve("t1", change, second.id)
    for what in ("approved_at = NULL, approved_by = NULL", f"approved_by = '{first.id}'"):
        with pytest.raises(RaiseException):
            await tampered(what)


async def test_one_approval_of_many_at_once_has_one_effect(access, other_node, li, admins, enrol) -> None:
    first, second = admins
    third = (await enrol("xu.fei", "administrator")).user
    change = await access.role_changes.ask(li.user, MANAGER, first.id, "new-duty")
    tried = await asyncio.gather(
        *((access, other_node)[n % 2].role_changes.approve("t1", change, (second, third)[n % 2].id) for n in range(8)),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in tried) == 1
    assert all(isinstance(one, RoleChangeRefused) for one in tried if isinstance(one, BaseException))
    assert await now(access, li.user) == MANAGER


async def test_asking_twice_at_once_leaves_one(access, other_node, li, admins) -> None:
    tried = await asyncio.gather(
        *(
            (access, other_node)[n % 2].role_changes.ask(li.user, MANAGER, admins[n % 2].id, "new-duty")
            for n in range(6)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(one, str) for one in tried) == 1
    assert {one.problem for one in tried if isinstance(one, RoleChangeRefused)} == {"change-waiting"}


async def test_what_waits_too_long_or_is_withdrawn_is_gone(access, li, admins) -> None:
    first, second = admins
    changes = access.role_changes
    change = await changes.ask(li.user, MANAGER, first.id, "new-duty")
    access.clock.advance(hours=72)
    assert await refusal(changes.approve("t1", change, second.id)) == "change-gone"
    assert await changes.waiting("t1") == []
    again = await changes.ask(li.user, MANAGER, first.id, "new-duty")
    await changes.withdraw("t1", again, first.id)
    assert await refusal(changes.approve("t1", again, second.id)) == "change-gone"
    assert await refusal(changes.withdraw("t1", again, first.id)) == "change-gone"
    assert await now(access, li.user) == rights_of(li.user)


async def test_an_account_that_changed_since_gets_nothing(access, li, admins) -> None:
    first, second = admins
    change = await access.role_changes.ask(li.user, MANAGER, first.id, "new-duty")
    await access.users.change(li.user, Profile(roles=()))
    assert await refusal(access.role_changes.approve("t1", change, second.id)) == "change-stale"
    assert not await access.role_changes._store.approve("t1", change, second.id, access.clock())
    assert (await now(access, li.user)).roles == ()
    assert await access.role_changes.waiting_for(li.user) is not None


async def test_who_asks_needs_the_right_until_the_end(access, li, admins) -> None:
    first, second = admins
    change = await access.role_changes.ask(li.user, MANAGER, first.id, "new-duty")
    await access.users.change(first, Profile(roles=()))
    assert await refusal(access.role_changes.approve("t1", change, second.id)) == "change-asker"
    await access.users.disable(first)
    assert not await access.role_changes._store.approve("t1", change, second.id, access.clock())


async def test_whoever_agrees_needs_an_open_account(access, li, admins) -> None:
    first, second = admins
    change = await access.role_changes.ask(li.user, MANAGER, first.id, "new-duty")
    await access.users.disable(second)
    assert await refusal(access.role_changes.approve("t1", change, second.id)) == "change-gone"


async def test_an_account_that_nobody_set_up_gets_nothing(access, admins) -> None:
    first, second = admins
    fresh = await access.users.create("t1", "zhou", Profile())
    change = await access.role_changes.ask(fresh, MANAGER, first.id, "new-person")
    assert await refusal(access.role_changes.approve("t1", change, second.id)) == "change-not-set-up"
    assert not await access.role_changes._store.approve("t1", change, second.id, access.clock())
    assert (await now(access, fresh)).roles == ()


async def test_nonsense_and_joined_duties_are_not_asked_for(access, li, admins) -> None:
    first, changes = admins[0], access.role_changes
    assert await refusal(changes.ask(li.user, MANAGER, first.id, "because")) == "change-reason"
    assert await refusal(changes.ask(li.user, Rights(("king",), (), ""), first.id, "new-duty")) == "role-unknown"
    assert await refusal(changes.ask(li.user, Rights((), ("north",), ""), first.id, "new-duty")) == "placement-invalid"
    joined = Rights(("auditor", "dpo"), (), "")
    assert await refusal(changes.ask(li.user, joined, first.id, "new-duty")) == "duties-joined"
    assert await changes.waiting("t1") == []


async def test_a_form_sent_with_what_the_account_was_before_changes_nothing(access, enrol) -> None:
    xu = (await enrol("xu.fei", "manager")).user
    await access.users.change(xu, Profile(roles=()))
    assert await refusal(access.users.change(xu, Profile(display_name="Xu", roles=("manager",)))) == "changed-meanwhile"
    assert (await now(access, xu)).roles == ()
