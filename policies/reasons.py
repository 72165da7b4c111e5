"""Which rows made a decision: their lines, and through which inheritance each came to the roles."""

from collections.abc import Collection
from dataclasses import dataclass

from policies.criterion import holds
from policies.enforcer import Bundle, covers, grants
from policies.rows import Grant, Inheritance, read_lines


@dataclass(frozen=True, slots=True)
class Reason:
    """One row. line: from 1; through: roles from the person's own to the row's; links: lines of the inheritances."""

    line: int
    text: str
    effect: str
    through: tuple[str, ...]
    links: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ruling:
    """Casbin's answer to one question and the rows behind it; no row means that nothing allows it."""

    allowed: bool
    reasons: tuple[Reason, ...]


def ruling(bundle: Bundle, rows: str, tenant: str, roles: Collection[str], obj: str, right: str, scope: str) -> Ruling:
    """The decision of a bundle with its reasons; rows: the text it was loaded from; obj: with a concrete kind.

    Where a row denies, the denying rows are the reasons; else the allowing ones. Raises AssertionError should they not
    say what Casbin says: no explanation is better than a wrong one. Rows that do not hold now are left out. scope: with
    what is known of the record, as `criterion.asked_scope` writes it.
    """
    now = bundle.now()
    bundle = bundle.at(now)
    lines = [
        (number, text, row)
        for number, text, row in read_lines(rows)
        if not isinstance(row, str) and row.window.holds(now)
    ]
    reached = _reached(lines, tenant, roles)
    matching = [
        Reason(number, text.strip(), row.effect, *reached[row.role])
        for number, text, row in lines
        if isinstance(row, Grant)
        and row.role in reached
        and row.tenant in ("*", tenant)
        and covers(obj, row.obj)
        and grants(right, row.right, row.effect)
        and holds(scope, bundle.personal(row, tenant, roles).situation, row.effect)
    ]
    denying = [one for one in matching if one.effect == "deny"]
    allowed = bundle.enforce(tenant, frozenset(roles), obj, right, scope)
    if allowed is not (bool(matching) and not denying):
        raise AssertionError("the rows do not explain the decision")
    return Ruling(allowed, tuple(denying or matching))


def _reached(
    lines: Collection[tuple[int, str, Grant | Inheritance]], tenant: str, roles: Collection[str]
) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Role → the shortest chain to it from one of these roles, and the lines of its inheritances."""
    found: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {role: ((role,), ()) for role in sorted(roles)}
    links = [(number, row) for number, _, row in lines if isinstance(row, Inheritance) and row.tenant in ("*", tenant)]
    frontier = list(found)
    while frontier:
        further = []
        for role in frontier:
            chain, numbers = found[role]
            for number, link in links:
                if link.role == role and link.parent not in found:
                    found[link.parent] = ((*chain, link.parent), (*numbers, number))
                    further.append(link.parent)
        frontier = further
    return found
