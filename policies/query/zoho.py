"""Zoho's search conditions: `(Email:equals:…)`, joined by `and` and `or` in brackets.

A value ends at the bracket that closes its condition; brackets and commas in it take a backslash. Lists (`in`,
`between`) are separated by commas.
"""

import re

from policies.query.parsed import (
    LONGEST_CHARS,
    MOST_LEVELS,
    Column,
    Compare,
    Operand,
    Purpose,
    Query,
    QueryInvalid,
    Test,
    Use,
)

_COMPARISONS = {
    "equals": (Compare.EQUAL, False),
    "not_equal": (Compare.EQUAL, True),
    "in": (Compare.AMONG, False),
    "starts_with": (Compare.LIKE, False),
    "between": (Compare.RANGE, False),
    **dict.fromkeys(("greater_than", "greater_equal", "less_than", "less_equal"), (Compare.RANGE, False)),
}
_HARMLESS = frozenset(
    [
        "page",
        "per_page",
        "page_token",
        "sort_order",
        "converted",
        "approved",
        "ids",
        "cvid",
        "territory_id",
        "include_child",
        "type",
        "wf_trigger",
    ]
)
_NAMES = re.compile(r"[A-Za-z][A-Za-z0-9_.]*(?:,[A-Za-z][A-Za-z0-9_.]*)*")
_HEAD = re.compile(r"([A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*):([a-z_]+):")
_VALUE = re.compile(r"(?:[^\\(),\x00-\x1f]|\\[\\(),:])*")
_JOIN = re.compile(r"[ ]*(?:and|or|AND|OR)[ ]*")
_ESCAPE = re.compile(r"\\(.)")
NOTHING = frozenset({"null", "${EMPTY}"})
"""Values that stand for none, which cannot be written otherwise."""


def parse_zoho(text: str, option: str, table: tuple[str, ...]) -> Query:
    """One parameter of a list or search: `criteria`, `fields` and `sort_by`; table: the module that is asked for.

    Raises: QueryInvalid when it is not understood to its last sign, or is a parameter that is not known.
    """
    if len(text) > LONGEST_CHARS:
        raise QueryInvalid("too-long")
    if option in _HARMLESS:
        return Query(text, "zoho")
    if option in ("fields", "sort_by"):
        if _NAMES.fullmatch(text) is None:
            raise QueryInvalid("grammar")
        purpose = Purpose.SELECT if option == "fields" else Purpose.SORT
        uses = tuple(Use(purpose, Column(table, tuple(one.split(".")))) for one in text.split(","))
        return Query(text, "zoho", (), uses)
    if option != "criteria":
        raise QueryInvalid("option")
    tests: list[Test] = []
    if _conditions(text, 0, table, tests, 0) != len(text):
        raise QueryInvalid("grammar")
    return Query(text, "zoho", tuple(tests))


def _conditions(text: str, at: int, table: tuple[str, ...], tests: list[Test], depth: int) -> int:
    """Conditions in brackets, joined; the offset behind them."""
    if depth > MOST_LEVELS:
        raise QueryInvalid("too-long")
    while True:
        if text[at : at + 1] != "(":
            raise QueryInvalid("grammar")
        if text[at + 1 : at + 2] == "(":
            at = _conditions(text, at + 1, table, tests, depth + 1)
        else:
            at = _condition(text, at + 1, table, tests)
        if text[at : at + 1] != ")":
            raise QueryInvalid("grammar")
        at += 1
        joined = _JOIN.match(text, at)
        if joined is None:
            return at
        at = joined.end()


def _condition(text: str, at: int, table: tuple[str, ...], tests: list[Test]) -> int:
    head = _HEAD.match(text, at)
    if head is None or head[2] not in _COMPARISONS:
        raise QueryInvalid("grammar")
    compare, denied = _COMPARISONS[head[2]]
    operands = []
    start = head.end()
    while True:
        value = _VALUE.match(text, start)
        assert value is not None
        operands.append(_operand(value, compare))
        start = value.end()
        if text[start : start + 1] != "," or compare not in (Compare.AMONG, Compare.RANGE):
            break
        start += 1
    if text[start : start + 1] != ")":
        raise QueryInvalid("grammar")
    if len(operands) == 1 and operands[0].text in NOTHING:
        compare, operands = Compare.EMPTY, []
    column = Column(table, tuple(head[1].split(".")))
    # The span takes in the brackets, so that one condition can become several.
    tests.append(Test(column, compare, tuple(operands), at - 1, start + 1, head.end(1), head[1], denied=denied))
    return start


def _operand(value: re.Match[str], compare: Compare) -> Operand:
    text = _ESCAPE.sub(r"\1", value.group())
    if compare is Compare.LIKE:
        text = re.sub(r"([%_\\])", r"\\\1", text) + "%" if text else ""
    return Operand(text, value.start(), value.end())
