"""The statement that appends a batch, and the packing of a batch into its binary parameters.

One statement moves the tenant's size and inserts the rows with a gapless index in one transaction. The row lock on the
size orders the writers of all workers.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct

from audit.entry import AuditEntry

# Row-level security takes rows of the tenant that is named; the statement names it, because each has its own.
APPEND = """
WITH head AS (
    INSERT INTO audit_head AS kept (tenant, size) SELECT set_config('crmgate.tenant', $1, true), $2
    ON CONFLICT (tenant) DO UPDATE SET size = kept.size + EXCLUDED.size
    RETURNING size - $2 AS first
), written AS (
    INSERT INTO audit_entry
        (tenant, index, at, kind, actor, operation, entity, record, reason, status, exchange, body, leaf)
    SELECT $1, head.first + row.place - 1, row.at, row.kind, row.actor, row.operation, row.entity, row.record,
        row.reason, row.status, row.exchange, row.body, row.leaf
    FROM head, unnest($3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::smallint[], $11::text[], $12::bytea[], $13::bytea[]) WITH ORDINALITY
        AS row(at, kind, actor, operation, entity, record, reason, status, exchange, body, leaf, place)
)
SELECT first FROM head
"""
NAME_TENANT = "SELECT set_config('crmgate.tenant', %s, true)"
TAIL = """
SELECT entry.leaf = %(leaf)s OR entry.leaf IS NULL AND hot.start > %(index)s
FROM audit_head head
LEFT JOIN audit_hot hot ON hot.tenant = head.tenant
LEFT JOIN audit_entry entry ON entry.tenant = head.tenant AND entry.index = %(index)s
WHERE head.tenant = %(tenant)s AND head.size > %(index)s
"""
"""Whether an entry that was committed is there; it may have left for a sealed segment. Of the tenant that is named."""
_TEXT, _BYTEA, _INT2, _INT8, _TIMESTAMPTZ = 25, 17, 21, 20, 1184  # pg_type.dat
_TEXT_ARRAY, _BYTEA_ARRAY, _INT2_ARRAY, _TIMESTAMPTZ_ARRAY = 1009, 1001, 1005, 1185
APPEND_TYPES = (
    _TEXT,
    _INT8,
    _TIMESTAMPTZ_ARRAY,
    *(_TEXT_ARRAY,) * 6,
    _INT2_ARRAY,
    _TEXT_ARRAY,
    _BYTEA_ARRAY,
    _BYTEA_ARRAY,
)
APPEND_FORMATS = (1,) * len(APPEND_TYPES)  # binary

_ARRAY_HEAD = Struct("!iiIii").pack  # dimensions, has nulls, element type, length, lower bound
_LENGTH = Struct("!i").pack
_LENGTHS = tuple(_LENGTH(length) for length in range(1024))
_INT8_PACK = Struct("!q").pack
_LONG_ITEM = Struct("!iq").pack
_SHORT_ITEM = Struct("!ih").pack
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # of PostgreSQL timestamps


def pack_batch(
    tenant: str, entries: Sequence[AuditEntry], bodies: Sequence[bytes], leaves: Sequence[bytes]
) -> list[bytes]:
    """Parameters of `APPEND` in PostgreSQL's binary form (by hand: adapting value by value costs 10 µs an event)."""
    epoch = _EPOCH
    times = []
    for entry in entries:
        age = entry.at - epoch
        times.append(_LONG_ITEM(8, (age.days * 86_400 + age.seconds) * 1_000_000 + age.microseconds))
    count = len(entries)
    return [
        tenant.encode(),
        _INT8_PACK(count),
        _array(_TIMESTAMPTZ, count, times),
        _names([entry.kind for entry in entries]),
        _names([entry.actor for entry in entries]),
        _names([entry.operation for entry in entries]),
        _names([entry.entity for entry in entries]),
        _texts([entry.record for entry in entries]),
        _names([entry.reason for entry in entries]),
        _array(_INT2, count, [_SHORT_ITEM(2, entry.status) for entry in entries]),
        _texts([entry.exchange for entry in entries]),
        _array(_BYTEA, count, _framed(bodies)),
        _array(_BYTEA, count, _framed(leaves)),
    ]


def _texts(values: Sequence[str]) -> bytes:
    return _array(_TEXT, len(values), _framed([value.encode() for value in values]))


def _names(values: Sequence[str]) -> bytes:
    """Like `_texts`, for columns that repeat a few values."""
    return _array(_TEXT, len(values), map(_framed_name, values))


@lru_cache(maxsize=4096)
def _framed_name(value: str) -> bytes:
    raw = value.encode()
    return _LENGTH(len(raw)) + raw


def _framed(values: Iterable[bytes]) -> list[bytes]:
    return [(_LENGTHS[len(value)] if len(value) < 1024 else _LENGTH(len(value))) + value for value in values]


def _array(kind: int, count: int, items: Iterable[bytes]) -> bytes:
    return _ARRAY_HEAD(1, 0, kind, count, 1) + b"".join(items)
