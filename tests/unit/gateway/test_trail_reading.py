"""Who reads the trail is on record with the filters, and what somebody typed is not."""

from datetime import UTC, datetime

from audit.store import Filters
from gateway.trail_reading import given_in, told_filters

AT = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


def test_a_value_is_told_where_the_trail_holds_it_already() -> None:
    given = given_in(Filters(actor="u-1", kind="outcome", since=AT)) | {"tag": "crm:*"}
    assert told_filters(given, found=True) == [
        "actor=u-1", "kind=outcome", "since=2026-11-27T09:00:00+00:00", "tag=crm:*",
    ]  # fmt: skip


def test_a_customer_is_told_by_pseudonym_or_not_at_all() -> None:
    name = f"ds_{'A' * 22}"
    assert told_filters(given_in(Filters(record="7")), found=True) == ["record"]
    assert told_filters(given_in(Filters(record=name, records=("7", name))), found=False) == [f"record={name}"]


def test_a_value_that_nobody_has_seen_here_stays_out_of_it() -> None:
    given = given_in(Filters(record="13800138000", kind="outcome", since=AT)) | {"tag": ""}
    assert told_filters(given, found=False) == ["kind=outcome", "record", "since=2026-11-27T09:00:00+00:00"]
