"""`make bench-audit-query`: how long SQL takes to find one customer among millions of sealed sights.

Writes Parquet files as the archive does (sorted by entity, record, data subject and time; zstd; Bloom filters), a month
each, then asks `run_query` for one customer. The ratio is against the same question without any use of the sort order:
every row read, by processor time of the engine. Then four hundred days, of which few hold the customer: every segment
opened, and only those that can hold an answer, in turn. Seconds belong to the machine and to who else uses it.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from audit.archive import SOUGHT, Segment, Wanted
from audit.cold.sought import may_hold, sought_bytes
from audit.sql.answer import Asked, Limits
from audit.sql.engine_store import Engine
from audit.sql.hot_store import wanted as wanted_of
from audit.sql.run import run_query
from audit.sql.statement import check
from gateway.database import EmbeddedPostgres, migrate

TENANT, MONTHS, CUSTOMERS = "bench", 24, 100_000
BEGIN = datetime(2024, 11, 1, tzinfo=UTC)
NOW = BEGIN + timedelta(days=30 * MONTHS)
DAYS, DAY_ROWS = 400, 25_000
LIMITS = Limits(rows=100_000, seconds=300)
WANTED = "c-4711"
ROWS = "SELECT at, actor_login, field, form FROM sight"
QUESTIONS = {
    "one customer's phone, two years": f"{ROWS} WHERE entity = 'contact' AND record = '{WANTED}' AND field = 'phone'"
    " AND at >= now() - INTERVAL 2 YEAR ORDER BY at",
    "one customer, by record alone": f"{ROWS} WHERE record = '{WANTED}' ORDER BY at",
    "the same, every row read": f"{ROWS} WHERE lower(record) = '{WANTED}' ORDER BY at",
    "seen in clear, by month and person": "SELECT date_trunc('month', at) AS month, actor_login, sum(count) AS seen"
    " FROM sight WHERE form = 'clear' GROUP BY ALL ORDER BY ALL",
}


class Parts:
    """An archive of segments as they are. hashes: what each may hold, beside its first index; none: all are opened."""

    def __init__(self, segments: list[Segment], hashes: Mapping[int, Path] | None = None) -> None:
        self._segments = segments
        self._hashes = hashes or {}
        self.opened = 0

    async def segments(
        self,
        tenant: str,
        since: datetime | None = None,
        until: datetime | None = None,
        wanted: Sequence[Wanted] = ({},),
    ) -> list[Segment]:
        """Those with entries in a period."""
        found = [
            replace(one, passed_over=one.first in self._hashes and not may_hold(self._hashes[one.first], wanted))
            for one in self._segments
            if one.tenant == tenant
            and (since is None or one.at_last >= since)
            and (until is None or one.at_first < until)
        ]
        self.opened = sum(not one.passed_over for one in found)
        return found


def part_of(
    number: int, rows: int, folder: Path, days: int = 30, customers: str = f"random() * {CUSTOMERS}"
) -> Segment:
    """So many days of sights, in the order of the archive. customers: an expression for the number of a customer."""
    step = days * 86_400_000_000 // rows
    first, begin = number * rows, BEGIN + timedelta(days=days * number)
    file = folder / f"{number:03}.{days}.sight.parquet"
    with duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "2GB"}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute("SELECT setseed(?)", [number / 1_000]).fetchall()
        engine.execute(
            f"""
            COPY (
                SELECT {first} + range AS "index",
                    TIMESTAMPTZ '{begin.isoformat()}' + to_microseconds(range * {step}) AS "at",
                    'u-' || person AS actor, 'person.' || person AS actor_login,
                    CASE WHEN range % 3 = 0 THEN 'contact.list' ELSE 'contact.read' END AS operation,
                    'contact' AS entity, list_extract(['phone', 'email', 'name', 'address'], 1 + chance % 4) AS field,
                    'c-' || customer AS record, 'p-' || md5(customer::VARCHAR) AS data_subject,
                    list_extract(['clear', 'masked', 'hidden'], 1 + chance % 3) AS form, 1::INT AS "count"
                FROM (
                    SELECT range, (random() * 400)::INT AS person, ({customers})::INT AS customer,
                        (random() * 1000)::INT AS chance
                    FROM range({rows})
                )
                ORDER BY entity, record, data_subject, "at"
            ) TO '{file}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 51200)
            """
        )
    return Segment(TENANT, first, first + rows - 1, begin, begin + timedelta(days=days), file, file)


async def asked(dsn: str, segments: list[Segment], rounds: int, out: Console) -> None:
    """Ask every question as an auditor does, print a line for each: seconds with the start of the process."""

    async def record(_asked: Asked) -> None:
        return None

    for name, statement in {**QUESTIONS, "nothing, the process alone": "SELECT 1 AS one"}.items():
        times, rows = [], 0
        for _ in range(rounds):
            begun = time.perf_counter()
            answer = await run_query(
                dsn, TENANT, statement, archive=Parts(segments), record=record, now=NOW, limits=LIMITS
            )
            times.append(time.perf_counter() - begun)
            rows = answer.table.num_rows
        out.print(f"{name:40} {median(times):7.2f} s {rows:8} rows")


async def passed_over(folder: Path, rounds: int, out: Console) -> None:
    """One customer among hundreds of days, of which few hold somebody: every day opened, and only those that can."""
    days, hashes = [], {}
    for number in range(DAYS):
        # Two thousand customers a day, others every day.
        customers = f"({number * 331} + random() * 2000)::INT % {CUSTOMERS}"
        one = part_of(number, DAY_ROWS, folder, 1, customers)
        hashes[one.first] = folder / f"{number:03}.hashes"
        hashes[one.first].write_bytes(sought_bytes([pq.read_table(one.sight_file, columns=list(SOUGHT))]))
        days.append(one)

    statements = {
        "one customer, by record": f"{ROWS} WHERE record = '{WANTED}' ORDER BY ALL",
        "somebody nobody saw": f"{ROWS} WHERE record = '{WANTED}-none' ORDER BY ALL",
    }
    for name, statement in statements.items():
        times: tuple[list[float], list[float]] = ([], [])
        answers, opened = [], [0, 0]
        for _ in range(rounds):
            for place, known in enumerate(({}, hashes)):
                begun = time.process_time()
                answer, opened[place] = await answered(Parts(days, known), statement)
                times[place].append(time.process_time() - begun)
                answers.append(answer)
        assert all(one.equals(answers[0]) for one in answers)
        spent = [1000 * median(one) for one in times]
        out.print(
            f"{name}, {DAYS} days: {spent[0]:.0f} ms of processor time with {opened[0]} segments opened,"
            f" {spent[1]:.0f} ms with {opened[1]}; {answers[0].num_rows} rows, the same"
        )
    size = sum(path.stat().st_size for path in hashes.values()) / sum(one.sight_file.stat().st_size for one in days)
    out.print(f"what each may hold: {100 * size:.1f} % of the sights' files")


async def answered(archive: Parts, statement: str) -> tuple[pa.Table, int]:
    """What the process of a statement does with segments, in this one: the rows, and how many segments were opened."""
    engine = Engine(LIMITS.room)
    try:
        made = check(statement, NOW, rows=100_000, most_rows=100_000)
        found = await archive.segments(TENANT, wanted=wanted_of(made.narrowing, engine.constant))
        engine.close_off({"sight": [one.sight_file for one in found if not one.passed_over]})
        return engine.run(made.sql), archive.opened
    finally:
        engine.close()


def compared(segments: list[Segment], rounds: int, out: Console) -> None:
    """The engine alone: how much of reading every row one customer costs."""
    engine = Engine(Limits().room)
    try:
        engine.close_off({"sight": [one.sight_file for one in segments]})
        names = ("one customer, by record alone", "the same, every row read")
        made = [check(QUESTIONS[name], NOW, rows=100_000, most_rows=100_000).sql for name in names]
        ratios = []
        for _ in range(rounds):
            times = []
            for statement in made:
                begun = time.process_time()
                engine.run(statement)
                times.append(time.process_time() - begun)
            ratios.append(times[0] / times[1])
        out.print(f"processor time of one customer: {median(ratios):.2f} of reading every row")
    finally:
        engine.close()


def main(arguments: list[str] | None = None) -> None:
    """Write, ask, print."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--rows", type=int, default=10_000_000)
    given.add_argument("--rounds", type=int, default=5)
    chosen = given.parse_args(arguments)
    out = Console(highlight=False, soft_wrap=True)
    prefix = "crmgate-bench-query-"
    with tempfile.TemporaryDirectory(prefix=prefix) as name, tempfile.TemporaryDirectory(prefix=prefix) as kept:
        folder = Path(name)
        begun = time.perf_counter()
        segments = [part_of(number, chosen.rows // MONTHS, folder) for number in range(MONTHS)]
        size = sum(file.stat().st_size for file in folder.glob("*.parquet"))
        out.print(
            f"{chosen.rows:,} sights in {MONTHS} files, {size / 1e6:.0f} MB, in {time.perf_counter() - begun:.0f} s"
        )
        server = EmbeddedPostgres(Path(kept))
        server.start()
        try:
            migrate(server.dsn)
            asyncio.run(asked(server.dsn, segments, chosen.rounds, out))
            compared(segments, chosen.rounds, out)
            asyncio.run(passed_over(folder, chosen.rounds, out))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
