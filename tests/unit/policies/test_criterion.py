"""Criteria: read strictly, unknown fails closed both ways, compiled rights are Casbin's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.asked_form import export_form_of, form_of
from policies.criterion import TEAM, Criterion, Facts, asked_scope, granted_scope, holds, read_criterion, where_of
from policies.decision import FieldRule, Form
from policies.enforcer import Bundle, Enforcer
from policies.operation import Action, FieldSpec, Operation
from policies.rows import PolicyInvalid, parse_rows
from policies.taxonomy import Kind

FIELDS = [
    FieldSpec("contact", "phone", Kind.PHONE, 50),
    FieldSpec("contact", "name", Kind.NAME, 50),
    FieldSpec("firm", "phone", Kind.PHONE, 50),
]
EXPORT = Operation("contact.export", "contact", Action.EXPORT)


def _bundle(text: str) -> Bundle:
    return Enforcer(FIELDS, ["contact.export"]).load(text)


def _criterion(text: str) -> Criterion:
    found = read_criterion(text)
    assert isinstance(found, Criterion), found
    return found


@pytest.mark.parametrize(
    ("text", "values", "truth"),
    [
        ("c.region:north", ("North ",), True),
        ("c.region:north", ("ＮＯＲＴＨ",), True),
        ("c.region:north", ("south",), False),
        ("c.region:north", ("northern",), False),
        ("c.region:north|south", ("south",), True),
        ("c.region:!north", ("south",), True),
        ("c.region:!north|south", ("south",), False),
        ("c.region:华北 大区", ("华北  大区",), True),
        ("c.region:north", ("", " "), None),
        ("c.region:north", (), None),
        ("c.region:north", None, None),
        ("c.region:!north", None, None),
        ("c.value:<100000", ("99999.99",), True),
        ("c.value:<100000", ("100000",), False),
        ("c.value:<=100000", ("100000.00",), True),
        ("c.value:>-5", ("-4",), True),
        ("c.value:>=5", ("4.99",), False),
        # What could be read in two ways is unknown: thousands or decimals, a currency, several numbers.
        ("c.value:<100000", ("150.000",), None),
        ("c.value:<100000", ("150,00",), None),
        ("c.value:<100000", ("1e9",), None),
        ("c.value:<100000", ("٣",), None),
        ("c.value:<100000", ("5 €",), None),
        ("c.value:<100000", ("5", "200000"), None),
        ("c.value:<100000", (), None),
    ],
)
def test_a_criterion_is_true_false_or_unknown(text: str, values: tuple[str, ...] | None, truth: bool | None) -> None:
    assert _criterion(text).truth(values) is truth


@pytest.mark.parametrize(
    "text",
    [
        "",
        "region:north",
        "c.region",
        "c.region:",
        "c.region:!",
        "c.region:a|",
        "c.region:@team",
        "c.value:<",
        "c.value:<1.000",
        "c.value:<1e3",
        "c.value:<>3",
        "c.region:a\x00b",
        "C.region:a",
        "c.*:a",
        "*.region:a",
        "c.region:<north",
        "@team:a",
    ],
)
def test_whatever_is_no_criterion_refuses_the_bundle(text: str) -> None:
    assert isinstance(read_criterion(text), str)
    with pytest.raises(PolicyInvalid):
        parse_rows(f'p, a, *, field:c.phone, clear, any, "where={text}"\n')


@pytest.mark.parametrize(
    "row",
    [
        "p, a, *, field:*.phone, clear, any, where=contact.region:north",
        "p, a, *, field:firm.phone, clear, any, where=contact.region:north",
        "p, a, *, kind:phone, clear, any, where=contact.region:north",
        "p, a, *, op:contact.read, read, any, where=contact.region:north",
        "p, a, *, field:contact.phone, search, any, where=contact.region:north",
        "p, a, *, field:contact.phone, reveal, any, where=contact.region:north",
        "p, a, *, field:contact.phone, search, team",
        "p, a, *, field:contact.phone, write, team",
        "p, a, *, field:contact.phone, reveal, team",
        "p, a, *, op:contact.read, read, team",
        "g, a, b, *, where=contact.region:north",
        "p, a, *, field:contact.phone, clear, any, until=2026-12-31, where=contact.region:north",
        "p, a, *, field:contact.phone, clear, any" + ", where=contact.region:north" * 5,
    ],
)
def test_rows_that_nothing_could_decide_are_refused(row: str) -> None:
    with pytest.raises(PolicyInvalid):
        parse_rows(row + "\n")


def test_rows_without_criteria_keep_the_version_of_their_bundle() -> None:
    """Bundles published before there were criteria have to be recognised: the rows' names have not changed."""
    (grant,), _ = parse_rows("p, a, *, op:*, read, any\n")
    told = "Grant(role='a', tenant='*', obj='op:*', right='read', scope='any', effect='allow')"
    assert (repr(grant), grant.tail, grant.situation) == (told, "", "any")
    one = _bundle("p, a, *, field:contact.phone, clear, any, where=contact.region:north\n")
    assert one.version != _bundle("p, a, *, field:contact.phone, clear, any, where=contact.region:south\n").version


