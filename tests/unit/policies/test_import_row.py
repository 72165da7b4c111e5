"""Rows of an import: those of one record belong together, and a column may name it."""

from collections.abc import Sequence

import pytest

from policies.import_row import rows_of
from policies.operation import BodyRule, Operation
from policies.profile import Action

HEADER, ROWS = ("params", "0"), ("params", "1")


def leaves(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[tuple[str, ...], str]:
    found = {(*HEADER, str(at)): label for at, label in enumerate(columns)}
    return found | {(*ROWS, str(row), str(at)): text for row, cells in enumerate(rows) for at, text in enumerate(cells)}


def told(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, row_id: str = "id", action: Action = Action.IMPORT
) -> list[tuple[str, str | None]]:
    rule = BodyRule((*ROWS, "*", "*"), None, by_column=(HEADER, {}), row_id=row_id)
    found = rows_of(Operation("x", "party", action, rules=(rule,)), leaves(columns, rows))
    return [(row.key.rpartition("/")[2], row.record) for _, row in sorted(found.items())]


def test_a_row_without_values_of_its_own_goes_on_with_the_record_before() -> None:
    rows = [["7", "Wei", "138"], ["", "", "wei@example.com"], ["8", "Na", ""], ["", "", "139"]]
    assert told(["id", "name", "ways/value"], rows) == [("0", "7"), ("0", "7"), ("2", "8"), ("2", "8")]


@pytest.mark.parametrize("number", ["", "x", "１２", "7,8", "-1"])
def test_what_is_no_id_names_no_record(number: str) -> None:
    assert told(["id", "name"], [[number, "Wei"]]) == [("0", None)]


def test_two_columns_of_ids_name_none_and_neither_does_a_profile_without() -> None:
    assert told(["id", "id", "name"], [["7", "8", "Wei"]]) == [("0", None)]
    assert told(["id", "name"], [["7", "Wei"]], row_id="") == [("0", None)]


def test_other_operations_have_no_rows() -> None:
    assert told(["id", "name"], [["7", "Wei"]], action=Action.UPDATE) == []
