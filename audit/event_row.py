"""Entries of the trail as rows of two tables, for whoever searches by columns: Parquet, SQL, packs.

`event` has a row for each entry. `sight` has a row for each field of each record that somebody was shown or wrote, so
that "who saw this customer's phone" is a look-up and no reading of JSON. Both carry the entry's index, under which the
proof is found; the bytes that were hashed stay in `event.body`.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any

import pyarrow as pa

from audit.entry import decode

EVENT: pa.Schema = pa.schema(
    [
        pa.field("index", pa.int64(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        *(
            pa.field(name, pa.string(), nullable=False)
            for name in (
                "kind", "actor", "actor_login", "crm_user", "client", "device", "session", "method", "operation",
                "entity", "record", "data_subject", "reason",
            )
        ),
        pa.field("status", pa.int16(), nullable=False),
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("policy", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("body", pa.binary(), nullable=False),
        pa.field("leaf", pa.binary(32), nullable=False),
    ]
)  # fmt: skip
"""Columns of `event`. index: place in the log; data_subject: pseudonym of the person it is about, "" for none."""

SIGHT: pa.Schema = pa.schema(
    [
        pa.field("index", pa.int64(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        *(
            pa.field(name, pa.string(), nullable=False)
            for name in ("actor", "actor_login", "operation", "entity", "field", "record", "data_subject", "form")
        ),
        pa.field("count", pa.int32(), nullable=False),
    ]
)
"""Columns of `sight`. form: how it went out ("clear", "masked"…), or "written". record: "" where not known."""

WRITTEN = "written"
Seen = tuple[str, str, str, str, int]
"""A field of a record that was shown or written, in the order of `_SEEN`; record: "" where not known."""
_SEEN = ("entity", "record", "field", "form", "count")
_NAMES = tuple(field.name for field in EVENT)
_IN_FIELDS = ("device", "session")


def event_row(index: int, at: datetime, leaf: bytes, body: bytes) -> dict[str, Any]:
    """The row of `event` of a stored entry; raises EntryRefused for bytes that the log could not have written."""
    return _event(index, at, leaf, body, decode(body))


def rows_of(index: int, at: datetime, leaf: bytes, body: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row of `event`, and the rows of `sight`, of a stored entry; raises EntryRefused."""
    content = decode(body)
    event = _event(index, at, leaf, body, content)
    common = {name: event[name] for name in ("index", "at", "actor", "actor_login", "operation", "data_subject")}
    return event, [{**common, **dict(zip(_SEEN, sight, strict=True))} for sight in sights(content)]


def _event(index: int, at: datetime, leaf: bytes, body: bytes, content: Mapping[str, Any]) -> dict[str, Any]:
    own = {"index": index, "at": at, "leaf": leaf, "body": body, "data_subject": content.get("data_subject", "")}
    for name in _IN_FIELDS:
        told = content["fields"].get(name)
        own[name] = told if isinstance(told, str) else ""
    return {name: own[name] if name in own else content[name] for name in _NAMES}


class Rows:
    """Entries on their way into the two tables, by column: many at a time cost a fraction of `rows_of` for each.

    The rows of `sight` of one entry come in the order of entity, record, field and form.
    """

    def __init__(self) -> None:
        self._events: list[tuple[Any, ...]] = []
        # Lists and no tuples: a million small containers would keep the garbage collector busy.
        self._seen: tuple[list[Any], ...] = tuple([] for _ in _SEEN)
        self._parents: list[int] = []

    def add(self, index: int, at: datetime, leaf: bytes, body: bytes) -> dict[str, Any]:
        """Take one entry; its content. Raises: EntryRefused for bytes that the log could not have written."""
        content = decode(body)
        fields = content["fields"]
        own = (told if isinstance(told := fields.get(name), str) else "" for name in _IN_FIELDS)
        if seen := sorted(sights(content)):
            for column, values in zip(self._seen, zip(*seen, strict=True), strict=True):
                column += values
            self._parents += [len(self._events)] * len(seen)
        self._events.append((index, at, leaf, body, content.get("data_subject", ""), *own, *_told(content)))
        return content

    def batches(self) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The rows of `event` and of `sight`, in the order in which they came."""
        columns = dict(zip(_GIVEN, zip(*self._events, strict=True), strict=False))
        events = pa.RecordBatch.from_arrays(
            [pa.array(columns.get(field.name, ()), field.type) for field in EVENT], schema=EVENT
        )
        parents, seen = pa.array(self._parents, pa.int64()), dict(zip(_SEEN, self._seen, strict=True))
        sights = [
            pa.array(seen[field.name], field.type) if field.name in seen else events.column(field.name).take(parents)
            for field in SIGHT
        ]
        return events, pa.RecordBatch.from_arrays(sights, schema=SIGHT)


_OWN = ("index", "at", "leaf", "body", "data_subject", *_IN_FIELDS)
_TOLD = tuple(name for name in _NAMES if name not in _OWN)
_GIVEN = (*_OWN, *_TOLD)
_told = itemgetter(*_TOLD)


def sights(content: Mapping[str, Any]) -> Iterator[Seen]:
    """What a decoded entry says was shown or written."""
    fields = content["fields"]
    for name, records in _pairs(fields.get("shown")):
        entity, _, field = name.rpartition(".")
        for record, forms in _pairs(records):
            for form, count in _pairs(forms):
                if isinstance(count, int):
                    yield entity, record, field, form, count
    written = fields.get("written")
    for name in written if isinstance(written, list) else ():
        if isinstance(name, str):
            entity, _, field = name.rpartition(".")
            record = content["record"] if entity == content["entity"] else ""
            yield entity, record, field, WRITTEN, 1


def _pairs(told: object) -> Iterable[tuple[str, Any]]:
    """What a group of `fields` holds; nothing where it was cut to something else."""
    return told.items() if isinstance(told, dict) else ()