def test_a_scope_comes_back_from_its_text() -> None:
    criteria = [
        _criterion("c.region:a & b|华北"),
        _criterion("c.value:>=1.50"),
        Criterion(TEAM, "in"),
    ]
    assert where_of(granted_scope("own", criteria).partition("?")[2]) == criteria
    with pytest.raises(ValueError, match="criterion"):
        holds("own", "own?c.region=nonsense", "allow")


NORTH = "p, a, *, field:contact.phone, clear, any, where=contact.region:north\n"


def test_allow_opens_only_what_is_known_to_fit() -> None:
    view = _bundle(NORTH).view("t", {"a"})
    for facts, form in (
        ({}, Form.HIDDEN),
        ({"contact.region": ("south",)}, Form.HIDDEN),
        ({"contact.region": ()}, Form.HIDDEN),
        ({"firm.region": ("north",)}, Form.HIDDEN),
        ({"contact.region": ("North",)}, Form.CLEAR),
    ):
        assert view.of(facts).form("contact", "phone", "phone", bound=True, owned=False) is form, facts


def test_deny_closes_all_that_is_not_known_to_differ() -> None:
    view = _bundle(
        "p, a, *, kind:*, clear, any\np, a, *, field:contact.phone, masked, any, deny, where=contact.region:north"
    ).view("t", {"a"})
    assert not view.sees_everything
    for facts, form in (
        ({}, Form.HIDDEN),
        ({"contact.region": ()}, Form.HIDDEN),
        ({"contact.region": ("north",)}, Form.HIDDEN),
        ({"contact.region": ("south",)}, Form.CLEAR),
    ):
        assert view.of(facts).form("contact", "phone", "phone", bound=True, owned=False) is form, facts
        assert not (view.of(facts).sees_everything and facts)


def test_what_is_true_of_one_record_never_makes_somebody_see_everything() -> None:
    rows = (
        "".join(f"p, a, *, field:contact.*, {right}, any\n" for right in ("search", "write"))
        + "p, a, *, field:contact.*, clear, any, where=contact.region:north\n"
    )
    bundle = Enforcer([FIELDS[0]], []).load(
        rows
        + "p, a, *, kind:*, clear, any\np, a, *, kind:*, write, any\np, a, *, kind:*, search, any\n"
        + "p, a, *, field:contact.*, clear, any, deny, where=contact.region:!north\n"
    )
    view = bundle.view("t", {"a"})
    assert not view.sees_everything
    assert not view.of({"contact.region": ("north",)}).sees_everything


def test_my_department_stands_for_the_persons_own() -> None:
    bundle = _bundle("p, a, *, field:contact.phone, clear, any, where=contact.region:@dept\n")
    facts: Facts = {"contact.region": ("North",)}
    for roles, form in ((("a", "dept:north"), Form.CLEAR), (("a", "dept:south"), Form.HIDDEN), (("a",), Form.HIDDEN)):
        assert bundle.view("t", roles).of(facts).form("contact", "phone", "phone", bound=True, owned=False) is form


