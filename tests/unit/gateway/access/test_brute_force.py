"""Guessing one person's password over sessions, addresses and two nodes stops at the limit; the owner still gets in."""

import asyncio

from gateway.access.passwords import PasswordWrong
from gateway.access.sign_in import Attempt
from gateway.access.throttle import Brakes, Locked
from tests.unit.gateway.access.world import PASSWORD, Access, Clock, Enrolled

HOME = "192.0.2.7"
ADDRESSES, TRIES = 30, 4


async def guess(node: Access, password: str, client: str) -> type[Exception]:
    try:
        await node.sign_in.password_step("t1", "li.wei", password, client)
    except Attempt as attempt:
        return type(attempt.outcome)
    return type(None)  # type: ignore[return-value]


async def test_guesses_over_addresses_and_nodes_stop_and_the_owner_gets_in(
    access: Access, other_node: Access, clock: Clock, li: Enrolled
) -> None:
    await access.sign_in.at_once("t1", "li.wei", PASSWORD, access.code(li.secret), HOME)  # HOME is known from here on
    nodes = (access, other_node)
    outcomes: list[type[Exception]] = []
    for round_ in range(TRIES):  # bursts in parallel, every address on both nodes
        outcomes += await asyncio.gather(
            *(
                guess(nodes[(number + round_) % 2], f"guess {round_} {number}", f"203.0.113.{number}")
                for number in range(ADDRESSES)
            )
        )
    verified = outcomes.count(PasswordWrong)
    assert verified <= Brakes().login.free + 1  # what is free, and the one that turns the brake on
    assert outcomes.count(Locked) == ADDRESSES * TRIES - verified
    # Even the right password is not looked at from an address the owner never used, on either node.
    for node in nodes:
        assert await guess(node, PASSWORD, "203.0.113.200") is Locked
    # The owner, at home, gets in on both nodes while all this is in force.
    for node in nodes:
        half = await node.sign_in.password_step("t1", "li.wei", PASSWORD, HOME)
        assert half.user.id == li.user.id
    clock.advance(seconds=30)
    done = await other_node.sign_in.code_step("t1", half.token, access.code(li.secret), HOME)
    assert (await access.sessions.principal(done.token, clock())).id == li.user.id


async def test_one_address_that_sprays_many_logins_stops_on_both_nodes(
    access: Access, other_node: Access, li: Enrolled
) -> None:
    nodes, outcomes = (access, other_node), []
    for number in range(Brakes().source.free + 20):
        try:
            await nodes[number % 2].sign_in.password_step("t1", f"nobody{number}", "guess", "198.51.100.7")
        except Attempt as attempt:
            outcomes.append(type(attempt.outcome))
    assert outcomes.count(PasswordWrong) <= Brakes().source.free + 1
    assert set(outcomes[-15:]) == {Locked}
    assert await guess(other_node, PASSWORD, "198.51.100.7") is Locked
    assert await guess(other_node, PASSWORD, HOME) is type(None)
