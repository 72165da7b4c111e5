"""What five years cost: real segments made on this machine from invented entries, measured, and drawn out.

The entries are of the shape the gateway writes: people read records, list them, write, sign in and are refused. Sizes
and times of the segments are measured; those for years are the same per entry, or per segment where a query opens
each. Nothing here touches the trail.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from audit.cold.segment_file import Draft, check_segment, file_digest
from audit.cold.sought import may_hold
from audit.entry import AuditEntry, encode
from audit.tree import Frontier

USERS = 300
CUSTOMERS = 200_000
LISTED = 20
_FIELDS = tuple(f"contact.{name}" for name in ("phone", "email", "name", "address", "birth_date", "id_number"))
_BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
_SHARES = (("list", 8), ("read", 62), ("write", 15), ("sign-in", 10), ("refusal", 5))  # of 100
_BATCH = 1_000
_MANY = 400  # segments that questions are asked of
_HEX = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is planned. events: to measure with; price: of a gigabyte a month, in whatever money."""

    events: int
    segment_entries: int
    per_day: int = 1_000_000
    years: int = 5
    price: float = 0.025

    @property
    def total(self) -> int:
        """Entries in all."""
        return self.per_day * 365 * self.years + self.per_day * (self.years // 4)


@dataclass(slots=True)
class Measured:
    """Of the segments made. Seconds of queries are by the wall, as the machine was busy then; the others of processors.

    pass_s: to see that one segment cannot hold a value; sought_bytes: of the files that say so.
    """

    events: int = 0
    sights: int = 0
    segments: int = 0
    body_bytes: int = 0
    event_bytes: int = 0
    sight_bytes: int = 0
    seal_s: float = 0.0
    verify_s: float = 0.0
    sought_bytes: int = 0
    pass_s: float = 0.0
    queries: dict[str, list[tuple[int, float, int]]] = field(default_factory=dict)
    """Name of a query → (segments looked into, median seconds, rows found)."""


def invented(count: int, seed: int, per_day: int) -> Iterator[tuple[int, datetime, bytes]]:
    """Entries as they would lie in the log; the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - invented data
    kinds, weights = [kind for kind, _ in _SHARES], [share for _, share in _SHARES]
    step = timedelta(days=1) / per_day
    for index, kind in enumerate(chance.choices(kinds, weights, k=count)):
        at = (_BEGIN + index * step).replace(microsecond=chance.randrange(1_000_000))
        yield index, at, encode(_entry(chance, kind, at))


def _entry(chance: random.Random, kind: str, at: datetime) -> AuditEntry:
    user = int(USERS * chance.random() ** 2)
    record = str(int(CUSTOMERS * chance.random() ** 1.5))
    common: dict[str, Any] = {
        "actor": f"u{user:04d}", "actor_login": f"staff{user:04d}", "at": at, "client": f"10.2.{user % 250}.{user % 7}",
        "crm_user": str(user), "exchange": "x" + _id(chance), "id": "a" + _id(chance), "policy": "b41f77d20c",
        "tenant": "main",
    }  # fmt: skip
    device = {"device": f"d{user:04d}", "session": f"s{user:04d}{at.day:02d}"}
    if kind == "sign-in":
        return AuditEntry(**common, fields=device, kind="sign-in", operation="sign-in.password", reason="allowed",
                          status=200)  # fmt: skip
    about = {**common, "entity": "contact", "method": "GET", "path_shape": "/contacts/{id}"}
    if kind == "refusal":
        return AuditEntry(**about, fields={**device, "refused": ["contact.id_number"]}, kind="decision",
                          operation="contact.read", reason="field-not-readable", record=record, status=403)  # fmt: skip
    if kind == "write":
        return AuditEntry(**{**about, "method": "POST"}, fields={**device, "written": list(_FIELDS[:2])},
                          kind="decision", operation="contact.update", reason="allowed", record=record,
                          status=200)  # fmt: skip
    records = [record]
    if kind == "list":
        records = [str(int(CUSTOMERS * chance.random())) for _ in range(LISTED)]
    shown = {
        name: {one: {"masked" if place % 2 else "clear": 1} for one in records}
        for place, name in enumerate(_FIELDS[: 3 if kind == "list" else 6])
    }
    return AuditEntry(**about, fields={**device, "shown": shown}, kind="decision", operation=f"contact.{kind}",
                      reason="allowed", record="" if kind == "list" else record, status=200)  # fmt: skip


def _id(chance: random.Random) -> str:
    return "".join(chance.choices(_HEX, k=20))


def measure(
    folder: Path,
    wanted: Wanted,
    told: Callable[[str], None],
    clock: Callable[[], float] = time.perf_counter,
    used: Callable[[], float] = time.process_time,
) -> Measured:
    """Make segments in a folder and look things up in them. Raises: OSError.

    clock: seconds by the wall; used: of processors.
    """
    made = Measured()
    files: list[tuple[Path, Path, Path]] = []
    entries = invented(wanted.events, 7, wanted.per_day)
    tree = Frontier()
    while made.events < wanted.events:
        before = Frontier.from_bytes(tree.size, tree.to_bytes())
        paths = folder / f"{made.segments:05d}.event.parquet", folder / f"{made.segments:05d}.sight.parquet"
        hashes = folder / f"{made.segments:05d}.hashes"
        draft = Draft(lambda _: "")
        while len(draft.leaves) < min(wanted.segment_entries, wanted.events - tree.size):
            part = [one for _, one in zip(range(_BATCH), entries, strict=False)]
            made.body_bytes += sum(len(body) for _, _, body in part)
            began = used()
            draft.add(part)
            made.seal_s += used() - began
        began = used()
        tree.extend(draft.leaves)
        rows = draft.write(*paths, hashes)
        for path in (*paths, hashes):
            file_digest(path)
        made.seal_s += used() - began
        began = used()
        check_segment(*paths, before, tree, hashes)
        made.verify_s += used() - began
        made.events, made.sights, made.segments = made.events + rows[0], made.sights + rows[1], made.segments + 1
        made.event_bytes += paths[0].stat().st_size
        made.sight_bytes += paths[1].stat().st_size
        made.sought_bytes += hashes.stat().st_size
        files.append((*paths, hashes))
        told(f"{made.events} of {wanted.events} entries sealed")
    made.queries = look_up([(event, sight) for event, sight, _ in files], clock)
    made.pass_s = passed(files, used)
    return made


def passed(files: Sequence[tuple[Path, Path, Path]], used: Callable[[], float]) -> float:
    """Seconds it takes to see that a segment holds no row of a customer nobody knows."""
    part = [hashes for _, _, hashes in files] * -(-_MANY // len(files))
    began = used()
    found = sum(may_hold(one, [{"record": [f"nobody-{place}"]}]) for place, one in enumerate(part))
    assert found < len(part)
    return (used() - began) / len(part)


def look_up(files: Sequence[tuple[Path, Path]], clock: Callable[[], float]) -> dict[str, list[tuple[int, float, int]]]:
    """Usual questions over the segments, and over them again and again, as if there were many."""
    found: dict[str, list[tuple[int, float, int]]] = {}
    for times_over in (1, -(-_MANY // len(files))):
        part = list(files) * times_over
        with duckdb.connect() as connection:
            for name, file, condition in _QUESTIONS:
                paths = [str(one[0 if file == "event" else 1]) for one in part]
                times = []
                for _ in range(3):
                    began = clock()
                    counted = connection.read_parquet(paths).filter(condition).aggregate("count(*)").fetchall()
                    times.append(clock() - began)
                found.setdefault(name, []).append((len(part), sorted(times)[1], int(counted[0][0])))
    return found


_QUESTIONS = (
    ("who saw this customer's phone", "sight", "entity = 'contact' AND record = '4711' AND field = 'phone'"),
    ("everything about one customer", "sight", "entity = 'contact' AND record = '4711'"),
    ("what one user did in one hour", "event",
     "actor = 'u0042' AND \"at\" >= '2026-01-05 09:00:00Z' AND \"at\" < '2026-01-05 10:00:00Z'"),
    ("one exchange by its id", "event", "exchange = 'xnone0000000000000000'"),
)  # fmt: skip


def lines(made: Measured, wanted: Wanted) -> list[str]:
    """The report: what was measured, and what it means for the time planned."""
    per_event = (made.event_bytes + made.sight_bytes) / made.events
    total = wanted.total
    segments = -(-total // min(wanted.segment_entries, wanted.per_day))
    gigabytes = total * per_event / 1e9
    seal, verify = made.events / made.seal_s, made.events / made.verify_s
    told = [
        f"measured: {made.events} entries, {made.sights} sights, {made.segments} segments of {wanted.segment_entries}",
        f"  canonical JSON        {made.body_bytes / made.events:8.1f} bytes an entry",
        f"  event file            {made.event_bytes / made.events:8.1f} bytes an entry",
        f"  sight file            {made.sight_bytes / made.events:8.1f} bytes an entry"
        f" ({made.sights / made.events:.1f} sights an entry)",
        f"  both                  {per_event:8.1f} bytes an entry; leaf hashes are recomputed and cost none",
        f"  sealing               {seal:8.0f} entries a second and core",
        f"  verification          {verify:8.0f} entries a second and core",
    ]
    for name, times in made.queries.items():
        few, many = (f"{seconds * 1000:.0f} ms in {count} segments" for count, seconds, _ in times)
        told.append(f"  {name}: {few} ({times[0][2]} rows), {many} (the same again and again)")
    told += [
        f"extrapolated: {wanted.years} years, {wanted.per_day} entries a day, {total} entries, {segments} segments",
        f"  size                  {gigabytes:8.0f} GB",
        f"  price of the last month {gigabytes * wanted.price:6.2f}, of all {wanted.years} years"
        f" {gigabytes * wanted.price * 12 * wanted.years / 2:.2f} (at {wanted.price} a GB and month)",
        f"  sealing a day         {wanted.per_day / seal:8.0f} s",
        f"  verifying everything  {total / verify / 3600:8.1f} h on one core; segments are independent of each other",
    ]
    for name, times in made.queries.items():
        every, year = drawn_out(times, segments), drawn_out(times, segments // wanted.years)
        told.append(f"  {name}: {every:.1f} s over all, {year:.1f} s over a year")
    told.append(
        f"  SQL by customer, record or account opens only segments that can hold it: {made.pass_s * segments:.2f} s to"
        f" pass over all {segments} ({made.pass_s * 1e6:.0f} µs each,"
        f" {made.sought_bytes / made.events:.1f} bytes an entry)"
    )
    for name, times in made.queries.items():
        if "customer" in name:
            told.append(f"  {name}: {1000 * _slope(times):.1f} ms more for each segment that holds it")
    return told


def drawn_out(times: Sequence[tuple[int, float, int]], segments: int) -> float:
    """Seconds of a query over so many segments: a straight line through what was measured, never below it."""
    (_, less, _), (count, seconds, _) = times
    return max(less, seconds + _slope(times) * (segments - count))


def _slope(times: Sequence[tuple[int, float, int]]) -> float:
    """Seconds for one segment more."""
    (fewer, less, _), (count, seconds, _) = times
    return max((seconds - less) / (count - fewer), 0.0)
