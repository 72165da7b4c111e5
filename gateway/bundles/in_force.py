"""The policies that were ever in force, for an evidence pack."""

from audit.pack_choice import Policy
from gateway.bundles.bundle import State
from gateway.bundles.store import BundleStore
from kms.connections import Pool

_IN_FORCE = (State.PUBLISHED, State.RETIRED)


async def policies_in_force(pool: Pool, tenant: str) -> list[Policy]:
    """Of a tenant, the newest first. Raises: StoreUnavailable."""
    return [
        Policy(one.version, one.published.at if one.published else None, one.rows)
        for one in await BundleStore(pool).every(tenant)
        if one.state in _IN_FORCE
    ]
