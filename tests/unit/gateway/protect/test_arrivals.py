"""What comes past the gateway is protected by the next look; what an import brought is bound only where it is sure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.protect.again import FIRST_S, Again
from gateway.protect.arrivals import RUN, Arrivals, newest
from gateway.protect.reading import CrmUnreachable, Listed, Reading
from gateway.records import ANY_ENTITY, Records
from gateway.standing import PASTED
from kms.tokens import NewValue, Origin
from policies.walk import WalkEntity
from tests.unit.gateway.protect.conftest import Bench, T
from tests.unit.gateway.protect.crm import ENTITY, WALK, Killed, MemoryCrm

NOW = datetime(2026, 11, 26, tzinfo=UTC)
NEWER = replace(ENTITY, newer="/contacts?after={after}&page={page}")
PERSON = {"last_name": "司马", "mobile": "13649901259", "description": "rang from 13649901259", "email": ""}


class Owners:
    """Owners that were noted."""

    def __init__(self) -> None:
        self.noted: dict[tuple[str, str], str] = {}

    async def note(self, _tenant: str, keys: Sequence[tuple[str, str]], owner: str, _now: datetime) -> None:
        self.noted |= dict.fromkeys(keys, owner)


class NewestCrm(MemoryCrm):
    """Tells its newest records, two at a time, in the order of their names; owner: of every record but these."""

    owner = ""
    owners: Mapping[str, str] = {}

    async def newer(self, _entity: WalkEntity, after: int, place: str) -> Listed:
        ids = sorted((key for key in self.records if int(key) > after), key=lambda key: self.records[key]["last_name"])
        at = int(place or 0)
        return Listed(ids[at : at + 2], str(at + 2) if len(ids) > at + 2 else "")

    async def read(self, entity: WalkEntity, record: str) -> Reading | None:
        reading = await super().read(entity, record)
        return None if reading is None else replace(reading, owner=self.owners.get(record, self.owner))


class Looks:
    """The looks at one CRM."""

    def __init__(self, bench: Bench, records: Mapping[str, Mapping[str, str]], *, made: bool = False) -> None:
        self.bench, self.crm, self.owners = bench, NewestCrm(records), Owners()
        work = bench.work(self.crm, replace(WALK, entities=(NEWER,)))
        records_: Records = self.owners  # type: ignore[assignment]
        self.now = 0.0
        self.again = Again(bench.vault, T, lambda: self.now)
        self.arrivals = Arrivals(
            work, self.crm, bench.vault, records_, lambda: NOW, single=True, made=made, again=self.again
        )

    async def imported(self, clear: str, cell: str = "import.x1", name: str = "mobile") -> str:
        """The surrogate of a value as an import brings it."""
        kind = "phone" if name == "mobile" else "name"
        (made,) = await self.bench.vault.tokenise(T, [NewValue(kind, clear, Origin("contact", name, None))], cell)
        return made

    async def places(self, surrogate: str) -> set[tuple[str, str | None]]:
        entry = (await self.bench.vault.resolve(T, [surrogate]))[surrogate]
        return {(one.field, one.record) for one in entry.origins}


def with_mobile(surrogate: str) -> dict[str, str]:
    return {"last_name": "-", "mobile": surrogate, "description": "", "email": ""}


async def test_what_is_new_is_protected_and_what_was_there_is_left_to_a_run(bench: Bench) -> None:
    looks = Looks(bench, {"5": PERSON})
    assert await looks.arrivals.turn() == 0
    looks.crm.records |= {str(number): {**PERSON, "last_name": f"名{number}"} for number in (6, 7, 8, 9)}
    assert await looks.arrivals.turn() == 4
    assert looks.crm.records["5"] == PERSON
    for number in (6, 7, 8, 9):
        assert "13649901259" not in str(looks.crm.records[str(number)])
        assert f"名{number}" not in str(looks.crm.records[str(number)])
    assert await looks.arrivals.turn() == 0
    assert {one for one, _, _ in bench.trail} == {"arrivals.read", "protect.write"}


async def test_a_crm_without_records_has_its_first_one_protected(bench: Bench) -> None:
    looks = Looks(bench, {})
    assert await looks.arrivals.turn() == 0
    looks.crm.records["1"] = dict(PERSON)
    assert await looks.arrivals.turn() == 1
    assert "13649901259" not in str(looks.crm.records)


async def test_an_id_that_shows_after_a_later_one_is_not_missed(bench: Bench) -> None:
    looks = Looks(bench, {"5": PERSON})
    await looks.arrivals.turn()
    looks.crm.records["8"] = dict(PERSON)
    assert await looks.arrivals.turn() == 1
    looks.crm.records["7"] = dict(PERSON)
    assert await looks.arrivals.turn() == 1
    assert "13649901259" not in str(looks.crm.records["7"])


async def test_undo_puts_it_back_and_then_nothing_is_protected_any_more(bench: Bench) -> None:
    looks = Looks(bench, {})
    await looks.arrivals.turn()
    looks.crm.records["1"] = dict(PERSON)
    await looks.arrivals.turn()
    await bench.carry_out(bench.work(looks.crm, replace(WALK, entities=(NEWER,))), RUN, undo=True)
    assert looks.crm.records["1"] == PERSON
    looks.crm.records["2"] = dict(PERSON)
    assert await looks.arrivals.turn() == 0
    assert looks.crm.records["2"] == PERSON


@pytest.mark.parametrize("state", ["gathering", "protecting", "undoing", "undone"])
async def test_nothing_is_done_beside_a_run_or_after_it_was_undone(bench: Bench, state: str) -> None:
    looks = Looks(bench, {})
    await looks.arrivals.turn()
    await bench.store.begin(T, "r1", "interface", 0)
    await bench.store.move(T, "r1", state)
    looks.crm.records["1"] = dict(PERSON)
    assert await looks.arrivals.turn() == 0
    await bench.store.move(T, "r1", "done")
    assert await looks.arrivals.turn() == 1


async def test_a_process_that_dies_half_way_leaves_nothing_lost_or_clear(bench: Bench) -> None:
    for moment in ("before", "after"):
        looks = Looks(bench, {})
        await looks.arrivals.turn()
        number = str(len(looks.crm.records) + (1 if moment == "before" else 300))
        looks.crm.records[number] = dict(PERSON)

        def dies(when: str, moment: str = moment) -> None:
            if when == moment:
                raise Killed

        looks.crm.hook = dies
        with pytest.raises(Killed):
            await looks.arrivals.turn()
        looks.crm.hook = lambda _: None
        assert await looks.arrivals.turn() == 1
        assert "13649901259" not in str(looks.crm.records[number])
        assert looks.crm.writes[number] == 1


async def test_what_an_import_brought_is_bound_to_the_one_record_that_holds_it(bench: Bench) -> None:
    looks = Looks(bench, {})
    await looks.arrivals.turn()
    surrogate = await looks.imported("13649901259")
    looks.crm.records["1"] = with_mobile(surrogate)
    looks.crm.owner = "7"
    await looks.arrivals.turn()
    assert await looks.places(surrogate) == {("mobile", "1")}
    assert looks.owners.noted == {("contact", "1"): "7", (ANY_ENTITY, "1"): "7"}


async def test_a_column_that_went_into_another_field_is_bound_there_too(bench: Bench) -> None:
    looks = Looks(bench, {})
    await looks.arrivals.turn()
    surrogate = await looks.imported("13649901259")
    looks.crm.records["1"] = {**with_mobile(""), "phone": surrogate}
    await looks.arrivals.turn()
    assert await looks.places(surrogate) == {("mobile", "1"), ("phone", "1")}


async def test_what_several_records_hold_stays_open(bench: Bench) -> None:
    looks = Looks(bench, {})
    await looks.arrivals.turn()
    surrogate = await looks.imported("13649901259")
    looks.crm.records |= {"1": with_mobile(surrogate), "2": with_mobile(surrogate)}
    await looks.arrivals.turn()
    assert await looks.places(surrogate) == {("mobile", None)}


async def test_what_several_records_of_the_importer_hold_is_bound_to_each_where_makers_are_known(bench: Bench) -> None:
    looks = Looks(bench, {}, made=True)
    await looks.arrivals.turn()
    surrogate = await looks.imported("13649901259", "import.7.x1")
    looks.crm.records |= {str(number): with_mobile(surrogate) for number in (1, 2, 3)}
    looks.crm.owner, looks.crm.owners = "7", {"3": "8"}  # somebody else copied it
    await looks.arrivals.turn()
    assert await looks.places(surrogate) == {("mobile", "1"), ("mobile", "2")}


async def test_a_shared_value_that_went_into_another_column_is_bound_where_it_stands(bench: Bench) -> None:
    looks = Looks(bench, {}, made=True)
    await looks.arrivals.turn()
    surrogate = await looks.imported("13649901259", "import.7.x1")
    looks.crm.records |= {one: {**with_mobile(""), "phone": surrogate} for one in ("1", "2")}
    looks.crm.owner = "7"
    await looks.arrivals.turn()
    assert await looks.places(surrogate) == {("mobile", "1"), ("phone", "1"), ("phone", "2")}


async def test_two_imports_of_one_value_are_bound_each_to_its_own_records(bench: Bench) -> None:
    looks = Looks(bench, {}, made=True)
    await looks.arrivals.turn()
    surrogate = await looks.imported("13649901259", "import.7.x1")
    assert await looks.imported("13649901259", "import.8.x2") == surrogate
    looks.crm.records |= {one: with_mobile(surrogate) for one in ("1", "2", "3")}
    looks.crm.owners = {"1": "7", "2": "8", "3": "9"}
    await looks.arrivals.turn()
    assert await looks.places(surrogate) == {("mobile", "1"), ("mobile", "2")}


@pytest.mark.parametrize(("made", "cell"), [(False, "import.7.x1"), (True, "import.x1"), (True, "import..x1")])
async def test_without_a_known_maker_several_records_stay_open(bench: Bench, made: bool, cell: str) -> None:
    looks = Looks(bench, {}, made=made)
    await looks.arrivals.turn()
    surrogate = await looks.imported("13649901259", cell)
    looks.crm.records |= {"1": with_mobile(surrogate), "2": with_mobile(surrogate)}
    looks.crm.owner = "7"
    await looks.arrivals.turn()
    assert await looks.places(surrogate) == {("mobile", None)}


async def test_only_records_that_the_importer_made_count_where_makers_are_known(bench: Bench) -> None:
    looks = Looks(bench, {}, made=True)
    await looks.arrivals.turn()
    surrogate = await looks.imported("13649901259", "import.7.x1")
    looks.crm.records["1"] = with_mobile(surrogate)
    looks.crm.owner = "8"
    await looks.arrivals.turn()
    assert await looks.places(surrogate) == {("mobile", None)}


async def test_what_somebody_without_sight_of_it_put_somewhere_is_never_bound(bench: Bench) -> None:
    looks = Looks(bench, {})
    await looks.arrivals.turn()
    surrogate = await looks.imported("13649901259")
    await bench.vault.add_origin(T, surrogate, Origin("contact", "mobile", None), PASTED)
    looks.crm.records["1"] = with_mobile(surrogate)
    await looks.arrivals.turn()
    assert await looks.places(surrogate) == {("mobile", None)}


async def test_what_stands_in_a_record_without_an_import_gives_it_no_rights(bench: Bench) -> None:
    looks = Looks(bench, {})
    await looks.arrivals.turn()
    value = NewValue("phone", "13649901259", Origin("contact", "mobile", "900"))
    (surrogate,) = await bench.vault.tokenise(T, [value], "x2")
    looks.crm.records["1"] = with_mobile(surrogate)
    await looks.arrivals.turn()
    assert await looks.places(surrogate) == {("mobile", "900")}


async def updated(bench: Bench) -> tuple[Looks, str, str]:
    """A record that was there, and an import that names its address and brings a number: its surrogate, the old one."""
    mail = NewValue("email", "wei@example.com", Origin("contact", "email", "5"))
    phone = NewValue("phone", "13900139000", Origin("contact", "mobile", "5"))
    address, old = await bench.vault.tokenise(T, [mail, phone], "x0")
    looks = Looks(bench, {"5": {**with_mobile(old), "email": address}})
    await looks.arrivals.turn()
    again = replace(mail, origin=Origin("contact", "email", None))
    await bench.vault.tokenise(T, [again], "import.x1")
    return looks, await looks.imported("13649901259"), old


async def test_what_an_import_changed_in_a_record_that_was_there_is_bound_by_reading_that_again(bench: Bench) -> None:
    looks, new, old = await updated(bench)
    await looks.arrivals.turn()  # the CRM has not come to it yet
    assert await looks.places(new) == {("mobile", None)}
    looks.crm.records["5"]["mobile"] = new
    looks.now += FIRST_S
    await looks.arrivals.turn()
    assert await looks.places(new) == {("mobile", "5")}
    assert [one.surrogate for one in await bench.vault.at_origin(T, "contact", "mobile", "5")] == [new]
    assert await looks.places(old) == {("mobile", "5")}  # for the rights it gives in histories
    assert await bench.vault.is_open(T, [("contact", "email"), ("contact", "mobile")], "import.") is False


async def test_a_record_that_an_import_gave_to_somebody_else_is_theirs_from_then_on(bench: Bench) -> None:
    looks, _, _ = await updated(bench)
    looks.crm.owner = "8"
    looks.now += FIRST_S
    await looks.arrivals.turn()
    assert looks.owners.noted == {("contact", "5"): "8", (ANY_ENTITY, "5"): "8"}


async def test_it_is_looked_for_ever_more_rarely(bench: Bench) -> None:
    looks, new, _ = await updated(bench)
    reads = []
    for _ in range(6):
        found, _ = await looks.again.next({"contact"}, every=False)
        reads.append(len(found))
        looks.now += FIRST_S
    assert reads == [1, 1, 0, 1, 0, 0]
    assert await looks.places(new) == {("mobile", None)}


async def test_what_is_in_a_new_record_as_well_is_bound_to_neither(bench: Bench) -> None:
    """Somebody may have copied the surrogate past the gateway, into a record of his own."""
    looks, new, _ = await updated(bench)
    await looks.arrivals.turn()
    looks.crm.records["5"]["mobile"] = new
    looks.crm.records["6"] = with_mobile(new)
    await looks.arrivals.turn()
    assert await looks.places(new) == {("mobile", None)}


async def test_a_crm_that_is_away_loses_nothing(bench: Bench) -> None:
    looks = Looks(bench, {})
    await looks.arrivals.turn()
    looks.crm.records["1"] = dict(PERSON)
    looks.crm.down = True
    with pytest.raises(CrmUnreachable):
        await looks.arrivals.turn()
    looks.crm.down = False
    assert await looks.arrivals.turn() == 1


@pytest.mark.parametrize("last", [0, 1, 2, 3, 64, 999, 1000, 123456])
async def test_the_greatest_id_is_found(last: int) -> None:
    crm = NewestCrm({str(last): PERSON} if last else {})
    assert await newest(crm, NEWER) == last


async def test_two_processes_never_look_at_the_same_time(bench: Bench) -> None:
    async with bench.store.alone(T, RUN) as first:
        async with bench.store.alone(T, RUN) as second:
            assert (first, second) == (True, False)
        async with bench.store.alone("other", RUN) as other:
            assert other
    async with bench.store.alone(T, RUN) as again:
        assert again
