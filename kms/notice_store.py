"""The news of changes: what one process tells the others, once its transaction is committed."""

from collections.abc import Callable, Sequence

import psycopg
from psycopg import sql

from kms.connections import Connection, Pool, StoreUnavailable

CHANNEL = "crmgate_vault"
EVERYTHING = "*"
"""In a notice: every surrogate of the tenant."""
KEYS = "#keys"
"""In a notice: the tenant has other keys than before."""
PERSONS = "#persons"
"""In a notice: somebody of the tenant was erased; nothing that was opened before may be used any more."""
NOTICE_SPLIT = "\x1f"
_NOTICE_BYTES = 7000


async def announce(connection: Connection, tenant: str, sender: str, changed: Sequence[str]) -> None:
    """Tell every process but the sender, once this transaction is committed, that these entries changed."""
    if changed:
        text = NOTICE_SPLIT.join((sender, tenant, *changed))
        if len(text.encode()) > _NOTICE_BYTES:
            text = NOTICE_SPLIT.join((sender, tenant, EVERYTHING))
        await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, text))


async def listen(
    pool: Pool, sender: str, heard: Callable[[str, list[str]], None], connected: Callable[[], None]
) -> None:
    """Pass on the notices of others until the connection fails: heard(tenant, changed); connected() before.

    Raises StoreUnavailable; the caller decides when to try again.
    """
    given = pool.conninfo
    try:
        conninfo = given if isinstance(given, str) else ""
        if not isinstance(given, str):
            made = given()
            conninfo = made if isinstance(made, str) else await made
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
            connected()
            async for notice in connection.notifies():
                by, tenant, *changed = notice.payload.split(NOTICE_SPLIT)
                if by != sender:
                    heard(tenant, changed)
    except (psycopg.Error, OSError):
        raise StoreUnavailable("the connection for notices ended") from None
