"""Which rows and roles were used, without any I/O."""

from datetime import UTC, datetime, timedelta

from policies.operation import Action, FieldSpec
from policies.simulation import DO, SEE, WRITE, Deed, Tally, Vocabulary
from policies.taxonomy import Kind
from policies.usage import Usage, usage, without

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
FIELDS = {("contact", "phone"): FieldSpec("contact", "phone", Kind.PHONE, 20)}
ACTIONS = {"contact.read": frozenset({Action.READ}), "contact.export": frozenset({Action.EXPORT})}
ROWS = """# remarks stay
p, sales, *, op:*, read, any
p, sales, *, op:*, export, any
p, sales, *, kind:phone, clear, any
p, sales, *, kind:email, clear, any
p, sales, *, kind:phone, write, any
p, sales, *, kind:phone, search, any
p, sales, *, op:console.live, read, any
p, sales, *, op:*, delete, any, deny
p, lead, *, op:*, import, any
g, lead, sales, *
"""


def _usage(*deeds: Deed, roles: dict[str, tuple[str, ...]]) -> Usage:
    tally = Tally()
    for hours, deed in enumerate(deeds):
        tally.add(deed, NOON + timedelta(hours=hours))
    return usage(tally, roles, ROWS, "t1", Vocabulary(ACTIONS, FIELDS), NOON.timestamp())


def _used(found: Usage) -> set[int]:
    return {row.line for row in found.rows if row.last is not None}


def _unused(found: Usage) -> set[int]:
    return {row.line for row in found.rows if row.unused}


def test_a_row_is_used_by_what_it_takes_in() -> None:
    deeds = [
        Deed("u-1", "contact.read", DO),
        Deed("u-1", "contact.read", SEE, "contact.phone", "clear"),
        Deed("u-1", "contact.read", WRITE, "contact.phone"),
    ]
    found = _usage(*deeds, roles={"u-1": ("sales",)})
    assert _used(found) == {2, 4, 6}
    assert _unused(found) == {3, 5, 10}


def test_an_operation_that_the_profile_does_not_know_uses_every_row_it_may_have_needed() -> None:
    found = _usage(Deed("u-1", "deal.approve", DO), roles={"u-1": ("lead",)})
    assert {2, 3, 10} <= _used(found)


def test_what_the_trail_does_not_tell_is_not_called_unused() -> None:
    found = _usage(roles={"u-1": ("sales",)})
    assert {row.line for row in found.rows if not row.judged} == {7, 8}
    assert 9 not in {row.line for row in found.rows}  # what forbids is no right


def test_a_masked_value_is_given_by_a_row_that_shows_it_clear() -> None:
    found = _usage(Deed("u-1", "contact.read", SEE, "contact.phone", "masked"), roles={"u-1": ("sales",)})
    assert 4 in _used(found)
    found = _usage(Deed("u-1", "contact.read", SEE, "contact.phone", "hidden"), roles={"u-1": ("sales",)})
    assert 4 not in _used(found)


def test_use_through_inheritance_counts_for_the_row_and_for_the_role_held() -> None:
    found = _usage(Deed("u-1", "contact.read", DO), roles={"u-1": ("lead",), "u-2": ("sales",)})
    assert _used(found) == {2}
    assert found.roles == {("u-1", "lead"): NOON}
    assert {row.line: row.holders for row in found.rows}[2] == 2
    assert {row.line: row.holders for row in found.rows}[10] == 1


def test_each_role_that_gives_it_was_used_and_no_other() -> None:
    found = _usage(Deed("u-1", "contact.read", DO), roles={"u-1": ("sales", "dept:north")})
    assert set(found.roles) == {("u-1", "sales")}


def test_work_of_somebody_without_the_role_now_does_not_count() -> None:
    assert _used(_usage(Deed("u-1", "contact.read", DO), roles={"u-2": ("sales",)})) == set()


def test_rows_are_taken_out_and_nothing_else_changes() -> None:
    left = without(ROWS, ["p, sales, *, op:*, export, any", "p, lead, *, op:*, import, any"])
    assert left == ROWS.replace("p, sales, *, op:*, export, any\n", "").replace("p, lead, *, op:*, import, any\n", "")
    assert without(ROWS, []) == ROWS
