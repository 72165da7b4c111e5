"""The door to all query languages."""

import pytest

from policies.query.language import LANGUAGES, parse
from policies.query.parsed import QueryInvalid, edited


def test_each_language_is_read_by_its_own_reader() -> None:
    texts = {"odata": "a eq 'x'", "zoho": "(a:equals:x)"}
    for language in LANGUAGES:
        text = texts.get(language, "SELECT b FROM C WHERE a = 'x'")
        query = parse(language, text, option="criteria" if language == "zoho" else "$filter", table="C")
        assert query.language == language
        assert [(one.column.table, one.column.names, one.operands[0].text) for one in query.tests] == [
            (("C",), ("a",), "x")
        ]


def test_another_language_is_refused() -> None:
    with pytest.raises(QueryInvalid):
        parse("fetchxml", "<fetch/>")


def test_edits_that_overlap_are_a_fault() -> None:
    assert edited("abcdef", [(4, 5, "X"), (1, 2, "")]) == "acdXf"
    with pytest.raises(ValueError, match="overlap"):
        edited("abcdef", [(1, 3, "X"), (2, 4, "Y")])
