"""Departments and positions in the place of roles; forms in exports; what may be revealed."""

import pytest

from policies.decision import Form
from policies.enforcer import Enforcer
from policies.operation import Action, FieldSpec, Operation
from policies.placement import DEPARTMENT, PlacementInvalid, is_placement, placement, placements, roles_alone
from policies.rows import PolicyInvalid, parse_rows
from policies.taxonomy import Kind

FIELDS = [FieldSpec("contact", "phone", Kind.PHONE, 50)]
READ = Operation("contact.read", "contact", Action.READ)
EXPORT = Operation("contact.export", "contact", Action.EXPORT)


def test_departments_are_called_as_people_call_them() -> None:
    assert placement(DEPARTMENT, " 销售部 ") == "dept:销售部"
    assert placement(DEPARTMENT, "Cafe\u0301") == "dept:Caf\u00e9"
    assert placements(["sales", "dept:a", "position:b"]) == ("dept:a", "position:b")
    assert roles_alone(["sales", "dept:a", "position:b"]) == ("sales",)


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a+b", "a@", "*", "-a", "a" * 65, "a:b", "a\n"])
def test_other_names_are_refused(name: str) -> None:
    assert not is_placement(f"dept:{name}")
    if name != "a\n":
        with pytest.raises(PlacementInvalid):
            placement(DEPARTMENT, name)


def test_rows_name_no_other_families() -> None:
    for name in ("team:sales", "dept:", "dept:Cafe\u0301", "dept:a b"):
        with pytest.raises(PolicyInvalid):
            parse_rows(f"p, {name}, *, op:*, read, any")


def test_a_department_has_what_its_role_has_in_that_tenant_only() -> None:
    bundle = Enforcer(FIELDS, (READ.id,)).load("p, seller, *, op:contact.*, read, any\ng, dept:销售部, seller, north")
    assert bundle.decide("north", ("dept:销售部",), READ).allowed
    assert not bundle.decide("south", ("dept:销售部",), READ).allowed
    assert bundle.roles == {"seller"}
    assert bundle.named == {"seller", "dept:销售部"}


def test_exports_mask_what_pages_show_where_the_policy_says_so() -> None:
    rows = "p, a, *, kind:*, clear, any\np, a, *, kind:*, write, any\np, a, *, kind:*, search, any"
    open_to_all = Enforcer(FIELDS, (READ.id, EXPORT.id)).load(rows)
    assert open_to_all.decide("t", ("a",), EXPORT).view is open_to_all.decide("t", ("a",), READ).view
    bundle = Enforcer(FIELDS, (READ.id, EXPORT.id)).load(f"{rows}\np, a, *, kind:phone, export, other, deny")
    pages, exports = bundle.decide("t", ("a",), READ).view, bundle.decide("t", ("a",), EXPORT).view
    assert pages.sees_everything
    assert not exports.sees_everything
    assert (exports.rules[("contact", "phone")].own, exports.rules[("contact", "phone")].other) == (
        Form.CLEAR,
        Form.MASKED,
    )
    assert exports.by_kind["phone"].other is Form.MASKED


def test_what_is_masked_may_be_revealed_where_a_row_says_so() -> None:
    rows = "p, a, *, kind:*, clear, any\np, a, *, kind:phone, clear, any, deny\np, a, *, kind:*, reveal, own"
    view = Enforcer(FIELDS).load(rows).view("t", ("a",))
    rule = view.rule("contact", "phone", "phone")
    assert (rule.own, rule.revealable_own, rule.revealable_other) == (Form.MASKED, True, False)
    assert not view.by_kind["name"].revealable_own  # clear already
    hidden = Enforcer(FIELDS).load(f"{rows}\np, a, *, kind:phone, masked, any, deny").view("t", ("a",))
    assert not hidden.rule("contact", "phone", "phone").revealable_own
