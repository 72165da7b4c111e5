"""Whom the trail means: asked by pages and commands, told while the person lives."""

from collections.abc import Collection, Iterable

import pytest

from gateway.named_people import ERASED, NamedPeople, pseudonyms_in
from kms.provider import KeysUnavailable
from kms.pseudonyms import Record
from kms.store import StoreUnavailable

ADA, GONE = "ds_" + "A" * 22, "ds_" + "B" * 22


class Book:
    """One living person."""

    fault: Exception | None = None

    async def names(self, tenant: str, records: Collection[Record], *, make: bool = True) -> dict[Record, str]:
        return dict.fromkeys(records, ADA)

    async def every(self, tenant: str, records: Collection[Record]) -> list[str]:
        return [ADA] if ("contact", "42") in records else []

    async def records(self, tenant: str, names: Iterable[str]) -> dict[str, Record]:
        if self.fault:
            raise self.fault
        return {name: ("contact", "42") for name in names if name == ADA}


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def people(book: Book) -> NamedPeople:
    return NamedPeople(book, lambda _: frozenset({"contact", "lead"}))  # type: ignore[arg-type]


async def test_a_record_is_looked_for_under_its_key_and_its_pseudonyms(people: NamedPeople) -> None:
    assert await people.names_of("acme", "contact", "42") == ["42", ADA]
    assert await people.names_of("acme", "", "42") == ["42", ADA]
    assert await people.names_of("acme", "lead", "42") == ["42"]
    assert await people.names_of("acme", "deal", "42") == ["42"]


async def test_only_people_are_written_down_by_pseudonym(people: NamedPeople) -> None:
    assert await people.name_of("acme", "contact", "42") == ADA
    assert await people.name_of("acme", "deal", "42") == "42"


async def test_an_erased_person_is_told_apart_from_keys_that_are_away(people: NamedPeople, book: Book) -> None:
    assert await people.told("acme", [ADA, GONE, "42", "", "~"]) == {ADA: "contact/42", GONE: ERASED}
    for book.fault in (KeysUnavailable("person-store", "away"), StoreUnavailable("away")):
        assert await people.told("acme", [ADA, GONE]) == {}


def test_pseudonyms_are_found_wherever_an_entry_has_them() -> None:
    names = ["ds_" + letter * 22 for letter in "ABCDE"]
    content = {
        "record": names[0],
        "data_subject": names[1],
        "fields": {
            "shown": {"contact.phone": {names[2]: {"clear": 1}, "42": {"clear": 1}}, "cut": 3},
            "records": [f"contact.{names[3]}", "deal.9"],
            "parts": [f"contact.read:contact.{names[4]}:deal.9", "~"],
            "detail": ["ds_" + "F" * 22],
        },
    }
    assert set(pseudonyms_in(content)) == set(names)
    assert list(pseudonyms_in({})) == []
