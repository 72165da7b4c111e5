"""FetchXML is understood whole and written anew, or refused."""

import contextlib
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.query.fetch import parse_fetch
from policies.query.parsed import Asked, Beginning, Compare, Purpose, QueryInvalid
from policies.query.rewrite import rewritten


def entity(inside: str) -> str:
    return f"<fetch><entity name='contact'>{inside}</entity></fetch>"


def one(condition: str) -> str:
    return entity(f"<filter><condition {condition}</filter>")


def test_what_a_query_asks() -> None:
    query = parse_fetch(
        entity(
            "<attribute name='emailaddress1'/><order attribute='createdon' descending='true'/>"
            "<filter type='or'><condition attribute='lastname' operator='eq' value='O&apos;Hara &amp; Co'/>"
            "<condition attribute='statecode' operator='in'><value>0</value><value>1</value></condition></filter>"
            "<link-entity name='account' from='accountid' to='parentcustomerid' alias='firm'>"
            "<filter><condition attribute='name' operator='begins-with' value='Ac'/></filter></link-entity>"
        )
    )
    assert [(test.column.table, test.column.names, test.compare) for test in query.tests] == [
        (("contact",), ("lastname",), Compare.EQUAL),
        (("contact",), ("statecode",), Compare.AMONG),
        (("account",), ("name",), Compare.LIKE),
    ]
    assert [operand.text for test in query.tests for operand in test.operands] == ["O'Hara & Co", "0", "1", "Ac%"]
    assert [(use.purpose, use.column.table[0], use.column.names[0]) for use in query.uses] == [
        (Purpose.SELECT, "contact", "emailaddress1"),
        (Purpose.SORT, "contact", "createdon"),
        (Purpose.FILTER, "account", "accountid"),
        (Purpose.FILTER, "contact", "parentcustomerid"),
    ]
    assert query.aliases == ("firm",)
    assert parse_fetch(query.text).text == query.text


def test_names_that_a_view_keeps_for_people_are_left_out() -> None:
    query = parse_fetch(one("attribute='ownerid' operator='eq' uiname='Zhang Wei' uitype='systemuser' value='1'/>"))
    assert "Zhang" not in query.text


def test_an_operand_becomes_values() -> None:
    query = parse_fetch(one("attribute='emailaddress1' operator='ne' value='a@b.example'/>"))
    made = rewritten(query, {(0, 0): Asked(["x&1", "y"])}, {})
    (condition,) = ElementTree.fromstring(made).iter("condition")
    assert (condition.get("operator"), [each.text for each in condition]) == ("not-in", ["x&1", "y"])


def test_a_part_is_asked_beside_what_stands_in_clear() -> None:
    query = parse_fetch(one("attribute='emailaddress1' operator='like' value='%a%'/>"))
    made = rewritten(query, {(0, 0): Asked(["x"], True, [Beginning("c-"), Beginning(".invalid", True)])}, {})
    found = [(each.get("operator"), each.get("value")) for each in ElementTree.fromstring(made).iter("condition")]
    assert found == [("in", None), ("like", "%a%"), ("not-begin-with", "c-"), ("not-end-with", ".invalid")]


def test_a_composed_column_is_asked_by_its_parts() -> None:
    query = parse_fetch(one("entityname='c' attribute='fullname' operator='eq' value='A B'/>"))
    made = rewritten(query, {(0, 0): Asked((), parts=[("firstname", ["x"]), ("lastname", ["y"])])}, {})
    found = [(each.get("entityname"), each.get("attribute")) for each in ElementTree.fromstring(made).iter("condition")]
    assert found == [("c", "firstname"), ("c", "lastname")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<fetch/>",
        "<fetch><entity/></fetch>",
        "<fetch><entity name='a'/></fetch><fetch/>",
        "<fetch><entity name='a b'/></fetch>",
        "<?xml-stylesheet href='x'?><fetch><entity name='a'/></fetch>",
        "<!DOCTYPE fetch><fetch><entity name='a'/></fetch>",
        "<fetch datasource='archive'><entity name='a'/></fetch>",
        "<fetch top='1 or 2'><entity name='a'/></fetch>",
        entity("words"),
        entity("<filter isquickfindfields='1'/>"),
        entity("<order alias='nobody'/>"),
        entity("<attribute name='a' alias='x'/><attribute name='b' alias='x'/>"),
        entity("<attribute name='a' alias='x' aggregate='median'/>"),
        one("attribute='a' operator='above' value='1'/>"),
        one("attribute='a' operator='eq' value='1'><value>2</value></condition>"),
        one("attribute='a' operator='eq'/>"),
        one("attribute='a' operator='null' value='1'/>"),
        one("attribute='a' operator='like' value='[a-m]%'/>"),
        one("attribute='a' operator='begins-with' value='a_b'/>"),
        one("attribute='a' operator='eq' value='1' aggregate='max'/>"),
        one("attribute='a' operator='eq' valueof='b' value='1'/>"),
        one("attribute='a' operator='in'><value>1<value>2</value></value></condition>"),
        entity("<filter>" * 60 + "</filter>" * 60),
        entity("<x:attribute name='a' xmlns:x='y'/>"),
    ],
)
def test_whatever_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(QueryInvalid):
        parse_fetch(text)


VALUES = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"], exclude_characters="[\ufffe\uffff"), max_size=20
)


@given(VALUES, VALUES)
def test_no_value_reads_as_anything_but_itself(value: str, other: str) -> None:
    attribute = ElementTree.Element("condition", attribute="a", operator="eq", value=value)
    text = f"<fetch><entity name='c'><filter>{ElementTree.tostring(attribute, 'unicode')}</filter></entity></fetch>"
    query = parse_fetch(text)
    assert query.tests[0].operands[0].text == value
    (again,) = ElementTree.fromstring(rewritten(query, {(0, 0): Asked([other])}, {})).iter("condition")
    assert [each.text or "" for each in again] == [other]
    single = rewritten(query, {}, {query.tests[0].operands[0].start: other})
    assert next(ElementTree.fromstring(single).iter("condition")).get("value") == other


@given(st.text(max_size=200))
def test_no_text_fails_otherwise(text: str) -> None:
    with contextlib.suppress(QueryInvalid):
        parse_fetch(text)
