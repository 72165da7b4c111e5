"""Posture deny: a read that no profile rule matches is refused, everything else is decided as before."""

from gateway.app import Policies
from policies.enforcer import DEFAULT_POLICY, Enforcer
from policies.operation import UNMATCHED_READ
from policies.profile import Action, Operation


def test_unmatched_reads_follow_the_posture() -> None:
    bundle = Enforcer(()).load(DEFAULT_POLICY)
    scanning, closed = Policies({"main": bundle}), Policies({"main": bundle}, frozenset({"main"}))
    assert scanning.decide("main", ("manager",), UNMATCHED_READ).allowed
    refused = closed.decide("main", ("manager",), UNMATCHED_READ)
    assert (refused.allowed, refused.reason) == (False, "not-allowed")
    known = Operation("contact.read", "contact", Action.READ)
    assert closed.decide("main", ("manager",), known).allowed
