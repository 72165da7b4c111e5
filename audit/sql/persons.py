"""`person('contact/17')` in a statement: a customer as the CRM numbers it, replaced by the names the trail has for it.

It stands where the pseudonym would, beside a column: after `=` or `<>`, or in the list of IN. A person may have several
pseudonyms, so what runs is always a list. Who they are is told from outside; nothing here knows a key.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from sqlglot import exp
from sqlglot.tokenizer_core import Token

from audit.sql.grammar import PERSON
from audit.sql.refused import StatementRefused
from audit.sql.spelling import find

PERSONS_LIMIT = 50
_COMPARED = (exp.EQ, exp.NEQ)

Persons = Callable[[Sequence[str]], Mapping[str, Sequence[str]]]
"""Persons of a statement ("contact/17") → the names each has in the trail; raises StatementRefused."""


def name_persons(tree: exp.Expr, words: Sequence[Token], persons: Persons) -> None:
    """Put names in place of the persons of a checked statement. Raises: StatementRefused, what `persons` raises."""
    places = list(_persons(tree, words))
    if not places:
        return
    asked = sorted({text for _, text in places})
    if len(asked) > PERSONS_LIMIT:
        raise StatementRefused("too-many-persons", PERSON, find(words, PERSON), (str(PERSONS_LIMIT),))
    names = persons(asked)
    for node, text in places:
        literals = [exp.Literal.string(name) for name in names.get(text, ())]
        if not literals:
            raise StatementRefused("unknown-person", text, find(words, text))
        _replace(node, literals)


def _persons(tree: exp.Expr, words: Sequence[Token]) -> Iterator[tuple[exp.Expr, str]]:
    for node in tree.find_all(exp.Anonymous):
        if str(node.this).lower() != PERSON:
            continue
        given = node.expressions
        text = given[0].name if len(given) == 1 and isinstance(given[0], exp.Literal) and given[0].is_string else ""
        kind, _, number = text.partition("/")
        if not (kind and number):
            raise StatementRefused("person-unreadable", text or PERSON, find(words, text or PERSON))
        above = node.parent
        compared = isinstance(above, _COMPARED) and isinstance(_other(above, node), exp.Column)
        listed = isinstance(above, exp.In) and node.arg_key == "expressions" and isinstance(above.this, exp.Column)
        if not (compared or listed):
            raise StatementRefused("person-place", PERSON, find(words, PERSON))
        yield node, text


def _other(comparison: exp.Expr, one: exp.Expr) -> exp.Expr:
    other: exp.Expr = comparison.expression if comparison.this is one else comparison.this
    return other


def _replace(node: exp.Expr, literals: list[exp.Literal]) -> None:
    above = node.parent
    assert above is not None
    if isinstance(above, exp.In):
        above.set("expressions", [new for one in above.expressions for new in (literals if one is node else (one,))])
        return
    column = _other(above, node)
    found: exp.Expr = exp.In(this=column.copy(), expressions=literals)
    above.replace(exp.Paren(this=exp.Not(this=found) if isinstance(above, exp.NEQ) else found))
