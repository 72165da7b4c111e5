"""Who may ask what of which field in a GraphQL request, whatever the field is called in the answer.

The same rules as for query languages: a field that the role may not search cannot be filtered by, one that it does not
see orders, groups and computes nothing, and what the profile does not know is for those who see everything.
"""

from typing import NamedTuple

from policies.comparison import sees_clear
from policies.decision import FieldView
from policies.graphql.asked import INTROSPECTION, UNMAPPED, Asked
from policies.graphql.mapping import Compare, Introspection
from policies.graphql.part import By, Part, Test, Unknown, Used
from policies.taxonomy import DETERMINISTIC_KINDS

_SEARCHABLE, _ORDERED = "field-not-searchable", "field-not-ordered"
_UNKNOWN = {Unknown.FILTER: _SEARCHABLE, Unknown.ORDER: _ORDERED}


class Problem(NamedTuple):
    """Why a request is refused. reason: id; detail: never a value; field: the profile's name of the field, or ""."""

    reason: str
    detail: str
    field: str = ""


def problem(view: FieldView, asked: Asked, part: Part, *, migrated: bool) -> Problem | None:
    """Why this person may not ask this; None where they may. migrated: whether the CRM holds no value in clear."""
    if asked.introspects and asked.mapping.introspection is not Introspection.ALL and not view.sees_everything:
        return Problem(INTROSPECTION, "")
    if part.unknown and not view.sees_everything:
        where = part.unknown[0][0]
        return Problem(_UNKNOWN.get(where, UNMAPPED), where)
    found = [_test(view, test, migrated=migrated) for test in part.tests]
    found += [_used(view, use, migrated=migrated) for use in part.used]
    return next((one for one in found if one is not None), None)


def _test(view: FieldView, test: Test, *, migrated: bool) -> Problem | None:
    everything, spec = view.sees_everything, test.spec
    if spec is None or spec.kind is None:
        # The words of a free text are nobody's secret, and its personal parts are placeholders once all is protected.
        closed = not everything and (not migrated or test.compare is Compare.RANGE)
        return Problem(_SEARCHABLE, test.compare) if closed else None
    if not everything and not view.rule(spec.entity, spec.name, spec.kind).searchable:
        return Problem(_SEARCHABLE, spec.kind, spec.name)
    if test.compare is Compare.RANGE:
        clear = everything or sees_clear(view, spec)
        return Problem(_ORDERED if clear else _SEARCHABLE, test.compare, spec.name)
    return None


def _used(view: FieldView, use: Used, *, migrated: bool) -> Problem | None:
    spec = use.spec
    if spec is None or spec.kind is None:
        reason = _ORDERED if use.by is By.ORDER else _SEARCHABLE
        return None if view.sees_everything else Problem(reason, use.by)
    if use.by is By.ORDER:
        clear = view.sees_everything or sees_clear(view, spec, somewhere=migrated)
        return None if clear else Problem(_ORDERED, use.by, spec.name)
    if not view.sees_everything and not sees_clear(view, spec):
        return Problem(_SEARCHABLE, use.by, spec.name)
    if use.by is By.AGGREGATE or spec.kind not in DETERMINISTIC_KINDS:
        return Problem(_ORDERED, use.by, spec.name)
    return None
