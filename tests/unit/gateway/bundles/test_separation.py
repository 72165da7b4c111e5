"""Bundles where duties are kept apart: what joins them is neither published nor loaded."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from audit.log import AuditLog
from gateway.access.tokens import new_id
from gateway.access.users import AccountRefused, Profile
from gateway.bundles.bundle import State
from gateway.bundles.desk import BundleRefused
from gateway.bundles.installing import open_bundles
from gateway.database import Pool
from gateway.duties import giving_of
from gateway.key_step import NotAllowed
from gateway.settings import AccessSettings, Separation
from policies.duty import THREE_ROLES
from policies.enforcer import DEFAULT_POLICY
from policies.rows import PolicyInvalid
from tests.unit.gateway.access.world import Clock
from tests.unit.gateway.bundles.office import TENANT, Office, open_office, tryton

APART = THREE_ROLES.read_text(encoding="utf-8")
ROLES = {"xi.tong": "system-admin", "an.quan": "security-admin", "shen.ji": "audit-admin", "li": "sales"}


@pytest.fixture
async def separated(pool: Pool, dsn: str, tmp_path: Path) -> AsyncIterator[Office]:
    """An installation with one account of each of the three."""
    log, file = AuditLog(dsn), tmp_path / "policy.csv"
    await log.start()
    yield await open_office(pool, dsn, log, Clock(), file, rows=APART, roles=ROLES, separated=True)
    await log.close()


async def test_one_of_each_is_enough_to_change_the_policy(separated: Office) -> None:
    number = await separated.proposed(APART + "p, sales, *, op:*, delete, any\n", by="an.quan")
    with pytest.raises(NotAllowed):
        await separated.desk.publish(separated.given("an.quan"), number)
    with pytest.raises(NotAllowed):
        await separated.desk.publish(separated.given("shen.ji"), number)
    await separated.desk.publish(separated.given("xi.tong"), number)
    found = await separated.store.find(TENANT, number)
    assert found is not None
    assert found.state is State.PUBLISHED
    with pytest.raises(NotAllowed):
        await separated.desk.draft(separated.given("xi.tong"), APART, "", "")


async def test_rows_that_join_duties_are_not_proposed(separated: Office) -> None:
    rows = APART + "g, boss, system-admin, *\ng, boss, audit-admin, *\n"
    number = await separated.desk.draft(separated.given("an.quan"), rows, "", "")
    with pytest.raises(PolicyInvalid, match="不同的账号"):
        await separated.desk.propose(separated.given("an.quan"), number)
    assert (await separated.trail())[-1]["reason"] == "policy-invalid"


async def test_rows_that_join_duties_in_an_account_made_since_are_not_published(separated: Office) -> None:
    rows = APART + "p, helper, *, op:console.audit, read, any\n"
    number = await separated.proposed(rows, by="an.quan")
    separated.access.users.roles = (*separated.access.users.roles, "helper")
    await separated.access.users.create(TENANT, "zhou", Profile(roles=("helper", "system-admin")))
    with pytest.raises(PolicyInvalid, match="helper, system-admin"):
        await separated.desk.publish(separated.given("xi.tong"), number)
    assert (await separated.store.published(TENANT)).number == 1  # type: ignore[union-attr]


async def test_a_file_that_joins_duties_does_not_start(separated: Office) -> None:
    separated.file.write_text(DEFAULT_POLICY.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(PolicyInvalid, match="administrator would hold powers"):
        await separated.node()


async def test_what_another_node_published_without_separation_is_not_taken_over(separated: Office) -> None:
    node = await separated.node()
    separated.file.write_text(DEFAULT_POLICY.read_text(encoding="utf-8"), encoding="utf-8")
    await open_bundles(
        {TENANT: separated.file},
        lambda _: tryton(),
        separated.store,
        separated.log,
        separated.clock,
        partial(new_id, "a", secrets.token_bytes),
    )
    await node.refresh()
    assert node.refused(TENANT) == 2
    assert "system-admin" in node[TENANT].roles


async def test_an_account_that_joins_duties_all_the_same_can_do_nothing_with_them(separated: Office) -> None:
    person = separated.people["an.quan"].user
    await separated.access.users.change(person, Profile(roles=("security-admin", "audit-admin")))
    with pytest.raises(NotAllowed):
        await separated.desk.draft(separated.given("an.quan"), APART, "", "")
    node = await separated.node()
    assert not node[TENANT].may(TENANT, ("security-admin", "audit-admin"), "console.audit")


async def test_roles_and_placements_that_join_duties_are_refused_before_anything_changes(separated: Office) -> None:
    rows = APART + "g, dept:it, system-admin, *\n"
    number = await separated.proposed(rows, by="an.quan")
    await separated.desk.publish(separated.given("xi.tong"), number)
    node, users = await separated.node(), separated.access.users
    access = AccessSettings(separation=Separation.THREE_ROLES)
    users.giving = replace(giving_of(access, node.__getitem__, separated.clock), two_people=False)
    person = separated.people["shen.ji"].user
    for step in (
        users.change(person, Profile(roles=("audit-admin", "security-admin"))),
        users.place(person, ["dept:it"]),
        users.create(TENANT, "zhou", Profile(roles=("system-admin", "security-admin"))),
    ):
        with pytest.raises(AccountRefused) as refused:
            await step
        assert refused.value.problem == "duties-joined"
    assert (await users.get(TENANT, person.id)).roles == ("audit-admin",)  # type: ignore[union-attr]
    assert await users.by_login(TENANT, "zhou") is None
    await users.place(person, ["dept:sales"])
    assert not giving_of(AccessSettings(), node.__getitem__, separated.clock).joins(
        TENANT, ("audit-admin", "system-admin")
    )


async def test_without_separation_nothing_is_asked(office: Office) -> None:
    number = await office.proposed(office.file.read_text(encoding="utf-8") + "g, boss, administrator, *\n")
    await office.desk.publish(office.given("bo"), number)
    with pytest.raises(BundleRefused):
        await office.desk.publish(office.given("bo"), number)
