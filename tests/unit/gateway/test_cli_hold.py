"""Legal holds about people stand under the names the trail has for them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from audit.cold.hold import Hold
from gateway.cli_hold import named_holds

AT = datetime(2026, 11, 27, tzinfo=UTC)
FIRST, SECOND = (f"ds_{letter * 22}" for letter in "AB")


class Known:
    """A contact with two names in the trail."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []

    def holds_people(self, tenant: str, entity: str) -> bool:
        return entity == "contact"

    async def name_of(self, tenant: str, entity: str, record: str) -> str:
        self.made.append((entity, record))
        return FIRST

    async def names_of(self, tenant: str, entity: str, record: str) -> list[str]:
        return [record, FIRST, SECOND]

    async def told(self, tenant: str, names: Iterable[str]) -> Mapping[str, str]:
        return {}


def hold(**names: str) -> Hold:
    return Hold("h-1", "court order 17", "li", AT, **names)


async def test_a_person_is_held_under_every_pseudonym_and_not_under_the_key_of_the_crm() -> None:
    people = Known()
    found = await named_holds(people, "main", hold(entity="contact", record="7"))  # type: ignore[arg-type]
    assert [(one.entity, one.record, one.reason) for one in found] == [
        ("contact", FIRST, "court order 17"),
        ("contact", SECOND, "court order 17"),
    ]
    assert len({one.id for one in found}) == 2
    assert people.made == [("contact", "7")]


async def test_what_is_nobody_is_held_as_it_is() -> None:
    people = Known()
    for one in (hold(entity="activity", record="7"), hold(actor="u-1"), hold()):
        assert await named_holds(people, "main", one) == [one]  # type: ignore[arg-type]
    assert people.made == []
