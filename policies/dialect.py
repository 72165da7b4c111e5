"""Calls of an object's method, where object, method and arguments stand in places that differ by interface.

One table of objects and methods serves every dialect: Odoo's web client, its JSON-2 paths and its old RPC say the same
with other keys. What is no listed method is an unmatched write. (Tryton's calls name kind, object and verb in one text:
see policies.rpc.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policies.condition import Asked, Unreadable, pointer_of, value_at, values_at
from policies.operation import UNMATCHED_WRITE, Action, Operation, with_record
from policies.record_id import RecordIds
from policies.requests import BULK_LIMIT

Path = tuple[str, ...]
OTHER = "*"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where a call says what it means: in a place of the JSON body, or in a parameter of the path (`{name}`).

    args: place of positional arguments, named: of named ones; None where the dialect has none.
    """

    object: str
    verb: str
    args: Path | None
    named: Path | None

    def places(self, arguments: Iterable[str], only_named: Iterable[str] = ()) -> dict[str, tuple[Path, ...]]:
        """Argument → the places of the body in which it may stand."""
        found: dict[str, tuple[Path, ...]] = {}
        for number, name in enumerate(arguments):
            found[name] = () if self.args is None else ((*self.args, str(number)),)
        for name in (*found, *only_named):
            found[name] = (*found.get(name, ()), *(() if self.named is None else ((*self.named, name),)))
        return found

    def told(self, asked: Asked, where: str) -> str | None:
        """The object or method that a request names; raises Unreadable."""
        if where.startswith("{"):
            return asked.parameters.get(where.strip("{}"))
        value = asked.at(pointer_of(where))
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class CallTemplate:
    """One compiled method of one object. ids: places of its record ids; new: what it is where it names none."""

    plain: Operation
    ids: tuple[Path, ...] = ()
    new: Operation | None = None


@dataclass(frozen=True, slots=True)
class DialectRules:
    """All calls of one dialect: (object, method), then ("*", method) for objects that nobody declared."""

    dialect: Dialect
    calls: Mapping[tuple[str, str], CallTemplate]
    objects: frozenset[str]

    def classify(self, asked: Asked, record_ids: RecordIds) -> Operation:
        """The operation of one call; never raises."""
        try:
            document = asked.document
            name, verb = self.dialect.told(asked, self.dialect.object), self.dialect.told(asked, self.dialect.verb)
        except Unreadable:
            return UNMATCHED_WRITE
        if name is None or verb is None:
            return UNMATCHED_WRITE
        template = self.calls.get((name if name in self.objects else OTHER, verb))
        if template is None:
            return UNMATCHED_WRITE
        found: dict[str, None] = {}
        for place in template.ids:
            for value in values_at(document, place):
                canonical = record_ids.canonical(value)
                if canonical is not None and len(found) < BULK_LIMIT:
                    found[canonical] = None
        if not found:
            # Empty only where nothing at all stands there: what is not understood names no new record either.
            empty = all(not value_at(document, place) for place in template.ids)
            return template.new if template.new is not None and empty else template.plain
        ids = tuple(found)
        if template.plain.action is Action.CREATE:
            return with_record(template.plain, None, touched=ids)
        return with_record(template.plain, ids[0] if len(ids) == 1 else None, ids)
