"""Rows of an import whose columns stand in a header of the same body: which of them tell of one record together.

A row that fills no column of the record itself, only columns of records that hang on it (`children/value`), goes on
with the record of the row before. Pure and total.
"""

from collections.abc import Mapping
from typing import NamedTuple

from policies.operation import Operation
from policies.profile import Action
from policies.record_id import RecordIds

Path = tuple[str, ...]


class ImportRow(NamedTuple):
    """key: what the rows of one record have in common; record: its id where a column of the import gives it."""

    key: str
    record: str | None


def rows_of(
    operation: Operation, leaves: Mapping[Path, str], ids: RecordIds = RecordIds.NUMBER
) -> dict[Path, ImportRow]:
    """The path of each row → the record it tells of. ids: the shape of record ids."""
    if operation.action is not Action.IMPORT:
        return {}
    found: dict[Path, ImportRow] = {}
    for rule in operation.rules:
        if rule.by_column is None or rule.selector[-2:] != ("*", "*"):
            continue
        header, base = rule.by_column[0], rule.selector[:-2]
        labels = {path[-1]: label for path, label in leaves.items() if path[:-1] == header}
        rows: dict[int, dict[str, str]] = {}
        for path, text in leaves.items():
            if len(path) == len(base) + 2 and path[: len(base)] == base and path[-2].isdecimal() and text.strip():
                label = labels.get(path[-1], "/")
                if "/" not in label:
                    rows.setdefault(int(path[-2]), {})[label] = text.strip()
        inside = (path for path in leaves if len(path) == len(base) + 2 and path[: len(base)] == base)
        told = bool(rule.row_id) and list(labels.values()).count(rule.row_id) == 1  # two would say two things
        first = 0
        for number in sorted({int(path[-2]) for path in inside if path[-2].isdecimal()}):
            first = number if number in rows else first
            given = rows.get(first, {}).get(rule.row_id, "") if told else ""
            row = ImportRow("/".join((*base, str(first))), ids.canonical(given))
            found.setdefault((*base, str(number)), row)
    return found
