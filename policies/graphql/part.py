"""What one top-level field of a GraphQL request asks for: every value by what it means, every name it uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from policies.graphql.mapping import Compare
from policies.graphql.value import Value
from policies.operation import FieldSpec, Operation

Path = tuple[str, ...]


class Unknown(StrEnum):
    """Where a name stands that the profile does not know."""

    FIELD = "field"
    ARGUMENT = "argument"
    FILTER = "filter"
    ORDER = "order"
    INPUT = "input"


class By(StrEnum):
    """How a field is used without a value beside it."""

    ORDER = "order"
    GROUP = "group"
    AGGREGATE = "aggregate"


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A value that is written. field: what it is (text: free text); neither: only recognisers say it.

    alone: whether it is all that its field holds; row: the texts of the same object.
    """

    value: Value
    path: Path
    row: Mapping[str, str]
    spec: FieldSpec | None = None
    text: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """A field compared with values. holder: the object of operators; listed: the list that the operands stand in."""

    column: str
    spec: FieldSpec | None
    compare: Compare
    operands: Sequence[Value]
    path: Path
    holder: Value | None = None
    listed: Value | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """A field that is ordered, grouped or computed by; spec None: free text."""

    by: By
    column: str
    spec: FieldSpec | None


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """A text that is looked for in several fields."""

    value: Value
    fields: tuple[FieldSpec, ...]
    path: Path


@dataclass(slots=True, eq=False)
class Shown:
    """What stands in one place of the answer. names: the fields that may come under a response key."""

    specs: list[FieldSpec] = field(default_factory=list)
    members: dict[str, "Shown"] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)

    def member(self, key: str, name: str) -> "Shown":
        """The place of a field under its response key."""
        self.names.setdefault(key, set()).add(name)
        return self.members.setdefault(key, Shown())

    def key_of(self, name: str) -> str | None:
        """The response key under which this field and no other comes."""
        return next((key for key, names in self.names.items() if names == {name}), None)


@dataclass(slots=True, eq=False)
class Part:
    """One top-level field. key: its response key; executed: of the operation that the server runs.

    record: response keys that lead to the id of a new record; failures: whether its result can say that nothing was
    done; failed: response keys that lead there. named: texts and numbers of the record that is written, by name.
    """

    call: int
    key: str
    operation: Operation
    executed: bool
    record: tuple[str, ...] = ()
    failures: bool = False
    failed: tuple[str, ...] = ()
    stored: list[Stored] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)
    used: list[Used] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    loose: list[tuple[Path, Value]] = field(default_factory=list)
    unknown: list[tuple[Unknown, str]] = field(default_factory=list)
    shown: Shown = field(default_factory=Shown)
    records: dict[str, None] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
