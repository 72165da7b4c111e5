"""Carries a tenant's trail to one sink: at least once, in order, never in the way of the gateway.

It reads what is committed and keeps its place in the database. A sink that hangs or is away costs nobody a request: the
trail waits in the database and goes on from there. One node at a time does it; when that node is gone the next takes
over. An index that is missing is told to the sink as an entry of its own kind, and to the health page.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from psycopg import AsyncConnection, Error

from audit import store
from audit.beside import Beside
from audit.entry import AuditEntry, EntryRefused, encode
from audit.siem import position_store
from audit.siem.sink import Sink, SinkUnavailable
from audit.siem.view import View, view_of
from audit.store import Filters, StoredEntry
from audit.tree import leaf_hash

Render = Callable[[View], bytes]

LOOK_S = 0.5
BATCH_ENTRIES = store.FETCH_ROWS
CONFIRM_S = 10.0  # quiet after which an unconfirmed batch counts as taken, while its connection stands
BREAK_FIRST_S, BREAK_LONGEST_S = 1.0, 60.0
OTHERS_S = 2.0
GAP = "siem-gap"
ALTERED = "siem-altered"
_EVERYTHING = Filters()


@dataclass(slots=True)
class ForwardState:
    """What the health page shows. behind: entries not yet taken; missing: entries that were not in the trail."""

    sink: str
    tenant: str
    behind: int = 0
    missing: int = 0
    altered: int = 0
    fault: str = ""
    mine: bool = False


class Forwarder(Beside):
    """One tenant, one sink. conninfo: for a connection of its own; loop_time: seconds that only grow."""

    def __init__(
        self,
        conninfo: str,
        tenant: str,
        name: str,
        sink: Sink,
        render: Render,
        *,
        clock: Callable[[], datetime],
        loop_time: Callable[[], float],
        look_s: float = LOOK_S,
        confirm_s: float = CONFIRM_S,
        break_s: float = BREAK_FIRST_S,
    ) -> None:
        self.state = ForwardState(name, tenant)
        self._conninfo = conninfo
        self._tenant = tenant
        self._name = name
        self._sink = sink
        self._render = render
        self._clock = clock
        self._loop_time = loop_time
        self._look_s = look_s
        self._confirm_s = confirm_s
        self._break_s = break_s
        self._counted = 0  # what is sent again is not counted again

    async def close(self) -> None:
        """Stop; what was not confirmed is sent again by whoever comes next."""
        await super().close()
        await self._sink.close()

    async def _run(self) -> None:
        rest = self._break_s
        while True:
            try:
                # Of its own: the lock that says who forwards lives as long as the connection.
                async with await AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                    await position_store.see(connection, self._tenant)
                    async with position_store.claim(connection, self._tenant, self._name) as mine:
                        self.state.mine = mine
                        if mine:
                            await self._forward(connection)
            except (SinkUnavailable, Error, OSError) as fault:
                self._tell(fault.problem if isinstance(fault, SinkUnavailable) else type(fault).__name__)
                await asyncio.sleep(rest)
                rest = min(rest * 2, BREAK_LONGEST_S)
                continue
            rest = self._break_s
            await asyncio.sleep(OTHERS_S)  # another node is at it

    async def _forward(self, connection: store.Connection) -> None:
        """Send from the stored place on, until something fails."""
        saved = sent = await position_store.position(connection, self._tenant, self._name)
        # Entries stay in the database until every way out has taken them: only one that is new begins later.
        sent = max(sent, (await store.hot(connection, self._tenant)).start)
        sent_at = self._loop_time()
        while True:
            found = await store.select(connection, self._tenant, _EVERYTHING, BATCH_ENTRIES, after=sent - 1)
            if found:
                await self._sink.send(self._lines(sent, found))
                # Where nothing confirms, only what came before this batch counts: sending it showed that the
                # connection had stood until then.
                saved = found[-1].index + 1 if self._sink.confirms else sent
                sent, sent_at = found[-1].index + 1, self._loop_time()
                await position_store.move(connection, self._tenant, self._name, saved)
                self._tell("")
            elif saved < sent and self._loop_time() - sent_at >= self._confirm_s:
                if not await self._sink.alive():
                    raise SinkUnavailable("closed by the other side")
                saved = sent
                await position_store.move(connection, self._tenant, self._name, saved)
            self.state.behind = max(0, await store.size(connection, self._tenant) - sent)
            if len(found) < BATCH_ENTRIES:
                await asyncio.sleep(self._look_s)

    def _lines(self, expected: int, found: list[StoredEntry]) -> list[bytes]:
        lines: list[bytes] = []
        for entry in found:
            if entry.index > expected:
                self.state.missing += max(0, entry.index - max(expected, self._counted))
                lines.append(self._own(GAP, expected, entry.index))
            expected = entry.index + 1
            try:
                if leaf_hash(entry.body) != entry.leaf:
                    raise EntryRefused("leaf")
                lines.append(self._render(view_of(entry.index, entry.at, entry.leaf, entry.body)))
            except EntryRefused:
                # Changed in the database: its text may be anything now, so it does not leave.
                self.state.altered += entry.index >= self._counted
                lines.append(self._own(ALTERED, entry.index, entry.index + 1))
            self._counted = max(self._counted, expected)
        return lines

    def _own(self, kind: str, first: int, end: int) -> bytes:
        """An entry that is in no log: the trail lacks, or has changed, what stands from `first` up to `end`."""
        fields = {"first": first, "last": end - 1, "count": end - first}
        now = self._clock()
        body = encode(
            AuditEntry(at=now, fields=fields, id=f"{kind}-{first}", kind="alarm", operation=kind, tenant=self._tenant)
        )
        return self._render(view_of(first, now, leaf_hash(body), body))

    def _tell(self, fault: str) -> None:
        if fault and fault != self.state.fault:
            structlog.get_logger().error("audit.siem-unavailable", sink=self._name, fault=fault)
        self.state.fault = fault
