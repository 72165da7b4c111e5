"""The process that runs one statement: `python -m audit.sql.worker`, driven through its pipes by `audit.sql.run`.

It is bounded by the system, knows one tenant, and leaves nothing behind: no file, no log, no trace of a fault. When the
other end goes away it stops.
"""

import asyncio
import os
import resource
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import orjson
import psycopg
import pyarrow as pa

from audit import store
from audit.sql.engine_store import Engine, Room
from audit.sql.frame import HEAD, JSON, LIMIT_BYTES, ROWS, pack, read_head
from audit.sql.hot_store import EntryAltered, as_arrow, first_index, hot_rows, period, wanted
from audit.sql.refused import StatementRefused
from audit.sql.statement import Checked, check

TELL_S = 0.2
# What Python, Arrow and the mapped libraries take besides what DuckDB is given.
OWN_BYTES = 3 * 1024**3
ANSWER_LIMIT_BYTES = LIMIT_BYTES - 1024
_GRACE_S = 2.0


class _Stopped(Exception):  # noqa: N818
    """The statement has to end. reason: of `answer.FAILURES`, or "cancelled"."""

    def __init__(self, reason: str, **more: Any) -> None:
        super().__init__(reason)
        self.message = {"failed": reason, **more}


class Worker:
    """One statement, from its job to its answer."""

    def __init__(self, given: BinaryIO, out: BinaryIO) -> None:
        self._given = given
        self._out = out
        self._cancelled = threading.Event()
        self._engine: Engine | None = None
        self._late = False

    async def work(self) -> None:
        """Do the job that comes first; every outcome is a message."""
        job = orjson.loads(self._read())
        try:
            await self._do(job)
        except StatementRefused as refused:
            place = refused.place
            self._tell(
                refused=refused.reason, word=refused.word, line=place.line, column=place.column, hint=refused.hint
            )
        except _Stopped as stopped:
            self._tell(**stopped.message)
        except EntryAltered as found:
            self._tell(failed="entry-altered", first=found.index, last=found.index)
        except (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError):
            self._tell(failed="memory")
        except duckdb.InterruptException:
            self._tell(failed="time" if self._late else "cancelled")
        except duckdb.Error as fault:
            self._tell(failed="engine", told=_first_line(fault))
        except psycopg.errors.QueryCanceled:
            self._tell(failed="time")
        except psycopg.Error:
            self._tell(failed="database")

    async def _do(self, job: Mapping[str, Any]) -> None:
        checked = check(
            job["statement"],
            datetime.fromisoformat(job["now"]),
            rows=job["rows"],
            most_rows=job["most_rows"],
            persons=self._persons,
        )
        engine = self._engine = Engine(Room(job["memory_mb"], job["threads"]))
        watch = asyncio.create_task(self._watch(job["seconds"]))
        try:
            async with store.reading(job["conninfo"], job["tenant"]) as connection:
                await store.bound_statements(connection, job["seconds"])
                # The snapshot comes before the list of segments: what is sealed in between is in both, never in none.
                first = await first_index(connection, job["tenant"])
                size = await store.size(connection, job["tenant"])
                since, until = period(checked.narrowing, engine.constant)
                self._tell(
                    shape=checked.shape,
                    tables=checked.tables,
                    since=since and since.isoformat(),
                    until=until and until.isoformat(),
                    wanted=wanted(checked.narrowing, engine.constant),
                )
                cold = await self._agreed()
                after = cold[-1]["last"] if cold else -1
                if cold and until is None and (first if first is not None else size) > after + 1:
                    raise _Stopped("gap", first=after + 1, last=(first if first is not None else size) - 1)
                await self._load(connection, job["tenant"], checked, after, first or 0, size)
            await self._run(checked, cold)
        finally:
            watch.cancel()
            engine.close()

    def _persons(self, asked: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Ask the other end who they are; nothing else is under way yet."""
        self._tell(persons=asked)
        names: Mapping[str, Sequence[str]] = orjson.loads(self._read())["names"]
        return names

    async def _agreed(self) -> list[dict[str, Any]]:
        """The segments, once the statement is on record."""
        answer = orjson.loads(await asyncio.to_thread(self._read))
        threading.Thread(target=self._listen, daemon=True).start()
        segments: list[dict[str, Any]] = answer["segments"]
        return segments

    async def _load(
        self, connection: store.Connection, tenant: str, checked: Checked, after: int, first: int, size: int
    ) -> None:
        assert self._engine is not None
        begin = max(after + 1, first)
        if not checked.tables:
            return
        async for rows in hot_rows(connection, tenant, checked.narrowing, after, self._engine.constant):
            self._engine.add(as_arrow(rows, checked.tables, checked.columns))
            self._tell(step="load", part=(rows[-1][0] + 1 - begin) / max(1, size - begin))
            if self._cancelled.is_set() or self._late:
                raise _Stopped("time" if self._late else "cancelled")
            await asyncio.sleep(0)

    async def _run(self, checked: Checked, cold: list[dict[str, Any]]) -> None:
        assert self._engine is not None
        files = {name: [Path(one[name]) for one in cold if name in one] for name in checked.tables}
        self._engine.close_off(files)
        self._tell(step="run", part=0.0)
        running = asyncio.create_task(asyncio.to_thread(self._engine.run, checked.sql))
        while not (await asyncio.wait({running}, timeout=TELL_S))[0]:
            if (part := self._engine.progress()) is not None:
                self._tell(step="run", part=part)
            if self._cancelled.is_set() or self._late:
                self._engine.interrupt()
        table = running.result()
        more = checked.capped and table.num_rows > checked.limit
        self._send(table.slice(0, checked.limit) if more else table)
        self._tell(rows=min(table.num_rows, checked.limit), more=more, limit=checked.limit)

    def _send(self, table: pa.Table) -> None:
        if table.nbytes > ANSWER_LIMIT_BYTES:
            raise _Stopped("too-large")
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        content = sink.getvalue().to_pybytes()
        if len(content) > ANSWER_LIMIT_BYTES:
            raise _Stopped("too-large")
        self._out.write(pack(ROWS, content))
        self._out.flush()

    async def _watch(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._late = True

    def _listen(self) -> None:
        """Anything that comes now, and the end of the pipe too, means: stop."""
        self._given.read(1)
        self._cancelled.set()
        if self._engine is not None:
            with suppress(duckdb.Error):
                self._engine.interrupt()
        threading.Event().wait(_GRACE_S)
        os._exit(0)

    def _read(self) -> bytes:
        _, length = read_head(self._given.read(HEAD.size))
        return self._given.read(length)

    def _tell(self, **message: Any) -> None:
        self._out.write(pack(JSON, orjson.dumps(message)))
        self._out.flush()


def _first_line(fault: Exception) -> str:
    return str(fault).partition("\n")[0]


def bound(memory_mb: int) -> None:
    """Ask the system to hold this process to its memory, and to let it write no file and leave no core."""
    memory = memory_mb * 1024**2 + OWN_BYTES
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        with suppress(ValueError, OSError):  # a lower limit is in force already
            resource.setrlimit(kind, (most, most))


def main() -> None:
    """Run one statement; arguments: megabytes of memory."""
    bound(int(sys.argv[1]))
    os.nice(5)
    try:
        asyncio.run(Worker(sys.stdin.buffer, sys.stdout.buffer).work())
    except BaseException:  # a trace could quote the statement; the other end sees that nothing came
        os._exit(1)
    os._exit(0)  # the listening thread waits for the pipe


if __name__ == "__main__":
    main()
