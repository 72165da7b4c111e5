"""Names of fields for CRMs that take them in any case: `lastname` fills what the profile calls `LastName`.

Such a name is no declared one, so its value would be stored as it comes. It is refused instead of being understood,
because everything else about a request (rows, owners, ids) goes by the exact name, too.
"""

from collections.abc import Iterable, Sequence

from policies.operation import Operation
from policies.steps import is_pattern


def respelled(operation: Operation, paths: Iterable[Sequence[str]]) -> str | None:
    """The declared name that one of these paths writes in other letters; None where none does."""
    names = {
        step
        for selector in (*(rule.selector for rule in operation.rules), *(one.selector for one in operation.owners))
        for step in selector
        if not is_pattern(step)
    }
    folded = {name.casefold(): name for name in names}
    for path in paths:
        for step in path:
            if step not in names and (name := folded.get(step.casefold())) is not None:
                return name
    return None
