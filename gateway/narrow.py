"""How a CRM is asked for one of several surrogates: the two languages the shipped profiles need, as pure text.

`q` is a condition on one column in the JSON that Creme takes beside its search boxes (a serialised Django Q object);
`clause` is a clause of a Tryton domain. Where the CRM may still hold values in clear (not everything is protected yet),
the clear comparison stands beside the list, and it leaves out what has the shape of a surrogate, whose signs mean
nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kms.surrogate import SHORT_TEXT, Shapes
from policies.taxonomy import Kind

EMPTY_Q = '{"op":"AND","val":[]}'
"""How Creme itself writes that there is no condition."""
_COMPARISONS = {"contains": "icontains", "prefix": "istartswith", "suffix": "iendswith"}
_NEGATIVE = ("!", "not ")


@dataclass(frozen=True, slots=True)
class Shape:
    """How surrogates of a kind begin or end, whatever the CRM makes of their separators."""

    text: str
    ends: bool = False


def shapes_of(kinds: Sequence[Kind], shapes: Shapes) -> list[Shape]:
    """Beginnings and ends by which a stored surrogate of one of these kinds is told from a clear value."""
    known = {
        Kind.EMAIL: Shape("@" + shapes.email_domain, ends=True),
        Kind.PHONE: Shape("+" + shapes.phone_country),
        Kind.ID_CARD: Shape(shapes.id_region + "18"),  # nobody alive was born then
        Kind.BANK_CARD: Shape(shapes.card_prefix),
        Kind.NAME: Shape(SHORT_TEXT["name"]),
        Kind.ADDRESS: Shape(SHORT_TEXT["address"]),
    }
    return [known[kind] for kind in kinds if kind in known]


def q(lookup: str, surrogates: Sequence[str], how: str, clear: str | None, hidden: Sequence[Shape]) -> dict[str, Any]:
    """A condition: the column is one of these; clear: or it has this text and is no surrogate."""
    among = [f"{lookup}__in", list(surrogates)]
    if clear is None:
        return {"op": "AND", "val": [among]}
    as_typed: list[Any] = [[f"{lookup}__{_COMPARISONS[how]}", clear]]
    for shape in hidden:
        comparison = "iendswith" if shape.ends else "istartswith"
        as_typed.append({"op": "NAND", "val": [[f"{lookup}__{comparison}", shape.text]]})
    return {"op": "OR", "val": [among, {"op": "AND", "val": as_typed}]}


def joined(given: str, conditions: Sequence[dict[str, Any]]) -> str:
    """What goes into the CRM's parameter: its own condition, if there is one, and ours; all have to hold.

    given: JSON text of an object, or "".
    """
    all_of: list[Any] = []
    if given.strip() and given != EMPTY_Q:
        all_of.append(json.loads(given))
    for condition in conditions:
        all_of += condition["val"] if condition["op"] == "AND" else [condition]
    return json.dumps({"op": "AND", "val": all_of}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Clause:
    """The three parts of a clause as JSON text; written in their places they are one clause again."""

    column: bytes
    operator: bytes
    operand: bytes


def clause(column: str, operator: str, surrogates: Sequence[str], others: Sequence[Any] = ()) -> Clause:
    """`[column, "in", surrogates]`; with `others` (parts of a domain) any of them will do as well.

    operator: that of the clause as it came; where it is a negative one, all of them have to hold.
    """
    negative = operator.startswith(_NEGATIVE)
    members = _text(list(surrogates))
    among = _text("not in" if negative else "in")
    if not others:
        return Clause(_text(column), among, members)
    before = b"".join(_text(one) + b"," for one in others)
    return Clause(_text("AND" if negative else "OR") + b"," + before + b"[" + _text(column), among, members + b"]")


def in_clear(column: str, operator: str, operand: str, hidden: Sequence[Shape]) -> list[Any]:
    """A part of a domain that compares what still stands in clear and is no surrogate.

    Of a column of related records ("mechanisms.value") both have to hold for one and the same record.
    """
    if operator.startswith(_NEGATIVE):
        return [column, operator, operand]
    related, _, name = column.rpartition(".")
    own: list[Any] = [[name, operator, operand]]
    own += [[name, "not ilike", f"%{one.text}" if one.ends else f"{one.text}%"] for one in hidden]
    return [related, "where", own] if related else own


def members(surrogates: Sequence[str]) -> bytes:
    """Several elements of a list in the place of one."""
    return b",".join(_text(one) for one in surrogates)


def _text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