def test_somebody_in_no_department_keeps_what_has_no_condition() -> None:
    """A row about departments that a person does not have must not take away what other rows say."""
    bundle = _bundle(
        "p, a, *, field:contact.phone, clear, own\np, a, *, kind:phone, clear, team\n"
        "p, a, *, field:contact.phone, clear, any, where=contact.region:@dept\n"
        "p, a, *, field:contact.phone, masked, any, where=contact.region:!@dept\n"
    )
    view = bundle.view("t", ("a",))
    for facts, other in (({}, Form.HIDDEN), ({"contact.region": ("north",), TEAM: ("north",)}, Form.MASKED)):
        rule = view.of(facts).rule("contact", "phone", "phone")
        assert (rule.own, rule.other) == (Form.CLEAR, other)


def test_a_team_takes_in_departments_that_inherit_and_none_above() -> None:
    bundle = _bundle("p, a, *, kind:phone, clear, team\ng, dept:sales.north, dept:sales, *\n")

    def form(mine: str, owners: tuple[str, ...] | None) -> Form:
        facts: Facts = {} if owners is None else {TEAM: owners}
        return bundle.view("t", ("a", mine)).of(facts).form("contact", "phone", "phone", bound=True, owned=False)

    assert form("dept:sales", ("sales",)) is form("dept:sales", ("sales.north",)) is Form.CLEAR
    assert form("dept:sales.north", ("sales",)) is form("dept:sales", ("law",)) is Form.HIDDEN
    assert form("dept:sales", None) is form("dept:sales", ()) is form("position:lead", ("sales",)) is Form.HIDDEN


_ROLE = st.sampled_from(["a", "b", "dept:north", "dept:south"])
_WHERE = [
    "contact.region:north",
    "contact.region:!north|east",
    "contact.region:@dept",
    "contact.value:<100",
    "contact.value:>=50.5",
]
_ROW = st.tuples(
    _ROLE,
    st.sampled_from(["field:contact.phone", "field:contact.*#phone", "field:contact.*", "kind:phone", "field:*.*"]),
    st.sampled_from(["clear", "masked", "export", "write", "search", "reveal"]),
    st.sampled_from(["own", "other", "any", "team"]),
    st.sampled_from(["allow", "allow", "deny"]),
    st.lists(st.sampled_from(_WHERE), max_size=2),
)
_FACTS = st.fixed_dictionaries(
    {},
    optional={
        "contact.region": st.sampled_from([("North",), ("south",), ("east",), (), ("a&b=?#|",), ("\ud800",)]),
        "contact.value": st.sampled_from([("99.5",), ("100",), ("50",), ("1.000",), ("5", "6")]),
        TEAM: st.sampled_from([("north",), ("south",), ("law", "north"), ()]),
        "firm.region": st.just(("north",)),
    },
)


def _line(row: tuple[str, str, str, str, str, list[str]]) -> str:
    role, obj, right, scope, effect, where = row
    if right in ("write", "search") or (right == "reveal" and scope == "team"):
        scope = "any"
    about = obj.startswith("field:contact.") and right not in ("search", "reveal")
    return ", ".join(["p", role, "*", obj, right, scope, effect, *(f"where={one}" for one in where if about)])


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(_ROW, max_size=7),
    links=st.lists(st.sampled_from(["g, a, b, *", "g, dept:south, dept:north, *", "g, dept:north, a, *"]), max_size=2),
    roles=st.frozensets(_ROLE, max_size=3),
    records=st.lists(_FACTS, min_size=1, max_size=4),
)
def test_compiled_rights_over_records_are_casbins(
    rows: list[tuple[str, str, str, str, str, list[str]]], links: list[str], roles: frozenset[str], records: list[Facts]
) -> None:
    """One view is asked about several records: what was compiled for one must not be what another gets."""
    bundle = _bundle("\n".join([*map(_line, rows), *links]))
    view, exports = bundle.view("t", roles), bundle.decide("t", roles, EXPORT).view
    for facts in [*records, {}]:
        for entity, name, kind in (
            ("contact", "phone", "phone"),
            ("contact", "name", "phone"),
            ("firm", "phone", "phone"),
        ):
            obj = f"field:{entity}.{name}#{kind}"

            def ask(obj: str, right: str, scope: str, facts: Facts = facts) -> bool:
                return bundle.enforce("t", roles, obj, right, asked_scope(scope, facts))

            own, other = form_of(ask, obj, "own"), form_of(ask, obj, "other")
            assert view.of(facts).in_text[(entity, name, kind)] == FieldRule(
                own,
                other,
                ask(obj, "write", "any"),
                ask(obj, "search", "any"),
                own is Form.MASKED and ask(obj, "reveal", "own"),
                other is Form.MASKED and ask(obj, "reveal", "other"),
            )
            there = exports.of(facts).in_text[(entity, name, kind)]
            assert (there.own, there.other) == (export_form_of(ask, obj, "own"), export_form_of(ask, obj, "other"))


