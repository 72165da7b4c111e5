"""SQL of pseudonyms: which holders a record has, and which of them the trail names. No pseudonym is stored here."""

from collections.abc import Collection, Sequence

from kms.connections import Connection
from kms.connections import Connections as Database
from kms.holder_store import Place


class PseudonymStore:
    """Living holders by record and back; every method raises StoreUnavailable."""

    def __init__(self, connections: Database) -> None:
        self._connections = connections

    async def holders(self, tenant: str, places: Collection[Place]) -> dict[Place, list[tuple[bytes, bool]]]:
        """Holders of records, the oldest first, each with whether the trail names it; who has none is absent."""
        asked = list(places)
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                """
                SELECT w.n, h.id, EXISTS (SELECT 1 FROM vault_named t WHERE t.tenant = h.tenant AND t.holder = h.id)
                FROM unnest(%s::int[], %s::text[], %s::text[]) AS w (n, entity, record) JOIN vault_holder h
                  ON h.tenant = %s AND h.entity = w.entity AND h.record = w.record AND h.record <> ''
                  AND h.erased_at IS NULL
                ORDER BY w.n, h.created_at, h.id
                """,
                (list(range(len(asked))), [one.entity for one in asked], [one.record for one in asked], tenant),
            )
            found: dict[Place, list[tuple[bytes, bool]]] = {}
            for number, holder, named in await cursor.fetchall():
                found.setdefault(asked[number], []).append((bytes(holder), named))
            return found

    async def records(self, tenant: str, holders: Collection[bytes]) -> dict[bytes, tuple[str, str]]:
        """Entity and record of living holders."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT id, entity, record FROM vault_holder"
                " WHERE tenant = %s AND id = ANY(%s::bytea[]) AND erased_at IS NULL AND record <> ''",
                (tenant, list(holders)),
            )
            return {bytes(one): (entity, record) for one, entity, record in await cursor.fetchall()}


async def note_named(connection: Connection, tenant: str, holders: Sequence[bytes]) -> None:
    """Note that the trail names these holders; one order for all writers, so that none waits in a circle."""
    await connection.execute(
        "INSERT INTO vault_named (tenant, holder) SELECT %s, unnest(%s::bytea[]) ON CONFLICT DO NOTHING",
        (tenant, sorted(holders)),
    )
