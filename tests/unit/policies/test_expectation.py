"""Checks kept with a bundle: read strictly, and never fulfilled by something that does not exist."""

import pytest

from policies.enforcer import Enforcer
from policies.expectation import read_expectations, unmet
from policies.operation import FieldSpec
from policies.rows import PolicyInvalid
from policies.taxonomy import Kind

FIELDS = {
    ("contact", "phone"): FieldSpec("contact", "phone", Kind.PHONE, 50),
    ("contact", "note"): FieldSpec("contact", "note", None, 500),
}
OPERATIONS = ("contact.read", "contact.delete")
ROWS = """p, sales, *, field:*.*#phone, clear, own
p, sales, *, field:*.*#phone, masked, any
p, sales, *, op:*, read, any
p, boss, other, op:*, *, any
"""


def _problems(ask: str, expect: str, role: str = "sales", tenant: str = "") -> list[str]:
    bundle = Enforcer(FIELDS, OPERATIONS).load(ROWS)
    more = f", tenant: {tenant}" if tenant else ""
    text = f"- given: {{roles: [{role}]{more}}}\n  ask: {ask}\n  expect: {expect}\n"
    return list(unmet(bundle, read_expectations(text), "main", FIELDS, OPERATIONS))


@pytest.mark.parametrize(
    ("ask", "expect", "wrong"),
    [
        ("field:contact.phone own", "clear", "masked"),
        ("field:contact.phone other", "masked", "hidden"),
        ("field:contact.note#phone own", "clear", "hidden"),
        ("kind:phone own", "hidden", "clear"),
        ("op:contact.read read", "allow", "deny"),
        ("op:contact.delete delete", "deny", "allow"),
        ("op:console.policy read", "deny", "allow"),
    ],
)
def test_what_the_rows_say_is_met_and_its_opposite_is_not(ask: str, expect: str, wrong: str) -> None:
    assert _problems(ask, expect) == []
    (problem,) = _problems(ask, wrong)
    assert f"expected {wrong}, is {expect}" in problem


def test_a_tenant_can_be_named() -> None:
    assert _problems("op:contact.delete delete", "allow", "boss", "other") == []
    assert _problems("op:contact.delete delete", "deny", "boss") == []


@pytest.mark.parametrize(
    ("ask", "expect", "role"),
    [
        ("field:contact.phone own", "hidden", "salse"),
        ("field:contact.fone own", "hidden", "sales"),
        ("field:contact.note own", "hidden", "sales"),
        ("field:contact.phone#fone own", "hidden", "sales"),
        ("kind:fone own", "hidden", "sales"),
        ("op:contact.erase delete", "deny", "sales"),
    ],
)
def test_what_does_not_exist_is_no_success(ask: str, expect: str, role: str) -> None:
    assert len(_problems(ask, expect, role)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: 1",
        "- 1",
        "- {given: {roles: [a]}, ask: 'op:x read'}",
        "- {given: {roles: a}, ask: 'op:x read', expect: allow}",
        "- {given: {}, ask: 'op:x read', expect: allow}",
        "- {given: {roles: [a]}, ask: 'op:x', expect: allow}",
        "- {given: {roles: [a]}, ask: 'op:x read', expect: clear}",
        "- {given: {roles: [a]}, ask: 'field:a.b', expect: clear}",
        "- {given: {roles: [a]}, ask: 'field:a.b own', expect: allow}",
        "- {given: {roles: [a]}, ask: 'x own', expect: allow}",
        "!!python/object/apply:os.getcwd []",
        "[" * 2000,
    ],
)
def test_malformed_checks_are_refused(text: str) -> None:
    with pytest.raises(PolicyInvalid):
        read_expectations(text)


def test_no_checks_are_none() -> None:
    assert read_expectations("") == read_expectations("# none\n") == ()
