"""The life of a bundle: two people, both factors, the trail first, and nothing wrong ever comes into force."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.access.sign_in import Attempt
from gateway.bundles.bundle import State
from gateway.bundles.desk import BundleRefused
from gateway.key_step import Credentials, NotAllowed
from policies.rows import PolicyInvalid
from tests.unit.gateway.bundles.office import CHECKS, DELETING, SHIPPED, TENANT, Office


async def _states(office: Office) -> dict[int, State]:
    return {one.number: one.state for one in await office.store.every(TENANT)}


async def test_somebody_else_publishes_and_the_diff_is_in_the_trail(office: Office) -> None:
    number = await office.proposed(SHIPPED + DELETING, checks=CHECKS)
    await office.desk.publish(office.given("bo"), number)
    assert await _states(office) == {1: State.RETIRED, number: State.PUBLISHED}
    last = (await office.trail())[-1]
    assert (last["operation"], last["reason"], last["actor"]) == (
        "policy.publish",
        "published",
        office.people["bo"].user.id,
    )
    assert last["fields"]["change"] == ["+p,sales,*,op:*,delete,any,allow"]
    stored = await office.store.find(TENANT, number)
    assert stored is not None
    assert stored.published is not None
    assert (stored.drafted.login, stored.published.login) == ("an", "bo")


async def test_the_drafter_cannot_publish(office: Office) -> None:
    number = await office.proposed(SHIPPED + DELETING)
    with pytest.raises(BundleRefused, match="somebody else"):
        await office.desk.publish(office.given("an"), number)
    assert (await _states(office))[number] is State.PROPOSED
    assert (await office.trail())[-1]["reason"] == "four-eyes"


async def test_proposing_what_another_drafted_does_not_let_the_drafter_publish(office: Office) -> None:
    number = await office.desk.draft(office.given("an"), SHIPPED + DELETING, "", "")
    await office.desk.propose(office.given("bo"), number)
    with pytest.raises(BundleRefused, match="somebody else"):
        await office.desk.publish(office.given("an"), number)


async def test_a_role_without_the_right_does_nothing(office: Office) -> None:
    number = await office.proposed(SHIPPED + DELETING)
    desk = office.desk
    steps: list[Callable[[Credentials], Awaitable[object]]] = [
        lambda given: desk.draft(given, SHIPPED, "", ""),
        lambda given: desk.propose(given, number),
        lambda given: desk.publish(given, number),
        lambda given: desk.restore(given, 1, ""),
    ]
    for step in steps:
        with pytest.raises(NotAllowed):
            await step(office.given("li"))
    assert await _states(office) == {1: State.PUBLISHED, number: State.PROPOSED}
    assert (await office.trail())[-1]["reason"] == "refused"


async def test_both_factors_are_needed(office: Office) -> None:
    number = await office.proposed(SHIPPED + DELETING)
    right = office.given("bo")
    for wrong in (Credentials("bo", "not it", right.code), Credentials("bo", right.password, "000000x")):
        with pytest.raises(Attempt):
            await office.desk.publish(wrong, number)
    assert (await _states(office))[1] is State.PUBLISHED


@pytest.mark.parametrize(
    ("rows", "checks"),
    [
        (SHIPPED + "p, sales, *, op:x\n", ""),
        ("# only a remark\n", ""),
        ("", ""),
        (SHIPPED.replace("op:console.policy", "op:console.live"), ""),
        (SHIPPED + "p, administrator, *, op:console.policy, other, any, deny\n", ""),
        (SHIPPED, CHECKS),
        (SHIPPED + DELETING, "- nonsense"),
        (SHIPPED + DELETING, "a: ["),
    ],
    ids=["malformed", "remark", "empty", "locked out", "nobody approves", "check fails", "check malformed", "no yaml"],
)
async def test_what_may_not_come_into_force_is_not_proposed(office: Office, rows: str, checks: str) -> None:
    number = await office.desk.draft(office.given("an"), rows, checks, "")
    with pytest.raises(PolicyInvalid):
        await office.desk.propose(office.given("an"), number)
    with pytest.raises(BundleRefused):
        await office.desk.publish(office.given("bo"), number)
    assert await _states(office) == {1: State.PUBLISHED, number: State.DRAFT}


async def test_an_invalid_bundle_that_was_proposed_in_the_table_itself_is_not_published(office: Office) -> None:
    number = await office.desk.draft(office.given("an"), SHIPPED + "p, sales, *, op:x\n", "", "")
    async with office.pool.connection() as db:
        await db.execute(
            "UPDATE policy_bundle SET state = 'proposed', proposed_by = 'x', proposed_at = now() WHERE number = %s",
            (number,),
        )
    with pytest.raises(PolicyInvalid):
        await office.desk.publish(office.given("bo"), number)
    assert (await _states(office))[1] is State.PUBLISHED


async def test_an_earlier_bundle_comes_back_by_two_people(office: Office) -> None:
    number = await office.proposed(SHIPPED + DELETING)
    await office.desk.publish(office.given("bo"), number)
    again = await office.desk.restore(office.given("bo"), 1, "too much")
    with pytest.raises(BundleRefused, match="somebody else"):
        await office.desk.publish(office.given("bo"), again)
    await office.desk.publish(office.given("an"), again)
    assert await _states(office) == {1: State.RETIRED, number: State.RETIRED, again: State.PUBLISHED}
    assert (await office.trail())[-1]["fields"]["change"] == ["-p,sales,*,op:*,delete,any,allow"]


async def test_two_publications_at_once_leave_one_in_force(office: Office) -> None:
    first = await office.proposed(SHIPPED + DELETING)
    second = await office.proposed(SHIPPED + "p, dpo, *, op:console.users, read, any\n")
    bo, chen = office.given("bo"), office.given("chen")
    bo = Credentials("bo", bo.password, office.access.code(office.people["bo"].secret))
    await asyncio.gather(office.desk.publish(bo, first), office.desk.publish(chen, second), return_exceptions=True)
    states = await _states(office)
    assert list(states.values()).count(State.PUBLISHED) == 1
    assert states[1] is State.RETIRED
