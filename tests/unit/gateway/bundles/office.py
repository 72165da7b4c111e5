"""An installation as far as its policy goes: PostgreSQL, audit trail, accounts with both factors, one node."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import orjson

from audit.log import AuditLog
from gateway.access.tokens import new_id
from gateway.bundles.desk import PolicyDesk
from gateway.bundles.installing import open_bundles, policy_text
from gateway.bundles.live import LiveBundles
from gateway.bundles.store import BundleStore
from gateway.database import Pool
from gateway.key_step import Credentials
from policies.enforcer import DEFAULT_POLICY, Enforcer
from policies.profile import Profile, load_profile
from tests.unit.gateway.access.world import Access, Clock, Enrolled, build, enrol_in

TENANT = "t1"
SHIPPED = DEFAULT_POLICY.read_text(encoding="utf-8")
DELETING = "p, sales, *, op:*, delete, any\n"
ROLES = {"an": "administrator", "bo": "administrator", "chen": "administrator", "li": "sales"}
CHECKS = """
- given: {roles: [sales]}
  ask: op:party.delete delete
  expect: allow
- given: {roles: [sales]}
  ask: field:party.phone own
  expect: masked
"""


@cache
def tryton() -> Profile:
    """The profile, read once: that takes a while."""
    return load_profile("tryton")


@dataclass
class Office:
    """What a test works with."""

    pool: Pool
    dsn: str
    log: AuditLog
    clock: Clock
    access: Access
    people: dict[str, Enrolled]
    store: BundleStore
    desk: PolicyDesk
    file: Path
    separated: bool = False

    def given(self, name: str) -> Credentials:
        """Credentials of somebody, with a code that was not used yet."""
        self.clock.advance(minutes=2)
        person = self.people[name]
        return Credentials(name, person.password, self.access.code(person.secret))

    async def node(self) -> LiveBundles:
        """One node that starts now."""
        new = partial(new_id, "a", secrets.token_bytes)
        return await open_bundles(
            {TENANT: self.file}, lambda _: tryton(), self.store, self.log, self.clock, new, separated=self.separated
        )

    async def proposed(self, rows: str, by: str = "an", checks: str = "") -> int:
        """The number of a proposed bundle."""
        number = await self.desk.draft(self.given(by), rows, checks, "")
        await self.desk.propose(self.given(by), number)
        return number

    async def trail(self) -> list[dict[str, Any]]:
        """What the audit trail says of the policy, in order."""
        async with self.pool.connection() as db:
            cursor = await db.execute("SELECT body FROM audit_entry ORDER BY index")
            entries = [orjson.loads(row[0]) for row in await cursor.fetchall()]
        return [one for one in entries if one["kind"] == "policy"]


async def open_office(
    pool: Pool,
    dsn: str,
    log: AuditLog,
    clock: Clock,
    file: Path,
    *,
    rows: str = SHIPPED,
    roles: Mapping[str, str] = ROLES,
    separated: bool = False,
) -> Office:
    """Everything, with bundle 1 from the file. roles: login → role."""
    file.write_text(rows, encoding="utf-8")
    access = build(pool, clock)
    access.users.roles = tuple(sorted(Enforcer(()).load(rows).roles))
    people = {name: await enrol_in(access, name, role) for name, role in roles.items()}
    store = BundleStore(pool)
    desk = PolicyDesk(
        TENANT,
        store,
        access.sign_in,
        log,
        partial(policy_text, store, TENANT, file),
        tryton(),
        clock,
        partial(new_id, "a", secrets.token_bytes),
        separated,
        access.store.role_sets,
    )
    made = Office(pool, dsn, log, clock, access, people, store, desk, file, separated)
    await made.node()
    return made
