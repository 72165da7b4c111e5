"""Who may ask what of which field in a GraphQL request, whatever the field is called in the answer.

The same rules as for query languages (gateway.queries): a field that the role may not search cannot be filtered by, one
that it does not see orders, groups and computes nothing, and what the profile does not know is for those who see
everything.
"""

from gateway.comparing import Comparing
from gateway.exchange import Exchange
from gateway.refusal import (
    FIELD_NOT_ORDERED,
    FIELD_NOT_SEARCHABLE,
    GRAPHQL_INTROSPECTION,
    GRAPHQL_UNMAPPED,
    QUERY_ON_PLACEHOLDERS,
    Refusal,
)
from gateway.sight import decided
from policies.comparison import ORDER, PART, Compared
from policies.decision import FieldView, Form
from policies.graphql.asked import By, Part, Test, Unknown, Used
from policies.graphql.mapping import Compare, Introspection
from policies.operation import FieldSpec
from policies.taxonomy import DETERMINISTIC_KINDS

_REASONS = {Unknown.FILTER: FIELD_NOT_SEARCHABLE, Unknown.ORDER: FIELD_NOT_ORDERED}


def require_schema(view: FieldView, introspection: Introspection) -> None:
    """Raise Refusal where this person may not ask for the schema."""
    if introspection is not Introspection.ALL and not view.sees_everything:
        raise Refusal(GRAPHQL_INTROSPECTION)


def require(exchange: Exchange, part: Part, comparing: Comparing, *, migrated: bool) -> None:
    """Raise Refusal for a part that would be an oracle, or asks for what the profile does not know."""
    view = decided(exchange).view
    if not view.sees_everything:
        for where, _ in part.unknown:
            raise Refusal(_REASONS.get(where, GRAPHQL_UNMAPPED), detail=where)
    for test in part.tests:
        _test(view, test, migrated=migrated)
    for use in part.used:
        _used(view, use)
    compared = [Compared(use.column, ORDER, (use.spec,)) for use in part.used if use.by is By.ORDER and use.spec]
    compared += [Compared("", PART, box.fields, text=box.value.text.strip()) for box in part.boxes]
    comparing.require(exchange, compared)


def _test(view: FieldView, test: Test, *, migrated: bool) -> None:
    everything, spec = view.sees_everything, test.spec
    if spec is None or spec.kind is None:
        # The words of a free text are nobody's secret, and its personal parts are placeholders once all is protected.
        if not everything and (not migrated or test.compare is Compare.RANGE):
            raise Refusal(FIELD_NOT_SEARCHABLE, detail=test.compare)
        return
    if not everything and not view.rule(spec.entity, spec.name, spec.kind).searchable:
        raise Refusal(FIELD_NOT_SEARCHABLE, detail=spec.kind, fields=(spec.name,))
    if test.compare is Compare.RANGE:
        reason = QUERY_ON_PLACEHOLDERS if sees_all(view, spec) else FIELD_NOT_SEARCHABLE
        raise Refusal(reason, detail=test.compare, fields=(spec.name,))


def _used(view: FieldView, use: Used) -> None:
    spec = use.spec
    if spec is None or spec.kind is None:
        if not view.sees_everything:
            raise Refusal(FIELD_NOT_ORDERED if use.by is By.ORDER else FIELD_NOT_SEARCHABLE, detail=use.by)
        return
    if use.by is By.ORDER:
        return  # gateway.comparing
    if not sees_all(view, spec):
        raise Refusal(FIELD_NOT_SEARCHABLE, detail=use.by, fields=(spec.name,))
    if use.by is By.AGGREGATE or spec.kind not in DETERMINISTIC_KINDS:
        raise Refusal(QUERY_ON_PLACEHOLDERS, detail=use.by, fields=(spec.name,))


def sees_all(view: FieldView, spec: FieldSpec) -> bool:
    """Whether the role sees this field of every record in clear."""
    if view.sees_everything:
        return True
    rule = view.rule(spec.entity, spec.name, spec.kind or "")
    return rule.own is rule.other is Form.CLEAR
