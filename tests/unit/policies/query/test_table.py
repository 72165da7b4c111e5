"""Tables: what a column is; what nobody has named is unknown."""

import pytest

from policies.operation import FieldSpec
from policies.query.parsed import Column
from policies.query.table import Standing, Tables, compile_tables
from policies.taxonomy import Kind

EMAIL = FieldSpec("contact", "email", Kind.EMAIL, 80)
FIRST, LAST, NAME = (FieldSpec("contact", one, Kind.NAME, 80) for one in ("first", "last", "name"))
NOTE = FieldSpec("contact", "note", None, 1000)
KNOWN = {f"{one.entity}.{one.name}": one for one in (EMAIL, FIRST, LAST, NAME, NOTE)}
SOURCE = {
    "Contact": {
        "columns": {"Email": "contact.email", "Name": "contact.name", "First": "contact.first",
                    "Last": "contact.last", "Note": "contact.note"},
        "composed": {"Name": ["First", "Last"]},
        "plain": ["Id", "Custom*"],
        "also": ["Contacts"],
        "relations": {"Account": "Account", "Boss": "Contact"},
    },
    "Account": {"plain": ["Id"], "relations": {"Contacts": "Contact"}},
    "*": {"plain": ["Id"]},
}  # fmt: skip


def made(source: dict[str, dict[str, object]]) -> tuple[Tables, list[str]]:
    return compile_tables(source, lambda name, _: KNOWN.get(name))


@pytest.fixture
def tables() -> Tables:
    found, problems = made(SOURCE)
    assert problems == []
    return found


@pytest.mark.parametrize(
    ("table", "names", "wanted"),
    [
        (("Contact",), ("Email",), (Standing.FIELD, EMAIL)),
        (("contact",), ("EMAIL",), (Standing.FIELD, EMAIL)),
        (("Contacts",), ("Note",), (Standing.TEXT, NOTE)),
        (("Contact",), ("Boss", "Boss", "Email"), (Standing.FIELD, EMAIL)),
        (("Account", "Contacts"), ("Email",), (Standing.FIELD, EMAIL)),
        (("Contact",), ("CustomColour",), (Standing.PLAIN, None)),
        (("Contact",), ("Account",), (Standing.PLAIN, None)),
        (("Contact",), (), (Standing.PLAIN, None)),
        (("Thing__c",), ("Id",), (Standing.PLAIN, None)),
        (("Thing__c",), ("Email",), (Standing.UNKNOWN, None)),
        (("Contact",), ("Other__c",), (Standing.UNKNOWN, None)),
        (("Contact",), ("Nowhere", "Id"), (Standing.UNKNOWN, None)),
        (("Account", "Nowhere"), ("Id",), (Standing.UNKNOWN, None)),
    ],
)
def test_a_column_is_what_its_table_says(
    tables: Tables, table: tuple[str, ...], names: tuple[str, ...], wanted: tuple[Standing, FieldSpec | None]
) -> None:
    assert tables.standing(Column(table, names)) == wanted


def test_without_tables_every_column_is_unknown() -> None:
    assert Tables().standing(Column(("Contact",), ("Id",))) == (Standing.UNKNOWN, None)
    assert Tables().made_of(Column(("Contact",), ("Id",))) == []


def test_a_composed_column_tells_its_parts(tables: Tables) -> None:
    assert tables.made_of(Column(("Account", "Contacts"), ("name",))) == [("First", FIRST), ("Last", LAST)]
    assert tables.made_of(Column(("Contact",), ("Email",))) == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"A": {"relations": {"B": "Nowhere"}}}, "there is no table Nowhere"),
        ({"A": {"also": ["B"]}, "B": {}}, "table B is declared twice"),
        ({"A": {"columns": {"Email": "contact.email"}, "plain": ["E*"]}}, "a field and plain"),
        ({"A": {"plain": ["*"]}}, "not every column is plain"),
        ({"A": {"columns": {"Name": "contact.name"}, "composed": {"Name": ["First"]}}}, "have to be columns"),
    ],
)
def test_a_contradiction_is_a_problem(source: dict[str, dict[str, object]], problem: str) -> None:
    assert any(problem in one for one in made(source)[1])
