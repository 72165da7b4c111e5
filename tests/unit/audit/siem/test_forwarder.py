"""Every entry reaches the sink at least once, in order, whatever the sink, the node or the database does."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.log import AuditLog
from audit.siem import ecs
from audit.siem.file_sink import FileSink
from audit.siem.forwarder import Forwarder
from audit.siem.position_store import positions
from audit.siem.sink import SinkUnavailable

NOW = datetime(2026, 3, 4, 6, 0, tzinfo=UTC)
PATIENCE_S = 60.0


class Collector:
    """Takes lines as it is told to: True takes a batch, False refuses it, None takes it and says it did not."""

    def __init__(self, plan: Sequence[bool | None] = (), *, confirms: bool = True) -> None:
        self.confirms = confirms
        self.plan = list(plan)
        self.lines: list[dict[str, Any]] = []
        self.standing = True

    async def send(self, lines: Sequence[bytes]) -> None:
        word = self.plan.pop(0) if self.plan else True
        if word is not False:
            self.lines += [json.loads(line) for line in lines]
        if not word:
            raise SinkUnavailable("told to")

    async def alive(self) -> bool:
        return self.standing

    async def close(self) -> None:
        self.standing = False

    @property
    def places(self) -> list[int]:
        return [line["event"]["sequence"] for line in self.lines if line["event"]["kind"] != "alert"]

    @property
    def alarms(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"]["kind"] == "alert"]


def carry(dsn: str, sink: Any, *, name: str = "soc", confirm_s: float = 0.05) -> Forwarder:
    return Forwarder(
        dsn, "demo", name, sink, ecs.render, clock=lambda: NOW, loop_time=asyncio.get_running_loop().time,
        look_s=0.01, confirm_s=confirm_s, break_s=0.01,
    )  # fmt: skip


async def until(happens: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = happens()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


async def until_kept(pool: Any, place: int) -> None:
    """A node that is stopped between sending and keeping its place sends again: at least once is the promise."""

    async def kept() -> bool:
        async with pool.connection() as connection:
            return (await positions(connection, "demo")).get("soc", 0) >= place

    await until(kept)


async def fill(log: AuditLog, make: Any, count: int) -> None:
    await asyncio.gather(*(log.append(make()) for _ in range(count)))


def once(places: Sequence[int]) -> list[int]:
    """In the order of their first arrival."""
    return list(dict.fromkeys(places))


async def test_everything_arrives_once_in_order_and_a_new_node_goes_on_from_there(
    dsn: str, pool: Any, log: AuditLog, make: Any
) -> None:
    await fill(log, make, 1500)
    first = Collector()
    forwarder = carry(dsn, first)
    await forwarder.start()
    await until(lambda: len(first.places) == 1500)
    await fill(log, make, 3)
    await until(lambda: len(first.places) == 1503)
    await until_kept(pool, 1503)
    await forwarder.close()
    await fill(log, make, 5)
    second = Collector()
    forwarder = carry(dsn, second)
    await forwarder.start()
    await until(lambda: len(second.places) == 5)
    await forwarder.close()
    assert first.places + second.places == list(range(1508))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.sampled_from([True, False, None]), max_size=6), confirms=st.booleans())
async def test_no_pattern_of_failures_loses_or_reorders_an_entry(
    plan: list[bool | None], confirms: bool, dsn: str, log: AuditLog, make: Any
) -> None:
    await fill(log, make, 20)
    async with asyncio.timeout(PATIENCE_S):
        end = await log.append(make()) + 1
    sink = Collector(plan, confirms=confirms)
    forwarder = carry(dsn, sink, name=f"soc-{end}")
    await forwarder.start()
    await until(lambda: len(set(sink.places)) == end)
    await forwarder.close()
    assert once(sink.places) == list(range(end))
    assert forwarder.state.missing == 0


async def test_a_sink_that_is_away_is_told_and_later_gets_everything(dsn: str, log: AuditLog, make: Any) -> None:
    sink = Collector([False, False, False])
    forwarder = carry(dsn, sink)
    await fill(log, make, 4)
    await forwarder.start()
    seen: set[str] = set()
    await until(lambda: bool(seen.add(forwarder.state.fault)) or (len(sink.places) == 4 and not forwarder.state.fault))
    await forwarder.close()
    assert "told to" in seen


async def test_a_sink_that_hangs_stops_nobody(dsn: str, log: AuditLog, make: Any) -> None:
    class Hanging(Collector):
        async def send(self, lines: Sequence[bytes]) -> None:
            await asyncio.Event().wait()

    forwarder = carry(dsn, Hanging())
    await fill(log, make, 2)
    await forwarder.start()
    await until(lambda: forwarder.state.mine)
    await fill(log, make, 50)
    await forwarder.close()


async def test_without_confirmation_the_newest_batch_is_sent_again_after_a_break(
    dsn: str, pool: Any, log: AuditLog, make: Any
) -> None:
    first = Collector(confirms=False)
    forwarder = carry(dsn, first, confirm_s=3600)
    await fill(log, make, 3)
    await forwarder.start()
    await until(lambda: len(first.places) == 3)
    await fill(log, make, 2)
    await until(lambda: len(first.places) == 5)
    await until_kept(pool, 3)  # at least: two batches may have been one
    await forwarder.close()
    second = Collector()
    forwarder = carry(dsn, second)
    await forwarder.start()
    await until(lambda: bool(second.places) and second.places[-1] == 4)
    await forwarder.close()
    assert second.places[0] >= 1
    assert second.places == list(range(second.places[0], 5))
    assert set(second.places) >= {4}


async def test_a_quiet_connection_that_stands_confirms(dsn: str, pool: Any, log: AuditLog, make: Any) -> None:
    sink = Collector(confirms=False)
    forwarder = carry(dsn, sink, confirm_s=0.05)
    await fill(log, make, 3)
    await forwarder.start()
    await until_kept(pool, 3)
    await forwarder.close()


async def test_a_connection_that_fell_in_the_quiet_does_not_confirm(
    dsn: str, pool: Any, log: AuditLog, make: Any
) -> None:
    sink = Collector(confirms=False)
    sink.standing = False
    forwarder = carry(dsn, sink, confirm_s=0.05)
    await fill(log, make, 3)
    await forwarder.start()
    await until(lambda: len(sink.places) >= 6)  # sent again
    async with pool.connection() as connection:
        assert (await positions(connection, "demo")).get("soc", 0) == 0
    sink.standing = True
    await forwarder.close()


async def test_an_entry_that_is_missing_is_reported(dsn: str, log: AuditLog, make: Any, tamper: Any) -> None:
    await fill(log, make, 10)
    await tamper("DELETE FROM audit_entry WHERE index IN (0, 4, 5)")
    sink = Collector()
    forwarder = carry(dsn, sink)
    await forwarder.start()
    await until(lambda: bool(sink.places) and sink.places[-1] == 9)
    await forwarder.close()
    assert sink.places == [1, 2, 3, 6, 7, 8, 9]
    assert [line["event"]["action"] for line in sink.alarms] == ["siem-gap", "siem-gap"]
    assert [line["crmgate"]["fields"] for line in sink.alarms] == [
        {"count": 1, "first": 0, "last": 0},
        {"count": 2, "first": 4, "last": 5},
    ]
    assert forwarder.state.missing == 3


@pytest.mark.parametrize("body", [b"someone@example.org", b"{}", None])
async def test_an_entry_that_was_changed_does_not_leave(
    body: bytes | None, dsn: str, log: AuditLog, make: Any, tamper: Any
) -> None:
    await fill(log, make, 3)
    if body is None:  # a whole entry, but another one
        statement: Any = "UPDATE audit_entry SET body = (SELECT body FROM audit_entry WHERE index = 0) WHERE index = 1"
    else:
        statement = ("UPDATE audit_entry SET body = %s WHERE index = 1", (body,))
    await tamper(statement)
    sink = Collector()
    forwarder = carry(dsn, sink)
    await forwarder.start()
    await until(lambda: bool(sink.places) and sink.places[-1] == 2)
    await forwarder.close()
    assert sink.places == [0, 2]
    assert [line["event"]["action"] for line in sink.alarms] == ["siem-altered"]
    assert "example.org" not in json.dumps(sink.lines)
    assert forwarder.state.altered == 1


async def test_what_is_sent_again_is_not_counted_again(dsn: str, log: AuditLog, make: Any, tamper: Any) -> None:
    await fill(log, make, 6)
    await tamper("DELETE FROM audit_entry WHERE index IN (0, 2)")
    await tamper(("UPDATE audit_entry SET body = %s WHERE index = 4", (b"{}",)))
    sink = Collector([False, None])
    forwarder = carry(dsn, sink)
    await forwarder.start()
    await until(lambda: sink.places.count(5) == 2)
    await forwarder.close()
    assert (forwarder.state.missing, forwarder.state.altered) == (2, 1)


async def test_of_two_nodes_one_sends_and_the_other_takes_over(dsn: str, pool: Any, log: AuditLog, make: Any) -> None:
    sinks = [Collector(), Collector()]
    nodes = [carry(dsn, sink) for sink in sinks]
    await fill(log, make, 30)
    for node in nodes:
        await node.start()
    await until(lambda: sum(len(sink.places) for sink in sinks) >= 30)
    at_it = next(place for place, node in enumerate(nodes) if node.state.mine)
    assert sinks[1 - at_it].places == []
    await until_kept(pool, 30)
    await nodes[at_it].close()
    await fill(log, make, 5)
    await until(lambda: len(sinks[1 - at_it].places) == 5)
    await nodes[1 - at_it].close()
    assert sinks[at_it].places + sinks[1 - at_it].places == list(range(35))


async def test_a_lost_database_connection_is_survived(dsn: str, pool: Any, log: AuditLog, make: Any) -> None:
    sink = Collector()
    forwarder = carry(dsn, sink)
    await fill(log, make, 3)
    await forwarder.start()
    await until(lambda: len(sink.places) == 3)
    async with pool.connection() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    await fill(log, make, 4)
    await until(lambda: len(set(sink.places)) == 7)
    await forwarder.close()
    assert once(sink.places) == list(range(7))


async def test_a_file_gets_whole_lines_even_after_a_torn_one(
    dsn: str, log: AuditLog, make: Any, tmp_path: Path
) -> None:
    file = tmp_path / "trail.log"
    file.write_bytes(b'{"torn":')
    forwarder = carry(dsn, FileSink(file))
    await fill(log, make, 3)
    await forwarder.start()
    await until(lambda: file.read_bytes().count(b"\n") == 4)
    await forwarder.close()
    lines = file.read_bytes().splitlines()
    assert [json.loads(line)["event"]["sequence"] for line in lines[1:]] == [0, 1, 2]


async def test_a_new_file_is_not_for_everybody(tmp_path: Path) -> None:
    file = tmp_path / "trail.log"
    await FileSink(file).send([b"{}"])
    assert file.read_bytes() == b"{}\n"
    assert file.stat().st_mode & 0o007 == 0


async def test_a_file_that_cannot_be_written_is_told(dsn: str, log: AuditLog, make: Any, tmp_path: Path) -> None:
    forwarder = carry(dsn, FileSink(tmp_path / "none" / "trail.log"))
    await fill(log, make, 1)
    await forwarder.start()
    await until(lambda: forwarder.state.fault == "No such file or directory")
    await forwarder.close()
