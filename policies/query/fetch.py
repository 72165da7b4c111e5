"""FetchXML: Dataverse's query as an XML document in one parameter.

expat reads it, a document type or an entity refuses it, and so does every element, attribute and operator that is not
known here. The query that is judged and sent on is written anew from what was read, so nothing else can reach the CRM.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape

from policies.query.parsed import (
    LONGEST_CHARS,
    MOST_LEVELS,
    MOST_TOKENS,
    Asked,
    Beginning,
    Column,
    Compare,
    Operand,
    Purpose,
    Query,
    QueryInvalid,
    Test,
    Use,
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9.-]{0,40}\Z", re.ASCII)
_KNOWN: Mapping[str, frozenset[str]] = {
    "fetch": frozenset(
        [
            "version",
            "mapping",
            "output-format",
            "distinct",
            "count",
            "page",
            "top",
            "aggregate",
            "returntotalrecordcount",
        ]
    ),
    "entity": frozenset(["name"]),
    "attribute": frozenset(["name", "alias", "aggregate", "groupby", "distinct", "dategrouping", "usertimezone"]),
    "all-attributes": frozenset(),
    "order": frozenset(["attribute", "alias", "descending"]),
    "filter": frozenset(["type"]),
    "condition": frozenset(["attribute", "entityname", "operator", "value", "valueof"]),
    "value": frozenset(),
    "link-entity": frozenset(["name", "from", "to", "alias", "link-type", "visible", "intersect"]),
}
# What editors of views put in for people; it may hold names, and the CRM does not need it.
_DROPPED = frozenset({"uiname", "uitype", "uihidden"})
_PLAIN = _KNOWN["fetch"] | frozenset(
    {"groupby", "dategrouping", "usertimezone", "descending", "type", "visible", "intersect"}
)
_INSIDE: Mapping[str, frozenset[str]] = {
    "": frozenset({"fetch"}),
    "fetch": frozenset({"entity"}),
    "entity": frozenset({"attribute", "all-attributes", "order", "filter", "link-entity"}),
    "link-entity": frozenset({"attribute", "all-attributes", "order", "filter", "link-entity"}),
    "filter": frozenset({"filter", "condition"}),
    "condition": frozenset({"value"}),
}
_DENIED = frozenset({"ne", "neq", "not-in", "not-like", "not-begin-with", "not-end-with"})
_PARTS = {"like": "{}", "begins-with": "{}%", "ends-with": "%{}"}
_PARTS |= {"not-like": "{}", "not-begin-with": "{}%", "not-end-with": "%{}"}
_COMPARES: Mapping[str, Compare] = {
    **dict.fromkeys(("eq", "ne", "neq"), Compare.EQUAL),
    **dict.fromkeys(("in", "not-in"), Compare.AMONG),
    **dict.fromkeys(_PARTS, Compare.LIKE),
    **dict.fromkeys(("null", "not-null"), Compare.EMPTY),
    **dict.fromkeys(("gt", "ge", "lt", "le", "between", "not-between"), Compare.RANGE),
    **dict.fromkeys(("on", "on-or-before", "on-or-after"), Compare.RANGE),
    **{f"{way}-x-{unit}": Compare.RANGE for way in ("last", "next") for unit in ("hours", "days", "weeks", "months")},
    **{f"{way}-{unit}": Compare.OTHER for way in ("last", "this", "next") for unit in ("week", "month", "year")},
    **dict.fromkeys(("yesterday", "today", "tomorrow", "last-seven-days", "next-seven-days"), Compare.OTHER),
    **dict.fromkeys(("eq-userid", "ne-userid", "eq-businessid", "ne-businessid"), Compare.OTHER),
}
_LISTS = frozenset({"in", "not-in", "between", "not-between"})
_FUNCTIONS = {"count": "count", "countcolumn": "count", **{one: one for one in ("sum", "avg", "min", "max")}}
_LINKS = frozenset(["inner", "outer", "any", "not any", "all", "not all", "exists", "in", ""])


@dataclass(slots=True)
class _Element:
    name: str
    attributes: dict[str, str]
    children: list["_Element"] = field(default_factory=list)
    text: str = ""


def parse_fetch(text: str) -> Query:
    """A query; its text is the document written anew.

    Raises: QueryInvalid when it is not understood as a whole.
    """
    writer = _Writer()
    writer.document(_tree(text))
    made = "".join(writer.out)
    return Query(made, "fetchxml", tuple(writer.tests), tuple(writer.uses), (), tuple(writer.tables))


def _tree(text: str) -> _Element:
    if len(text) > LONGEST_CHARS:
        raise QueryInvalid("too-long")
    root = _Element("", {})
    stack = [root]
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > MOST_TOKENS or len(stack) > MOST_LEVELS:
            raise QueryInvalid("too-long")
        made = _Element(name, attributes)
        stack[-1].children.append(made)
        stack.append(made)

    def data(given: str) -> None:
        stack[-1].text += given

    def refuse(*_: Any) -> NoReturn:
        raise QueryInvalid("grammar")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _name: stack.pop()
    parser.CharacterDataHandler = data
    for handler in ("StartDoctypeDeclHandler", "EntityDeclHandler", "ProcessingInstructionHandler", "CommentHandler"):
        setattr(parser, handler, refuse)
    try:
        parser.Parse(text.encode("utf-8"), True)
    except (expat.ExpatError, UnicodeEncodeError):
        raise QueryInvalid("grammar") from None
    return root


class _Writer:
    """Judges a tree and writes it anew; used once. tables: aliases of linked tables → the table."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.at = 0
        self.tests: list[Test] = []
        self.uses: list[Use] = []
        self.tables: dict[str, str] = {}
        self.named: dict[str, Use] = {}

    def document(self, root: _Element) -> None:
        """The whole of it."""
        self._inside(root)
        if len(root.children) != 1 or [one.name for one in root.children[0].children] != ["entity"]:
            raise QueryInvalid("grammar")
        for one in _all(root):
            if one.name == "link-entity" and "alias" in one.attributes:
                alias = _name(one, "alias")
                if alias in self.tables:
                    raise QueryInvalid("alias")
                self.tables[alias] = _name(one, "name")
        self._element(root.children[0], "")

    def _inside(self, element: _Element) -> None:
        for one in element.children:
            if one.name not in _INSIDE.get(element.name, frozenset()):
                raise QueryInvalid("grammar")
            one.attributes = {key: text for key, text in one.attributes.items() if key not in _DROPPED}
            if not _KNOWN[one.name].issuperset(one.attributes):
                raise QueryInvalid("grammar")
            if any(key in _PLAIN and _WORD.match(text) is None for key, text in one.attributes.items()):
                raise QueryInvalid("grammar")
            if one.name != "value" and one.text.strip():
                raise QueryInvalid("grammar")
            self._inside(one)

    def _write(self, text: str) -> None:
        self.out.append(text)
        self.at += len(text)

    def _element(self, element: _Element, table: str) -> None:
        if element.name == "condition":
            self._condition(element, table)
            return
        _JUDGES.get(element.name, _Writer._nothing)(self, element, table)
        table = _name(element, "name") if element.name in ("entity", "link-entity") else table
        self._write(f"<{element.name}{_attributes(element.attributes)}>")
        # Attributes come first: an order may name the alias of one.
        for one in sorted(element.children, key=lambda each: each.name != "attribute"):
            self._element(one, table)
        self._write(f"</{element.name}>")

    def _nothing(self, element: _Element, table: str) -> None:
        """Says nothing of a column."""

    def _link(self, element: _Element, table: str) -> None:
        """Two columns are compared."""
        if element.attributes.get("link-type", "") not in _LINKS:
            raise QueryInvalid("grammar")
        self.uses.append(Use(Purpose.FILTER, _column(_name(element, "name"), _name(element, "from"))))
        self.uses.append(Use(Purpose.FILTER, _column(table, _name(element, "to"))))

    def _attribute(self, element: _Element, table: str) -> None:
        column = _column(table, _name(element, "name"))
        given = element.attributes
        alias = _name(element, "alias") if "alias" in given else ""
        purpose, function = Purpose.SELECT, ""
        if "aggregate" in given:
            if given["aggregate"] not in _FUNCTIONS:
                raise QueryInvalid("grammar")
            purpose, function = Purpose.AGGREGATE, _FUNCTIONS[given["aggregate"]]
            if given.get("distinct") == "true":
                function = f"{function}_distinct"
        elif given.get("groupby", "false") != "false":
            purpose, function = Purpose.GROUP, given.get("dategrouping", "")
        use = Use(purpose, column, function, alias)
        self.uses.append(use)
        if alias:
            if alias in self.named:
                raise QueryInvalid("alias")
            self.named[alias] = use

    def _order(self, element: _Element, table: str) -> None:
        if "alias" in element.attributes:
            named = self.named.get(_name(element, "alias"))
            if named is None or "attribute" in element.attributes:
                raise QueryInvalid("grammar")
            self.uses.append(Use(Purpose.SORT, named.column, named.function))
        else:
            self.uses.append(Use(Purpose.SORT, _column(table, _name(element, "attribute"))))

    def _condition(self, element: _Element, table: str) -> None:
        given = element.attributes
        attribute, alias = _name(element, "attribute"), _name(element, "entityname") if "entityname" in given else ""
        if alias:
            # Without an alias of its own a linked table is called by its name.
            table = self.tables.get(alias, alias)
        operator = given.get("operator", "")
        if operator not in _COMPARES:
            raise QueryInvalid("operator")
        compare, column = _COMPARES[operator], _column(table, attribute)
        start = self.at
        if "valueof" in given:
            if "value" in given or element.children:
                raise QueryInvalid("grammar")
            self.uses.append(Use(Purpose.FILTER, _column(table, _name(element, "valueof"))))
            self._write(f"<condition{_attributes(given)}/>")
            self.tests.append(Test(column, Compare.OTHER, (), start, self.at, start, attribute))
            return
        values = [given["value"]] if "value" in given else []
        values += [one.text for one in element.children]
        if any("\n" in one or "\r" in one or "\t" in one for one in values):
            raise QueryInvalid("value")
        if ("value" in given and element.children) or (operator not in _LISTS and len(values) > 1):
            raise QueryInvalid("grammar")
        operands = self._written(given, operator, compare, values)
        if (compare in (Compare.EMPTY, Compare.OTHER)) != (not operands):
            raise QueryInvalid("grammar")
        written = f"{alias}/{attribute}"
        denied = operator in _DENIED
        self.tests.append(Test(column, compare, operands, start, self.at, start, written, denied=denied))

    def _written(
        self, given: Mapping[str, str], operator: str, compare: Compare, values: list[str]
    ) -> tuple[Operand, ...]:
        """The condition as it is sent; parts of values always with LIKE, whose wild cards say where they stand."""
        kept = {key: given[key] for key in ("entityname", "attribute") if key in given}
        texts = values
        if compare is Compare.LIKE:
            texts = [_pattern(operator, one) for one in values]
            operator = "not-like" if operator in _DENIED else "like"
        self._write(f"<condition{_attributes({**kept, 'operator': operator})}")
        operands = []
        if operator in _LISTS:
            self._write(">")
            for one in texts:
                self._write("<value>")
                operands.append(self._operand(one, compare))
                self._write("</value>")
            self._write("</condition>")
            return tuple(operands)
        for one in texts:
            self._write(' value="')
            operands.append(self._operand(one, compare))
            self._write('"')
        self._write("/>")
        return tuple(operands)

    def _operand(self, text: str, compare: Compare) -> Operand:
        start = self.at
        self._write(fetch_text(text))
        quoted = re.fullmatch(r"-?[0-9]{1,9}", text) is None or compare is not Compare.RANGE
        # FetchXML has no escape sign, the patterns of this package do.
        return Operand(text.replace("\\", "\\\\") if compare is Compare.LIKE else text, start, self.at, quoted)


