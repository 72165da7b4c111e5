"""The state of everything the gateway rests on, each with a word, a fact and what to do when it is bad.

Each check is bounded in time and catches only the failures its collaborator declares; what else it raises is a fault of
ours and shown as one. No check shows an address, a key or a secret.
"""

import asyncio
import shutil
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audit.anchor import AnchorState
from audit.siem.forwarder import ForwardState
from audit.siem.position_store import positions
from audit.store import size as audit_size
from audit.watch_sight import Finding
from gateway.console.archive_health import read_archive
from gateway.console.deps import ConsoleDeps
from gateway.console.store import database_state
from gateway.console.words import N_
from gateway.directory.outcome import DirectoryUnavailable
from gateway.guess_store import GuessStore
from gateway.guesses import SEARCH, UNIQUENESS
from gateway.learn.store import LearnStore
from gateway.tls import URGENT_DAYS, WARN_DAYS, nearest
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable

CHECK_S = 5.0
GUESSES_SHOWN = REVIVALS_SHOWN = timedelta(hours=24)
DISK_LOW_BYTES = 2 * 1024**3
CHECKPOINT_LATE_S = 300
SIEM_LATE_ENTRIES = 20_000
ANCHOR_LATE_TIMES = 3

ARCHIVE = N_("Archive of the trail")
GOOD, WARNING, BAD = "good", "warning", "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: id, name, state, the fact as a sentence with its values, and what helps."""

    id: str
    name: str
    state: str
    fact: str
    values: dict[str, Any] = field(default_factory=dict)
    advice: str = ""


async def read(deps: ConsoleDeps, tenant: str) -> list[Check]:
    """Every check, at the same time; one that hangs is reported as bad and holds nobody up."""
    checks = [
        _bounded("database", N_("Database"), _database(deps)),
        _bounded("keys", N_("Keys"), _keys(deps)),
        _bounded("audit", N_("Audit trail"), _audit(deps, tenant)),
        *([_bounded("siem", N_("SIEM"), _siem(deps, tenant))] if any(_ways(deps, tenant)) else []),
        _bounded("integrity", N_("Trail unchanged"), _integrity(deps, tenant)),
        _bounded("anchors", N_("Trail anchored outside"), _anchors(deps, tenant)),
        *([_bounded("archive", ARCHIVE, _archive(deps, tenant))] if tenant in deps.archive else []),
        _bounded("crm", N_("CRM"), _crm(deps, tenant)),
        _bounded("drift", N_("Fit of the profile"), _drift(deps, tenant)),
        _bounded("guesses", N_("Questions about hidden values"), _guesses(deps, tenant)),
        _bounded("disk", N_("Disk"), _disk(deps)),
        _bounded("certificates", N_("Certificates"), _certificates(deps, tenant)),
        _bounded("pages", N_("Console pages"), _pages(deps)),
    ]
    if deps.directories(tenant):
        checks.insert(4, _bounded("directory", N_("Company directory"), _directory(deps, tenant)))
    return list(await asyncio.gather(*checks))


async def _bounded(name: str, title: str, check: Awaitable[Check]) -> Check:
    try:
        async with asyncio.timeout(CHECK_S):
            return await check
    except TimeoutError:
        return Check(name, title, BAD, N_("No answer within %(seconds)s seconds."), {"seconds": int(CHECK_S)})
    except StoreUnavailable:
        return Check(
            name, title, BAD, N_("The database does not answer."), {}, N_("Start PostgreSQL or check its address.")
        )
    except KeysUnavailable as fault:
        return Check(
            name,
            title,
            BAD,
            N_("Keys cannot be had (%(problem)s); protected values are refused, nothing passes in the clear."),
            {"problem": fault.problem},
            N_("Unseal or unlock the key store."),
        )
    except Exception as fault:
        return Check(name, title, BAD, N_("The check failed (%(fault)s)."), {"fault": type(fault).__name__})


async def _database(deps: ConsoleDeps) -> Check:
    state = await database_state(deps.pool)
    values = {"version": state.version.split()[0], "size": _size(state.size_bytes), "connections": state.connections}
    if not state.walled:
        return Check(
            "database",
            N_("Database"),
            WARNING,
            N_("PostgreSQL %(version)s; row-level security does not bind this account (superuser or BYPASSRLS)."),
            values,
            N_("Serve through an account without these rights; until then only the code keeps tenants apart."),
        )
    revived = deps.revivals
    if revived.last is not None and deps.access.clock() - revived.last < REVIVALS_SHOWN:
        return Check(
            "database",
            N_("Database"),
            WARNING,
            N_("PostgreSQL %(version)s ended by itself and was started again: times %(count)s, last %(at)s UTC."),
            values | {"count": revived.count, "at": f"{revived.last:%Y-%m-%d %H:%M:%S}"},
            N_("Its server.log in the database folder says why; often the system was short of memory."),
        )
    return Check(
        "database",
        N_("Database"),
        GOOD,
        N_("PostgreSQL %(version)s, %(size)s, %(connections)s connections."),
        values,
    )


