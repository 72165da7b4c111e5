"""What an administrator changed is readable in the trail: names, what went and what came."""

from datetime import UTC, datetime

from audit.entry import NOT_RECORDED, AuditEntry, decode, encode
from gateway.difference import difference

AT = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


def test_what_went_and_what_came_is_told_by_name() -> None:
    before = {"roles": ["sales", "support"], "until": "2026-12-01T00:00Z", "same": 1, "empty": ""}
    after = {"roles": ["sales", "audit"], "until": "2027-12-01T00:00Z", "same": 1, "empty": "now", "new": 5}
    assert difference(before, after) == (
        "-empty=none",
        "+empty=now",
        "-new=none",
        "+new=5",
        "-roles=support",
        "+roles=audit",
        "-until=2026-12-01T00:00Z",
        "+until=2027-12-01T00:00Z",
    )
    assert difference(before, before) == ()
    assert difference({"networks": []}, {"networks": ["10.0.0.0/8"]}) == ("+networks=10.0.0.0/8",)


def test_the_trail_keeps_it_and_hides_what_is_no_identifier() -> None:
    change = list(difference({"networks": ["10.0.0.0/8"]}, {"networks": ["192.168.1.0/24"], "name": "Li Wei"}))
    entry = AuditEntry(at=AT, id="a", kind="console", tenant="t", fields={"change": change})
    kept = decode(encode(entry))["fields"]["change"]
    assert kept == ["-name=none", NOT_RECORDED, "-networks=10.0.0.0/8", "+networks=192.168.1.0/24"]
