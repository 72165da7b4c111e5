"""Whether a tenant's CRM holds no value in clear any more: what `verify` proved, or what the settings say.

The serving gateway reads the proofs every few seconds. While they cannot be read nothing counts as proved: then people
who may not see everything have clear values masked, which is right in either case.
"""

import asyncio
from collections.abc import Collection, Mapping

from audit.beside import end
from gateway.protect.store import Proof, ProtectStore
from kms.store import StoreUnavailable
from policies.profile import Profile
from policies.walk import Walk

EVERY_S = 2.0
RECORDS, HISTORY = "records", "history"


def parts_of(profile: Profile) -> frozenset[str]:
    """What has to be proved of a CRM: its records, and a history that its interface cannot clean."""
    walk = profile.walk
    return frozenset({RECORDS, HISTORY} if walk is not None and walk.history is not None else {RECORDS})


class Migrated:
    """Answers for all tenants of one process. told: tenants that the settings call migrated; needed: tenant → parts."""

    def __init__(self, store: ProtectStore, told: Collection[str], needed: Mapping[str, Collection[str]]) -> None:
        self._store = store
        self._told = frozenset(told)
        self._needed = needed
        self._proved: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    def __call__(self, tenant: str) -> bool:
        """Whether nothing in clear is left in the CRM of a tenant."""
        return tenant in self._told or tenant in self._proved

    async def start(self) -> None:
        """Read what was proved, and go on reading it."""
        await self.refresh()
        self._task = asyncio.create_task(self._follow(), name="proofs of protection")

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            await end(self._task)

    async def refresh(self) -> None:
        """Read what was proved; nothing is while the store does not answer."""
        try:
            proofs = await self._store.proofs()
        except StoreUnavailable:
            proofs = {}
        self._proved = frozenset(
            tenant for tenant, parts in self._needed.items() if complete(parts, proofs.get(tenant, ()))
        )

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.refresh()


def complete(parts: Collection[str], proofs: Collection[Proof]) -> bool:
    """Whether each of these parts was proved."""
    return set(parts) <= {one.part for one in proofs}


def parts_reached(profile: Profile, walk: Walk, tables: Collection[str] | None) -> frozenset[str]:
    """The parts of a CRM that a walk reaches whole. tables: those of a map, None for the walk through the interface."""
    if tables is None:
        return frozenset({RECORDS})
    wanted = _kinds(profile.walk) if profile.walk is not None else frozenset()
    reached = {RECORDS} if wanted and wanted <= _kinds(walk) else set()
    if profile.walk is not None and profile.walk.history is not None and profile.walk.history.table in tables:
        reached.add(HISTORY)
    return frozenset(reached)


def _kinds(walk: Walk) -> frozenset[tuple[str, str]]:
    """The fields a walk reaches whose values are personal whole."""
    specs = [spec for entity in walk.entities for one in entity.fields
             for spec in (one.spec, *(one.by[1].values() if one.by is not None else ()))]  # fmt: skip
    return frozenset((spec.entity, spec.name) for spec in specs if spec.kind is not None)
