"""What may come into force."""

import pytest

from policies.admission import admitted
from policies.enforcer import DEFAULT_POLICY
from policies.rows import PolicyInvalid

KEEPERS = "p, keeper, *, op:console.policy, update, any\np, approver, *, op:console.policy, other, any\n"


def test_the_shipped_policy_may() -> None:
    assert "administrator" in admitted(DEFAULT_POLICY.read_text(encoding="utf-8"), "", "main", {}, ()).roles


def test_drafting_and_approving_may_be_different_roles() -> None:
    assert admitted(KEEPERS, "", "main", {}, ()).roles == {"keeper", "approver"}


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
        admitted(rows, "", "main", {}, ())


def test_what_is_not_as_expected_may_not() -> None:
    checks = "- {given: {roles: [keeper]}, ask: 'op:console.policy update', expect: deny}"
    with pytest.raises(PolicyInvalid, match="check 1"):
        admitted(KEEPERS, checks, "main", {}, ())
