"""Gateway and PostgreSQL killed under load: the short form of `make kill-drill`, and what shows that it can fail."""

from pathlib import Path

import pytest

from tests.drills.kill import DATABASE, NODE, run
from tests.drills.kill_load import CREATE, READ, REFUSED

pytestmark = pytest.mark.real
FLAWED = Path(__file__).parents[1] / "drills" / "kill_flaw.py"


@pytest.mark.timeout(1800)
def test_no_acknowledged_event_is_lost_or_there_twice() -> None:
    result = run(4)
    assert result.faults == []
    assert {what: len(seconds) for what, seconds in result.recovery_s.items()} == {NODE: 2, DATABASE: 2}
    assert all(result.acknowledged[what] for what in (CREATE, READ, REFUSED))
    assert result.verified is not None
    assert result.verified.entries > sum(result.acknowledged.values())
    assert result.verified.unsigned == 0


@pytest.mark.timeout(1800)
def test_a_log_that_acknowledges_before_its_commit_is_found() -> None:
    result = run(2, (FLAWED, "early"))
    assert result.judged.lost


@pytest.mark.timeout(1800)
def test_a_log_that_writes_again_what_was_committed_is_found() -> None:
    result = run(2, (FLAWED, "twice"))
    assert result.judged.lost == []
    assert result.judged.duplicated
