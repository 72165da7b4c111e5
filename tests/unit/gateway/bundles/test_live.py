"""The bundle in force is live on every node, and nothing that cannot be loaded replaces a good one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway.bundles import live
from gateway.bundles.live import LiveBundles
from gateway.bundles.store import BundleStore
from gateway.database import open_pool
from kms.store import StoreUnavailable
from policies import enforcer
from policies.operation import Action, Operation
from policies.rows import PolicyInvalid
from tests.unit.gateway.bundles.office import CHECKS, DELETING, SHIPPED, TENANT, Office

DELETE = Operation("party.delete", "party", Action.DELETE)


@contextlib.asynccontextmanager
async def _following(node: LiveBundles, dsn: str) -> AsyncIterator[None]:
    task = asyncio.create_task(node.follow(dsn))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(node: LiveBundles, number: int) -> None:
    while node.number(TENANT) != number:
        await asyncio.sleep(0.01)


def _may_delete(node: LiveBundles) -> bool:
    return node[TENANT].decide(TENANT, ("sales",), DELETE).allowed


async def test_every_node_has_what_was_published(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_S", 3600.0)  # NOTIFY alone
    nodes = [await office.node(), await office.node()]
    async with _following(nodes[0], office.dsn), _following(nodes[1], office.dsn):
        assert not any(_may_delete(node) for node in nodes)
        number = await office.proposed(SHIPPED + DELETING, checks=CHECKS)
        await office.desk.publish(office.given("bo"), number)
        await asyncio.gather(*(_until(node, number) for node in nodes))
        assert all(_may_delete(node) for node in nodes)


async def test_a_look_now_and_then_finds_what_no_notice_told(office: Office) -> None:
    node = await office.node()
    number = await office.proposed(SHIPPED + DELETING)
    await office.desk.publish(office.given("bo"), number)
    async with _following(node, "host=/nowhere dbname=none"):
        await _until(node, number)
    assert _may_delete(node)


async def test_the_new_bundle_is_compiled_for_whom_the_old_one_knew(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await office.node()
    assert not _may_delete(node)
    number = await office.proposed(SHIPPED + DELETING)
    await office.desk.publish(office.given("bo"), number)
    await node.refresh()

    def broken(*_: object) -> None:
        raise RuntimeError("compiled on the request path")

    monkeypatch.setattr(enforcer.casbin, "Enforcer", broken)
    assert _may_delete(node)


async def test_a_bundle_that_cannot_be_loaded_changes_nothing_and_no_node_starts_with_it(office: Office) -> None:
    node = await office.node()
    told: list[int] = []
    node.when_changed(lambda: told.append(1))
    async with office.pool.connection() as db:
        await db.execute("UPDATE policy_bundle SET state = 'retired', retired_at = now() WHERE number = 1")
        await db.execute(
            """INSERT INTO policy_bundle (tenant, number, state, origin, rows, checks, version, digest, note,
                 drafted_by, drafted_login, drafted_at, proposed_by, proposed_at, published_by, published_at)
               VALUES (%s, 2, 'published', 'account', %s, '', '', 'not it', '', 'a', 'a', now(), 'a', now(), 'b', now())
            """,
            (TENANT, SHIPPED + "p, sales, *, op:*, *, any\n"),
        )
    await node.refresh()
    assert (node.number(TENANT), node.refused(TENANT), told) == (1, 2, [])
    assert not _may_delete(node)
    with pytest.raises(PolicyInvalid, match="digest"):
        await office.node()


async def test_the_last_good_bundle_stays_when_the_store_is_away(office: Office) -> None:
    own = await open_pool(office.dsn, max_size=1)
    node = LiveBundles((await office.node())._loaded, BundleStore(own), lambda _: office.desk.profile)
    await own.close()
    with pytest.raises(StoreUnavailable):
        await node.refresh()
    assert node[TENANT].decide(TENANT, ("sales",), Operation("party.read", "party", Action.READ)).allowed


async def test_the_file_is_bundle_one_and_decides_until_an_account_publishes(office: Office) -> None:
    first = await office.store.find(TENANT, 1)
    assert first is not None
    assert first.published is not None
    assert (first.rows, first.published.login) == (SHIPPED, "installation")
    assert (await office.node()).number(TENANT) == 1
    office.file.write_text(SHIPPED + DELETING, encoding="utf-8")
    changed = await office.node()
    assert (changed.number(TENANT), _may_delete(changed)) == (2, True)
    number = await office.proposed(SHIPPED)
    await office.desk.publish(office.given("bo"), number)
    office.file.write_text(SHIPPED + DELETING + "# more\n", encoding="utf-8")
    after = await office.node()
    assert (after.number(TENANT), _may_delete(after)) == (number, False)


async def test_a_malformed_file_refuses_the_first_start(office: Office) -> None:
    office.file.write_text("p, sales, *, op:x\n", encoding="utf-8")
    with pytest.raises(PolicyInvalid):
        await office.node()


async def test_roles_of_a_new_bundle_are_offered(office: Office) -> None:
    node = await office.node()
    number = await office.proposed(SHIPPED + "p, intern, *, op:*, read, any\n")
    await office.desk.publish(office.given("bo"), number)
    await node.refresh()
    assert "intern" in node.roles
