"""A CRM finds the same behind the gateway as it does in plain text: short form of `make twin`."""

import pytest

from tests.drills.twin import MIGRATED, Line, Twins, compared

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


def _told(lines: list[Line]) -> list[str]:
    return [told for line in lines for told in line.different]


@pytest.mark.parametrize(("crm", "settings"), [("creme", None), ("tryton", MIGRATED)])
def test_a_manager_finds_what_they_find_in_plain_text(crm: str, settings: str | None) -> None:
    called: list[str] = []

    def hook(twin: Twins) -> None:
        called.append(twin.crm)
        twin.house.restart_gateway()

    extra = {} if settings is None else {"settings_extra": settings}
    lines = compared(crm, count=6, each=1, hooks=[("after a restart", hook)], **extra)
    assert _told(lines) == []
    assert called == [crm]
    assert {line.phase for line in lines} == {"as entered", "after a restart"}
    assert sum(line.hits for line in lines) > 100  # searches that find nothing on both sides would prove nothing
    assert {"equality", "paging", "part, nobody"} <= {line.kind for line in lines}