_JUDGES: Mapping[str, Callable[[_Writer, _Element, str], None]] = {
    "link-entity": _Writer._link,
    "attribute": _Writer._attribute,
    "order": _Writer._order,
}


def _all(element: _Element) -> Iterator[_Element]:
    for one in element.children:
        yield one
        yield from _all(one)


def _name(element: _Element, key: str) -> str:
    text = element.attributes.get(key, "")
    if _NAME.match(text) is None:
        raise QueryInvalid("grammar")
    return text


def _column(table: str, name: str) -> Column:
    return Column((table,), (name,))


def _pattern(operator: str, value: str) -> str:
    if "[" in value or (_PARTS[operator] != "{}" and re.search(r"[%_]", value)):
        raise QueryInvalid("value")  # a sign of a pattern that nothing here can be asked for
    return _PARTS[operator].format(value) if value else ""


def _attributes(given: Mapping[str, str]) -> str:
    return "".join(f' {key}="{fetch_text(text)}"' for key, text in given.items())


def fetch_text(value: str) -> str:
    """A value inside an element or an attribute; raises ValueError for control signs."""
    if any(sign < " " or sign == "\x7f" for sign in value):
        raise ValueError("a value with control signs")
    return escape(value, {'"': "&quot;"})


# -- asked anew ----------------------------------------------------------------------------------------------


