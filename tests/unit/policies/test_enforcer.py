"""Roles: Casbin decides, compiled answers are the same, and nothing denies like an empty bundle."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import enforcer
from policies.decision import FieldRule, FieldView, Form
from policies.enforcer import DEFAULT_POLICY, Bundle, Enforcer, covers, grants
from policies.operation import CONSOLE_OPERATIONS, UNMATCHED_READ, UNMATCHED_WRITE, Action, FieldSpec, Operation
from policies.profile import load_profile
from policies.rows import PolicyInvalid
from policies.taxonomy import Kind

FIELDS = [
    FieldSpec("contact", "phone", Kind.PHONE, 50),
    FieldSpec("contact", "name", Kind.NAME, 50),
    FieldSpec("contact", "note", None, 500),
    FieldSpec("firm", "phone", Kind.PHONE, 50),
]
OPERATIONS = ["contact.read", "contact.create", "record.delete"]


def _bundle(text: str) -> Bundle:
    return Enforcer(FIELDS, OPERATIONS).load(text)


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    profile = load_profile("tryton")
    return Enforcer(profile.field_specs, profile.operation_ids).load()


def _asked(bundle: Bundle, tenant: str, roles: frozenset[str], obj: str) -> FieldRule:
    def form(scope: str) -> Form:
        if bundle.enforce(tenant, roles, obj, "clear", scope):
            return Form.CLEAR
        return Form.MASKED if bundle.enforce(tenant, roles, obj, "masked", scope) else Form.HIDDEN

    return FieldRule(
        form("own"),
        form("other"),
        bundle.enforce(tenant, roles, obj, "write", "any"),
        bundle.enforce(tenant, roles, obj, "search", "any"),
    )


def _agrees(bundle: Bundle, view: FieldView, tenant: str, roles: frozenset[str], fields: list[tuple[str, str]]) -> None:
    for kind in Kind:
        assert view.by_kind[kind] == _asked(bundle, tenant, roles, f"kind:{kind}")
        for entity, name in fields:
            assert view.in_text[(entity, name, kind)] == _asked(
                bundle, tenant, roles, f"field:{entity}.{name}#{kind}"
            ), (entity, name, kind)


ROLE_SETS = [
    frozenset(names)
    for names in (
        ["sales"],
        ["manager"],
        ["auditor"],
        ["dpo"],
        ["administrator"],
        ["sales", "manager"],
        ["nobody"],
        [],
    )
]


@pytest.mark.parametrize("roles", ROLE_SETS, ids=lambda roles: "+".join(sorted(roles)) or "none")
def test_compiled_rights_of_shipped_roles_are_casbins(shipped: Bundle, roles: frozenset[str]) -> None:
    fields = [("party", "name"), ("party", "phone"), ("party", "identifier"), ("party", "note"), ("party", "*")]
    _agrees(shipped, shipped.view("demo", roles), "demo", roles, fields)


@pytest.mark.parametrize("roles", ROLE_SETS, ids=lambda roles: "+".join(sorted(roles)) or "none")
def test_compiled_decisions_of_shipped_roles_are_casbins(shipped: Bundle, roles: frozenset[str]) -> None:
    names = ["party.read", "party.create", "auth.login", "unmatched.read", *CONSOLE_OPERATIONS]
    for name, action in product(names, Action):
        decision = shipped.decide("demo", roles, Operation(name, "x", action))
        assert decision.allowed is shipped.enforce("demo", roles, f"op:{name}", action.value, "any")
        assert decision.reason == ("allowed" if decision.allowed else "not-allowed")


_ROLE = st.sampled_from(["a", "b", "c"])
_TENANT = st.sampled_from(["*", "t1", "t2"])
_FIELD_ROW = st.tuples(
    _ROLE,
    _TENANT,
    st.sampled_from(
        [
            "field:contact.phone",
            "field:contact.*#phone",
            "field:*.*#name",
            "field:*.phone",
            "field:contact.note#*",
            "field:firm.*",
            "kind:*",
            "kind:phone",
        ]
    ),
    st.sampled_from(["clear", "masked", "write", "search"]),
    st.sampled_from(["own", "other", "any"]),
    st.sampled_from(["allow", "allow", "deny"]),
)
_OP_ROW = st.tuples(
    _ROLE,
    _TENANT,
    st.sampled_from(["op:*", "op:contact.*", "op:contact.read", "op:console.*", "op:console.live", "op:record.delete"]),
    st.sampled_from(["*", "read", "delete", "create"]),
    st.just("any"),
    st.sampled_from(["allow", "allow", "deny"]),
)
_LINK = st.tuples(st.sampled_from([("a", "b"), ("b", "c"), ("a", "c")]), _TENANT)


def _text(rows: list[tuple[str, ...]], links: list[tuple[tuple[str, str], str]]) -> str:
    lines = []
    for row in rows:
        role, tenant, obj, right, scope, effect = row
        lines.append(
            f"p, {role}, {tenant}, {obj}, {right}, {'any' if right in ('write', 'search') else scope}, {effect}"
        )
    lines += [f"g, {role}, {parent}, {tenant}" for (role, parent), tenant in links]
    return "\n".join(lines)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(_FIELD_ROW | _OP_ROW, max_size=8),
    links=st.lists(_LINK, max_size=2),
    roles=st.frozensets(_ROLE, max_size=2),
    tenant=st.sampled_from(["t1", "t2"]),
)
def test_compiled_answers_are_casbins_for_any_bundle(
    rows: list[tuple[str, ...]], links: list[tuple[tuple[str, str], str]], roles: frozenset[str], tenant: str
) -> None:
    bundle = _bundle(_text(rows, links))
    fields = [(spec.entity, spec.name) for spec in FIELDS] + [("contact", "*"), ("firm", "*")]
    view = bundle.view(tenant, roles)
    _agrees(bundle, view, tenant, roles, fields)
    for name, action in product([*OPERATIONS, "console.live"], ("read", "delete")):
        operation = Operation(name, "x", Action(action))
        asked = bundle.enforce(tenant, roles, f"op:{name}", action, "any")
        assert bundle.decide(tenant, roles, operation).allowed is asked
        assert bundle.may(tenant, roles, name, action) is asked


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(_FIELD_ROW | _OP_ROW, max_size=8), tenant=st.sampled_from(["t1", "t2"]))
def test_no_role_has_what_no_row_allows(rows: list[tuple[str, ...]], tenant: str) -> None:
    """An oracle without Casbin: something is only open if an allow row of that role, tenant and object says so."""
    bundle = _bundle(_text(rows, []))
    rule = bundle.view(tenant, {"a"}).rule("contact", "phone", "phone")
    mine = [
        row for row in rows if row[0] == "a" and row[1] in ("*", tenant) and covers("field:contact.phone#phone", row[2])
    ]
    allowed = {row[3] for row in mine if row[5] == "allow"}
    denied = {row[3] for row in mine if row[5] == "deny"}
    assert rule.writable == ("write" in allowed and "write" not in denied)
    assert rule.searchable == ("search" in allowed and "search" not in denied)
    if "clear" not in allowed:
        assert rule.own < Form.CLEAR
        assert rule.other < Form.CLEAR
    if not allowed & {"clear", "masked"}:
        assert rule.own is rule.other is Form.HIDDEN


def test_empty_bundle_denies_everything() -> None:
    bundle = _bundle("# nothing\n")
    view = bundle.view("t", {"sales"})
    assert all(rule == FieldRule() for rule in (*view.rules.values(), *view.by_kind.values(), *view.in_text.values()))
    assert not bundle.decide("t", {"sales"}, UNMATCHED_READ).allowed
    assert not bundle.may("t", {"manager"}, "console.live")
    assert not view.sees_everything


def test_malformed_row_is_refused_at_load() -> None:
    with pytest.raises(PolicyInvalid):
        _bundle("p, sales, *, op:x\n")


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Enforcer(FIELDS).load(tmp_path / "none.csv")


def test_failure_inside_the_engine_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = _bundle("p, a, *, op:*, *, any\np, a, *, kind:*, clear, any\n")
    assert bundle.decide("t", {"a"}, UNMATCHED_READ).allowed

    def broken(*_: Any) -> bool:
        raise RuntimeError("engine failure")

    monkeypatch.setattr(enforcer.casbin.Enforcer, "enforce", broken)
    fresh = _bundle("p, a, *, op:*, *, any\np, a, *, kind:*, clear, any\n")
    assert not fresh.decide("t", {"a"}, UNMATCHED_READ).allowed
    assert fresh.view("t", {"a"}).by_kind["phone"] == FieldRule()


def test_ungranted_write_is_refused_whatever_the_role(shipped: Bundle) -> None:
    decision = shipped.decide("demo", {"manager"}, UNMATCHED_WRITE)
    assert (decision.allowed, decision.reason) == (False, "write-not-granted")


def test_deny_wins_over_allow_also_across_roles() -> None:
    bundle = _bundle("p, a, *, kind:phone, clear, any\np, b, *, field:contact.phone, masked, any, deny\n")
    assert bundle.view("t", {"a"}).rule("contact", "phone", "phone").own is Form.CLEAR
    assert bundle.view("t", {"a", "b"}).rule("contact", "phone", "phone").own is Form.HIDDEN
    assert bundle.view("t", {"a", "b"}).rule("firm", "phone", "phone").own is Form.CLEAR


def test_denying_clear_leaves_the_mask() -> None:
    bundle = _bundle("p, a, *, kind:phone, clear, any\np, a, *, kind:phone, clear, other, deny\n")
    rule = bundle.view("t", {"a"}).rule("contact", "phone", "phone")
    assert (rule.own, rule.other) == (Form.CLEAR, Form.MASKED)


def test_rows_of_one_tenant_do_not_reach_another() -> None:
    bundle = _bundle("p, a, north, op:*, read, any\ng, b, a, south\n")
    assert bundle.may("north", {"a"}, "contact.read")
    assert not bundle.may("south", {"a"}, "contact.read")
    assert not bundle.may("north", {"b"}, "contact.read")
    assert not bundle.may("*", {"a"}, "contact.read")


def test_roles_are_inherited_within_the_tenant() -> None:
    bundle = _bundle("p, a, *, op:contact.*, read, any\ng, b, a, *\n")
    assert bundle.may("t", {"b"}, "contact.read")
    assert not bundle.may("t", {"b"}, "record.delete", "delete")


def test_role_names_cannot_be_composed_into_another_role() -> None:
    """Two roles are asked about as one subject; its name must not be a role of the policy."""
    bundle = _bundle("p, a, *, op:*, *, any\n")
    assert not bundle.may("t", {"a+b"}, "contact.read")
    assert not bundle.may("t", {"a@"}, "contact.read")
    assert bundle.may("t", {"a", "b"}, "contact.read")


def test_grants_over_all_operations_do_not_open_the_console() -> None:
    bundle = _bundle("p, a, *, op:*, *, any\np, b, *, op:console.*, read, any\n")
    assert not bundle.may("t", {"a"}, "console.live")
    assert bundle.may("t", {"b"}, "console.live")
    assert not bundle.may("t", {"b"}, "contact.read")


def test_shipped_sales_role(shipped: Bundle) -> None:
    view = shipped.view("demo", {"sales"})
    assert view.rule("party", "name", "name") == FieldRule(Form.CLEAR, Form.HIDDEN, writable=True, searchable=True)
    assert view.rule("party", "phone", "phone") == FieldRule(Form.MASKED, Form.HIDDEN, writable=True, searchable=True)
    assert view.rule("party", "note", "email").own is Form.MASKED
    assert view.rule("party", "identifier", "id_card") == FieldRule(writable=True)
    assert view.rule("party", "note", "bank_card") == FieldRule(writable=True)
    assert view.form("party", "phone", "phone", bound=False, owned=True) is Form.HIDDEN
    assert not view.sees_everything
    assert shipped.decide("demo", {"sales"}, Operation("party.update", "party", Action.UPDATE)).allowed
    assert not shipped.decide("demo", {"sales"}, Operation("party.delete", "party", Action.DELETE)).allowed
    assert not any(shipped.may("demo", {"sales"}, name) for name in CONSOLE_OPERATIONS)


def test_shipped_manager_sees_everything(shipped: Bundle) -> None:
    view = shipped.view("demo", {"manager"})
    assert view.sees_everything
    assert view.form("anything", "x", "id_card", bound=False, owned=False) is Form.CLEAR
    assert not shipped.may("demo", {"manager"}, "console.users")


@pytest.mark.parametrize("role", ["auditor", "dpo", "administrator"])
def test_shipped_console_roles_have_nothing_of_the_crm(shipped: Bundle, role: str) -> None:
    view = shipped.view("demo", {role})
    assert all(rule == FieldRule() for rule in (*view.by_kind.values(), *view.in_text.values()))
    for name, action in product(["party.read", "auth.login", "asset", "unmatched.read"], Action):
        assert not shipped.decide("demo", {role}, Operation(name, "x", action)).allowed
    assert shipped.may("demo", {role}, "console.live")


def test_only_the_administrator_changes_users(shipped: Bundle) -> None:
    assert [role for role in sorted(shipped.roles) if shipped.may("demo", {role}, "console.users", "update")] == [
        "administrator"
    ]


def test_version_follows_the_rows() -> None:
    one, two = _bundle("p, a, *, op:*, read, any\n"), _bundle("# same\np,a,*,op:*,read,any\n")
    assert one.version == two.version == one.view("t", {"a"}).policy_version
    assert one.version != _bundle("p, a, *, op:*, list, any\n").version


def test_compiled_sets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enforcer, "COMPILED_LIMIT", 2)
    bundle = Enforcer([], []).load("p, a, *, op:*, read, any\n")
    for tenant in ("t1", "t2", "t3"):
        assert bundle.may(tenant, {"a"}, "x.y")


def test_eager_loading_compiles_at_once() -> None:
    bundle = Enforcer(FIELDS).load(DEFAULT_POLICY.read_text(encoding="utf-8"), eager={"demo": [["sales"]]})
    assert bundle.view("demo", ["sales"]) is bundle.view("demo", frozenset({"sales"}))


@pytest.mark.parametrize(
    ("asked", "granted", "covered"),
    [
        ("op:contact.read", "op:contact.*", True),
        ("op:contact.read", "kind:*", False),
        ("kind:phone", "op:*", False),
        ("kind:phone", "kind:*", True),
        ("kind:phone", "field:*.*#phone", False),
        ("field:contact.phone#phone", "kind:phone", True),
        ("field:contact.phone#phone", "kind:email", False),
        ("field:contact.phone#phone", "field:contact.phone", True),
        ("field:contact.phone#phone", "field:contact.*#email", False),
        ("field:contact.*#phone", "field:contact.phone#phone", False),
        ("field:contact.*#phone", "field:*.*#*", True),
    ],
)
def test_object_covers_object(asked: str, granted: str, covered: bool) -> None:
    assert covers(asked, granted) is covered


@pytest.mark.parametrize(
    ("asked", "granted", "effect", "taken_in"),
    [
        ("masked", "clear", "allow", True),
        ("clear", "masked", "allow", False),
        ("clear", "masked", "deny", True),
        ("masked", "clear", "deny", False),
        ("write", "clear", "allow", False),
        ("read", "*", "allow", True),
    ],
)
def test_right_takes_in_right(asked: str, granted: str, effect: str, taken_in: bool) -> None:
    assert grants(asked, granted, effect) is taken_in
