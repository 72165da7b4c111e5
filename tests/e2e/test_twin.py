"""A CRM finds the same behind the gateway as it does in plain text: short form of `make twin`."""

import pytest

from tests.drills.twin import MIGRATED, Line, compared, crowd

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


def test_a_manager_finds_in_creme_what_they_find_in_plain_text() -> None:
    lines = compared("creme", count=4, each=1)
    _require_alike(lines)


def test_a_manager_finds_in_tryton_what_they_find_in_plain_text_and_so_after_a_hook() -> None:
    """A hook stands for a migration or a rotation half done; this one enters more people."""
    more = crowd(2, seed=23)[:2]
    lines = compared(
        "tryton", count=4, each=1, hooks=[("more people", lambda twin: twin.add(more))], settings_extra=MIGRATED
    )
    _require_alike(lines)
    assert {line.phase for line in lines} == {"as entered", "more people"}
    warned = [line for line in lines if line.kind == "duplicate warning"]
    assert all(0 < line.hits < line.total for line in warned)


def _require_alike(lines: list[Line]) -> None:
    assert [told for line in lines for told in line.different] == []
    assert all(line.alike == line.total for line in lines)
    assert sum(line.hits for line in lines) > 50  # searches that find nothing on both sides would prove nothing
    assert {"equality", "paging", "part, nobody"} <= {line.kind for line in lines}
