"""What `explain` asks about a field, a kind or an operation."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from policies.criterion import NOTHING, Facts, asked_scope
from policies.expectation import concrete
from policies.operation import CONSOLE_OPERATIONS, Action, FieldSpec
from policies.taxonomy import Kind

_SCOPES = ("own", "other")
_OF_RECORDS = ("clear", "masked", "export", "reveal")
_OF_ALL = ("write", "search")


@dataclass(frozen=True, slots=True)
class Question:
    """One thing Casbin is asked; obj has a concrete kind."""

    obj: str
    right: str
    scope: str
    facts: Facts = field(default_factory=dict)

    @property
    def situation(self) -> str:
        """The scope with what is known, as Casbin is asked."""
        return asked_scope(self.scope, self.facts)

    def __str__(self) -> str:
        """The question as a line begins."""
        told = [f"{name}={one}" for name, values in self.facts.items() for one in values or ("",)]
        return " ".join([self.obj, self.right, *([] if self.scope == "any" else [self.scope]), *told])


def questions(
    what: str,
    action: str,
    fields: Mapping[tuple[str, str], FieldSpec],
    operations: Collection[str],
    facts: Facts = NOTHING,
) -> list[Question]:
    """All questions about `what`; none when there is no such thing. Free text is asked about by every kind.

    facts: what is known of the record.
    """
    if what.startswith("op:"):
        name = what.removeprefix("op:")
        known = (name in operations or name in CONSOLE_OPERATIONS) and action in {one.value for one in Action}
        return [Question(what, action, "any")] if known else []
    named = what if what.startswith(("field:", "kind:")) else f"field:{what}"
    asked = concrete(named, fields)
    if asked is not None:
        objects = [asked]
    elif "#" not in named:
        objects = [found for kind in Kind if (found := concrete(f"{named}#{kind.value}", fields)) is not None]
    else:
        objects = []
    asked_of = [(right, scope) for scope in _SCOPES for right in _OF_RECORDS] + [(right, "any") for right in _OF_ALL]
    return [Question(obj, right, scope, facts) for obj in objects for right, scope in asked_of]
