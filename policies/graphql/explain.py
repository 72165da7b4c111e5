"""A GraphQL request in names, for people at a command line and for recorded cases."""

from collections.abc import Iterator
from typing import NamedTuple

from policies.decision import FieldView
from policies.graphql.asked import Asked
from policies.graphql.mapping import SCHEMA
from policies.graphql.part import Part
from policies.graphql.rights import problem
from policies.operation import FieldSpec


class Named(NamedTuple):
    """One place. what: what is done with it; written: whether it is stored, else it is asked for."""

    place: str
    what: str
    spec: FieldSpec | None
    written: bool


def places_of(asked: Asked) -> Iterator[Named]:
    """Every place of a request at which a declared field stands, or a name that nobody declared."""
    for part in asked.parts:
        for one in part.stored:
            free = one.text or (one.spec is not None and one.spec.kind is None)
            what = "text" if free else "whole" if one.spec is None else "field"
            yield Named("/".join((part.key, *one.path)), what, one.spec, written=True)
        for test in part.tests:
            yield Named("/".join((part.key, *test.path)), test.compare.value, test.spec, written=False)
        for box in part.boxes:
            for spec in box.fields:
                yield Named("/".join((part.key, *box.path)), "search", spec, written=False)
        for use in part.used:
            yield Named("/".join((part.key, use.column)), use.by.value, use.spec, written=False)
        for where, name in part.unknown:
            yield Named("/".join((part.key, name)), f"unknown {where.value}", None, written=False)


def refusal(asked: Asked, view: FieldView | None) -> str:
    """The reason id for which a request is refused once everything is protected, "" where it is not."""
    if asked.problem or view is None:
        return asked.problem
    parts = asked.parts or [Part(0, "", SCHEMA, executed=False)]
    found = (problem(view, asked, part, migrated=True) for part in parts)
    return next((one.reason for one in found if one is not None), "")
