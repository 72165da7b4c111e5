"""What the settings and the policy in force say about giving rights, as accounts ask it."""

from collections.abc import Callable, Collection
from datetime import datetime

from gateway.access.giving import Giving, never
from gateway.access.role_changes import MayAsk
from gateway.settings import AccessSettings
from policies.duty import joined
from policies.enforcer import Bundle

USERS = "console.users"
ASK, AGREE = "update", "other"
"""Actions of `op:console.users`: changing accounts and asking for rights; agreeing to what somebody else asked for."""
Policy = Callable[[str], Bundle]


def giving_of(access: AccessSettings, policy: Policy, clock: Callable[[], datetime]) -> Giving:
    """What giving rights takes. policy: tenant → the bundle in force."""

    def joins(tenant: str, roles: Collection[str]) -> bool:
        return joined(policy(tenant), tenant, tuple(roles), clock().timestamp()) is not None

    def narrows(tenant: str, roles: Collection[str]) -> bool:
        return policy(tenant).denies(tenant, roles)

    return Giving(access.two_people, joins if access.separated else never, narrows)


def asking_of(policy: Policy) -> MayAsk:
    """Whether roles have the right to ask for somebody's rights."""
    return lambda tenant, roles: policy(tenant).may(tenant, roles, USERS, ASK)
