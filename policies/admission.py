"""Whether a bundle may come into force: whole, not empty, with somebody who may change it again, and as expected."""

from collections.abc import Collection, Mapping

from policies.enforcer import Bundle, Enforcer
from policies.expectation import read_expectations, unmet
from policies.operation import FieldSpec
from policies.rows import PolicyInvalid

POLICY_OPERATION = "console.policy"
DRAFT, APPROVE = "update", "other"
"""Actions of `op:console.policy`: drafting, proposing and asking for an earlier bundle again; publishing."""


def admitted(
    rows: str,
    checks: str,
    tenant: str,
    fields: Mapping[tuple[str, str], FieldSpec],
    operations: Collection[str],
) -> Bundle:
    """The bundle; raises PolicyInvalid with all that keeps it from coming into force."""
    bundle = Enforcer(fields, operations).load(rows)
    if not bundle.roles:
        raise PolicyInvalid(["the bundle has no rows: nobody could do anything"])
    problems = [
        f"no role may {action} op:{POLICY_OPERATION}: nobody could change the policy again"
        for action in (DRAFT, APPROVE)
        if not any(bundle.may(tenant, {role}, POLICY_OPERATION, action) for role in sorted(bundle.roles))
    ]
    problems.extend(unmet(bundle, read_expectations(checks), tenant, fields, operations))
    if problems:
        raise PolicyInvalid(problems)
    return bundle
