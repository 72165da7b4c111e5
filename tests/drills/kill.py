"""`make kill-drill`: gateway and PostgreSQL are killed in turn with SIGKILL under load; the trail must have it all.

A real `crmgate serve` stands in front of a small CRM. People create records, read them and are refused, all the time;
what was answered in full is written down. Every kill comes at a random moment of running work: of the gateway's
processes, or of PostgreSQL's postmaster and all its backends at once. Afterwards every acknowledged exchange must have
each of its events exactly once, no event may be there twice, the log must be whole and signed on after each kill, and
the watch must have found nothing.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout
from rich import box
from rich.console import Console
from rich.table import Table

from audit.checkpoint import read_newest
from audit.note import Verifier, read_signer
from audit.verify import LogTampered, Verified, verify
from audit.watch import Watch, findings_path
from gateway.database import open_pool
from gateway.supervisor import REASON as RESTARTED
from tests.conftest import unwalled
from tests.drills.kill_load import CREATE, READ, REFUSED, Ledger, Load, begin
from tests.drills.kill_site import PROGRAM, TENANT, Site, await_that, site

KILLS, SEED = 50, 20261127
WORK_BETWEEN = 12  # acknowledged exchanges before the next kill
MOMENT_S = 0.3  # and then at some moment within
NODE, DATABASE = "gateway", "PostgreSQL"
EVENTS = {CREATE: ("decision", "outcome"), READ: ("outcome",), REFUSED: ("refusal",)}
"""Kinds of entry that each exchange leaves, once each."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Events of acknowledged exchanges that are not in the trail, and events that are there more than once."""

    lost: list[str]
    duplicated: list[str]


@dataclass(slots=True)
class Result:
    """What the drill found. recovery_s: what was killed → seconds from each kill to the next acknowledged exchange."""

    acknowledged: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    recovery_s: dict[str, list[float]] = field(default_factory=lambda: {NODE: [], DATABASE: []})
    judged: Judged = field(default_factory=lambda: Judged([], []))
    verified: Verified | None = None
    findings: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """Why the drill failed; empty when it did not."""
        return [*self.judged.lost, *self.judged.duplicated, *self.findings, *self.wrong]


def judge(acknowledged: Mapping[str, str], entries: Iterable[Mapping[str, Any]]) -> Judged:
    """Hold the clients' ledger against the entries of the trail, by client address, exchange and event id."""
    ids: Counter[str] = Counter()
    events: Counter[tuple[str, str, int]] = Counter()
    known: dict[str, Counter[str]] = defaultdict(Counter)
    for one in entries:
        ids[one["id"]] += 1
        if one["exchange"]:
            events[one["exchange"], one["kind"], one["fields"].get("release", 0)] += 1
        known[one["client"]][one["kind"]] += 1
    lost, duplicated = [], [f"event {name} is there {count} times" for name, count in ids.items() if count > 1]
    duplicated += [f"{kind} of exchange {name}: {n} times" for (name, kind, _), n in events.items() if n > 1]
    for client, what in acknowledged.items():
        for kind in EVENTS[what]:
            if not known[client][kind]:
                lost.append(f"{what} from {client}: its {kind} is lost")
            elif known[client][kind] > 1:
                duplicated.append(f"{what} from {client}: its {kind} is there {known[client][kind]} times")
    return Judged(lost, duplicated)


def run(kills: int, program: Sequence[str | Path] = PROGRAM, seed: int = SEED) -> Result:
    """The whole drill. Raises: DrillFault."""
    result, rng = Result(), random.Random(seed)
    with site(program) as at:
        load = begin(at)
        try:
            _kill_again_and_again(at, load.ledger, kills, rng, result)
        finally:
            load.stop()
        at.node.stop()  # a clean end signs what is left
        asyncio.run(_look(at, load, result))
    return result


