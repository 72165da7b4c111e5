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


LIMITED = """p, sales, *, field:contact.phone, clear, any, where=contact.region:north east
p, sales, *, field:contact.phone, masked, any
p, sales, *, field:contact.phone, clear, team
p, sales, *, field:contact.phone, export, any, deny, where=contact.region:north east
p, sales, *, field:contact.phone, write, any, where=contact.value:<100
p, sales, *, field:contact.phone, reveal, other
p, sales, *, field:contact.phone, search, any, until=2026-12-31
p, dept:law, *, op:*, read, any
"""


def _limited(ask: str, expect: str, given: str = "roles: [sales]") -> list[str]:
    bundle = Enforcer(FIELDS, OPERATIONS).load(LIMITED)
    text = f"- given: {{{given}}}\n  ask: {ask}\n  expect: {expect}\n"
    return list(unmet(bundle, read_expectations(text), "main", FIELDS, OPERATIONS))


@pytest.mark.parametrize(
    ("ask", "expect", "wrong", "given"),
    [
        ("field:contact.phone other", "masked", "clear", "roles: [sales]"),
        ("field:contact.phone other contact.region=North East", "clear", "masked", "roles: [sales]"),
        ("field:contact.phone other contact.region=south", "masked", "clear", "roles: [sales]"),
        ("field:contact.phone team", "clear", "masked", 'roles: [sales, "dept:law"]'),
        ("field:contact.phone team", "masked", "clear", "roles: [sales]"),
        ("field:contact.phone other export contact.region=north east", "masked", "clear", "roles: [sales]"),
        ("field:contact.phone team export contact.region=south", "clear", "masked", 'roles: [sales, "dept:law"]'),
        ("field:contact.phone other reveal", "allow", "deny", "roles: [sales]"),
        ("field:contact.phone own reveal", "deny", "allow", "roles: [sales]"),
        ("field:contact.phone other reveal contact.region=north east", "deny", "allow", "roles: [sales]"),
        ("field:contact.phone own write contact.value=99.50", "allow", "deny", "roles: [sales]"),
        ("field:contact.phone own write contact.value=100", "deny", "allow", "roles: [sales]"),
        ("field:contact.phone own write", "deny", "allow", "roles: [sales]"),
        ("field:contact.phone own search", "allow", "deny", "roles: [sales], at: 2026-12-31"),
        ("field:contact.phone own search", "deny", "allow", "roles: [sales], at: 2027-01-01"),
        ("field:contact.phone own search", "allow", "deny", 'roles: [sales], at: "2026-12-31T23:59Z"'),
        ("field:contact.phone own search", "deny", "allow", "roles: [sales], at: 2027-01-01T01:00:00Z"),
    ],
)
def test_scopes_rights_facts_and_moments_can_be_asked(ask: str, expect: str, wrong: str, given: str) -> None:
    assert _limited(ask, expect, given) == []
    (problem,) = _limited(ask, wrong, given)
    assert ask in problem


@pytest.mark.parametrize(
    ("ask", "expect", "given"),
    [
        ("field:a.b own export", "allow", "roles: [a]"),
        ("field:a.b own write", "clear", "roles: [a]"),
        ("field:a.b own read", "clear", "roles: [a]"),
        ("field:a.b own region=north", "clear", "roles: [a]"),
        ("field:a.b own c.region=north c.region=south", "clear", "roles: [a]"),
        ("field:a.b any", "clear", "roles: [a]"),
        ("op:a.b read c.region=north", "allow", "roles: [a]"),
        ("field:a.b own", "clear", "roles: [a], at: soon"),
        ("field:a.b own", "clear", "roles: [a], at: 2026-12-31T00:00:00"),
    ],
)
def test_what_cannot_be_asked_is_refused(ask: str, expect: str, given: str) -> None:
    with pytest.raises(PolicyInvalid):
        read_expectations(f"- given: {{{given}}}\n  ask: {ask}\n  expect: {expect}\n")