def _oracle(
    rows: list[tuple[str, str, str, str, str, list[str]]], roles: frozenset[str], right: str, facts: Facts
) -> bool:
    """Whether somebody else's contact phone is open, told without Casbin and without compiled views."""
    mine = {name.partition(":")[2] for name in roles if name.startswith("dept:")}

    def truth(where: str) -> bool | None:
        name, _, test = where.partition(":")
        values = facts.get(name)
        if not values or not values[0]:
            return None
        (value, *more) = [one.strip().lower() for one in values]
        if test[0] in "<>":
            if more or value == "1.000":
                return None
            return float(value) < 100 if test == "<100" else float(value) >= 50.5
        words = mine if test.endswith("@dept") else set(test.lstrip("!").split("|"))
        return (value in words) is not test.startswith("!")

    allowed = denied = False
    for role, obj, right_given, scope, effect, where in rows:
        about = obj.startswith("field:contact.") and right_given not in ("search", "reveal")
        truths = [truth(one) for one in set(where)] if about else []
        if right_given not in ("write", "search") and scope == "team" and right_given != "reveal":
            owners = facts.get(TEAM)
            truths.append(None if owners is None else bool(mine & set(owners)))
        if right_given not in ("write", "search") and scope == "own":
            continue
        takes = {"clear": {"clear"}, "masked": {"clear", "masked"}, "write": {"write"}}[right]
        takes = takes if effect == "allow" else {"clear": {"clear", "masked"}}.get(right, {right})
        if role not in roles or right_given not in takes:
            continue
        if effect == "allow":
            allowed |= all(one is True for one in truths)
        else:
            denied |= False not in truths
    return allowed and not denied


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(_ROW, min_size=1, max_size=7), roles=st.frozensets(_ROLE, min_size=1, max_size=3), facts=_FACTS)
def test_compiled_rights_are_what_the_rows_say_in_plain_words(
    rows: list[tuple[str, str, str, str, str, list[str]]], roles: frozenset[str], facts: Facts
) -> None:
    rule = _bundle("\n".join(map(_line, rows))).view("t", roles).of(facts).rule("contact", "phone", "phone")
    assert (rule.other is Form.CLEAR) is _oracle(rows, roles, "clear", facts)
    assert (rule.other is not Form.HIDDEN) is (_oracle(rows, roles, "masked", facts) or rule.other is Form.CLEAR)
    assert rule.writable is _oracle(rows, roles, "write", facts)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(_ROW, max_size=7), roles=st.frozensets(_ROLE, max_size=3), facts=_FACTS)
def test_knowing_nothing_never_shows_more_than_knowing(
    rows: list[tuple[str, str, str, str, str, list[str]]], roles: frozenset[str], facts: Facts
) -> None:
    view = _bundle("\n".join(map(_line, rows))).view("t", roles)
    blind, told = view.rule("contact", "phone", "phone"), view.of(facts).rule("contact", "phone", "phone")
    assert blind.own <= told.own
    assert blind.other <= told.other
    assert blind.writable <= told.writable
    assert blind.searchable == told.searchable
