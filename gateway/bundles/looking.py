"""What a reader of a bundle wants to see beside its rows: what it changes, how its checks do, what keeps it out."""

from collections.abc import Collection
from dataclasses import dataclass

from gateway.bundles.bundle import StoredBundle
from policies.admission import admitted
from policies.difference import Difference, difference
from policies.enforcer import Enforcer
from policies.expectation import Expectation, judged, read_expectations
from policies.profile import Profile
from policies.rows import PolicyInvalid


@dataclass(frozen=True, slots=True)
class Looked:
    """changes: against the rows in force. checks: each with what of it is not met, "". problems: why it may not come
    into force, in plain words; those of checks included."""

    changes: Difference
    checks: tuple[tuple[Expectation, str], ...]
    problems: tuple[str, ...]


def look_at(
    found: StoredBundle,
    in_force: str,
    tenant: str,
    profile: Profile,
    at: float,
    *,
    separated: bool,
    accounts: Collection[tuple[str, ...]],
) -> Looked:
    """All of it, by the profile of now; takes a moment, so call it in a thread.

    at: seconds since 1970. separated, accounts: whether duties are kept apart, and the roles of each account then.
    """
    fields, operations = profile.field_specs, profile.operation_ids
    problems: tuple[str, ...] = ()
    checks: tuple[tuple[Expectation, str], ...] = ()
    try:
        admitted(found.rows, found.checks, tenant, fields, operations, at, separated=separated, accounts=accounts)
    except PolicyInvalid as invalid:
        problems = invalid.problems
    if not found.whole:
        problems = (*problems, "the bundle is not what was stored: its digest differs")
    try:
        bundle = Enforcer(fields, operations, separated=separated).load(found.rows).at(at)
        checks = tuple(judged(bundle, read_expectations(found.checks), tenant, fields, operations))
    except PolicyInvalid:
        pass  # rows or checks that cannot be read are among the problems already
    return Looked(difference(in_force, found.rows), checks, problems)
