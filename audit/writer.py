"""One dedicated connection that runs the append statement, driven straight from the event loop.

psycopg makes the connection; the batches go through its libpq wrapper (`psycopg.pq`) as one prepared statement with
binary parameters and a reader that stays registered. A cursor costs about 150 µs a statement, this about 30, and the
audit stands in the way of every answer. One batch at a time; anything unexpected ends the connection, and the owner
opens another.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from psycopg import AsyncConnection, Error
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import TupleRow

from audit.append_store import APPEND, APPEND_FORMATS, APPEND_TYPES, NAME_TENANT, TAIL

STATEMENT = b"crmgate_audit_append"


class WriterBroken(Exception):  # noqa: N818 - a state of the connection
    """The batch is not known to be committed and the connection is of no more use."""

    permanent = False


class TailLost(WriterBroken):
    """The database answers, and an entry that it had committed is not there any more."""


class Writer:
    """Sends one batch at a time; `done(first_index, fault)` is called once for each, from the event loop."""

    def __init__(self, connection: AsyncConnection[TupleRow], done: Callable[[int, WriterBroken | None], None]) -> None:
        self._connection = connection
        self._pgconn: PGconn = connection.pgconn
        self._descriptor = connection.pgconn.socket
        self._loop = asyncio.get_running_loop()
        self._done = done
        self._result: PGresult | None = None
        self._busy = False
        self._writing = False
        self._closed = False
        self._loop.add_reader(self._descriptor, self._read)

    @classmethod
    async def open(
        cls,
        conninfo: str,
        done: Callable[[int, WriterBroken | None], None],
        timeout_s: float,
        tails: Mapping[str, tuple[int, bytes]] = MappingProxyType({}),
    ) -> "Writer":
        """Connect, make every commit wait for the disk, prepare the statement.

        tails: tenant → index and leaf hash of the last entry that is known to be committed. Raises: TailLost when one
        of them is gone; WriterBroken when the database cannot be reached, has no audit tables, or does not answer in
        time.
        """
        connection: AsyncConnection[TupleRow] | None = None
        try:
            async with asyncio.timeout(timeout_s):
                connection = await AsyncConnection.connect(
                    conninfo, autocommit=True, application_name="crmgate-audit", connect_timeout=max(2, int(timeout_s))
                )
                await connection.execute("SET synchronous_commit = on")
                await _find(connection, tails)
                prepared = connection.pgconn.prepare(STATEMENT, APPEND.encode(), APPEND_TYPES)
                if prepared.status != ExecStatus.COMMAND_OK:
                    raise WriterBroken("the append statement cannot be prepared: is the database migrated?")
                connection.pgconn.nonblocking = 1
        except (Error, OSError, TimeoutError) as fault:
            if connection is not None:
                await connection.close()
            raise WriterBroken(f"no connection for the audit trail ({type(fault).__name__})") from None
        except BaseException:
            if connection is not None:
                await connection.close()
            raise
        return cls(connection, done)

    def send(self, parameters: Sequence[bytes]) -> None:
        """Start a batch. Its outcome comes through `done`."""
        assert not self._busy, "one batch at a time"
        self._busy = True
        self._result = None
        try:
            self._pgconn.send_query_prepared(STATEMENT, parameters, APPEND_FORMATS, 1)
            self._flush()
        except Error:
            self._fail("the connection was lost while sending")

    def abort(self, reason: str) -> None:
        """Give up the batch under way, for instance after a timeout: whether it was committed is unknown."""
        self._fail(reason)

    async def close(self) -> None:
        """Close the connection; a batch under way is given up."""
        self._detach()
        await self._connection.close()

    def _flush(self) -> None:
        if self._pgconn.flush() == 0:
            if self._writing:
                self._loop.remove_writer(self._descriptor)
                self._writing = False
        elif not self._writing:
            self._loop.add_writer(self._descriptor, self._write)
            self._writing = True

    def _write(self) -> None:
        try:
            self._flush()
        except Error:
            self._fail("the connection was lost while sending")

    def _read(self) -> None:
        pgconn = self._pgconn
        try:
            pgconn.consume_input()
            while self._busy and not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    self._finish()
                    return
                self._result = result
        except Error:
            self._fail("the connection was lost")

    def _finish(self) -> None:
        self._busy = False
        result = self._result
        if result is None or result.status != ExecStatus.TUPLES_OK or result.ntuples != 1:
            state = result.error_field(67) if result is not None else None  # 67 = 'C', SQLSTATE; no text of the server
            self._fail(f"the database refused the batch ({state.decode() if state else 'no answer'})")
            return
        value = result.get_value(0, 0)
        if value is None:
            self._fail("the database gave no index")
            return
        self._done(int.from_bytes(value, "big"), None)

    def _fail(self, reason: str) -> None:
        if self._closed:
            return
        self._detach()
        self._busy = False
        self._done(-1, WriterBroken(reason))

    def _detach(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._descriptor)
        if self._writing:
            self._loop.remove_writer(self._descriptor)


async def _find(connection: AsyncConnection[TupleRow], tails: Mapping[str, tuple[int, bytes]]) -> None:
    for tenant, (index, leaf) in tails.items():
        async with connection.transaction():
            await connection.execute(NAME_TENANT, (tenant,))
            found = await connection.execute(TAIL, {"tenant": tenant, "index": index, "leaf": leaf})
            if await found.fetchone() != (True,):
                raise TailLost(f"entry {index} of {tenant} was committed and is not in the database any more")
