"""Runs a statement of an auditor in a process of its own, over the hot and the sealed part of one tenant's trail."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa

from audit.archive import Archive, ArchiveUnavailable, SegmentBroken
from audit.child import bare_environment
from audit.sql.answer import Answer, Asked, Limits, QueryFailed
from audit.sql.frame import HEAD, JSON, FrameInvalid, pack, read_head
from audit.sql.refused import Place, StatementRefused

Tell = Callable[[str, float], None]
"""How far it is: "load" (rows of the database) or "run", and the part of it that is done, 0 to 1."""
Record = Callable[[Asked], Awaitable[None]]
"""Puts on record that a statement is asked; when it raises, nothing is read."""

Persons = Callable[[Sequence[str]], Awaitable[Mapping[str, Sequence[str]]]]
"""Persons as the CRM numbers them ("contact/17") → their pseudonyms; raises StatementRefused, QueryFailed."""

_MARGIN_S = 30.0  # beyond the time the process gives itself: starting, reading the archive
_END_S = 3.0


def _silent(_step: str, _part: float) -> None:
    pass


async def _nobody(_asked: Sequence[str]) -> Mapping[str, Sequence[str]]:
    return {}


async def run_query(
    conninfo: str,
    tenant: str,
    statement: str,
    *,
    archive: Archive,
    record: Record,
    now: datetime,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tell: Tell = _silent,
    persons: Persons = _nobody,
) -> Answer:
    """The rows a statement asks for. Cancelling this task stops the statement.

    now: what `now()` means, aware. Raises: StatementRefused, QueryFailed, what `record` raises.
    """
    job = {
        "conninfo": conninfo, "tenant": tenant, "statement": statement, "now": now.isoformat(), "rows": limits.rows,
        "most_rows": limits.most_rows, "seconds": limits.seconds, "memory_mb": limits.room.memory_mb,
        "threads": limits.room.threads,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "audit.sql.worker", str(limits.room.memory_mb),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=bare_environment(),
        start_new_session=True,  # Ctrl-C is ours to answer
    )  # fmt: skip
    dialogue = _Dialogue(process, tenant, archive, record, tell, persons)
    try:
        async with asyncio.timeout(limits.seconds + _MARGIN_S):
            return await dialogue.hold(job, now)
    except TimeoutError:
        raise QueryFailed("time") from None
    except (asyncio.IncompleteReadError, ConnectionError, FrameInvalid, orjson.JSONDecodeError, pa.ArrowInvalid):
        raise QueryFailed("lost") from None
    finally:
        await _end(process)


class _Dialogue:
    """The messages of one statement."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        tenant: str,
        archive: Archive,
        record: Record,
        tell: Tell,
        persons: Persons,
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin, process.stdout
        self._tenant = tenant
        self._archive = archive
        self._record = record
        self._tell = tell
        self._persons = persons

    async def hold(self, job: Mapping[str, Any], now: datetime) -> Answer:
        """From the job to the answer. Raises: see `run_query`."""
        await self._send(job)
        told = await self._message()
        meant: list[str] = []
        if "persons" in told:
            names = await self._persons(told["persons"])
            meant = [f"{one.partition('/')[0]}.{name}" for one in told["persons"] for name in names.get(one, ())]
            await self._send({"names": names})
            told = await self._message()
        asked = Asked(tuple(told["shape"]), tuple(told["tables"]), tuple(meant))
        await self._record(asked)
        await self._send({"segments": await self._segments(asked, told)})
        table = None
        while True:
            kind, content = await self._frame()
            if kind != JSON:
                table = pa.ipc.open_stream(content).read_all()
                continue
            told = _checked(orjson.loads(content))
            if "step" in told:
                self._tell(told["step"], min(1.0, max(0.0, told["part"])))
            elif "rows" in told and table is not None:
                return Answer(asked, table, told["more"], told["limit"], now)

    async def _segments(self, asked: Asked, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        if not asked.tables:
            return []
        since, until = (datetime.fromisoformat(told[name]) if told[name] else None for name in ("since", "until"))
        try:
            found = await self._archive.segments(self._tenant, since, until, told["wanted"])
        except SegmentBroken as broken:
            raise QueryFailed("segment-altered", str(broken)) from broken
        except ArchiveUnavailable as fault:
            raise QueryFailed("archive", str(fault)) from fault
        ordered = sorted(found, key=lambda one: one.first)
        last = -1
        for one in ordered:
            if one.tenant != self._tenant or one.first <= last or one.last < one.first:
                raise QueryFailed("segment-altered", first=one.first, last=one.last)
            last = one.last
        return [
            {"first": one.first, "last": one.last}
            | ({} if one.passed_over else {"event": str(one.event_file), "sight": str(one.sight_file)})
            for one in ordered
        ]

    async def _send(self, message: Mapping[str, Any]) -> None:
        self._to.write(pack(JSON, orjson.dumps(message)))
        await self._to.drain()

    async def _message(self) -> dict[str, Any]:
        kind, content = await self._frame()
        if kind != JSON:
            raise FrameInvalid
        return _checked(orjson.loads(content))

    async def _frame(self) -> tuple[bytes, bytes]:
        kind, length = read_head(await self._from.readexactly(HEAD.size))
        return kind, await self._from.readexactly(length)


def _checked(told: dict[str, Any]) -> dict[str, Any]:
    """A message that goes on; the others are raised."""
    if "refused" in told:
        place = Place(told["line"], told["column"])
        raise StatementRefused(told["refused"], told["word"], place, tuple(told["hint"]))
    if "failed" in told:
        reason = "lost" if told["failed"] == "cancelled" else told["failed"]
        raise QueryFailed(reason, told.get("told", ""), told.get("first"), told.get("last"))
    return told


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close the pipe, which stops the statement; kill what does not stop. Every process is waited for."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
        raise
    finally:
        # The transport of a process that was cut off still holds its pipes.
        getattr(process, "_transport").close()  # noqa: B009
