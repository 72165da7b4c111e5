"""No entry names a person by the CRM's key: pseudonyms in every place, or nothing is written."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from audit.entry import AuditEntry, encode
from gateway.naming import PersonNaming
from kms.provider import KeysUnavailable
from kms.pseudonyms import Record
from kms.store import StoreUnavailable

AT = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


def name(record: str) -> str:
    return "ds_" + record.rjust(22, "A")


class Book:
    """Pseudonyms in memory, and those that have to be asked for."""

    def __init__(self) -> None:
        self.memory: dict[Record, str] = {}
        self.known: set[Record] = set()
        self.fault: Exception | None = None

    def held(self, tenant: str, records: Iterable[Record]) -> dict[Record, str]:
        return {one: self.memory[one] for one in records if one in self.memory}

    async def names(self, tenant: str, records: Collection[Record], *, make: bool = True) -> dict[Record, str]:
        if self.fault:
            raise self.fault
        found = {one: name(one[1]) for one in records if make or one in self.known}
        self.memory |= found
        return found


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def naming(book: Book) -> PersonNaming:
    specs: Mapping[tuple[str, str], object] = {("contact", "phone"): 1, ("res.partner", "email"): 1}
    profile: Any = SimpleNamespace(field_specs=specs)
    return PersonNaming(book, lambda _: profile)


def entry(**changes: Any) -> AuditEntry:
    plain: dict[str, Any] = {
        "actor": "u1", "at": AT, "entity": "contact", "fields": {}, "id": "e1", "kind": "decision", "record": "4711",
        "tenant": "acme",
    }  # fmt: skip
    return AuditEntry(**{**plain, **changes})


async def test_every_place_of_an_entry_gets_the_pseudonym(naming: PersonNaming) -> None:
    given = entry(
        fields={
            "shown": {
                "contact.phone": {"4711": {"masked": 1}, "4712": {"clear": 2}, "": {"clear": 1}, "~": {"clear": 1}},
                "res.partner.email": {"4713": {"clear": 1}},
                "deal.name": {"9": {"clear": 1}},
            },
            "records": ["contact.4714", "res.partner.4.7.1.5", "deal.9"],
            "parts": ["contact.read:contact.4716:deal.9", "batch"],
            "written": ["contact.phone"],
        }
    )
    assert naming.at_once(given) is None
    found = await naming.named(given)
    assert naming.at_once(given) == found
    assert found.fields == {
        "shown": {
            "contact.phone": {
                name("4711"): {"masked": 1},
                name("4712"): {"clear": 2},
                "": {"clear": 1},
                "~": {"clear": 1},
            },
            "res.partner.email": {name("4713"): {"clear": 1}},
            "deal.name": {"9": {"clear": 1}},
        },
        "records": [f"contact.{name('4714')}", f"res.partner.{name('4.7.1.5')}", "deal.9"],
        "parts": [f"contact.read:contact.{name('4716')}:deal.9", "batch"],
        "written": ["contact.phone"],
    }
    assert found.record == found.data_subject == name("4711")
    body = encode(replace(found, actor=""))
    assert b"4711" not in body.replace(name("4711").encode(), b"")


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"record": "", "fields": {"shown": {"contact.phone": {"1": {"clear": 1}}}}}, name("1")),
        ({"record": "", "fields": {"shown": {"contact.phone": {"1": {"clear": 1}, "2": {"clear": 1}}}}}, ""),
        ({"entity": "deal", "record": "9"}, ""),
        ({"entity": "deal", "record": "9", "fields": {"shown": {"contact.phone": {"1": {"clear": 1}}}}}, name("1")),
        ({"record": ""}, ""),
    ],
)
async def test_an_entry_is_about_its_record_or_the_only_person_in_it(
    naming: PersonNaming, changes: Mapping[str, Any], about: str
) -> None:
    assert (await naming.named(entry(**changes))).data_subject == about


async def test_an_entry_that_names_nobody_stays_the_same_object(naming: PersonNaming) -> None:
    for one in (entry(record="", fields={"count": 1}), entry(entity="deal"), entry(entity="", record="")):
        assert naming.at_once(one) is one


@pytest.mark.parametrize("record", ["zhang.wei@example.org", "张伟", "a b", "9" * 600])
async def test_what_is_no_identifier_gets_no_pseudonym(naming: PersonNaming, book: Book, record: str) -> None:
    for found in (naming.at_once(entry(record=record)), await naming.named(entry(record=record))):
        assert found is not None
        assert (found.record, found.data_subject) == ("~", "")
    assert not book.memory


async def test_without_keys_nothing_is_named_and_only_a_refusal_goes_without(naming: PersonNaming, book: Book) -> None:
    for book.fault in (KeysUnavailable("person-store", "away"), StoreUnavailable("away")):
        with pytest.raises(type(book.fault)):
            await naming.named(entry())
        found = await naming.named(
            entry(kind="refusal", fields={"shown": {"contact.phone": {"1": {"clear": 1}, "2": {"clear": 2}}}})
        )
        assert (found.record, found.data_subject) == ("~", "")
        assert found.fields["shown"] == {"contact.phone": {"~": {"clear": 3}}}


async def test_a_refused_stranger_makes_nobody_known(naming: PersonNaming, book: Book) -> None:
    refusal = entry(kind="refusal", actor="")
    assert (await naming.named(refusal)).record == "~"
    assert not book.memory
    book.known.add(("contact", "4711"))
    assert (await naming.named(refusal)).record == name("4711")
    assert (await naming.named(entry(kind="refusal", record="4712"))).record == name("4712")


async def test_a_profile_that_changed_is_asked_again(book: Book) -> None:
    profiles: list[Any] = [SimpleNamespace(field_specs={}), SimpleNamespace(field_specs={("contact", "phone"): 1})]
    naming = PersonNaming(book, lambda _: profiles[-1])
    assert naming.people("acme") == {"contact"}
    profiles.pop()
    assert naming.people("acme") == frozenset()
