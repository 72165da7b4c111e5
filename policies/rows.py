"""Rows of a policy bundle: reading, and refusing whatever is not exactly a row.

Casbin itself accepts any text and fails, or silently ignores the row, when it has to decide; so every row is checked
here. Nothing is repaired: a bundle with one malformed row is not loaded at all.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from policies.criterion import MOST, TEAM, Criterion, granted_scope, read_criterion, word
from policies.operation import Action
from policies.placement import is_placement
from policies.taxonomy import Kind
from policies.window import ALWAYS, Window, read_window

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_PART = r"(?:\*|[a-z0-9_][a-z0-9_-]*)"
_FIELD = re.compile(rf"field:(?P<entity>{_PART})\.(?P<field>{_PART})(?:#(?P<kind>\*|[a-z_]+))?\Z")
_KIND = re.compile(r"kind:(?P<kind>\*|[a-z_]+)\Z")
_OPERATION = re.compile(r"op:(?:[a-z0-9_]+\.)*[a-z0-9_]*\*?\Z")
_KINDS = frozenset({"*", *(kind.value for kind in Kind)})

FIELD_RIGHTS = frozenset({"masked", "clear", "export", "reveal", "write", "search"})
OPERATION_RIGHTS = frozenset({"*", *(action.value for action in Action)})
TEAM_SCOPE = "team"
SCOPES = frozenset({"own", "other", TEAM_SCOPE, "any"})
ABOUT_RECORDS = frozenset({"masked", "clear", "export", "write"})
"""Rights that a criterion can limit: they are decided of one record and what an answer tells of it."""
EFFECTS = frozenset({"allow", "deny"})


class PolicyInvalid(ValueError):  # noqa: N818 - says what is wrong
    """A bundle that cannot be loaded; only editing it helps.

    problems: one plain-word sentence per row, with its line number.
    """

    permanent = True

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True)
class Grant:
    """One `p` row. window, where: left out of its name, which versions of bundles are made of, where there are none."""

    role: str
    tenant: str
    obj: str
    right: str
    scope: str
    effect: str
    window: Window = field(default=ALWAYS, repr=False)
    where: tuple[Criterion, ...] = field(default=(), repr=False)

    @property
    def tail(self) -> str:
        """As the row ends: criteria and window, in one spelling; "" where it has neither."""
        return "".join(f",where={one}" for one in self.where) + str(self.window)

    @property
    def limited(self) -> bool:
        """Whether it depends on more of a record than whether the person owns it."""
        return bool(self.where) or self.scope == TEAM_SCOPE

    @property
    def situation(self) -> str:
        """Scope and criteria as Casbin gets them."""
        return granted_scope(self.scope, self.where)


@dataclass(frozen=True, slots=True)
class Inheritance:
    """One `g` row: `role` has everything `parent` has."""

    role: str
    parent: str
    tenant: str
    window: Window = field(default=ALWAYS, repr=False)

    @property
    def tail(self) -> str:
        """As the row ends; "" where it always holds."""
        return str(self.window)


def parse_rows(text: str) -> tuple[tuple[Grant, ...], tuple[Inheritance, ...]]:
    """Grants and inheritances of a bundle.

    Raises: PolicyInvalid with every malformed row.
    """
    grants: dict[Grant, None] = {}
    links: dict[Inheritance, None] = {}
    problems: list[str] = []
    for number, _, found in read_lines(text):
        if isinstance(found, Grant):
            grants[found] = None
        elif isinstance(found, Inheritance):
            links[found] = None
        else:
            problems.append(f"line {number}: {found}")
    problems.extend(_cycles(links))
    if problems:
        raise PolicyInvalid(problems)
    return tuple(grants), tuple(links)


def read_lines(text: str) -> Iterator[tuple[int, str, Grant | Inheritance | str]]:
    """Number, text and meaning of every line that is no remark; of a line that is no row, what is wrong with it."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], strict=True))]
        except csv.Error:
            yield number, line, "is not a comma separated row"
            continue
        yield number, line, _row(cells)


def _row(cells: list[str]) -> Grant | Inheritance | str:
    """The row, or what is wrong with it."""
    if cells[0] not in ("p", "g"):
        return "starts with neither p nor g"
    last = len(cells)
    while cells[last - 1].startswith(("from=", "until=")):
        last -= 1
    window = read_window(cells[last:])
    if isinstance(window, str):
        return window
    first = last
    while cells[first - 1].startswith("where="):
        first -= 1
    where = _criteria(cells[first:last])
    if isinstance(where, str):
        return where
    if cells[0] == "p":
        return _grant(cells[1:first], where, window)
    return "an inheritance has no where=" if where else _inheritance(cells[1:first], window)


