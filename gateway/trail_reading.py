"""Reading the trail at the machine is an event of the trail: who asked, with which filters.

What somebody typed as a filter may be a customer's number. So a value is written down only where it comes from a closed
list, or where the trail holds it already; else the name of the filter alone.
"""

import getpass
import secrets
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from audit.entry import AuditEntry
from audit.log import AuditLog
from audit.store import Filters
from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.named_people import People
from kms.pseudonym import is_pseudonym

LIST, TAIL, PROVE, TILES, PACK, QUERY = (
    "audit.list",
    "audit.tail",
    "audit.prove",
    "audit.tiles",
    "audit.pack",
    "audit.query",
)
CLOSED = frozenset({"kind", "since", "until", "tag", "outcome"})
"""Filters whose values are always told: they are looked up in a list, or read as times."""
RECORD = "record"
"""A customer: told as the trail itself names one, by a pseudonym that ends with the person, or not at all."""


def told_filters(given: Mapping[str, object], *, found: bool) -> list[str]:
    """Filters as the trail keeps them, `name=value` or `name`. found: whether the trail holds what was asked for."""
    told = []
    for name, value in sorted(given.items()):
        if value:
            text = value.isoformat() if hasattr(value, "isoformat") else str(value)
            may = is_pseudonym(text) if name == RECORD else found or name in CLOSED
            told.append(f"{name}={text}" if may else name)
    return told


def given_in(filters: Filters) -> dict[str, object]:
    """Filters of a search by their names."""
    return {name: getattr(filters, name) for name in filters.names}


async def named_filters(people: People, tenant: str, filters: Filters) -> Filters:
    """The same filters with a record by every name it has in the trail. Raises KeysUnavailable, StoreUnavailable."""
    if not filters.record:
        return filters
    names = await people.names_of(tenant, filters.entity, filters.record)
    return replace(filters, record=names[-1], records=tuple(names))


async def note_reading(dsn: str, tenant: str, operation: str, filters: Collection[str] = (), **more: Any) -> None:
    """Put into the trail that somebody at this machine reads it, before they do.

    filters: as `told_filters` gives them; more: further `fields`. Raises AuditUnavailable.
    """
    async with AuditLog(dsn) as log:
        await log.append(
            AuditEntry(
                actor="command-line",
                actor_login=getpass.getuser(),
                at=utc_now(),
                entity="audit",
                fields=({"filters": list(filters)} if filters else {}) | more,
                id=new_id("a", secrets.token_bytes),
                kind="console",
                operation=operation,
                reason="done",
                tenant=tenant,
            )
        )
