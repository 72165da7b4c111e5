"""Gateway and PostgreSQL killed under load: the short form of `make kill-drill`, and what shows that it can fail."""

from pathlib import Path

import pytest

from tests.drills.kill import DATABASE, NODE, judge, run
from tests.drills.kill_load import CREATE, READ, REFUSED

pytestmark = pytest.mark.real
FLAWED = Path(__file__).parents[1] / "drills" / "kill_flaw.py"


@pytest.mark.timeout(600)
def test_no_acknowledged_event_is_lost_or_there_twice() -> None:
    result = run(4)
    assert result.faults == []
    assert {what: len(seconds) for what, seconds in result.recovery_s.items()} == {NODE: 2, DATABASE: 2}
    assert all(result.acknowledged[what] for what in (CREATE, READ, REFUSED))
    assert result.verified is not None
    assert result.verified.entries > sum(result.acknowledged.values())
    assert result.verified.unsigned == 0


@pytest.mark.timeout(600)
def test_a_log_that_acknowledges_before_its_commit_is_found() -> None:
    result = run(2, (FLAWED, "early"))
    assert result.judged.lost


@pytest.mark.timeout(600)
def test_a_log_that_writes_again_what_was_committed_is_found() -> None:
    result = run(2, (FLAWED, "twice"))
    assert result.judged.lost == []
    assert result.judged.duplicated


def entry(number: int, kind: str, client: str, **more: object) -> dict[str, object]:
    return {"id": f"a{number}", "exchange": f"x{client}", "kind": kind, "client": client, "fields": {}, **more}


def test_each_event_of_an_acknowledged_exchange_counts() -> None:
    entries = [entry(1, "decision", "fd00::1"), entry(2, "outcome", "fd00::1"), entry(3, "outcome", "fd00::2")]
    ledger = {"fd00::1": CREATE, "fd00::2": READ}
    assert judge(ledger, entries).lost == judge(ledger, entries).duplicated == []
    assert judge(ledger, entries[1:]).lost == ["create from fd00::1: its decision is lost"]
    assert judge({"fd00::3": REFUSED}, entries).lost == ["refused from fd00::3: its refusal is lost"]
    assert judge(ledger, [*entries, entries[2]]).duplicated[0] == "event a3 is there 2 times"
    again = judge({}, [*entries, entry(4, "outcome", "fd00::2")])
    assert again.duplicated == ["outcome of exchange xfd00::2: 2 times"], "another id does not hide it"


def test_entries_of_exchanges_that_were_not_acknowledged_are_no_fault() -> None:
    judged = judge({}, [entry(1, "decision", "fd00::1")])
    assert judged.lost == judged.duplicated == []
