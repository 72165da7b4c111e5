"""A finding of the watch becomes an alarm in the trail that it is about."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from audit.anchor import Contradiction
from audit.entry import encode
from audit.log import AuditUnavailable
from audit.siem.view import Severity, view_of
from audit.signing import HandedOver
from audit.tree import leaf_hash
from audit.watch_sight import Finding
from gateway.composition_integrity import Teller

AT = datetime(2026, 11, 26, tzinfo=UTC)


class Trail:
    def __init__(self, *, away: bool = False) -> None:
        self.entries: list[dict[str, Any]] = []
        self.away = away

    async def append(self, entry: Any) -> int:
        if self.away:
            raise AuditUnavailable
        self.entries.append(orjson.loads(encode(entry)))
        return 0


@pytest.mark.parametrize(
    ("finding", "record", "detail"),
    [
        (Finding("main", "its bytes do not fit its hash", AT, None, (17, 17)), "17", "entry"),
        (Finding("main", "the root differs", AT, None, (10, 12), 13), "10", "checkpoint"),
        (Finding("main", "the triggers are off", AT), "", "guard"),
    ],
)
async def test_it_is_written_with_its_place(finding: Finding, record: str, detail: str) -> None:
    trail: Any = Trail()
    await Teller(trail, ("main", "b"), lambda: AT).tell(finding)
    [entry] = trail.entries
    assert (entry["tenant"], entry["kind"], entry["operation"]) == ("main", "alarm", "audit.watch")
    assert (entry["reason"], entry["record"], entry["fields"]["detail"]) == ("trail-tampered", record, detail)
    if finding.span:
        assert entry["fields"]["change"] == {"first": str(finding.span[0]), "last": str(finding.span[1])}


async def test_a_log_that_no_setting_names_gets_no_entry_of_ours() -> None:
    trail: Any = Trail()
    await Teller(trail, ("main",), lambda: AT).tell(Finding("ghost", "x", AT, None, (1, 1)))
    assert [(one["tenant"], one["fields"]["target"]) for one in trail.entries] == [("main", "ghost")]


async def test_a_trail_that_is_away_does_not_stop_the_watch() -> None:
    trail: Any = Trail(away=True)
    await Teller(trail, ("main",), lambda: AT).tell(Finding("main", "x", AT, None, (1, 1)))
    assert trail.entries == []


async def test_an_anchor_that_contradicts_is_an_alarm_of_the_log_it_is_about_and_a_siem_is_told_so() -> None:
    trail: Any = Trail()
    await Teller(trail, ("main", "b"), lambda: AT).tell_contradiction(Contradiction("b", "s3", 42))
    [entry] = trail.entries
    assert (entry["tenant"], entry["kind"], entry["operation"]) == ("b", "alarm", "audit.anchor")
    assert (entry["reason"], entry["fields"]) == (
        "anchor-contradicts",
        {"target": "b", "detail": "s3", "count": 42},
    )
    body = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
    assert view_of(1, AT, leaf_hash(body), body).severity is Severity.ALERT


async def test_a_change_of_keys_is_on_record_or_does_not_happen() -> None:
    trail: Any = Trail()
    done = HandedOver("main", 18, "note", "0a0a0a0a", "0b0b0b0b")
    await Teller(trail, ("main",), lambda: AT).tell_handover(done)
    [entry] = trail.entries
    assert (entry["kind"], entry["operation"], entry["reason"]) == ("keys", "audit.key", "audit-key-changed")
    assert entry["fields"] == {"change": {"old": "0a0a0a0a", "new": "0b0b0b0b"}, "count": 18}
    away: Any = Trail(away=True)
    with pytest.raises(AuditUnavailable):
        await Teller(away, ("main",), lambda: AT).tell_handover(done)
