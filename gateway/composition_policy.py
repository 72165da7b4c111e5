"""Builds the one holder of the bundles in force."""

import secrets
from collections.abc import Mapping
from functools import partial

from audit.log import AuditLog
from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.bundles.installing import open_bundles
from gateway.bundles.live import LiveBundles
from gateway.bundles.store import BundleStore
from gateway.database import Pool
from gateway.installation import Installation
from gateway.settings import Settings


async def live_bundles(
    settings: Settings, installations: Mapping[str, Installation], database: Pool, audit: AuditLog
) -> LiveBundles:
    """The policy of each tenant; raises PolicyInvalid, OSError, StoreUnavailable, AuditUnavailable."""
    return await open_bundles(
        {name: tenant.policy for name, tenant in settings.tenants.items()},
        lambda tenant: installations[tenant].current,
        BundleStore(database),
        audit,
        utc_now,
        partial(new_id, "a", secrets.token_bytes),
        separated=settings.access.separated,
    )
