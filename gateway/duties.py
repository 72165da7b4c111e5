"""What the settings and the policy in force say about giving rights, as accounts ask it."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from gateway.access.emergencies import LONGEST, EmergencyRules
from gateway.access.giving import Giving, never
from gateway.access.role_changes import MayAsk
from gateway.settings import AccessSettings
from gateway.toml_tree import SettingInvalid
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


def emergency_rules_of(access: AccessSettings) -> EmergencyRules:
    """How long emergency roles last, and how long their alarm goes out before; raises SettingInvalid."""
    most = timedelta(hours=access.emergency_hours)
    if most > LONGEST:
        raise SettingInvalid("access.emergency_hours", f"must be at most {LONGEST.total_seconds() / 3600:g}")
    return EmergencyRules(most, timedelta(minutes=access.emergency_delay_minutes))


def asking_of(policy: Policy) -> MayAsk:
    """Whether roles have the right to ask for somebody's rights."""
    return lambda tenant, roles: policy(tenant).may(tenant, roles, USERS, ASK)