def fetch_edits(text: str, test: Test, asked: Mapping[int, Asked]) -> list[tuple[int, int, str]]:
    """A condition about the values that its operands become."""
    values: list[str] = []
    clear: list[str] = []
    without: list[Beginning] = []
    for at, operand in enumerate(test.operands):
        one = asked.get(at)
        values += [operand.text] if one is None else one.values
        if one is not None and one.in_clear:
            clear.append(operand.text)
            without += one.without
    parts: dict[str, list[str]] = {}
    for one in asked.values():
        for name, its in one.parts:
            parts.setdefault(name, []).extend(its)
    alias = test.written.rpartition("/")[0]
    original = text[test.start : test.end]
    if parts:
        each = [_among(f"{alias}/{name}", its, denied=test.denied) for name, its in parts.items()]
        each += [original] if any(one.in_clear for one in asked.values()) else []
        new = _joined("and" if test.denied else "or", each)
    elif clear and test.compare is Compare.LIKE:
        beginnings = [_part(test.written, one.text, ends=one.ends, denied=not test.denied) for one in without]
        beside = _joined("or" if test.denied else "and", [original, *beginnings])
        both = [_among(test.written, values, denied=test.denied), beside]
        new = _joined("and" if test.denied else "or", both)
    else:
        new = _among(test.written, [*values, *clear], denied=test.denied)
    return [(test.start, test.end, new)]


def _named(written: str) -> str:
    alias, _, attribute = written.rpartition("/")
    return _attributes({"entityname": alias} if alias else {}) + _attributes({"attribute": attribute})


def _among(written: str, values: list[str], *, denied: bool) -> str:
    members = "".join(f"<value>{fetch_text(one)}</value>" for one in dict.fromkeys(values))
    return f'<condition{_named(written)} operator="{"not-in" if denied else "in"}">{members}</condition>'


def _part(written: str, value: str, *, ends: bool, denied: bool) -> str:
    operator = ("not-end-with" if denied else "ends-with") if ends else ("not-begin-with" if denied else "begins-with")
    return f'<condition{_named(written)} operator="{operator}" value="{fetch_text(value)}"/>'


def _joined(how: str, each: list[str]) -> str:
    return f'<filter type="{how}">{"".join(each)}</filter>'
