"""A change of the settings file is an event: what differs from the last start, in the trail before anybody is served.

Secrets stand in files of their own, whose names are settings like any other. A connection string, and what holds an at
sign (an address of mail, an address with a password in it), is kept as `set` only.
"""

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path

from audit.entry import AuditEntry
from gateway.collaborators import AuditTrail
from gateway.difference import difference
from gateway.settings import Settings
from gateway.settings_seen_store import SettingsSeenStore

OPERATION, REASON = "settings.load", "settings-changed"
SET = "set"
_UNTOLD = frozenset({"dsn"})
_BY_TENANT = frozenset({"tenants", "tenant_keys", "tenant_identity", "tenant_entry", "tenant_reveal"})


def told_settings(settings: Settings, tenant: str) -> dict[str, str]:
    """Every setting that counts for a tenant, by its dotted name, as text; secrets are not among them."""
    told: dict[str, str] = {}
    for one in dataclasses.fields(settings):
        value = getattr(settings, one.name)
        if one.name in _BY_TENANT:
            value = value.get(tenant)
        _gather(one.name.removesuffix("s") if one.name == "tenants" else one.name, value, told)
    return told


async def note_settings(
    settings: Settings,
    store: SettingsSeenStore,
    trail: AuditTrail,
    clock: Callable[[], datetime],
    new_id: Callable[[], str],
) -> None:
    """Write into each tenant's trail what is new since the last start; the first start has nothing to compare with.

    Raises StoreUnavailable, AuditUnavailable; what is not in the trail stays unseen, so that the next start tells it.
    """
    for tenant in settings.tenants:
        now = told_settings(settings, tenant)
        async with store.turn(tenant) as turn:
            before = await turn.seen()
            if before == now:
                continue
            if before:
                await trail.append(_entry(tenant, difference(before, now), clock(), new_id()))
            await turn.replace(now)


def _entry(tenant: str, change: tuple[str, ...], at: datetime, name: str) -> AuditEntry:
    return AuditEntry(
        actor="crmgate",
        at=at,
        entity="settings",
        fields={"change": list(change)},
        id=name,
        kind="console",
        operation=OPERATION,
        reason=REASON,
        tenant=tenant,
    )


def _gather(name: str, value: object, told: dict[str, str]) -> None:
    """Put every leaf under its dotted name; what is not given has none."""
    if value is None:
        return
    if dataclasses.is_dataclass(value) and type(value).__str__ is object.__str__:
        for one in dataclasses.fields(value):
            _gather(f"{name}.{one.name}", getattr(value, one.name), told)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _gather(f"{name}.{_text(key)}", item, told)
    elif isinstance(value, tuple | list | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else list(value)
        for place, item in enumerate(items, 1):
            _gather(f"{name}.{place}", item, told)
    else:
        text = _text(value)
        untold = name.rpartition(".")[2] in _UNTOLD or "@" in text
        told[name] = SET if untold and text else text


def _text(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return value.as_posix() if isinstance(value, Path) else str(value)
