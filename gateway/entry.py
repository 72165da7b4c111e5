"""From where and when people come in: the lists and hours of one CRM and its roles, and the list of one person.

Every list and every set of hours that names somebody has to let them in, so that a second role never opens what the
first one closes. Hours are those of a wall clock: a window belongs to the day it begins on, its end is not in it.
Nothing here does I/O; `require` costs one cached lookup for a list and a microsecond for hours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import ip_network
from types import MappingProxyType
from zoneinfo import ZoneInfo

from gateway.exchange import Principal
from gateway.network import Allowlist
from gateway.refusal import HOUR_NOT_ALLOWED, PLACE_NOT_ALLOWED, Refusal

LISTS = 1_024  # lists of people that are held at a time, each with its own bounded verdicts
LIST_MOST = 64  # networks in the list of one person
DAY_MINUTES = 24 * 60


class ListInvalid(ValueError):  # noqa: N818 - what somebody typed
    """A list of networks that cannot be used; `entry` is the part that is no network, "" where there are too many."""

    permanent = True

    def __init__(self, entry: str) -> None:
        super().__init__(entry)
        self.entry = entry


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the week: days (Monday is 0) on which it begins, first minute of the day, and minutes it lasts."""

    days: frozenset[int]
    start: int
    length: int

    def holds(self, moment: datetime) -> bool:
        """Whether a moment of the wall clock lies in it."""
        minute = moment.hour * 60 + moment.minute
        if moment.weekday() in self.days and self.start <= minute < self.start + self.length:
            return True
        yesterday = (moment - timedelta(days=1)).weekday()
        return yesterday in self.days and minute < self.start + self.length - DAY_MINUTES


@dataclass(frozen=True, slots=True)
class Hours:
    """Windows in one time zone; without a window every moment is in."""

    windows: tuple[Window, ...] = ()
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    def hold(self, now: datetime) -> bool:
        """Whether a moment (with a time zone) is inside."""
        if not self.windows:
            return True
        moment = now.astimezone(self.zone)
        return any(window.holds(moment) for window in self.windows)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """What one role (or a whole CRM) is bound to."""

    allowlist: Allowlist
    hours: Hours


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """The rules of one CRM: its own hours (its list is judged before anybody is known) and those of its roles."""

    hours: Hours = field(default_factory=Hours)
    roles: Mapping[str, Rule] = field(default_factory=lambda: MappingProxyType({}))

    def require(self, who: Principal, address: str, now: datetime) -> None:
        """Raise Refusal PLACE_NOT_ALLOWED or HOUR_NOT_ALLOWED unless this person may be here now."""
        if not self.hours.hold(now):
            raise Refusal(HOUR_NOT_ALLOWED)
        self.require_roles(who.roles, address, now)
        require_own(who.networks, address)

    def require_roles(self, roles: Iterable[str], address: str, now: datetime) -> None:
        """Raise as `require` does, for what roles say alone."""
        if not self.roles:
            return
        for role in roles:
            rule = self.roles.get(role)
            if rule is None:
                continue
            if not rule.allowlist.permits(address):
                raise Refusal(PLACE_NOT_ALLOWED)
            if not rule.hours.hold(now):
                raise Refusal(HOUR_NOT_ALLOWED)


def require_entry(entry: Entry | None, who: Principal, address: str, now: datetime) -> None:
    """Raise as `Entry.require` does, at a CRM that may have no rules; the list of the person holds anyway."""
    if entry is not None:
        entry.require(who, address, now)
    else:
        require_own(who.networks, address)


def require_own(networks: str, address: str) -> None:
    """Raise Refusal PLACE_NOT_ALLOWED unless the list of a person ("" for none) has the address."""
    if networks and not _list_of(networks).permits(address):
        raise Refusal(PLACE_NOT_ALLOWED)


@lru_cache(maxsize=LISTS)
def _list_of(networks: str) -> Allowlist:
    # The text is the version of the list: a changed list is another key, and no verdict of the old one is asked again.
    return Allowlist(tuple(ip_network(one) for one in networks.split()), cache=256)


def written(networks: Sequence[str]) -> str:
    """A list of networks as it is kept: canonical, in order, parted by spaces; raises ListInvalid."""
    found = set()
    for one in networks:
        try:
            network = ip_network(one.strip())
        except ValueError:
            raise ListInvalid(one.strip()) from None
        mapped = getattr(network.network_address, "ipv4_mapped", None)
        if mapped is not None:
            raise ListInvalid(one.strip())  # addresses are compared as IPv4: such a network would match nobody
        found.add(network)
    if len(found) > LIST_MOST:
        raise ListInvalid("")
    return " ".join(str(one) for one in sorted(found, key=lambda one: (one.version, one)))
