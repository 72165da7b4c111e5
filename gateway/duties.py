"""Whether roles of one account would join duties that [access] separation keeps apart, by the policy in force."""

from collections.abc import Callable, Collection
from datetime import datetime

from gateway.access.users import Joins, joins_nothing
from policies.duty import joined
from policies.enforcer import Bundle


def joins_of(separated: bool, policy: Callable[[str], Bundle], clock: Callable[[], datetime]) -> Joins:
    """The question as accounts ask it. policy: tenant → the bundle in force."""
    if not separated:
        return joins_nothing

    def joins(tenant: str, roles: Collection[str]) -> bool:
        return joined(policy(tenant), tenant, tuple(roles), clock().timestamp()) is not None

    return joins
