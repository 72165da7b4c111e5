"""What `explain` asks about a field, a kind or an operation."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from policies.expectation import concrete
from policies.operation import CONSOLE_OPERATIONS, Action, FieldSpec
from policies.taxonomy import Kind

_OF_DATA = (
    ("clear", "own"),
    ("masked", "own"),
    ("clear", "other"),
    ("masked", "other"),
    ("write", "any"),
    ("search", "any"),
)


@dataclass(frozen=True, slots=True)
class Question:
    """One thing Casbin is asked; obj has a concrete kind."""

    obj: str
    right: str
    scope: str

    def __str__(self) -> str:
        """The question as a line begins."""
        return f"{self.obj} {self.right}" + ("" if self.scope == "any" else f" {self.scope}")


def questions(
    what: str, action: str, fields: Mapping[tuple[str, str], FieldSpec], operations: Collection[str]
) -> list[Question]:
    """All questions about `what`; none when there is no such thing. Free text is asked about by every kind."""
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
    return [Question(obj, right, scope) for obj in objects for right, scope in _OF_DATA]
