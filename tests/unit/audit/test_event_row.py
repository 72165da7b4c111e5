"""Entries as rows: one of `event`, one of `sight` for each field somebody was shown or wrote."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from audit.entry import AuditEntry, EntryRefused, encode
from audit.event_row import EVENT, SIGHT, Rows, event_row, rows_of
from audit.tree import leaf_hash

AT = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)


def body_of(**fields: object) -> bytes:
    return encode(
        AuditEntry(
            at=AT, id="e1", kind="outcome", tenant="main", actor="u1", actor_login="li.na", operation="contact.list",
            entity="contact", record="7", status=200, exchange="x1", fields=fields,
        )
    )  # fmt: skip


def test_every_field_of_every_record_shown_is_a_row_of_its_own() -> None:
    shown = {"contact.phone": {"7": {"masked": 1}, "8": {"clear": 2}}, "contact.email": {"": {"hidden": 1}}}
    body = body_of(shown=shown, session="s1")
    event, sights = rows_of(3, AT, leaf_hash(body), body)
    assert (event["index"], event["session"], event["device"], event["data_subject"]) == (3, "s1", "", "")
    assert [(one["field"], one["record"], one["form"], one["count"]) for one in sights] == [
        ("email", "", "hidden", 1),
        ("phone", "7", "masked", 1),
        ("phone", "8", "clear", 2),
    ]
    assert {(one["index"], one["actor"], one["entity"], one["operation"]) for one in sights} == {
        (3, "u1", "contact", "contact.list")
    }


def test_what_was_written_is_told_with_its_record_where_it_is_of_that_entity() -> None:
    body = body_of(written=["contact.phone", "address.city"])
    sights = rows_of(0, AT, leaf_hash(body), body)[1]
    assert [(one["entity"], one["field"], one["record"], one["form"]) for one in sights] == [
        ("contact", "phone", "7", "written"),
        ("address", "city", "", "written"),
    ]


def test_rows_fit_the_declared_columns() -> None:
    body = body_of(shown={"contact.phone": {"7": {"masked": 1}}})
    event, sights = rows_of(3, AT, leaf_hash(body), body)
    assert pa.Table.from_pylist([event], schema=EVENT).to_pylist() == [event]
    assert pa.Table.from_pylist(sights, schema=SIGHT).to_pylist() == sights


def test_many_at_once_are_the_rows_that_each_has_alone() -> None:
    bodies = [
        body_of(shown={"contact.phone": {"7": {"masked": 1, "clear": 2}, "8": {"clear": 1}}}, device="d1"),
        body_of(),
        body_of(shown={"contact.phone": {"7": {"clear": 1}}}, written=["address.city", "contact.email"], session=["x"]),
        body_of(shown={"contact.phone": 3}, written="contact.phone"),
    ]
    rows, alone = Rows(), [rows_of(place, AT, leaf_hash(body), body) for place, body in enumerate(bodies)]
    for place, body in enumerate(bodies):
        assert rows.add(place, AT, leaf_hash(body), body)["id"] == "e1"
    events, sights = rows.batches()
    assert events.to_pylist() == [event for event, _ in alone]
    order = ("entity", "record", "field", "form")
    assert sights.to_pylist() == [
        one for _, seen in alone for one in sorted(seen, key=lambda row: [row[name] for name in order])
    ]
    assert [batch.num_rows for batch in Rows().batches()] == [0, 0]


def test_a_group_that_was_cut_names_nothing() -> None:
    body = body_of(shown={"contact.phone": 3}, written="contact.phone")
    assert rows_of(0, AT, leaf_hash(body), body)[1] == []


def test_bytes_that_the_log_could_not_have_written_are_no_row() -> None:
    with pytest.raises(EntryRefused):
        event_row(0, AT, bytes(32), b'{"kind":"outcome"}')
