"""What `crmgate check` finds about duties that are kept apart: rows of the policy, and accounts, that join them."""

from collections.abc import Iterator

from gateway.access.store import UserStore
from gateway.bundles.installing import policy_in_force
from gateway.database import Pool
from gateway.finding import Finding, Weight, finding
from gateway.settings import Settings
from policies.duty import Joined, joined, joining
from policies.enforcer import DEFAULT_POLICY, Bundle, Enforcer
from policies.rows import PolicyInvalid


def check_duties(settings: Settings) -> Iterator[Finding]:
    """Findings about the policy files of [tenant.NAME], where [access] separation is on."""
    if not settings.access.separated:
        return
    for name, tenant in settings.tenants.items():
        try:
            bundle = Enforcer(()).load(tenant.policy or DEFAULT_POLICY)
        except (PolicyInvalid, OSError):
            continue  # said where the policy is checked
        yield from _roles(f"tenant.{name}.policy", name, bundle)


async def check_accounts(settings: Settings, pool: Pool) -> list[Finding]:
    """Findings about the bundles in force and the accounts of a database; raises StoreUnavailable."""
    if not settings.access.separated:
        return []
    found: list[Finding] = []
    for name, tenant in settings.tenants.items():
        try:
            bundle = await policy_in_force(pool, name, tenant.policy)
        except (PolicyInvalid, OSError):
            continue
        shown = {one.place for one in found}
        found += [one for one in _roles(f"tenant.{name}.policy", name, bundle) if one.place not in shown]
        for user in await UserStore(pool).users(name):
            apart = joined(bundle, name, user.roles, bundle.now())
            if apart is not None:
                place = f"tenant.{name}.account.{user.login}"
                found.append(finding("duties-account", Weight.PROBLEM, place, login=user.login, duties=_duties(apart)))
    return found


def _roles(place: str, tenant: str, bundle: Bundle) -> Iterator[Finding]:
    for one in joining(bundle, tenant, bundle.now()):
        yield finding("duties-role", Weight.PROBLEM, place, role=", ".join(one.roles), duties=_duties(one))


def _duties(one: Joined) -> str:
    return " + ".join(one.duties)