def _kill_again_and_again(at: Site, ledger: Ledger, kills: int, rng: random.Random, result: Result) -> None:
    verifier = read_signer(at.settings.checkpoint_key_path).verifier
    for number in range(kills):
        known = len(ledger.acknowledged)
        await_that(lambda known=known: len(ledger.acknowledged) >= known + WORK_BETWEEN, "nothing is served any more")  # type: ignore[misc]
        time.sleep(rng.uniform(0, MOMENT_S))
        signed, what, began = _signed(at, verifier), (NODE, DATABASE)[number % 2], time.monotonic()
        (at.kill_node if what == NODE else at.kill_database)()
        known = len(ledger.acknowledged)
        await_that(lambda known=known: len(ledger.acknowledged) > known, f"no recovery after {what} was killed")  # type: ignore[misc]
        result.recovery_s[what].append(time.monotonic() - began)
        await_that(lambda signed=signed: _signed(at, verifier) > signed, f"no checkpoint after {what} was killed")  # type: ignore[misc]


def _signed(at: Site, verifier: Verifier) -> int:
    """Entries that the newest checkpoint beside the key covers."""
    kept = read_newest(at.settings.checkpoint_folder, TENANT, verifier)
    return kept.size if kept is not None else 0


async def _look(at: Site, load: Load, result: Result) -> None:
    """Hold ledger, trail, checkpoints and watch against each other."""
    ledger, folder = load.ledger, at.settings.checkpoint_folder
    result.acknowledged, result.other, result.wrong = Counter(ledger.acknowledged.values()), ledger.other, ledger.wrong
    entries = _entries(at.dsn)
    result.judged = judge(ledger.acknowledged, entries)
    # That PostgreSQL was started again is true, and no finding.
    alarms = [one for one in entries if one["kind"] == "alarm" and one["reason"] != RESTARTED]
    result.findings = [f"alarm: {one['operation']} {one['reason']}" for one in alarms]
    if findings_path(folder, TENANT).exists():
        result.findings += findings_path(folder, TENANT).read_text(encoding="utf-8").splitlines()
    verifier = read_signer(at.settings.checkpoint_key_path).verifier
    try:
        result.verified = await verify(at.dsn, TENANT, verifier, folder)
    except LogTampered as found:
        result.findings.append(str(found))
    pool = await open_pool(at.dsn, max_size=2)
    try:
        watch = Watch(pool, verifier, folder, now=lambda: datetime.now(UTC), slice_entries=1_000_000)
        await watch.round()
        result.findings += [one.text for one in watch.findings(TENANT)]
        if watch.sight(TENANT).whole_at is None:
            result.findings.append("the watch did not read the whole trail")
    except PoolTimeout:
        result.findings.append("the database does not answer")
    finally:
        await pool.close()


def _entries(dsn: str) -> list[dict[str, Any]]:
    with psycopg.connect(unwalled(dsn)) as connection:
        rows = connection.execute("SELECT body FROM audit_entry WHERE tenant = %s ORDER BY index", [TENANT]).fetchall()
    return [json.loads(row[0]) for row in rows]


def show(result: Result, console: Console) -> None:
    """The figures."""
    table = Table(title="Killed under load", box=box.SIMPLE_HEAD, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for what, seconds in result.recovery_s.items():
        table.add_row(f"SIGKILL of {what}", str(len(seconds)))
        if seconds:
            middle = sorted(seconds)[len(seconds) // 2]
            table.add_row("  to the next acknowledged exchange", f"median {middle:.1f} s, at most {max(seconds):.1f} s")
    total = sum(result.acknowledged.values())
    told = ", ".join(f"{count} {what}" for what, count in sorted(result.acknowledged.items()))
    table.add_row("acknowledged exchanges", f"{total} ({told})")
    table.add_row("not answered, or told to come back", str(sum(result.other.values())))
    table.add_row("  " + ", ".join(f"{what}: {count}" for what, count in sorted(result.other.items())), "")
    if result.verified is not None:
        table.add_row("entries in the trail, index without a gap", str(result.verified.entries))
        table.add_row("checkpoints; entries signed", f"{result.verified.checkpoints}; {result.verified.signed}")
    table.add_row("events of acknowledged exchanges lost", str(len(result.judged.lost)))
    table.add_row("events duplicated", str(len(result.judged.duplicated)))
    table.add_row("findings of verification and watch", str(len(result.findings)))
    console.print(table)
    for fault in result.faults[:20]:
        console.print(f"  {fault}", style="red", markup=False)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--program", nargs="*", default=[], help="what python runs instead of crmgate")
    given = parser.parse_args()
    result = run(given.kills, given.program or PROGRAM, given.seed)
    show(result, Console(width=110))
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
