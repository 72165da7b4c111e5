"""Replays the recorded exchanges of a period against a bundle: reads the trail, asks policies.simulation.

The trail is read newest first, page by page, up to a limit, and nothing of it is kept but names and counts. People have
the roles of now; who is closed or gone is counted and left out. Entries that cannot be read are counted.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from audit.entry import EntryRefused, decode
from audit.query import recent
from audit.store import StoredEntry
from gateway.access.store import UserStore
from gateway.bundles.bundle import StoredBundle
from gateway.bundles.desk import PolicyDesk
from gateway.database import Pool
from gateway.identity.store import IdentityStore
from kms.store import StoreUnavailable
from policies.enforcer import Enforcer
from policies.operation import CONSOLE_OPERATIONS, Action
from policies.simulation import DO, SEE, WRITE, Deed, Simulated, Tally, Vocabulary, simulate

PAGE_ENTRIES = 2_000
ENTRIES_LIMIT = 1_000_000
LATE = timedelta(hours=1)
"""An entry bears the time its exchange began, so that older ones stand behind newer ones; how much older."""

Tell = Callable[[float], None]


class Reading:
    """What people did in a period, as far as it was read. refused: whether what was refused counts, too."""

    def __init__(self, since: datetime, until: datetime, tally: Tally, *, refused: bool) -> None:
        self.since, self.until, self.tally = since, until, tally
        self.reached = until
        self.entries = self.damaged = 0
        self._refused = refused

    @property
    def whole(self) -> bool:
        """Whether all of the period was read and kept."""
        return self.reached <= self.since and not self.tally.left_out and not self.damaged

    def take(self, page: Sequence[StoredEntry]) -> None:
        """Count the deeds of a page."""
        for entry in page:
            if entry.at < self.since or entry.kind not in _READERS:
                continue
            if not self._refused and (entry.status >= 400 or entry.kind == "refusal"):
                continue
            self.entries += 1
            try:
                _READERS[entry.kind](decode(entry.body), entry.at, self.tally)
            except (EntryRefused, ValueError, TypeError, AttributeError):
                self.damaged += 1


@dataclass(frozen=True, slots=True)
class Replay:
    """since, until: the period; reached: the oldest moment that was read, later than since where the limit was met.
    entries: read; damaged: could not be read. logins: person → login or name of the program."""

    since: datetime
    until: datetime
    reached: datetime
    entries: int
    damaged: int
    left_out: int
    logins: Mapping[str, str]
    found: Simulated

    @property
    def whole(self) -> bool:
        """Whether all of the period was read and kept."""
        return self.reached <= self.since and not self.left_out


async def replay(
    desk: PolicyDesk,
    pool: Pool,
    bundle: StoredBundle,
    days: int,
    *,
    limit: int = ENTRIES_LIMIT,
    tell: Tell = lambda _part: None,
) -> Replay:
    """Who would gain or lose what under a bundle, by the last days. tell: part of the work that is done, 0 to 1.

    Raises PolicyInvalid, StoreUnavailable, OSError.
    """
    until = desk.clock()
    reading = await read_deeds(pool, desk.tenant, until, days, limit=limit, tell=tell)
    in_force, profile = await desk.in_force(), desk.profile
    roles, logins = await people(pool, desk.tenant)
    vocabulary = Vocabulary(profile.actions, profile.field_specs)
    total = max(1, len(reading.tally.deeds))

    def compare() -> Simulated:
        load = Enforcer(profile.field_specs, profile.operation_ids, separated=desk.separated).load
        before, after = (load(rows).at(until.timestamp()) for rows in (in_force, bundle.rows))
        return simulate(
            reading.tally, roles, before, after, desk.tenant, vocabulary, lambda done: tell(0.8 + 0.2 * done / total)
        )

    found = await asyncio.to_thread(compare)
    tell(1.0)
    return Replay(
        since=reading.since,
        until=until,
        reached=reading.reached,
        entries=reading.entries,
        damaged=reading.damaged,
        left_out=reading.tally.left_out,
        logins=logins,
        found=found,
    )


async def read_deeds(
    pool: Pool,
    tenant: str,
    until: datetime,
    days: int,
    *,
    limit: int = ENTRIES_LIMIT,
    tell: Tell = lambda _part: None,
    refused: bool = True,
) -> Reading:
    """What people did in the last days, newest first up to the limit; tell: from 0 to 0.8. Raises StoreUnavailable."""
    reading = Reading(until - timedelta(days=days), until, Tally(), refused=refused)
    await _read(reading, tenant, pool, limit, tell)
    return reading


async def people(pool: Pool, tenant: str) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Roles and logins of everybody who may come in now: accounts that are open, programs that are not revoked."""
    roles: dict[str, tuple[str, ...]] = {}
    logins: dict[str, str] = {}
    for user in await UserStore(pool).users(tenant):
        logins[user.id] = user.login
        if not user.disabled:
            roles[user.id] = user.roles
    for client in await IdentityStore(pool).clients(tenant):
        logins[client.id] = client.name
        if client.revoked_at is None:
            roles[client.id] = client.roles
    return roles, logins


