"""Whom `person()` means."""

from collections.abc import Collection

import pytest

from audit.sql.answer import QueryFailed
from audit.sql.refused import StatementRefused
from gateway.named_people import NamedPeople
from gateway.query_people import pseudonyms_of_persons
from kms.provider import KeysUnavailable
from kms.pseudonyms import Record
from kms.store import StoreUnavailable

ADA, OLD = "ds_" + "A" * 22, "ds_" + "B" * 22


class Book:
    """Contact 42 has two names; contact 43 was erased."""

    fault: Exception | None = None

    async def every(self, tenant: str, records: Collection[Record]) -> list[str]:
        if self.fault:
            raise self.fault
        return [ADA, OLD] if (tenant, list(records)) == ("acme", [("contact", "42")]) else []


def people(book: Book) -> NamedPeople:
    return NamedPeople(book, lambda _: frozenset({"contact"}))  # type: ignore[arg-type]


async def test_a_person_has_all_pseudonyms_and_never_the_number() -> None:
    found = await pseudonyms_of_persons(people(Book()), "acme", ["contact/42", "contact/43", f"contact/{ADA}"])
    assert found == {"contact/42": [ADA, OLD], "contact/43": [], f"contact/{ADA}": []}
    assert await pseudonyms_of_persons(people(Book()), "other", ["contact/42"]) == {"contact/42": []}


async def test_a_kind_that_holds_nobody_is_refused() -> None:
    with pytest.raises(StatementRefused) as refused:
        await pseudonyms_of_persons(people(Book()), "acme", ["deal/42"])
    assert (refused.value.reason, refused.value.word) == ("person-kind", "deal")


async def test_keys_that_are_away_answer_nothing() -> None:
    book = Book()
    for book.fault in (KeysUnavailable("person-store", "away"), StoreUnavailable("away")):
        with pytest.raises(QueryFailed, match="keys"):
            await pseudonyms_of_persons(people(book), "acme", ["contact/42"])
