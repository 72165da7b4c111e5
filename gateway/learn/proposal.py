"""A proposed profile in its parts: fields, operations, decisions that only a person can take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_DECISIONS = 15


@dataclass(slots=True)
class Field:
    """One field of one entity. places: where it was seen, in plain words; source: its name in forms or keys."""

    entity: str
    name: str
    kind: str
    confidence: float
    reasons: list[str]
    samples: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    longest: int = 0
    seen: int = 0
    source: str = ""

    @property
    def id(self) -> str:
        """`entity.name`."""
        return f"{self.entity}.{self.name}"


@dataclass(slots=True)
class Operation:
    """One operation with the routes it covers."""

    id: str
    entity: str
    action: str
    methods: list[str]
    paths: list[str]
    rules: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)
    left_alone: bool = False
    count: int = 0

    def source(self) -> dict[str, Any]:
        """As a profile writes it."""
        found: dict[str, Any] = {"id": self.id, "entity": self.entity, "action": self.action}
        found |= {"methods": sorted(self.methods), "paths": sorted(self.paths)}
        if self.left_alone:
            found["left_alone"] = True
        found |= {key: value for key in ("rules", "searches", "answer") if (value := getattr(self, key))}
        return found


@dataclass(slots=True)
class Decision:
    """Something to decide. options: answer → what it means; default: the safe one; weight: how much it
    matters; facts: what the question names, for a text in another language."""

    id: str
    question: str
    options: Mapping[str, str]
    default: str
    weight: float
    values: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """What sort of decision it is: the part of its id that is the same for all fields."""
        return self.id.partition(".")[0]


@dataclass(slots=True)
class Proposal:
    """Everything that is proposed. answers: decision → what was decided; source: the profile as YAML has it."""

    exchanges: int
    fields: list[Field]
    operations: list[Operation]
    decisions: list[Decision]
    refused: list[str]
    source: dict[str, Any]
    calls: int = 0

    def plain(self) -> dict[str, Any]:
        """For JSON output; the same things that the table shows."""
        return {
            "exchanges": self.exchanges,
            "fields": [
                {"field": one.id, "kind": one.kind, "confidence": one.confidence, "reasons": one.reasons,
                 "samples": one.samples, "places": one.places, "labels": one.labels}
                for one in self.fields
            ],
            "operations": [{**one.source(), "seen": one.count} for one in self.operations],
            "decisions": [
                {"id": one.id, "question": one.question, "options": dict(one.options), "default": one.default,
                 "values": list(one.values)}
                for one in self.decisions
            ],
            "refused": self.refused,
        }  # fmt: skip
