"""SQL of giving value keys to entries of before person keys."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kms.connections import Connection
from kms.rotation_store import SpellingRow, condemned

_KEY_ID = slice(1, 5)  # of an envelope (kms.envelope)


@dataclass(slots=True)
class Unheld:
    """A locked entry with all that is sealed about it. places: (entity, record, cell); aliases: (term, alias)."""

    surrogate: str
    kind: str
    blob: bytes
    places: list[tuple[str, str, str]] = field(default_factory=list)
    spellings: list[SpellingRow] = field(default_factory=list)
    aliases: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def blobs(self) -> list[bytes]:
        """Every envelope."""
        return [self.blob, *(row.spelling for row in self.spellings), *(alias for _, alias in self.aliases)]


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The same sealed anew, in the same order."""

    was: Unheld
    blob: bytes
    spellings: list[bytes]
    aliases: list[bytes]


async def lock_unheld(connection: Connection, tenant: str, kind: str, surrogates: Sequence[str]) -> list[Unheld]:
    """Entries without a value key that nobody writes to now; they are ours until the end of the transaction."""
    gone = await condemned(connection, tenant)
    cursor = await connection.execute(
        "SELECT surrogate, blob FROM vault WHERE tenant = %s AND kind = %s AND surrogate = ANY(%s::text[]) AND NOT held"
        " ORDER BY surrogate FOR UPDATE SKIP LOCKED",
        (tenant, kind, list(surrogates)),
    )
    found = {one: Unheld(one, kind, bytes(blob)) for one, blob in await cursor.fetchall()}
    cursor = await connection.execute(
        "SELECT surrogate, entity, field, record, cell, spelling FROM vault_origin"
        " WHERE tenant = %s AND surrogate = ANY(%s::text[])"
        " ORDER BY surrogate, entity, field, record, cell FOR UPDATE",
        (tenant, list(found)),
    )
    for surrogate, entity, name, record, cell, spelling in await cursor.fetchall():
        place = (entity, record, "" if record else cell)
        if place not in found[surrogate].places:
            found[surrogate].places.append(place)
        if spelling is not None:
            found[surrogate].spellings.append(SpellingRow(surrogate, entity, name, record, cell, bytes(spelling)))
    cursor = await connection.execute(
        "SELECT surrogate, term, alias FROM vault_term WHERE tenant = %s AND kind = %s AND surrogate = ANY(%s::text[])"
        " AND alias IS NOT NULL",
        (tenant, kind, list(found)),
    )
    for surrogate, term, alias in await cursor.fetchall():
        found[surrogate].aliases.append((bytes(term), bytes(alias)))
    return [one for one in found.values() if not gone & {blob[_KEY_ID] for blob in one.blobs}]


async def write_held(connection: Connection, tenant: str, seal_key: bytes, rows: Sequence[Upgraded]) -> None:
    """Replace what is sealed and note that the entries are held."""
    await connection.execute(
        "UPDATE vault v SET blob = w.blob, seal_key = %s, held = true FROM unnest(%s::text[], %s::bytea[])"
        " AS w (surrogate, blob) WHERE v.tenant = %s AND v.surrogate = w.surrogate",
        (seal_key, [row.was.surrogate for row in rows], [row.blob for row in rows], tenant),
    )
    spelled = [pair for row in rows for pair in zip(row.was.spellings, row.spellings, strict=True)]
    await connection.execute(
        """
        UPDATE vault_origin o SET spelling = w.spelling
        FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[])
             AS w (surrogate, entity, field, record, cell, spelling)
        WHERE o.tenant = %s AND o.surrogate = w.surrogate AND o.entity = w.entity AND o.field = w.field
          AND o.record = w.record AND o.cell = w.cell
        """,
        (
            [was.surrogate for was, _ in spelled],
            [was.entity for was, _ in spelled],
            [was.field for was, _ in spelled],
            [was.record for was, _ in spelled],
            [was.cell for was, _ in spelled],
            [spelling for _, spelling in spelled],
            tenant,
        ),
    )
    aliases = [
        (row.was, term, alias) for row in rows for (term, _), alias in zip(row.was.aliases, row.aliases, strict=True)
    ]
    await connection.execute(
        "UPDATE vault_term t SET alias = w.alias FROM unnest(%s::text[], %s::bytea[], %s::text[], %s::bytea[])"
        " AS w (kind, term, surrogate, alias)"
        " WHERE t.tenant = %s AND t.kind = w.kind AND t.term = w.term AND t.surrogate = w.surrogate",
        (
            [was.kind for was, _, _ in aliases],
            [term for _, term, _ in aliases],
            [was.surrogate for was, _, _ in aliases],
            [alias for _, _, alias in aliases],
            tenant,
        ),
    )
