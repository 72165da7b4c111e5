"""All SQL about digits under FF1: marks of what was made under which key, and records that are known to hold some."""

from collections.abc import Collection, Mapping, Sequence

from kms.store import KeysChanged, Store


class DigitStore(Store):
    """The tables vault_digits and vault_digits_record behind one pool."""

    async def made(
        self, tenant: str, entity: str, field: str, marks: Sequence[bytes], scope: str, keys: Collection[bytes]
    ) -> dict[bytes, bytes]:
        """Mark → key, of those marks that were made; raises KeysChanged when a live key was not asked for.

        keys: ids of the keys that the marks were computed with.
        """
        async with self.connection(tenant) as connection:
            # One statement, so that keys and marks are those of one moment.
            cursor = await connection.execute(
                "SELECT k.id, d.mark, d.ff1_key FROM (SELECT array_agg(id) AS id FROM kms_key WHERE tenant = %s"
                " AND scope = %s AND purpose = 'ff1' AND state IN ('current', 'live') AND destroyed_at IS NULL) k"
                " LEFT JOIN vault_digits d ON d.tenant = %s AND d.entity = %s AND d.field = %s"
                " AND d.mark = ANY(%s::bytea[])",
                (tenant, scope, tenant, entity, field, list(marks)),
            )
            rows = await cursor.fetchall()
        if not {bytes(one) for one in rows[0][0] or ()} <= set(keys):
            raise KeysChanged("there is a live key that was not asked for")
        return {bytes(mark): bytes(key) for _, mark, key in rows if mark is not None}

    async def mark(self, tenant: str, entity: str, field: str, key: bytes, marks: Sequence[bytes]) -> None:
        """Remember digits before they leave; raises KeysChanged unless the key is the current one."""
        async with self.connection(tenant) as connection:
            await connection.execute(
                "SELECT pg_advisory_xact_lock_shared(hashtextextended('crmgate keys ' || %s, 0))", (tenant,)
            )
            cursor = await connection.execute(
                "SELECT 1 FROM kms_key WHERE tenant = %s AND id = %s AND state = 'current'"
                " AND retired_at IS NULL AND destroyed_at IS NULL",
                (tenant, key),
            )
            if await cursor.fetchone() is None:
                raise KeysChanged("a key is no longer the current one")
            # One order for all writers, so that two of them can wait for each other but never lock each other up.
            await connection.execute(
                "INSERT INTO vault_digits (tenant, entity, field, mark, ff1_key)"
                " SELECT %s, %s, %s, mark, %s FROM unnest(%s::bytea[]) AS mark ON CONFLICT DO NOTHING",
                (tenant, entity, field, key, sorted(set(marks))),
            )

    async def under(self, tenant: str, entity: str, field: str, key: bytes) -> int:
        """How many different numbers of a field were made under a key."""
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM vault_digits WHERE tenant = %s AND entity = %s AND field = %s AND ff1_key = %s",
                (tenant, entity, field, key),
            )
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0

    async def note(self, tenant: str, places: Mapping[tuple[str, str, str], bool]) -> None:
        """(entity, field, record) → whether digits stand there now."""
        held = sorted(place for place, filled in places.items() if filled)
        empty = sorted(place for place, filled in places.items() if not filled)
        async with self.connection(tenant) as connection:
            if held:
                await connection.execute(
                    "INSERT INTO vault_digits_record (tenant, entity, field, record) SELECT %s, *"
                    " FROM unnest(%s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING",
                    (tenant, *map(list, zip(*held, strict=True))),
                )
            if empty:
                await connection.execute(
                    "DELETE FROM vault_digits_record WHERE tenant = %s AND (entity, field, record) IN"
                    " (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]))",
                    (tenant, *map(list, zip(*empty, strict=True))),
                )

    async def held_by(self, tenant: str, records: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
        """(entity, field, record) of these (entity, record) where digits are known to stand."""
        async with self.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT entity, field, record FROM vault_digits_record JOIN"
                " unnest(%s::text[], %s::text[]) AS r (entity, record) USING (entity, record)"
                " WHERE tenant = %s ORDER BY entity, record, field",
                ([entity for entity, _ in records], [record for _, record in records], tenant),
            )
            return [(entity, field, record) for entity, field, record in await cursor.fetchall()]
