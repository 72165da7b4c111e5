"""The answer of the policy: allow or refuse, and which form each value takes for this principal.

A `FieldView` is compiled once per (tenant, set of roles) when a bundle loads and only looked up afterwards.
It is settled per *origin* of a vault entry (whose value, which entity, field, record), never per place of appearance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NoReturn

from policies.criterion import NOTHING, Criterion, Facts

_SITUATIONS = 256  # compiled sets of true criteria of one view; the bound is against nonsense


class Form(IntEnum):
    """How a value is shown; ordered, so that `max` over origins gives the most a principal may see."""

    HIDDEN = 0
    MASKED = 1
    CLEAR = 2


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Rights of one set of roles over one (entity, field).

    own: form for records the principal owns; other: for everybody else's known records;
    writable: whether a new value may be written; searchable: whether an equality look-up by clear value is allowed;
    revealable_own, revealable_other: whether what is shown masked may be revealed for a reason.
    """

    own: Form = Form.HIDDEN
    other: Form = Form.HIDDEN
    writable: bool = False
    searchable: bool = False
    revealable_own: bool = False
    revealable_other: bool = False


@dataclass(frozen=True, slots=True)
class FieldView:
    """Compiled rights of one set of roles.

    rules: (entity, field) → rule, exact names only; a pair that is not in it falls back to `by_kind`, then to hidden.
    by_kind: rights over a kind in the whole tenant, which alone open values whose origin is unknown or unbound.
    in_text: (entity, field or "*", kind) → rule for values of a kind inside free text or a field of another kind.
    Operations of the action `export` have a view of their own, which shows no more than that of pages.
    criteria: what rows want to know of a record; the view itself says what holds where nothing is known of it.
    """

    policy_version: str
    rules: Mapping[tuple[str, str], FieldRule]
    by_kind: Mapping[str, FieldRule]
    sees_everything: bool = False
    _nothing: FieldRule = field(default=FieldRule())
    in_text: Mapping[tuple[str, str, str], FieldRule] = field(default_factory=dict)
    criteria: tuple[Criterion, ...] = ()
    _within: "Callable[[Facts], FieldView] | None" = field(default=None, repr=False, compare=False)
    _situations: "dict[tuple[bool | None, ...], FieldView]" = field(default_factory=dict, repr=False, compare=False)

    def of(self, facts: Facts = NOTHING) -> "FieldView":
        """The rights over a record of which this is known; compiled once for each set of criteria that are true."""
        if not self.criteria or self._within is None:
            return self
        truths = tuple(one.truth(facts.get(one.name)) for one in self.criteria)
        if all(one is None for one in truths):
            return self
        found = self._situations.get(truths)
        if found is None:
            if len(self._situations) >= _SITUATIONS:
                self._situations.clear()
            found = self._situations[truths] = self._within(facts)
        return found

    def rule(self, entity: str, field_name: str, kind: str) -> FieldRule:
        """The rule that applies to a field of this kind."""
        in_text = self.in_text
        found = (
            in_text.get((entity, field_name, kind))
            or self.rules.get((entity, field_name))
            or in_text.get((entity, "*", kind))
        )
        return found if found is not None else self.by_kind.get(kind, self._nothing)

    def form(self, entity: str, field_name: str, kind: str, *, bound: bool, owned: bool) -> Form:
        """The form for one origin; an unbound origin opens only by rights over the kind in the whole tenant."""
        if not bound:
            return self.by_kind.get(kind, self._nothing).other
        rule = self.rule(entity, field_name, kind)
        return rule.own if owned else rule.other

    def revealable(self, entity: str, field_name: str, kind: str, *, bound: bool, owned: bool) -> bool:
        """Whether one origin, shown masked, may be revealed for a reason; bound and owned as for `form`."""
        if not bound:
            return self.by_kind.get(kind, self._nothing).revealable_other
        rule = self.rule(entity, field_name, kind)
        return rule.revealable_own if owned else rule.revealable_other


@dataclass(frozen=True, slots=True)
class Decision:
    """Outcome for one exchange; it has no truth value, because an object without one is always true.

    proof: allowed only with a fresh proof of a factor.
    """

    allowed: bool
    reason: str
    view: FieldView
    proof: bool = False

    def __bool__(self) -> NoReturn:
        raise TypeError("a Decision has no truth value: read .allowed")
