"""Makes the desk of one tenant's policy bundles as the settings say it has to be, for console and commands alike."""

import secrets
from functools import partial

from gateway.access.store import UserStore
from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.bundles.desk import PolicyDesk
from gateway.bundles.installing import policy_text
from gateway.bundles.store import BundleStore
from gateway.key_step import Proving, Trail
from gateway.settings import Settings
from kms.connections import Pool
from policies.profile import Profile


def desk_of(
    settings: Settings, tenant: str, pool: Pool, proving: Proving, trail: Trail, profile: Profile
) -> PolicyDesk:
    """The desk of a tenant. proving: how somebody shows who they are; profile: what rows and checks are about."""
    store = BundleStore(pool)
    return PolicyDesk(
        tenant,
        store,
        proving,
        trail,
        partial(policy_text, store, tenant, settings.tenants[tenant].policy),
        profile,
        utc_now,
        partial(new_id, "a", secrets.token_bytes),
        settings.access.separated,
        UserStore(pool).role_sets,
    )
