"""The trail's pages tell who is behind a pseudonym while that person lives, and find a record by the CRM's key."""

from collections.abc import Iterable, Mapping

import pytest

from audit.entry import AuditEntry
from audit.store import Filters
from kms.provider import KeysUnavailable
from tests.unit.gateway.console.stage import Browser, Stage

ADA, GONE = "ds_" + "A" * 22, "ds_" + "B" * 22


class Book:
    """Ada is contact 4711; somebody else was erased. `away`: keys or store are."""

    away = False

    async def name_of(self, tenant: str, entity: str, record: str) -> str:
        raise AssertionError("looking names nobody")

    async def names_of(self, tenant: str, entity: str, record: str) -> list[str]:
        if self.away:
            raise KeysUnavailable("person-store", "the store of person keys does not answer")
        return [record, *([ADA] if record == "4711" and entity in ("", "contact") else [])]

    async def told(self, tenant: str, names: Iterable[str]) -> Mapping[str, str]:
        known = {ADA: "contact/4711", GONE: ""}
        return {} if self.away else {name: known[name] for name in names if name in known}


@pytest.fixture
async def book(stage: Stage) -> Book:
    stage.trail._people = made = Book()
    for number, (name, entity) in enumerate(((ADA, "contact"), (GONE, "contact"), ("9", "deal"), ("4711", "contact"))):
        fields = {"shown": {"contact.phone": {name: {"masked": 1}, ADA: {"clear": 1}}}}
        usual = {"id": f"a-{number}", "at": stage.clock(), "tenant": "t1", "kind": "outcome", "reason": "allowed"}
        await stage.audit.append(
            AuditEntry(**usual, operation=f"op{number}", entity=entity, record=name, status=200, fields=fields)
        )
    return made


async def rows(admin: Browser, query: str = "") -> str:
    return (await admin.get(f"/activity/rows?kind=outcome&lang=en{query}")).text


async def test_the_living_are_told_and_the_erased_are_not(admin: Browser, book: Book) -> None:
    text = await rows(admin)
    assert text.count("<code>contact/4711</code>") == 2  # one entry is of version 1
    assert text.count("Erased person") == 1
    assert "<code>deal/9</code>" in text
    assert "ds_" not in text


async def test_a_record_is_found_under_all_its_names(admin: Browser, book: Book) -> None:
    for query in ("4711", "contact/4711"):
        text = await rows(admin, f"&record={query}")
        assert [name for name in ("op0", "op1", "op2", "op3") if name in text] == ["op0", "op3"]
    assert "op" not in await rows(admin, "&record=deal/4711")
    assert "op2" in await rows(admin, "&record=deal/9")
    assert 'value="contact/4711"' in (await admin.get("/activity?record=contact/4711")).text


async def test_an_entry_tells_everybody_in_it(admin: Browser, book: Book, stage: Stage) -> None:
    found = await stage.trail.recent("t1", 50, Filters(kind="outcome"))
    text = (await admin.get(f"/activity/{found[-2].index}?lang=en")).text  # the oldest but one: of the erased person
    assert "Erased person" in text
    assert text.count("<code>contact/4711</code>") == 1
    assert ADA in text


async def test_without_keys_pseudonyms_stay_and_nobody_counts_as_erased(admin: Browser, book: Book) -> None:
    book.away = True
    text = await rows(admin)
    assert ADA in text
    assert "Erased person" not in text
    assert (await admin.get("/activity?record=4711")).status == 503
