"""Forms that write several records at once, one a row: `contacts-0-phone` belongs to the record in `contacts-0-id`.

Django's formsets name their fields like that. A new row has an empty id; its values belong to no known record.
"""

from collections.abc import Mapping, Sequence

from policies.operation import Operation
from policies.record_id import RecordIds
from policies.selector import rule_for

SEPARATOR = "-"


def has_rows(operation: Operation) -> bool:
    """Whether any rule of the operation is about rows, so that others need not be asked."""
    return any(rule.row_id for rule in operation.rules)


def row_records(
    operation: Operation,
    path: Sequence[str],
    leaves: Mapping[tuple[str, ...], str],
    ids: RecordIds = RecordIds.NUMBER,
) -> tuple[str, ...] | None:
    """The record of the row a form field stands in, () for a new row; None where no row has a say.

    leaves: all fields of the form; ids: the shape of record ids. A name without a row before its last part is in none.
    """
    if len(path) != 1:
        return None
    found = rule_for(operation.rules, path)
    if found is None or not found[0].row_id:
        return None
    row, dash, _ = path[0].rpartition(SEPARATOR)
    number = ids.canonical(leaves.get((f"{row}{SEPARATOR}{found[0].row_id}",), "").strip()) if dash else None
    return (number,) if number is not None else ()
