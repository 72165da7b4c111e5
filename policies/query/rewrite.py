"""A query asked anew: its operands replaced, everything else as it came.

Where one operand becomes several values, `=` and LIKE become IN, which all languages of the SQL family have, and a test
of OData becomes a chain of `or`. Values are written as literals of the language and can be nothing else.
"""

from collections.abc import Callable, Mapping, Sequence

from policies.query.fetch import fetch_edits, fetch_text
from policies.query.parsed import Asked, Beginning, Compare, Operand, Query, Test, edited
from policies.query.words import quoted
from policies.query.zoho import NOTHING

Answers = Mapping[tuple[int, int], Asked]
"""(number of the test, number of its operand) → what it becomes."""
Edit = tuple[int, int, str]


def rewritten(query: Query, answers: Answers, singles: Mapping[int, str]) -> str:
    """The query with other operands.

    singles: start of an operand → the text that stands in it instead, whatever test it belongs to.
    Raises: ValueError for a value that cannot be written in the language.
    """
    writer = {"odata": _odata, "zoho": _zoho}.get(query.language, _select)
    edits: list[Edit] = []
    for number, test in enumerate(query.tests):
        mine = {at: asked for (which, at), asked in answers.items() if which == number}
        if query.language == "fetchxml":
            edits += fetch_edits(query.text, test, mine) if mine else ()
        elif any(one.parts for one in mine.values()):
            edits.append((test.start, test.end, _composed(query, test, mine)))
        elif mine:
            edits += writer(query.text, test, mine)
    write = literal(query.language)
    for one in (*query.loose, *(each for test in query.tests for each in test.operands)):
        if one.start in singles:
            edits.append((one.start, one.end, write(singles[one.start])))
    return edited(query.text, edits)


def literal(language: str) -> Callable[[str], str]:
    """How a value is written in a language."""
    return {"odata": odata_text, "zoho": zoho_text, "xoql": _unescaped, "fetchxml": fetch_text}.get(language, quoted)


def odata_text(value: str) -> str:
    """A value as a literal of OData (URL conventions 5.1.1.6.1): the apostrophe is doubled."""
    if any(sign < " " or sign == "\x7f" for sign in value):
        raise ValueError("a value with control signs")
    return "'" + value.replace("'", "''") + "'"


def zoho_text(value: str) -> str:
    """A value in a condition of Zoho: brackets, commas and backslashes take a backslash."""
    if any(sign < " " or sign == "\x7f" for sign in value):
        raise ValueError("a value with control signs")
    if value in NOTHING:
        raise ValueError("a value that asks for records without one")
    return "".join("\\" + sign if sign in "\\(),:" else sign for sign in value)


def _unescaped(value: str) -> str:
    if "'" in value or "\\" in value:
        raise ValueError("a value that this language has no escapes for")
    return quoted(value)


def _composed(query: Query, test: Test, asked: Mapping[int, Asked]) -> str:
    """A test of a column that is made of others: any of those has one of its values."""
    write = literal(query.language)
    cut = max(test.written.rfind("."), test.written.rfind("/")) + 1
    each: list[str] = []
    for one in asked.values():
        for name, values in one.parts:
            column, members = test.written[:cut] + name, [write(value) for value in values]
            if query.language == "odata":
                each += [f"{column} eq {member}" for member in members]
            elif query.language == "zoho":
                each += [f"({column}:{'not_equal' if test.denied else 'equals'}:{member})" for member in members]
            else:
                each.append(f"{column} {'NOT IN' if test.denied else 'IN'} ({', '.join(members)})")
    if any(one.in_clear for one in asked.values()):
        each.append(query.text[test.start : test.end])
    if query.language == "odata":
        return f"{'not ' if test.denied else ''}({' or '.join(each)})"
    if query.language == "zoho":
        return f"({('and' if test.denied else 'or').join(each)})"
    return f"({(' AND ' if test.denied else ' OR ').join(each)})"


# -- SQL family ----------------------------------------------------------------------------------------------


