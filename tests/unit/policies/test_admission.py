"""What may come into force."""

from datetime import UTC, datetime

import pytest

from policies.admission import admitted
from policies.enforcer import DEFAULT_POLICY
from policies.rows import PolicyInvalid

AT = datetime(2026, 11, 27, tzinfo=UTC).timestamp()
KEEPERS = "p, keeper, *, op:console.policy, update, any\np, approver, *, op:console.policy, other, any\n"


def test_the_shipped_policy_may() -> None:
    assert "administrator" in admitted(DEFAULT_POLICY.read_text(encoding="utf-8"), "", "main", {}, (), AT).roles


def test_drafting_and_approving_may_be_different_roles() -> None:
    assert admitted(KEEPERS, "", "main", {}, (), AT).roles == {"keeper", "approver"}


@pytest.mark.parametrize(
    "rows",
    [
        "",
        "# nothing\n",
        KEEPERS.splitlines()[0],
        KEEPERS.splitlines()[1],
        KEEPERS.replace("*", "other"),
        KEEPERS + "p, keeper, *, op:console.*, *, any, deny\n",
        KEEPERS + "nonsense\n",
        "p, a, *, op:*, *, any\n",
    ],
)
def test_what_is_empty_malformed_or_locks_everybody_out_may_not(rows: str) -> None:
    with pytest.raises(PolicyInvalid):
        admitted(rows, "", "main", {}, (), AT)


def test_what_is_not_as_expected_may_not() -> None:
    checks = "- {given: {roles: [keeper]}, ask: 'op:console.policy update', expect: deny}"
    with pytest.raises(PolicyInvalid, match="check 1"):
        admitted(KEEPERS, checks, "main", {}, (), AT)


@pytest.mark.parametrize("window", ["until=2026-12-31", "from=2026-12-01", "from=2026-11-01, until=2026-11-02"])
def test_what_locks_everybody_out_some_day_may_not(window: str) -> None:
    rows = KEEPERS.replace("other, any", f"other, any, {window}")
    with pytest.raises(PolicyInvalid, match="nobody could change the policy again"):
        admitted(rows, "", "main", {}, (), AT)


def test_a_locking_inheritance_that_ends_may_not_either() -> None:
    rows = KEEPERS + "g, dept:it, approver, *\n"
    assert admitted(rows, "", "main", {}, (), AT)
    denied = rows + "p, approver, *, op:console.policy, other, any, deny, from=2027-01-01\n"
    with pytest.raises(PolicyInvalid, match="from 2027-01-01 00:00 UTC on"):
        admitted(denied, "", "main", {}, (), AT)


def test_checks_are_judged_for_the_moment_they_are_given() -> None:
    rows = KEEPERS + "p, guest, *, op:console.live, read, any, until=2026-12-31\n"
    checks = "- {given: {roles: [guest]}, ask: 'op:console.live read', expect: allow}"
    assert admitted(rows, checks, "main", {}, (), AT)
    with pytest.raises(PolicyInvalid, match="check 1"):
        admitted(rows, checks, "main", {}, (), datetime(2027, 1, 1, tzinfo=UTC).timestamp())