async def _keys(deps: ConsoleDeps) -> Check:
    await deps.check_keys()
    return Check("keys", N_("Keys"), GOOD, N_("Key store “%(name)s” is open."), {"name": deps.key_provider})


async def _audit(deps: ConsoleDeps, tenant: str) -> Check:
    state = await deps.trail.state(tenant)
    fault = deps.checkpoint_fault() or state.fault
    values: dict[str, Any] = {"entries": state.entries}
    if fault:
        return Check(
            "audit",
            N_("Audit trail"),
            BAD,
            N_("%(entries)s entries; the last checkpoint does not hold."),
            values,
            N_("Verify the trail now and keep a copy of the database."),
        )
    if waiting := deps.checkpoint_waiting():
        fact = N_("%(entries)s entries; checkpoints wait for the key server (%(fault)s).")
        advice = N_("See that the key server can be reached and may sign; the next checkpoint then covers all entries.")
        return Check("audit", N_("Audit trail"), WARNING, fact, values | {"fault": waiting}, advice)
    if state.checkpoint is None or state.signed_at is None:
        return Check("audit", N_("Audit trail"), WARNING, N_("%(entries)s entries, none signed yet."), values)
    late = (deps.access.clock() - state.signed_at).total_seconds() > CHECKPOINT_LATE_S
    unsigned = state.entries - state.checkpoint.size
    values |= {"signed": state.checkpoint.size}
    if late and unsigned:
        return Check(
            "audit",
            N_("Audit trail"),
            WARNING,
            N_("%(entries)s entries, %(signed)s of them signed; signing lags."),
            values,
        )
    return Check("audit", N_("Audit trail"), GOOD, N_("%(entries)s entries, %(signed)s of them signed."), values)


def _ways(deps: ConsoleDeps, tenant: str) -> list[ForwardState]:
    return [one for one in deps.forwarding if one.tenant == tenant]


async def _siem(deps: ConsoleDeps, tenant: str) -> Check:
    """How far each way out is behind, whichever node is at it, and what this node was told last."""
    ways = _ways(deps, tenant)
    async with deps.pool.of(tenant) as connection:
        places = await positions(connection, tenant)
        size = await audit_size(connection, tenant)
    behind = {one.sink: size - places.get(one.sink, 0) for one in ways}
    name, faults = N_("SIEM"), {one.sink: one.fault for one in ways if one.fault}
    lacking = sum(one.missing + one.altered for one in ways)
    values: dict[str, Any] = {
        "ways": ", ".join(behind),
        "behind": max(behind.values()),
        "faults": ", ".join(f"{sink}: {fault}" for sink, fault in faults.items()),
        "lacking": lacking,
    }
    if lacking:
        fact = N_("%(lacking)s entries were missing or changed when they were to be sent.")
        return Check("siem", name, BAD, fact, values, N_("Verify the trail now and keep a copy of the database."))
    if faults:
        fact = N_("Not taken (%(faults)s); %(behind)s entries wait and are sent later.")
        return Check(
            "siem", name, WARNING, fact, values, N_("Start the collector or check its address and certificate.")
        )
    if max(behind.values()) > SIEM_LATE_ENTRIES:
        return Check("siem", name, WARNING, N_("%(ways)s: %(behind)s entries behind."), values)
    return Check("siem", name, GOOD, N_("%(ways)s: %(behind)s entries behind."), values)


async def _integrity(deps: ConsoleDeps, tenant: str) -> Check:
    """What the watch found, the oldest first: that is where to look."""
    name, watch = N_("Trail unchanged"), deps.trail_watch
    if watch is None:
        return Check("integrity", name, WARNING, N_("Nothing reads the trail again while the gateway runs."))
    sight, found = watch.sight(tenant), watch.findings(tenant)
    if found:
        # Alarms without a place come first and say least.
        first = next((one for one in found if one.span is not None), found[0])
        return Check(
            "integrity",
            name,
            BAD,
            _said(first),
            _values(first),
            N_("Keep a copy of the database, tell the data protection officer, and run crmgate audit verify."),
        )
    if watch.fault:
        return Check("integrity", name, WARNING, N_("The trail cannot be read (%(fault)s)."), {"fault": watch.fault})
    if sight.whole_at is None:
        fact = N_("Being read for the first time since the start; %(read)s entries so far, all unchanged.")
        return Check("integrity", name, GOOD, fact, {"read": sight.sweep})
    age = int((deps.access.clock() - sight.whole_at).total_seconds())
    fact = N_("Every entry was read and found unchanged; the last complete reading began %(age)s seconds ago.")
    return Check("integrity", name, GOOD, fact, {"age": max(age, 0)})


