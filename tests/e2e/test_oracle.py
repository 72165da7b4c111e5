"""A salesperson cannot tell two copies of a CRM apart that differ in what they may not see: short form of the drill."""

import pytest

from tests.drills.oracle import LEAST, PROBES, asked, two_sides

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("crm", list(PROBES))
def test_enough_is_asked(crm: str) -> None:
    _, _, hidden = two_sides(4, clear=False)
    assert len(PROBES[crm](hidden)) >= LEAST


@pytest.mark.parametrize(
    ("crm", "every", "clear"),
    [
        ("tryton", 3, True),
        ("tryton", 3, False),
        ("creme", 7, True),
        ("bottle", 15, True),
        ("dynamics", 8, True),
        ("dynamics", 8, False),
    ],
)
def test_two_copies_that_differ_in_hidden_values_answer_alike(crm: str, every: int, *, clear: bool) -> None:
    lines = asked(crm, count=4, clear=clear, tell=lambda what, part: None, every=every)
    assert [told for line in lines for told in line.different] == []
    assert sum(line.total for line in lines) * every >= LEAST
    assert sum(line.total - line.refused for line in lines) >= 10  # a wall proves nothing
