"""How an installation starts: with the bundle in force, or with what the file of its settings says.

The file decides until an account has published something: it is bundle 1, and a file that was changed (or shipped anew)
is the next one. From then on only people publish, and the file is not looked at any more.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from audit.entry import AuditEntry
from gateway.bundles.bundle import INSTALLATION, StoredBundle, Wording
from gateway.bundles.live import LiveBundles, Loaded, loaded
from gateway.bundles.store import BundleStore
from gateway.database import Pool
from gateway.key_step import Trail
from kms.store import StoreUnavailable
from policies.difference import difference
from policies.enforcer import DEFAULT_POLICY, Bundle, Enforcer
from policies.profile import Profile

TRIES = 5


async def open_bundles(
    files: Mapping[str, Path | None],
    profile: Callable[[str], Profile],
    store: BundleStore,
    trail: Trail,
    clock: Callable[[], datetime],
    new_id: Callable[[], str],
    *,
    separated: bool = False,
) -> LiveBundles:
    """The bundles in force; files: tenant → the policy file of its settings; separated: see gateway.bundles.live.

    Raises PolicyInvalid for a bundle that cannot be loaded, OSError, StoreUnavailable, AuditUnavailable.
    """
    found: dict[str, Loaded] = {}
    for tenant, file in files.items():
        stored = await _in_force(tenant, file or DEFAULT_POLICY, store, trail, clock, new_id)
        found[tenant] = await asyncio.to_thread(loaded, stored, profile(tenant), None, separated=separated)
    return LiveBundles(found, store, profile, separated=separated)


async def _in_force(
    tenant: str,
    file: Path,
    store: BundleStore,
    trail: Trail,
    clock: Callable[[], datetime],
    new_id: Callable[[], str],
) -> StoredBundle:
    for _ in range(TRIES):
        current = await store.published(tenant)
        if current is not None and current.origin != INSTALLATION:
            return current
        wording = await asyncio.to_thread(wording_of, file)
        if current is not None and current.digest == wording.digest:
            return current
        change = list(difference("" if current is None else current.rows, wording.rows).signed)
        await trail.append(
            AuditEntry(
                id=new_id(),
                at=clock(),
                tenant=tenant,
                kind="policy",
                actor=INSTALLATION,
                entity="policy",
                operation="policy.install",
                policy=wording.version,
                reason="published",
                fields={"target": wording.digest, "change": change},
            )
        )
        await store.install(tenant, wording, None if current is None else current.number, clock())
    raise StoreUnavailable


def wording_of(file: Path) -> Wording:
    """What a file of rows says. Raises PolicyInvalid, OSError."""
    rows = file.read_text(encoding="utf-8")
    return Wording(rows, "", Enforcer(()).load(rows).version, "")


async def policy_text(store: BundleStore, tenant: str, file: Path | None) -> str:
    """The rows in force; those of the file where no node has started yet. Raises StoreUnavailable, OSError."""
    stored = await store.published(tenant)
    return stored.rows if stored is not None else (file or DEFAULT_POLICY).read_text(encoding="utf-8")


async def policy_in_force(pool: Pool, tenant: str, file: Path | None, *, separated: bool = False) -> Bundle:
    """Who may do what, for a command: the rows in force, about no profile's fields; separated: see policies.enforcer.

    Raises PolicyInvalid, StoreUnavailable, OSError.
    """
    return Enforcer((), separated=separated).load(await policy_text(BundleStore(pool), tenant, file))