async def _anchors(deps: ConsoleDeps, tenant: str) -> Check:
    """Whether somebody else holds checkpoints; an anchor that contradicts the trail says the most."""
    name, now = N_("Trail anchored outside"), deps.access.clock()
    states = deps.anchors.states(tenant) if deps.anchors is not None else []
    told = "; ".join(f"{one.name}: {one.size}{f' ({one.fault})' if one.fault else ''}" for one in states)
    values: dict[str, Any] = {"told": told}
    if any(one.contradicts for one in states):
        fact = N_("An anchor holds what this trail does not lead to: %(told)s.")
        return Check(
            "anchors",
            name,
            BAD,
            fact,
            values,
            N_("The trail was cut off, rolled back or rewritten, or the anchor lies: keep a copy of the database now."),
        )
    if any(_late(one, now) for one in states):
        fact = N_("An anchor has no new checkpoint: %(told)s.")
        return Check("anchors", name, WARNING, fact, values, N_("See that it can be reached; it is tried again."))
    if not any(one.outside for one in states):
        fact = N_("No anchor is outside this machine: who owns it can rewrite the trail and its checkpoints.")
        advice = N_("Name a folder of somebody else, a witness, a time-stamping authority or an auditor's address.")
        return Check("anchors", name, WARNING, fact, values, advice)
    return Check("anchors", name, GOOD, N_("Entries covered outside the database: %(told)s."), values)


async def _archive(deps: ConsoleDeps, tenant: str) -> Check:
    return Check("archive", ARCHIVE, *await read_archive(deps, tenant))


def _late(state: AnchorState, now: datetime) -> bool:
    """A fault, or nothing for three times as long as it takes; a quiet trail has nothing new to bring."""
    if not state.fault:
        return False
    since = state.at
    return since is None or (now - since).total_seconds() > ANCHOR_LATE_TIMES * max(state.every_s, 60)


def _said(finding: Finding) -> str:
    if finding.span is not None and finding.since is not None:
        return N_("Entries %(first)s to %(last)s were changed, moved or removed between %(since)s and %(found)s UTC.")
    if finding.span is not None:
        return N_("Entries %(first)s to %(last)s were changed, moved or removed; found %(found)s UTC.")
    if finding.checkpoint is not None:
        return N_("The checkpoint signed at %(size)s entries is gone or changed; found %(found)s UTC.")
    return N_("Somebody went around the guards of the trail in the database; found %(found)s UTC.")


def _values(finding: Finding) -> dict[str, Any]:
    first, last = finding.span or (0, 0)
    since = f"{finding.since:%Y-%m-%d %H:%M:%S}" if finding.since else ""
    found = f"{finding.found_at:%Y-%m-%d %H:%M:%S}"
    return {"first": first, "last": last, "since": since, "found": found, "size": finding.checkpoint}


async def _crm(deps: ConsoleDeps, tenant: str) -> Check:
    crm = deps.crm(tenant)
    try:
        await crm.check()
    except (OSError, TimeoutError) as fault:
        return Check(
            "crm",
            N_("CRM"),
            BAD,
            N_("The CRM does not answer (%(fault)s)."),
            {"fault": type(fault).__name__},
            N_("Start the CRM or check its address in the settings."),
        )
    return Check("crm", N_("CRM"), GOOD, N_("The CRM answers; profile “%(profile)s”."), {"profile": crm.profile})


async def _directory(deps: ConsoleDeps, tenant: str) -> Check:
    """Whether each directory that checks passwords can be asked now, and how often it could not since the start."""
    asked = deps.directories(tenant)
    before = sum(count for one in asked for count in one.faults.values())
    answers = await asyncio.gather(*(one.pass_time() for one in asked), return_exceptions=True)
    name, values = N_("Company directory"), {"count": len(asked), "faults": before}
    for one, answer in zip(asked, answers, strict=True):
        if isinstance(answer, DirectoryUnavailable):
            return Check(
                "directory",
                name,
                BAD,
                N_("The directory “%(name)s” cannot be asked (%(problem)s): its people cannot sign in."),
                {"name": one.name, "problem": answer.reason},
                N_("Run crmgate check; it says what is wrong with each server."),
            )
        if isinstance(answer, BaseException):
            raise answer
    return Check(
        "directory", name, GOOD, N_("%(count)s answer; not available %(faults)s times since the start."), values
    )


