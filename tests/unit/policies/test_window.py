"""From when until when rows hold."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.difference import difference
from policies.enforcer import Bundle, Enforcer
from policies.operation import Action, FieldSpec, Operation
from policies.reasons import ruling
from policies.rows import PolicyInvalid, parse_rows
from policies.taxonomy import Kind
from policies.window import ALWAYS, Window, read_window

FIELDS = [FieldSpec("contact", "phone", Kind.PHONE, 50), FieldSpec("contact", "note", None, 500)]
READ = Operation("contact.read", "contact", Action.READ)
EXPORT = Operation("contact.export", "contact", Action.EXPORT)
OPERATIONS = (READ.id, EXPORT.id)
DAY = datetime(2026, 12, 1, tzinfo=UTC)


def _at(days: float) -> float:
    return (DAY + timedelta(days=days)).timestamp()


class Clock:
    """A clock that a test sets; asked counts how often."""

    def __init__(self, now: float) -> None:
        self.now, self.asked = now, 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now


def _bundle(text: str, clock: Clock) -> Bundle:
    return Enforcer(FIELDS, OPERATIONS, clock).load(text)


def test_a_day_is_whole_and_a_time_has_its_zone() -> None:
    assert read_window(["from=2026-12-01", "until=2026-12-01"]) == Window(_at(0), _at(1))
    assert read_window(["until=2026-12-01T08:00+08:00"]) == Window(end=_at(0))
    assert read_window([]) == ALWAYS
    assert not str(ALWAYS)
    assert str(Window(_at(0), _at(1))) == ",from=2026-12-01T00:00:00Z,until=2026-12-02T00:00:00Z"


@pytest.mark.parametrize(
    "cells",
    [
        ["until=tomorrow"],
        ["until="],
        ["until=2026-13-01"],
        ["until=2026-12-01T08:00"],
        ["until=20261201"],
        ["from=2026-12-02", "until=2026-12-01"],
        ["until=2026-12-01", "until=2026-12-02"],
        ["until=9999-12-31"],
    ],
)
def test_what_names_no_time_is_refused(cells: list[str]) -> None:
    assert isinstance(read_window(cells), str)
    with pytest.raises(PolicyInvalid, match="line 1"):
        parse_rows("p, a, *, op:*, read, any, " + ", ".join(cells))


def test_a_row_begins_and_ends_by_the_clock_alone() -> None:
    clock = Clock(_at(-1))
    bundle = _bundle("p, a, *, op:contact.read, read, any, from=2026-12-01, until=2026-12-01", clock)
    seen = []
    for days in (-1, 0, 0.99, 1, 2):
        clock.now = _at(days)
        seen.append((bundle.decide("t", ("a",), READ).allowed, bundle.may("t", {"a"}, READ.id)))
    assert seen == [(False, False), (True, True), (True, True), (False, False), (False, False)]


def test_an_inheritance_ends_and_the_view_with_it() -> None:
    clock = Clock(_at(0))
    bundle = _bundle("p, lead, *, kind:phone, clear, any\ng, position:deputy, lead, *, until=2026-12-01", clock)
    before = bundle.decide("t", ("position:deputy",), READ).view
    clock.now = _at(1)
    after = bundle.decide("t", ("position:deputy",), READ).view
    assert before.by_kind["phone"].other.name == "CLEAR"
    assert after.by_kind["phone"].other.name == "HIDDEN"


def test_a_denial_that_ends_opens_again() -> None:
    clock = Clock(_at(0))
    bundle = _bundle("p, a, *, op:*, read, any\np, a, *, op:*, read, any, deny, until=2026-12-01", clock)
    assert not bundle.decide("t", ("a",), READ).allowed
    clock.now = _at(1)
    assert bundle.decide("t", ("a",), READ).allowed


def test_the_clock_is_not_asked_where_nothing_ends_any_more() -> None:
    clock = Clock(_at(9))
    bundle = _bundle("p, a, *, op:*, read, any\np, a, *, op:*, list, any, until=2026-12-01", clock)
    bundle.decide("t", ("a",), READ)
    asked = clock.asked
    assert bundle.decide("t", ("a",), READ).allowed
    assert clock.asked == asked


def test_reasons_leave_out_what_does_not_hold_now() -> None:
    rows = "p, a, *, op:*, read, any, until=2026-12-01\np, a, *, op:contact.*, read, any"
    told = ruling(_bundle(rows, Clock(_at(0))), rows, "t", ("a",), "op:contact.read", "read", "any")
    assert [one.line for one in told.reasons] == [1, 2]
    told = ruling(_bundle(rows, Clock(_at(1))), rows, "t", ("a",), "op:contact.read", "read", "any")
    assert [one.line for one in told.reasons] == [2]


def test_versions_and_differences_tell_windows_apart() -> None:
    plain, boxed = "p, a, *, op:*, read, any", "p, a, *, op:*, read, any, until=2026-12-01"
    assert _bundle(plain, Clock(0)).version != _bundle(boxed, Clock(0)).version
    found = difference(plain, boxed)
    assert found.added == ("p,a,*,op:*,read,any,allow,until=2026-12-02T00:00:00Z",)
    assert found.removed == ("p,a,*,op:*,read,any,allow",)


def test_the_version_of_rows_without_windows_is_what_it_always_was() -> None:
    assert _bundle("p, a, *, op:*, read, any\ng, b, a, *", Clock(0)).version == "b7bd7668f3292a3f"


_ROLE = st.sampled_from(["a", "dept:north", "position:lead"])
_DAYS = st.sampled_from(["2026-12-01", "2026-12-02", "2026-12-03"])
_WINDOW = st.one_of(
    st.just(""),
    st.builds("from={}".format, _DAYS),
    st.builds("until={}".format, _DAYS),
    st.builds(lambda day: f"from={day}, until={day}", _DAYS),
)
_SIGHT = st.builds(
    "p, {}, *, {}, {}, {}, {}".format,
    _ROLE,
    st.sampled_from(["kind:phone", "kind:*", "field:contact.phone", "field:contact.note#*", "field:*.*#name"]),
    st.sampled_from(["clear", "masked", "export", "reveal"]),
    st.sampled_from(["own", "other", "any"]),
    st.sampled_from(["allow", "allow", "deny"]),
)
_ACT = st.builds(
    "p, {}, *, {}, {}, any, {}".format,
    _ROLE,
    st.sampled_from(["op:*", "op:contact.read", "op:contact.*"]),
    st.sampled_from(["*", "read", "export"]),
    st.sampled_from(["allow", "allow", "deny"]),
)
_LINK = st.builds(
    lambda pair: f"g, {pair[0]}, {pair[1]}, *",
    st.sampled_from([("a", "dept:north"), ("dept:north", "position:lead"), ("a", "position:lead")]),
)


@settings(max_examples=500, deadline=None)
@given(
    lines=st.lists(st.tuples(st.one_of(_SIGHT, _ACT, _LINK), _WINDOW), max_size=7),
    roles=st.frozensets(_ROLE, min_size=1, max_size=2),
    walk=st.lists(st.sampled_from([-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.5]), min_size=1, max_size=2),
)
def test_compiled_answers_are_casbins_at_every_moment(
    lines: list[tuple[str, str]], roles: frozenset[str], walk: list[float]
) -> None:
    """The other side is a bundle that never had windows: of the rows that hold then, asked of Casbin itself."""
    clock = Clock(0.0)
    text = "\n".join(f"{line}, {window}" if window else line for line, window in lines)
    bundle = _bundle(text, clock)
    asked = tuple(sorted(roles))
    for days in sorted(walk):
        clock.now = _at(days)
        plain = _bundle("\n".join(line for line, window in lines if _holds(window, clock.now)), Clock(0.0))
        for operation in (READ, EXPORT):
            granted = plain.enforce("t", roles, f"op:{operation.id}", operation.action.value, "any")
            assert bundle.decide("t", asked, operation).allowed is granted
            assert bundle.enforce("t", roles, f"op:{operation.id}", operation.action.value, "any") is granted
        pages, exports = bundle.decide("t", asked, READ).view, bundle.decide("t", asked, EXPORT).view
        for entity, name in (("contact", "phone"), ("contact", "note")):
            obj = f"field:{entity}.{name}#phone"
            for scope in ("own", "other"):
                told = {right: plain.enforce("t", roles, obj, right, scope) for right in ("clear", "masked", "export")}
                form = "CLEAR" if told["clear"] else "MASKED" if told["masked"] else "HIDDEN"
                exported = "MASKED" if form == "CLEAR" and not told["export"] else form
                reveal = form == "MASKED" and plain.enforce("t", roles, obj, "reveal", scope)
                at = {"bound": True, "owned": scope == "own"}
                assert pages.form(entity, name, "phone", **at).name == form
                assert exports.form(entity, name, "phone", **at).name == exported
                assert pages.revealable(entity, name, "phone", **at) is reveal
                assert exports.revealable(entity, name, "phone", **at) is reveal


def _holds(window: str, now: float) -> bool:
    found = dict(part.strip().split("=") for part in window.split(",") if part)
    begins = datetime.fromisoformat(found.get("from", "0001-01-01")).replace(tzinfo=UTC)
    last = datetime.fromisoformat(found.get("until", "9000-01-01")).replace(tzinfo=UTC)
    return begins.timestamp() <= now < (last + timedelta(days=1)).timestamp()
