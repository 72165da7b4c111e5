"""Entries of the trail as rows of two tables, for whoever searches by columns: Parquet, SQL, packs.

`event` has a row for each entry. `sight` has a row for each field of each record that somebody was shown or wrote, so
that "who saw this customer's phone" is a look-up and no reading of JSON. Both carry the entry's index, under which the
proof is found; the bytes that were hashed stay in `event.body`.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
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
_SEEN = ("entity", "field", "record", "form", "count")
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


def sights(content: Mapping[str, Any]) -> Iterator[Seen]:
    """What a decoded entry says was shown or written."""
    fields = content["fields"]
    for name, records in _pairs(fields.get("shown")):
        entity, _, field = name.rpartition(".")
        for record, forms in _pairs(records):
            for form, count in _pairs(forms):
                if isinstance(count, int):
                    yield entity, field, record, form, count
    written = fields.get("written")
    for name in written if isinstance(written, list) else ():
        if isinstance(name, str):
            entity, _, field = name.rpartition(".")
            record = content["record"] if entity == content["entity"] else ""
            yield entity, field, record, WRITTEN, 1


def _pairs(told: object) -> Collection[tuple[str, Any]]:
    """What a group of `fields` holds; nothing where it was cut to something else."""
    return told.items() if isinstance(told, dict) else ()