async def _drift(deps: ConsoleDeps, tenant: str) -> Check:
    """Whether the CRM shows what its profile does not declare: after an update of the CRM it often does."""
    counts = await LearnStore(deps.pool).drift_counts(tenant)
    name, values = N_("Fit of the profile"), {"endpoints": counts.get("endpoint", 0), "fields": counts.get("field", 0)}
    if not counts:
        return Check("drift", name, GOOD, N_("The CRM shows nothing that its profile does not declare."))
    return Check(
        "drift",
        name,
        WARNING,
        N_("Not declared in the profile: %(endpoints)s addresses and %(fields)s fields with personal values."),
        values,
        N_("List them with crmgate learn drift, and extend the profile; recognised values are masked meanwhile."),
    )


async def _guesses(deps: ConsoleDeps, tenant: str) -> Check:
    """Whether somebody used up a budget of the last day: that is an alarm, whoever he is."""
    name, budgets = N_("Questions about hidden values"), deps.budgets
    most = await GuessStore(deps.pool).most(tenant, deps.access.clock() - GUESSES_SHOWN)
    limits = {UNIQUENESS: budgets.uniqueness, SEARCH: budgets.searches}
    # Reveals are counted in the same table under a sort of their own; their ledger tells of them.
    used = {one.actor for one in most if one.sort in limits and one.times >= limits[one.sort]}
    values = {
        "people": len(used),
        "taken": max((one.times for one in most if one.sort == UNIQUENESS), default=0),
        "searches": max((one.times for one in most if one.sort == SEARCH), default=0),
        "taken_budget": budgets.uniqueness,
        "searches_budget": budgets.searches,
    }
    if not used:
        fact = N_(
            "In 24 hours nobody used up a budget: at most %(taken)s of %(taken_budget)s answers that a value is taken, "
            "%(searches)s of %(searches_budget)s searches in one hour."
        )
        return Check("guesses", name, GOOD, fact, values)
    return Check(
        "guesses",
        name,
        BAD,
        N_("In 24 hours %(people)s people used up a budget of questions about values they do not see."),
        values,
        N_("Look for alarms in the activity of the last day, and speak to these people: somebody may be guessing."),
    )


async def _disk(deps: ConsoleDeps) -> Check:
    usage = await asyncio.to_thread(shutil.disk_usage, deps.data_folder)
    values = {"free": _size(usage.free), "total": _size(usage.total)}
    if usage.free < DISK_LOW_BYTES:
        return Check(
            "disk",
            N_("Disk"),
            BAD,
            N_("%(free)s free of %(total)s."),
            values,
            N_("Make room: when the disk is full the audit trail stops and everything is refused."),
        )
    return Check("disk", N_("Disk"), GOOD, N_("%(free)s free of %(total)s."), values)


async def _certificates(deps: ConsoleDeps, tenant: str) -> Check:
    """The certificate that ends first decides; one that cannot be seen is said, not passed over."""
    found = await deps.certificates(tenant)
    name, now = N_("Certificates"), deps.access.clock()
    if not found:
        return Check("certificates", name, GOOD, N_("No leg of this installation speaks TLS itself."))
    unseen = [one.leg for one in found if one.not_after is None]
    first = nearest(found)
    if first is None or unseen:
        return Check(
            "certificates",
            name,
            WARNING,
            N_("The end of a certificate cannot be seen: %(legs)s."),
            {"legs": ", ".join(unseen)},
            N_("Run crmgate check; it says what is wrong with it."),
        )
    days = first.days(now)
    values = {"leg": first.leg, "days": days, "count": len(found)}
    if days < WARN_DAYS:
        return Check(
            "certificates",
            name,
            BAD if days < URGENT_DAYS else WARNING,
            N_("The certificate of %(leg)s ends in %(days)s days."),
            values,
            N_("Renew it: once it has ended, nobody gets through."),
        )
    fact = N_("%(count)s certificates; the first to end, of %(leg)s, has %(days)s days left.")
    return Check("certificates", name, GOOD, fact, values)


async def _pages(deps: ConsoleDeps) -> Check:
    if deps.access.look.styled:
        return Check("pages", N_("Console pages"), GOOD, N_("Style sheets and scripts are in place."))
    return Check(
        "pages",
        N_("Console pages"),
        WARNING,
        N_("Style sheets of third parties are missing; pages work but look plain."),
        {},
        N_("Run the set-up of the front-end files (make web)."),
    )


def worst(checks: list[Check]) -> str:
    """The state of the whole."""
    states = {check.state for check in checks}
    return BAD if BAD in states else WARNING if WARNING in states else GOOD


def _size(amount: int) -> str:
    value = float(amount)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit in ("B", "KB") else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"
