"""What recorded work would be under another bundle, without any I/O."""

from datetime import UTC, datetime, timedelta

import pytest

from policies.enforcer import Bundle, Enforcer
from policies.operation import Action, FieldSpec
from policies.simulation import DO, SEE, WRITE, Change, Deed, Simulated, Tally, Vocabulary, simulate
from policies.taxonomy import Kind

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
FIELDS = {
    ("contact", "phone"): FieldSpec("contact", "phone", Kind.PHONE, 20),
    ("contact", "note"): FieldSpec("contact", "note", None, 500),
}
ACTIONS = {
    "contact.read": frozenset({Action.READ}),
    "contact.find": frozenset({Action.LIST, Action.SEARCH}),
    "contact.delete": frozenset({Action.DELETE}),
    "contact.export": frozenset({Action.EXPORT}),
}
ROWS = """
p, sales, *, op:*, read, any
p, sales, *, op:*, list, any
p, sales, *, op:*, search, any
p, sales, *, op:*, export, any
p, sales, *, kind:phone, masked, own
p, sales, *, kind:*, write, any
"""


def _load(rows: str) -> Bundle:
    return Enforcer(FIELDS, ACTIONS).load(rows)


def _simulate(
    after: str, *deeds: Deed, roles: dict[str, tuple[str, ...]] | None = None, before: str = ROWS
) -> Simulated:
    tally = Tally()
    for hours, deed in enumerate(deeds):
        tally.add(deed, NOON + timedelta(hours=hours))
    people = {"u-1": ("sales",), "u-2": ("sales",)} if roles is None else roles
    return simulate(tally, people, _load(before), _load(after), "t1", Vocabulary(ACTIONS, FIELDS))


def _do(operation: str, person: str = "u-1", how: str = "") -> Deed:
    return Deed(person, operation, DO, how=how)


def _saw(form: str, field: str = "contact.phone", operation: str = "contact.read") -> Deed:
    return Deed("u-1", operation, SEE, field, form)


def _changes(found: Simulated) -> list[Change]:
    return [line.change for line in found.lines]


def test_the_same_rows_change_nothing() -> None:
    found = _simulate(ROWS, _do("contact.read"), _do("contact.delete"), _saw("masked"))
    assert found.lines == ()
    assert found.asked == 3


def test_an_operation_that_was_done_is_lost_by_everybody_who_did_it() -> None:
    after = ROWS.replace("p, sales, *, op:*, read, any\n", "")
    found = _simulate(after, _do("contact.read"), _do("contact.read", "u-2"), _do("contact.read", "u-2"))
    (line,) = found.losses
    assert line.change == Change("op:contact.read", "read", "any", "", "allowed", "refused")
    assert [(one.person, one.count) for one in line.people] == [("u-2", 2), ("u-1", 1)]
    assert line.last == NOON + timedelta(hours=2)


def test_what_was_tried_and_refused_is_gained() -> None:
    found = _simulate(ROWS + "p, sales, *, op:contact.delete, delete, any\n", _do("contact.delete"))
    assert _changes(found) == [Change("op:contact.delete", "delete", "any", "", "refused", "allowed")]
    assert found.gains == found.lines


def test_every_action_an_operation_may_have_is_asked() -> None:
    after = ROWS.replace("p, sales, *, op:*, search, any\n", "")
    assert [one.right for one in _changes(_simulate(after, _do("contact.find")))] == ["search"]
    assert _changes(_simulate(after, _do("contact.find", how="list"))) == []


@pytest.mark.parametrize(
    ("row", "seen", "expected"),
    [
        ("p, sales, *, kind:phone, clear, own\n", "masked", [("own", "masked", "clear")]),
        ("p, sales, *, kind:phone, clear, own\n", "hidden", []),  # those were records of others
        ("p, sales, *, kind:phone, masked, other\n", "hidden", [("other", "hidden", "masked")]),
        ("p, sales, *, kind:phone, clear, any\n", "clear", [("own", "masked", "clear"), ("other", "hidden", "clear")]),
        ("p, sales, *, kind:phone, masked, any, deny\n", "masked", [("own", "masked", "hidden")]),
    ],
)
def test_the_recorded_form_tells_whose_records_it_was(row, seen, expected) -> None:
    found = _changes(_simulate(ROWS + row, _saw(seen)))
    assert [(one.scope, one.before, one.after) for one in found] == expected


def test_forms_that_change_alike_for_all_records_are_one_line() -> None:
    rows = ROWS.replace("masked, own", "masked, any")
    found = _changes(_simulate(rows + "p, sales, *, kind:phone, clear, any\n", _saw("masked"), before=rows))
    assert [(one.scope, one.before, one.after) for one in found] == [("any", "masked", "clear")]


def test_a_free_text_is_asked_about_by_kind() -> None:
    after = ROWS + "p, sales, *, field:contact.note#email, clear, own\n"
    found = _changes(_simulate(after, _saw("hidden", "contact.note")))
    assert [(one.kind, one.scope, one.after) for one in found] == [("email", "own", "clear")]


def test_exports_are_asked_about_by_what_exports_show() -> None:
    before = ROWS.replace("masked, own", "clear, own")
    after = before + "p, sales, *, kind:phone, export, any, deny\n"
    page, export = _saw("clear"), _saw("clear", operation="contact.export")
    assert _changes(_simulate(after, page, before=before)) == []
    assert [(one.before, one.after) for one in _changes(_simulate(after, export, before=before))] == [
        ("clear", "masked")
    ]


def test_writing_is_lost() -> None:
    after = ROWS.replace("p, sales, *, kind:*, write, any\n", "")
    found = _changes(_simulate(after, Deed("u-1", "contact.read", WRITE, "contact.phone")))
    assert found == [Change("field:contact.phone", "write", "any", "", "allowed", "refused")]


def test_people_have_the_roles_of_now_and_who_is_gone_is_counted() -> None:
    after = ROWS.replace("p, sales, *, op:*, read, any\n", "")
    found = _simulate(after, _do("contact.read"), _do("contact.read", "u-2"), roles={"u-2": ("other",)})
    assert found.lines == ()
    assert found.gone == 1


def test_what_the_profile_does_not_know_is_counted() -> None:
    found = _simulate(ROWS, _do("deal.read"), _saw("clear", "deal.name"), _saw("clear", "nothing"))
    assert (found.asked, found.unknown) == (0, 3)


def test_losses_stand_first() -> None:
    after = ROWS.replace("op:*, read", "op:*, delete")
    found = _simulate(after, _do("contact.delete"), _do("contact.delete"), _do("contact.read"))
    assert [line.change.gain for line in found.lines] == [False, True]


def test_a_tally_that_is_full_says_so() -> None:
    tally = Tally(limit=1)
    for name in ("a", "b", "a"):
        tally.add(_do(name), NOON)
    assert (len(tally.deeds), tally.left_out) == (1, 1)
    assert tally.deeds[_do("a")].count == 2
