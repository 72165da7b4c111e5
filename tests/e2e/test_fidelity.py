"""A CRM works behind the gateway as it does without: every workflow on both sides, everything seen compared."""

import pytest

from tests.drills.fidelity import WORKFLOWS, compared
from tests.drills.workflow import Row, Verdict

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]

# Nothing else may differ; the partial search and the order of protected fields come with blind indexes.
ALLOWED = {
    "order by a protected field",
    "partial search on a protected field",
    "XLS arrives as XLSX",
    "a full name is found that the CRM itself does not find",
    "search by a name that several have asks for something else to search by",
    "search by a part that several have asks for something else to search by",
    "BottleCRM cannot tell that two records have one name",
    "a value without room is refused by the gateway",
    "the CRM's own calls would go to a surrogate",
}


@pytest.mark.parametrize("crm", ["creme", "djangocrm", "tryton", "bottle"])
def test_a_manager_sees_what_they_see_without_the_gateway(crm: str) -> None:
    rows = compared(crm, short=True)
    assert [_told(row) for row in rows if row.verdict is Verdict.DIFFERENT] == []
    assert {row.known for row in rows if row.verdict is Verdict.KNOWN} <= ALLOWED
    assert len(rows) == sum(not workflow.slow for workflow in WORKFLOWS[crm])
    assert sum(row.verdict is Verdict.SAME for row in rows) > len(rows) * 0.8


def _told(row: Row) -> str:
    return "\n".join((f"{row.name}: {row.without} | {row.through}", *row.differences[:20]))