def _select(text: str, test: Test, asked: Mapping[int, Asked]) -> list[Edit]:
    if test.compare in (Compare.AMONG, Compare.PICKED):
        return [_members(text, test.operands[at], one) for at, one in asked.items()]
    (one,) = asked.values()
    operand = test.operands[0]
    if one.in_clear and test.compare is Compare.LIKE:
        return [(test.start, operand.end, _beside(text, test, one))]
    if len(one.values) == 1 and not one.in_clear and test.compare is Compare.EQUAL:
        return [(operand.start, operand.end, quoted(one.values[0]))]
    members = [quoted(value) for value in one.values]
    if one.in_clear:
        members.append(text[operand.start : operand.end])
    among = "NOT IN" if test.denied else "IN"
    blank = "" if text[test.operator - 1].isspace() else " "
    return [(test.operator, operand.end, f"{blank}{among} ({', '.join(members)})")]


def _members(text: str, operand: Operand, asked: Asked) -> Edit:
    members = [quoted(value) for value in asked.values]
    if asked.in_clear:
        members.append(text[operand.start : operand.end])
    return operand.start, operand.end, ", ".join(members)


def _beside(text: str, test: Test, asked: Asked) -> str:
    """The surrogates that fit, or a text in clear that fits and is no surrogate."""
    operand = test.operands[0]
    column, given = test.written, text[operand.start : operand.end]
    members = ", ".join(quoted(value) for value in asked.values)
    if test.denied:
        return f"({column} NOT IN ({members}) AND {column} NOT LIKE {given})"
    clear = f"{column} LIKE {given}"
    for one in asked.without:
        clear = f"({clear} AND (NOT {column} LIKE {quoted(_pattern(one))}))"
    return f"({column} IN ({members}) OR {clear})"


def _pattern(one: Beginning) -> str:
    escaped = "".join("\\" + sign if sign in "%_\\" else sign for sign in one.text)
    return f"%{escaped}" if one.ends else f"{escaped}%"


# -- OData ---------------------------------------------------------------------------------------------------


def _odata(text: str, test: Test, asked: Mapping[int, Asked]) -> list[Edit]:
    if test.compare is Compare.AMONG:
        return [_odata_members(text, test.operands[at], one) for at, one in asked.items()]
    (one,) = asked.values()
    operand = test.operands[0]
    if test.compare is Compare.EQUAL and len(one.values) == 1 and not one.in_clear:
        return [(operand.start, operand.end, odata_text(one.values[0]))]
    each = [f"{test.written} eq {odata_text(value)}" for value in one.values]
    if one.in_clear:
        each.append(_odata_clear(text, test, one))
    any_of = f"({' or '.join(each)})"
    return [(test.start, test.end, f"not {any_of}" if test.denied else any_of)]


def _odata_members(text: str, operand: Operand, asked: Asked) -> Edit:
    members = [odata_text(value) for value in asked.values]
    if asked.in_clear:
        members.append(text[operand.start : operand.end])
    return operand.start, operand.end, ",".join(members)


def _odata_clear(text: str, test: Test, asked: Asked) -> str:
    given = text[test.operands[0].start : test.operands[0].end]
    if test.compare is Compare.EQUAL:
        return f"{test.written} eq {given}"
    parts = [text[test.start : test.end]]
    for one in asked.without:
        name = "endswith" if one.ends else "startswith"
        parts.append(f"not {name}({test.written},{odata_text(one.text)})")
    return f"({' and '.join(parts)})"


# -- Zoho ----------------------------------------------------------------------------------------------------


def _zoho(text: str, test: Test, asked: Mapping[int, Asked]) -> list[Edit]:
    if test.compare is Compare.AMONG:
        return [
            (
                test.operands[at].start,
                test.operands[at].end,
                ",".join(map(zoho_text, one.values)) + _also(text, test, at, one),
            )
            for at, one in asked.items()
        ]
    (one,) = asked.values()
    operand = test.operands[0]
    if len(one.values) == 1 and not one.in_clear and test.compare is Compare.EQUAL:
        return [(operand.start, operand.end, zoho_text(one.values[0]))]
    each = [f"({test.written}:{'not_equal' if test.denied else 'equals'}:{zoho_text(value)})" for value in one.values]
    if one.in_clear:
        each.append(text[test.start : test.end])
    if len(each) == 1:
        return [(test.start, test.end, each[0])]
    return [(test.start, test.end, f"({('and' if test.denied else 'or').join(each)})")]


def _also(text: str, test: Test, at: int, asked: Asked) -> str:
    return "," + text[test.operands[at].start : test.operands[at].end] if asked.in_clear else ""


def values_fit(language: str, values: Sequence[str]) -> bool:
    """Whether all of them can be written in the language."""
    write = literal(language)
    try:
        for value in values:
            write(value)
    except ValueError:
        return False
    return True