def _criteria(cells: list[str]) -> tuple[Criterion, ...] | str:
    """The criteria of a row in one order, or what is wrong with them."""
    if len(cells) > MOST:
        return f"has more than {MOST} where="
    found = [read_criterion(cell.removeprefix("where=")) for cell in cells]
    wrong = next((one for one in found if isinstance(one, str)), None)
    if wrong is not None:
        return wrong
    return tuple(sorted({one for one in found if not isinstance(one, str)}, key=str))


def personal(row: Grant, departments: frozenset[str], team: frozenset[str]) -> Grant:
    """The row for a person in these departments, to whose team the people of those belong; names without `dept:`."""
    if not row.limited:
        return row
    where = tuple(one.of(departments) for one in row.where)
    if row.scope != TEAM_SCOPE:
        return replace(row, where=where)
    return replace(row, scope="any", where=(*where, Criterion(TEAM, "in", frozenset(map(word, team)))))


def is_role(name: str) -> bool:
    """Whether a name can stand where roles stand: a role, a department or a position."""
    return NAME.match(name) is not None or is_placement(name)


def _grant(cells: list[str], where: tuple[Criterion, ...], window: Window) -> Grant | str:
    if len(cells) == 5:
        cells = [*cells, "allow"]
    if len(cells) != 6:
        return "needs role, tenant, object, right, scope and at most an effect, where=, from= and until="
    role, tenant, obj, right, scope, effect = cells
    if not is_role(role):
        return "the role has a name that is not allowed"
    if tenant != "*" and not NAME.match(tenant):
        return "the tenant has a name that is not allowed"
    if scope not in SCOPES:
        return "the scope is none of own, other, team, any"
    if effect not in EFFECTS:
        return "the effect is neither allow nor deny"
    problem = _object_problem(obj, right, scope) or _where_problem(obj, right, where)
    return problem or Grant(role, tenant, obj, right, scope, effect, window, where)


def _where_problem(obj: str, right: str, where: tuple[Criterion, ...]) -> str | None:
    if not where:
        return None
    data = _FIELD.match(obj)
    if data is None or any(one.entity != data.group("entity") for one in where):
        return "where= speaks of records of another entity than the object: it needs field:ENTITY.… of its own"
    if right not in ABOUT_RECORDS:
        return f"{right} cannot be limited by where="
    return None


def _object_problem(obj: str, right: str, scope: str) -> str | None:
    data = _FIELD.match(obj) or _KIND.match(obj)
    if data is not None:
        named = data.group("kind")
        if named is not None and named not in _KINDS:
            return f"{named} is not a kind of personal data"
        if right not in FIELD_RIGHTS:
            return f"{right} is not a right over a field or kind"
        if right in {"write", "search"} and scope != "any":
            return f"{right} cannot be limited to own, other or a team's records"
        if right == "reveal" and scope == TEAM_SCOPE:
            return "reveal cannot be limited to a team's records"
        return None
    if _OPERATION.match(obj) and obj != "op:":
        if right not in OPERATION_RIGHTS:
            return f"{right} is not an action"
        return None if scope == "any" else "an operation has only the scope any"
    return "the object is none of field:…, kind:…, op:…"


def _inheritance(cells: list[str], window: Window) -> Inheritance | str:
    if len(cells) != 3:
        return "needs role, inherited role, tenant and at most from= and until="
    role, parent, tenant = cells
    if not is_role(role) or not is_role(parent):
        return "a role has a name that is not allowed"
    if tenant != "*" and not NAME.match(tenant):
        return "the tenant has a name that is not allowed"
    return Inheritance(role, parent, tenant, window)


def _cycles(links: Iterable[Inheritance]) -> list[str]:
    """A role that inherits itself; and chains longer than Casbin follows (10)."""
    problems = []
    parents: dict[str, set[str]] = {}
    for link in links:
        parents.setdefault(link.role, set()).add(link.parent)
    for role in parents:
        level, reached = 0, set(parents[role])
        frontier = set(reached)
        while frontier and level < 9:
            frontier = {above for name in frontier for above in parents.get(name, ())} - reached
            reached |= frontier
            level += 1
        if role in reached:
            problems.append(f"role {role} inherits itself")
        elif frontier:
            problems.append(f"role {role} inherits through more than nine steps")
    return problems
