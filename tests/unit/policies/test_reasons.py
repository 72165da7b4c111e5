"""An explanation says what Casbin says, for any rows, and names the rows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.criterion import TEAM, Facts, asked_scope
from policies.enforcer import Enforcer
from policies.operation import FieldSpec
from policies.reasons import ruling
from policies.taxonomy import Kind

FIELDS = [FieldSpec("contact", "phone", Kind.PHONE, 50)]
ROWS = """# a remark
g, junior, sales, *
g, sales, staff, t1
p, staff, *, field:*.*#phone, clear, own
p, sales, *, op:*, read, any
p, junior, *, op:contact.read, read, any, deny
"""


def test_the_row_is_named_with_its_line_and_the_inheritance_that_led_to_it() -> None:
    bundle = Enforcer(FIELDS).load(ROWS)
    told = ruling(bundle, ROWS, "t1", ["junior"], "field:contact.phone#phone", "masked", "own")
    assert told.allowed
    (reason,) = told.reasons
    assert (reason.line, reason.through, reason.links) == (4, ("junior", "sales", "staff"), (2, 3))
    assert reason.text == "p, staff, *, field:*.*#phone, clear, own"


def test_a_denial_is_the_reason_where_something_else_would_allow() -> None:
    bundle = Enforcer(FIELDS).load(ROWS)
    told = ruling(bundle, ROWS, "t1", ["junior"], "op:contact.read", "read", "any")
    assert not told.allowed
    assert [one.line for one in told.reasons] == [6]


def test_where_nothing_allows_there_is_no_row() -> None:
    bundle = Enforcer(FIELDS).load(ROWS)
    told = ruling(bundle, ROWS, "t2", ["junior"], "field:contact.phone#phone", "clear", "own")
    assert (told.allowed, told.reasons) == (False, ())


_ROLE = st.sampled_from(["a", "b", "c", "d", "dept:north"])
_TENANT = st.sampled_from(["*", "t1", "t2"])
_OBJ = st.sampled_from(["field:contact.phone", "field:*.*#phone", "field:contact.*", "kind:*", "kind:phone"])
_GRANT = st.builds(
    lambda role, tenant, obj, right, scope, effect, where: (
        f"p, {role}, {tenant}, {obj}, {right}, {scope}, {effect}{where if obj.startswith('field:contact') else ''}"
    ),
    _ROLE,
    _TENANT,
    _OBJ,
    st.sampled_from(["clear", "masked"]),
    st.sampled_from(["own", "other", "any", "team"]),
    st.sampled_from(["allow", "allow", "deny"]),
    st.sampled_from(["", "", ", where=contact.region:north", ", where=contact.region:!@dept"]),
)
_LINK = st.builds(
    lambda pair, tenant: f"g, {pair[0]}, {pair[1]}, {tenant}",
    st.sampled_from([("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")]),
    _TENANT,
)


@settings(max_examples=60)
@given(
    rows=st.lists(_GRANT | _LINK, max_size=10),
    roles=st.frozensets(_ROLE, max_size=2),
    right=st.sampled_from(["clear", "masked"]),
    scope=st.sampled_from(["own", "other"]),
    facts=st.sampled_from([{}, {"contact.region": ("north",)}, {TEAM: ("north",)}, {TEAM: ()}]),
)
@pytest.mark.parametrize("obj", ["field:contact.phone#phone", "kind:phone", "field:contact.phone#name"])
def test_an_explanation_is_casbins_answer_for_any_rows(
    obj: str, rows: list[str], roles: frozenset[str], right: str, scope: str, facts: Facts
) -> None:
    """`ruling` itself raises when its rows do not say what Casbin says over all rows."""
    text = "\n".join(rows)
    bundle = Enforcer(FIELDS).load(text)
    scope = asked_scope(scope, facts)
    told = ruling(bundle, text, "t1", roles, obj, right, scope)
    assert told.allowed is bundle.enforce("t1", roles, obj, right, scope)
    assert bool(told.reasons) or not told.allowed