async def _read(reading: Reading, tenant: str, pool: Pool, limit: int, tell: Tell) -> None:
    before, seen = None, 0
    period = (reading.until - reading.since).total_seconds() or 1.0
    while seen < limit:
        try:
            page = await recent(pool, tenant, min(PAGE_ENTRIES, limit - seen), before=before)
        except Exception as fault:  # psycopg and its pool have several
            raise StoreUnavailable from fault
        await asyncio.to_thread(reading.take, page)
        seen += len(page)
        newest = max((entry.at for entry in page), default=reading.since)
        if not page or newest < reading.since - LATE:
            reading.reached = reading.since
            return
        before = page[-1].index
        reading.reached = min(reading.reached, max(page[-1].at, reading.since))
        tell(0.8 * (reading.until - reading.reached).total_seconds() / period)
    reading.reached = max(reading.reached, reading.since)


def _exchange(content: Mapping[str, Any], at: datetime, tally: Tally) -> None:
    """An exchange with the CRM."""
    person, operation, fields = content["actor"], content["operation"], content["fields"]
    if not person or not operation:
        return
    parts = {str(part).split(":")[0] for part in fields.get("parts", ())} or {operation}
    if fields.get("release", 0) in (0, 1):
        for part in parts:
            tally.add(Deed(person, part, DO), at)
        for name in fields.get("written", ()):
            tally.add(Deed(person, operation, WRITE, name), at)
    for name, records in fields.get("shown", {}).items():
        by_form: dict[str, int] = {}
        for counts in records.values():
            for form, count in counts.items():
                by_form[form] = by_form.get(form, 0) + count
        for form, count in by_form.items():
            # Each form by itself: what was clear and what was masked came from records of different sorts.
            tally.add(Deed(person, operation, SEE, name, form), at, count)


def _console(content: Mapping[str, Any], at: datetime, tally: Tally) -> None:
    """A page of the console: looking, or changing something."""
    if content["actor"] and content["operation"] in CONSOLE_OPERATIONS:
        action = Action.READ if content["method"] in ("GET", "HEAD") else Action.UPDATE
        tally.add(Deed(content["actor"], content["operation"], DO, how=action.value), at)


_POLICY = {"policy.publish": Action.OTHER}


def _policy(content: Mapping[str, Any], at: datetime, tally: Tally) -> None:
    """A step of a policy bundle."""
    if content["actor"]:
        action = _POLICY.get(content["operation"], Action.UPDATE)
        tally.add(Deed(content["actor"], "console.policy", DO, how=action.value), at)


_READERS: Mapping[str, Callable[[Mapping[str, Any], datetime, Tally], None]] = {
    "outcome": _exchange,
    "refusal": _exchange,
    "console": _console,
    "policy": _policy,
}
"""Kind of entry → who reads it. A decision is left out: its outcome follows."""
