"""A CRM finds the same behind the gateway as it does in plain text: short form of `make twin`."""

import pytest

from tests.drills.twin import MIGRATED, STAGES, Line, compared, crowd, sort_limit_told

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


def test_a_manager_finds_in_creme_what_they_find_in_plain_text() -> None:
    lines = compared("creme", count=4, each=1)
    _require_alike(lines)


def test_a_manager_finds_in_tryton_what_they_find_in_plain_text_and_so_after_a_hook() -> None:
    """Between two rounds more people come in."""
    more = crowd(2, seed=23)[:2]
    lines = compared(
        "tryton", count=4, each=1, hooks=[("more people", lambda twin: twin.add(more))], settings_extra=MIGRATED
    )
    _require_alike(lines)
    assert {line.phase for line in lines} == {"as entered", "more people"}
    warned = [line for line in lines if line.kind == "duplicate warning"]
    assert all(0 < line.hits < line.total for line in warned)


@pytest.mark.parametrize("crm", ["creme", "tryton"])
def test_a_manager_finds_the_same_with_0_half_and_all_of_it_protected_and_then_rotated(crm: str) -> None:
    """People were in the CRM before the gateway; `crmgate protect run` and `crmgate keys rotate` stop in the middle."""
    lines = compared(crm, count=4, each=1, hooks=STAGES, before=True)
    _require_alike(lines)
    assert [phase.partition(" (")[0] for phase in dict.fromkeys(line.phase for line in lines)] == [
        "0 % migrated",
        *(phase for phase, _ in STAGES),
    ]
    assert "sorting" in {line.kind for line in lines}


@pytest.mark.parametrize("crm", ["creme", "tryton"])
def test_the_order_that_protected_columns_do_not_give_is_told_as_a_limit(crm: str) -> None:
    assert sort_limit_told(crm)


def _require_alike(lines: list[Line]) -> None:
    assert [told for line in lines for told in line.different] == []
    assert all(line.alike == line.total for line in lines)
    assert sum(line.hits for line in lines) > 50  # searches that find nothing on both sides would prove nothing
    assert {"equality", "paging", "part, nobody"} <= {line.kind for line in lines}
