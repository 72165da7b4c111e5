"""Exports that need a fresh proof of a factor, by rows of the policy."""

from policies.enforcer import Enforcer
from policies.operation import Action, Operation

EXPORT = Operation("contact.export", "contact", Action.EXPORT)
LIST = Operation("contact.list", "contact", Action.LIST)
ROWS = "p, sales, *, op:*, *, any\np, manager, *, op:*, *, any\n"


def needs(rows: str, role: str, operation: Operation = EXPORT) -> bool:
    decision = Enforcer((), [EXPORT.id, LIST.id]).load(rows).decide("t1", (role,), operation)
    assert decision.allowed
    return decision.proof


def test_rights_over_every_operation_ask_for_no_proof() -> None:
    assert not needs(ROWS, "sales")


def test_a_row_asks_one_role_for_a_proof_of_exports_alone() -> None:
    rows = ROWS + "p, sales, *, op:proof.*, export, any\n"
    assert needs(rows, "sales")
    assert not needs(rows, "sales", LIST)
    assert not needs(rows, "manager")


def test_an_exception_takes_an_export_out() -> None:
    rows = ROWS + "p, sales, *, op:proof.*, export, any\np, sales, *, op:proof.contact.export, export, any, deny\n"
    assert not needs(rows, "sales")
