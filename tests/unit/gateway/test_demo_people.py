"""The synthetic set is repeatable, unique, and valid by the same rules that real validators use."""

import random

import phonenumbers
import pytest

from gateway.demo.people import make_organisations, make_people
from policies.taxonomy import Kind
from privacy.recognise import find, whole

PEOPLE = make_people(random.Random(1), 2_000)


def test_the_same_seed_gives_the_same_people() -> None:
    assert make_people(random.Random(1), 50) == PEOPLE[:50]
    assert make_people(random.Random(2), 50) != PEOPLE[:50]
    assert make_organisations(random.Random(1), 20) == make_organisations(random.Random(1), 20)


@pytest.mark.parametrize("field", ["key", "full_name", "email", "phone", "bank_card", "address"])
def test_values_are_unique_across_the_set(field: str) -> None:
    assert len({getattr(person, field) for person in PEOPLE}) == len(PEOPLE)


def test_no_value_is_part_of_anybody_elses_value() -> None:
    values = [value for person in PEOPLE[:300] for _, value in person.values]
    everything = "\n".join(values)
    assert [value for value in values if everything.count(value) != 1] == []


def test_every_kind_is_recognised_as_what_it_is() -> None:
    for person in PEOPLE:
        for kind, value in person.values:
            if kind not in {Kind.NAME, Kind.ADDRESS}:
                found = whole(value)
                assert found is not None
                assert (found.kind, found.text) == (kind, value)


def test_phones_are_valid_numbers() -> None:
    for person in PEOPLE[:300]:
        assert phonenumbers.is_valid_number(phonenumbers.parse(person.phone, "CN"))


def test_notes_hold_recognisable_values_in_running_text() -> None:
    for person in PEOPLE:
        found = {hit.text for hit in find(person.notes)}
        mentioned = {
            value for kind, value in person.values if kind not in {Kind.NAME, Kind.ADDRESS} and value in person.notes
        }
        assert mentioned
        assert found == mentioned


def test_people_come_from_china_and_elsewhere_with_names_in_parts() -> None:
    foreign = [person for person in PEOPLE if person.foreign]
    assert 400 < len(foreign) < 800
    assert all(not person.id_card for person in foreign)
    assert all(person.last_name in person.full_name and person.first_name in person.full_name for person in PEOPLE)
    assert {person.language for person in PEOPLE} == {"zh", "en"}
    assert any(ord(char) > 0xFFFF for person in PEOPLE for char in person.full_name)


def test_e_mail_domains_are_reserved_for_examples() -> None:
    assert all(person.email.endswith(("example.com", "example.org", "example.net")) for person in PEOPLE)


def test_organisations_share_no_value_with_the_people() -> None:
    organisations = make_organisations(random.Random(1), 300, apart_from=PEOPLE)
    theirs = {value for person in PEOPLE for _, value in person.values}
    for organisation in organisations:
        assert not theirs & {organisation.name, organisation.email, organisation.phone, organisation.address}
    assert len({organisation.name for organisation in organisations}) == 300


def test_a_pool_that_runs_dry_says_so() -> None:
    class Stuck(random.Random):
        def random(self) -> float:
            return 0.5

        def getrandbits(self, k: int, /) -> int:
            return 0

    with pytest.raises(ValueError, match="exhausted"):
        make_organisations(Stuck(), 2)
