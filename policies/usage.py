"""Which rights were used: rows of a bundle and roles of people, over what people really did. Pure.

A deed uses a row that takes it in, whoever else would have allowed it too: what is called unused was used by nobody.
What the trail does not tell is not judged: pages of the console that are only looked at, signing in, static files,
searches, reveals, proofs, and rows that forbid.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from policies.enforcer import covers, grants
from policies.operation import Action
from policies.rows import Grant, Inheritance, read_lines
from policies.simulation import DO, SEE, WRITE, Deed, Tally, Vocabulary
from policies.taxonomy import Kind

_UNTOLD_OPERATIONS = ("op:console.", "op:auth.", "op:asset", "op:proof.")
_UNTOLD_RIGHTS = frozenset({"search", "reveal"})


@dataclass(frozen=True, slots=True)
class RowUse:
    """One row that allows something. holders: people whose roles reach it; last: when it was used last, None for never
    in the period; judged: whether the trail tells of such use."""

    line: int
    text: str
    role: str
    holders: int
    last: datetime | None
    judged: bool

    @property
    def unused(self) -> bool:
        """Whether nobody used what the trail would tell of."""
        return self.judged and self.last is None


@dataclass(frozen=True, slots=True)
class Usage:
    """roles: (person, role) → when the person last did something that this role gives; rows: every allowing row."""

    roles: Mapping[tuple[str, str], datetime]
    rows: tuple[RowUse, ...]


def usage(
    tally: Tally,
    roles_of: Mapping[str, Collection[str]],
    rows: str,
    tenant: str,
    vocabulary: Vocabulary,
    at: float,
) -> Usage:
    """Use of every role and row. rows: the text in force; at: the moment whose rows count, in seconds since 1970."""
    lines = [(number, text, row) for number, text, row in read_lines(rows) if not isinstance(row, str)]
    lines = [one for one in lines if one[2].window.holds(at) and one[2].tenant in ("*", tenant)]
    reach = {role: _reach(role, lines) for roles in roles_of.values() for role in roles}
    grants_of = [
        (number, text.strip(), row) for number, text, row in lines if isinstance(row, Grant) and row.effect == "allow"
    ]
    known: dict[Deed, tuple[int, ...]] = {}
    by_row: dict[int, datetime] = {}
    by_role: dict[tuple[str, str], datetime] = {}
    role_of_line = {number: row.role for number, _, row in grants_of}
    for deed, times in tally.deeds.items():
        held = roles_of.get(deed.person)
        if not held:
            continue
        alike = Deed("", deed.operation, deed.what, deed.field, deed.how)
        if alike not in known:
            asked = list(_asked(alike, vocabulary))
            known[alike] = tuple(
                number
                for number, _, row in grants_of
                if any(covers(obj, row.obj) and grants(right, row.right, "allow") for obj, right in asked)
            )
        for number in known[alike]:
            through = [role for role in held if role_of_line[number] in reach[role]]
            if through:
                by_row[number] = max(by_row.get(number, times.last), times.last)
            for role in through:
                key = (deed.person, role)
                by_role[key] = max(by_role.get(key, times.last), times.last)
    holders: dict[str, int] = {}
    for roles in roles_of.values():
        for name in {above for role in roles for above in reach[role]}:
            holders[name] = holders.get(name, 0) + 1
    uses = tuple(
        RowUse(number, text, row.role, holders.get(row.role, 0), by_row.get(number), _judged(row))
        for number, text, row in grants_of
    )
    return Usage(by_role, uses)


def without(rows: str, unwanted: Collection[str]) -> str:
    """The text without the lines that say exactly this; remarks and everything else stay as they are."""
    gone = {text.strip() for text in unwanted}
    return "".join(line for line in rows.splitlines(keepends=True) if line.strip() not in gone)


def _reach(role: str, lines: Collection[tuple[int, str, Grant | Inheritance]]) -> frozenset[str]:
    """The role and everything it inherits."""
    found, frontier = {role}, {role}
    while frontier:
        above = {row.parent for _, _, row in lines if isinstance(row, Inheritance) and row.role in frontier}
        frontier = above - found
        found |= frontier
    return frozenset(found)


def _judged(row: Grant) -> bool:
    return row.right not in _UNTOLD_RIGHTS and not row.obj.startswith(_UNTOLD_OPERATIONS)


def _asked(deed: Deed, vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """Object and right of everything a deed needs, or might have needed."""
    actions = {deed.how} if deed.what == DO and deed.how else vocabulary.actions.get(deed.operation, ())
    if deed.what == DO:
        # An operation that the profile does not know (any more) may have been of any action.
        yield from ((f"op:{deed.operation}", str(action)) for action in actions or Action)
        return
    entity, _, name = deed.field.partition(".")
    spec = vocabulary.fields.get((entity, name))
    kinds = list(Kind) if spec is None or spec.kind is None else [spec.kind]
    rights = []
    if deed.what == WRITE:
        rights = ["write"]
    elif deed.what == SEE and deed.how in ("clear", "masked"):
        rights = [deed.how] + (["export"] if Action.EXPORT in actions else [])
    for kind in kinds:
        yield from ((f"field:{deed.field}#{kind.value}", right) for right in rights)
