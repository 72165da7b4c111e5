"""Whether a bundle may come into force: whole, not empty, with somebody who may change it again, and as expected."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

from policies.duty import joining
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
    at: float,
    *,
    separated: bool = False,
    accounts: Collection[tuple[str, ...]] = (),
) -> Bundle:
    """The bundle; raises PolicyInvalid with all that keeps it from coming into force.

    at: the moment to judge it for, in seconds since 1970; one in force was judged when it was published, and rows of it
    that have ended since do not stop it. Somebody has to be able to change it whatever ends later. separated: no role,
    and none of these accounts (their roles), may ever hold powers of two duties.
    """
    bundle = Enforcer(fields, operations, separated=separated).load(rows)
    if not bundle.named:
        raise PolicyInvalid(["the bundle has no rows: nobody could do anything"])
    problems = list(_locked(bundle, tenant, at))
    if separated:
        problems.extend(str(one) for one in joining(bundle, tenant, at, accounts))
    problems.extend(unmet(bundle.at(at), read_expectations(checks), tenant, fields, operations))
    if problems:
        raise PolicyInvalid(problems)
    return bundle


def _locked(bundle: Bundle, tenant: str, at: float) -> Iterator[str]:
    asking = bundle.about(f"op:{POLICY_OPERATION}")
    for moment in (at, *(one for one in asking.boundaries if one > at)):
        then = asking.at(moment)
        for action in (DRAFT, APPROVE):
            if not any(then.may(tenant, {role}, POLICY_OPERATION, action) for role in sorted(asking.named)):
                when = "" if moment == at else f" from {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC on"
                yield f"no role may {action} op:{POLICY_OPERATION}{when}: nobody could change the policy again"
