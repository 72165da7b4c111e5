"""[tenant.NAME.entry] of the settings: hours of a CRM, and networks and hours of its roles.

Hours are written "Mon-Fri 08:00-20:00" or "Sat,Sun 22:00-06:00"; without days every day is meant. Plain values, read
once by gateway.settings_file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.entry import DAY_MINUTES, Entry, Hours, Rule, Window
from gateway.network import Allowlist
from gateway.toml_tree import Network, SettingInvalid, read_section, setting

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"(?:([A-Za-z,-]+) +)?([0-9]{2}):([0-9]{2}) ?- ?([0-9]{2}):([0-9]{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class RoleEntrySettings:
    """[tenant.NAME.entry.role.ROLE]: where people and programs of one role may come from, and when."""

    networks: tuple[Network, ...] = setting((), "networks this role may come from; empty means any")
    hours: tuple[str, ...] = setting((), 'when, for example ["Mon-Fri 08:00-20:00"]; empty means always')
    time_zone: str = setting("", "IANA name, for example Asia/Shanghai; default: that of [tenant.NAME.entry]")


@dataclass(frozen=True, slots=True)
class HoursSettings:
    """[tenant.NAME.entry] without the sections of roles: when the CRM may be used."""

    hours: tuple[str, ...] = setting((), 'when, for example ["Mon-Fri 08:00-20:00"]; empty means always')
    time_zone: str = setting("", "IANA name of the time zone hours are in, for example Asia/Shanghai")


@dataclass(frozen=True, slots=True)
class EntrySettings:
    """[tenant.NAME.entry]: hours of the CRM as HoursSettings has them, and what roles are bound to."""

    hours: tuple[str, ...] = ()
    time_zone: str = ""
    roles: Mapping[str, RoleEntrySettings] = field(default_factory=lambda: MappingProxyType({}))


def read_entry(raw: object, name: str, folder: Path) -> EntrySettings:
    """The section from its TOML table; raises SettingInvalid."""
    if not isinstance(raw, Mapping):
        raise SettingInvalid(name, f"must be a section: write [{name}]")
    roles_raw = raw.get("role", {})
    if not isinstance(roles_raw, Mapping):
        raise SettingInvalid(f"{name}.role", f"write one section for each role: [{name}.role.ROLE]")
    own: dict[str, Any] = {key: value for key, value in raw.items() if key != "role"}
    base = read_section(HoursSettings, own, name, folder, ("role",))
    roles = {
        role: read_section(RoleEntrySettings, value, f"{name}.role.{role}", folder) for role, value in roles_raw.items()
    }
    settings = EntrySettings(base.hours, base.time_zone, MappingProxyType(roles))
    entry_of(settings, name)
    return settings


def entry_of(settings: EntrySettings, name: str = "entry") -> Entry | None:
    """The rules as they are judged, None where nothing is set; raises SettingInvalid."""
    own = hours_of(settings.hours, settings.time_zone, name)
    rules = {
        role: Rule(
            Allowlist(one.networks), hours_of(one.hours, one.time_zone or settings.time_zone, f"{name}.role.{role}")
        )
        for role, one in settings.roles.items()
        if one.networks or one.hours
    }
    return Entry(own, MappingProxyType(rules)) if own.windows or rules else None


def entries_of(tenants: Mapping[str, EntrySettings]) -> Mapping[str, Entry]:
    """Tenant → its rules, where it has some; raises SettingInvalid."""
    found = {name: entry_of(one, f"tenant.{name}.entry") for name, one in tenants.items()}
    return MappingProxyType({name: entry for name, entry in found.items() if entry is not None})


def hours_of(texts: tuple[str, ...], zone: str, name: str) -> Hours:
    """Windows from their texts; raises SettingInvalid, also for hours that do not say in which time zone."""
    if zone:
        try:
            found = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise SettingInvalid(f"{name}.time_zone", f"there is no time zone {zone!r}; Asia/Shanghai is one") from None
    elif texts:
        raise SettingInvalid(f"{name}.time_zone", "is needed with hours, for example Asia/Shanghai")
    else:
        return Hours()
    return Hours(tuple(_window(text, f"{name}.hours") for text in texts), found)


def _window(text: str, name: str) -> Window:
    fits = _WINDOW.fullmatch(text.strip())
    if fits is None:
        raise SettingInvalid(name, f'must be written like "Mon-Fri 08:00-20:00", not {text!r}')
    start, end = (int(fits[at]) * 60 + int(fits[at + 1]) for at in (2, 4))
    if int(fits[3]) > 59 or int(fits[5]) > 59 or start >= DAY_MINUTES or end > DAY_MINUTES:
        raise SettingInvalid(name, f"there is no such time of day in {text!r}; the end of the day is 24:00")
    if start == end:
        raise SettingInvalid(name, f"{text!r} begins and ends at once; the whole day is 00:00-24:00")
    return Window(_days(fits[1], text, name), start, end - start if end > start else end + DAY_MINUTES - start)


def _days(text: str | None, whole: str, name: str) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise SettingInvalid(name, f"days are Mon Tue Wed Thu Fri Sat Sun, as in Mon-Fri or Sat,Sun; not {whole!r}")
        begin = DAYS.index(first)
        span = (DAYS.index(last) - begin) % 7 if dash else 0
        days.update((begin + step) % 7 for step in range(span + 1))
    return frozenset(days)
