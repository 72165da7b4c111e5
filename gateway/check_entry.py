"""What `crmgate check` finds about who may come in: roles nobody has, rules that let nobody in, the password file."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from gateway.access.breached import BreachFile, BreachFileUnusable
from gateway.entry import Hours
from gateway.entry_config import EntrySettings, RoleEntrySettings, hours_of
from gateway.finding import Finding, Weight, finding
from gateway.settings import Settings, TenantSettings
from policies.enforcer import DEFAULT_POLICY, Enforcer
from policies.rows import PolicyInvalid

_WEEK = timedelta(days=7)


def check_entry(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Findings about [tenant.NAME.entry] and access.breached_passwords; now: with a time zone, the week looked at."""
    for name, entry in settings.tenant_entry.items():
        yield from _tenant(f"tenant.{name}.entry", settings.tenants[name], entry, now)
    path = settings.access.breached_passwords
    if path is not None:
        try:
            BreachFile(path).has("")
        except BreachFileUnusable:
            yield finding("breached-unusable", Weight.PROBLEM, "access.breached_passwords", file=path)


def _tenant(place: str, tenant: TenantSettings, entry: EntrySettings, now: datetime) -> Iterator[Finding]:
    try:
        known = set(Enforcer(()).load(tenant.policy or DEFAULT_POLICY).roles)
    except (PolicyInvalid, OSError):
        return  # said where the policy is checked
    for role in sorted(set(entry.roles) - known):
        yield finding("entry-role-unknown", Weight.PROBLEM, f"{place}.role.{role}", role=role)
    shut = {role for role, one in entry.roles.items() if role in known and not _open(tenant, entry, one, now)}
    if known and shut == known:
        yield finding("entry-locks-out-all", Weight.PROBLEM, place)
        return
    for role in sorted(shut):
        yield finding("entry-role-locked-out", Weight.PROBLEM, f"{place}.role.{role}", role=role)


def _open(tenant: TenantSettings, entry: EntrySettings, role: RoleEntrySettings, now: datetime) -> bool:
    """Whether there is an address and a minute at which somebody of this role alone gets in."""
    if tenant.allow_networks and role.networks:
        pairs = ((a, b) for a in tenant.allow_networks for b in role.networks if a.version == b.version)
        # Versions are equal here, which the type of a network does not say.
        if not any(int(a[0]) <= int(b[-1]) and int(b[0]) <= int(a[-1]) for a, b in pairs):
            return False
    own = hours_of(entry.hours, entry.time_zone, "entry")
    other = hours_of(role.hours, role.time_zone or entry.time_zone, "entry")
    return not (own.windows and other.windows) or _meet(own, other, now)


def _meet(one: Hours, other: Hours, now: datetime) -> bool:
    minutes = range(int(_WEEK.total_seconds()) // 60)
    return any(one.hold(at) and other.hold(at) for at in (now + timedelta(minutes=step) for step in minutes))
