"""Duties of administrators: what Casbin grants counts, through everything rows can say, at every moment to come."""

from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.admission import admitted
from policies.duty import POWERS, THREE_ROLES, Duty, joined, joining
from policies.enforcer import DEFAULT_POLICY, Bundle, Enforcer
from policies.rows import PolicyInvalid

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
AT = NOW.timestamp()
SHIPPED = THREE_ROLES.read_text(encoding="utf-8")
ADMINISTRATORS = {
    "system-admin": Duty.SYSTEM,
    "security-admin": Duty.SECURITY,
    "audit-admin": Duty.AUDIT,
}


def load(rows: str, *, separated: bool = False) -> Bundle:
    return Enforcer((), (), lambda: AT, separated=separated).load(rows)


def test_the_shipped_roles_hold_one_duty_each_and_no_role_joins_two() -> None:
    bundle = load(SHIPPED)
    assert {role: bundle.duties("t1", (role,)) for role in ADMINISTRATORS} == {
        role: frozenset({duty}) for role, duty in ADMINISTRATORS.items()
    }
    assert joining(bundle, "t1", AT) == []
    assert admitted(SHIPPED, "", "t1", {}, (), AT, separated=True).roles > set(ADMINISTRATORS)


def test_every_power_belongs_to_one_of_the_shipped_roles_or_to_nobody() -> None:
    bundle = load(SHIPPED)
    for operation, action in POWERS:
        holders = [role for role in sorted(bundle.named) if bundle.may("t1", (role,), operation, action)]
        assert len(holders) <= 1, (operation, action, holders)


@pytest.mark.parametrize("pair", list(combinations(sorted(ADMINISTRATORS), 2)))
def test_two_of_the_three_in_one_account_are_found(pair: tuple[str, str]) -> None:
    found = joined(load(SHIPPED), "t1", pair, AT)
    assert found is not None
    assert set(found.duties) == {ADMINISTRATORS[one] for one in pair}
    assert found.since is None
    assert "different accounts" in str(found)
    assert "不同的账号" in str(found)


def test_the_usual_policy_joins_duties_and_is_not_admitted() -> None:
    with pytest.raises(PolicyInvalid, match="administrator would hold powers"):
        admitted(DEFAULT_POLICY.read_text(encoding="utf-8"), "", "t1", {}, (), AT, separated=True)


def test_people_who_work_in_the_crm_have_the_same_rights_in_both_shipped_policies() -> None:
    def rows(text: str) -> set[str]:
        found = {line for line in text.splitlines() if line.startswith(("p, sales,", "p, manager,"))}
        return found - {"p, manager, *, op:console.live, read, any"}

    assert rows(SHIPPED) == rows(DEFAULT_POLICY.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "rows",
    [
        "g, boss, system-admin, *\ng, boss, audit-admin, *",
        "g, boss, middle, *\ng, middle, system-admin, *\ng, boss, security-admin, t1",
        "g, dept:it, system-admin, *\ng, dept:it, audit-admin, *",
        "g, position:负责人, security-admin, *\np, position:负责人, *, op:console.live, read, any",
        "p, system-admin, *, op:console.*, *, any",
        "p, boss, t1, op:console.users, *, any",
        "g, audit-admin, security-admin, *, from=2027-03-01, until=2027-03-01",
    ],
)
def test_rows_that_join_duties_are_refused_however_they_do_it(rows: str) -> None:
    with pytest.raises(PolicyInvalid, match="more than one administrator"):
        admitted(f"{SHIPPED}\n{rows}\n", "", "t1", {}, (), AT, separated=True)


def test_windows_count_where_they_overlap_and_only_there() -> None:
    first = "g, boss, system-admin, *, from=2027-01-01, until=2027-01-31\n"
    after = "g, boss, audit-admin, *, from=2027-02-01, until=2027-02-28\n"
    over = "g, boss, audit-admin, *, from=2027-01-31, until=2027-02-28\n"
    assert joining(load(SHIPPED + first + after), "t1", AT) == []
    (found,) = joining(load(SHIPPED + first + over), "t1", AT)
    assert found.since == datetime(2027, 1, 31, tzinfo=UTC).timestamp()
    assert "2027-01-31" in str(found)
    # What is over by then joins nothing any more.
    assert joining(load(SHIPPED + first + over), "t1", datetime(2027, 2, 2, tzinfo=UTC).timestamp()) == []


def test_rows_of_another_tenant_join_nothing_here() -> None:
    bundle = load(SHIPPED + "g, boss, system-admin, t2\ng, boss, audit-admin, t2\n")
    assert joining(bundle, "t1", AT) == []
    assert [one.roles for one in joining(bundle, "t2", AT)] == [("boss",)]


def test_a_bundle_that_would_join_duties_in_an_account_that_is_there_is_refused() -> None:
    accounts = [("system-admin", "helper")]
    assert admitted(SHIPPED, "", "t1", {}, (), AT, separated=True, accounts=accounts)
    grown = SHIPPED + "p, helper, *, op:console.audit, read, any\n"
    assert admitted(grown, "", "t1", {}, (), AT, separated=True)
    with pytest.raises(PolicyInvalid, match="helper, system-admin"):
        admitted(grown, "", "t1", {}, (), AT, separated=True, accounts=accounts)


def test_whoever_holds_two_duties_all_the_same_has_none_of_their_powers() -> None:
    both = ("audit-admin", "system-admin")
    apart, together = load(SHIPPED, separated=True), load(SHIPPED)
    for (operation, action), duty in POWERS.items():
        assert not apart.may("t1", both, operation, action)
        alone = next(role for role, one in ADMINISTRATORS.items() if one is duty)
        assert apart.may("t1", (alone,), operation, action) == together.may("t1", (alone,), operation, action)
    assert apart.may("t1", both, "console.sign_in")
    assert apart.may("t1", both, "console.health")


ROLES = ("a", "b", "dept:c", *ADMINISTRATORS)
DAYS = [NOW.date() + timedelta(days=day) for day in range(1, 5)]


@st.composite
def links(draw: st.DrawFn) -> str:
    low = draw(st.integers(0, len(ROLES) - 2))
    high = draw(st.integers(low + 1, len(ROLES) - 1))
    window = sorted(draw(st.lists(st.sampled_from(DAYS), min_size=2, max_size=2)))
    dated = draw(st.booleans())
    return f"g, {ROLES[low]}, {ROLES[high]}, *" + (f", from={window[0]}, until={window[1]}" if dated else "")


@given(st.lists(links(), max_size=6), st.sets(st.sampled_from(ROLES), min_size=1, max_size=3), st.floats(-1e6, 1e6))
def test_what_is_found_is_what_casbin_grants_at_some_moment(rows: list[str], held: set[str], shift: float) -> None:
    bundle = load(SHIPPED + "\n" + "\n".join(rows) + "\n")
    found = joined(bundle, "t1", tuple(held), AT)
    moments = {AT, AT + abs(shift), *(one for one in bundle.boundaries if one > AT)}

    def both(at: float) -> bool:
        then = bundle.at(at)
        granted = {
            duty for (name, action), duty in POWERS.items() if then.enforce("t1", held, f"op:{name}", action, "any")
        }
        return len(granted) > 1

    assert (found is not None) == any(both(at) for at in moments)
