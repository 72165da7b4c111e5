"""Dates of which nobody is sure: taken, bound or ended by what the gateway itself reads, and by nothing else."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from gateway.protect.arrivals import Arrivals
from gateway.protect.doubts import Doubts
from gateway.protect.reading import CrmRefused, Reading
from gateway.standing import PASTED
from kms.tokens import NewValue, Origin
from policies.walk import WalkEntity
from tests.unit.gateway.protect.conftest import Bench, T
from tests.unit.gateway.protect.crm import WALK
from tests.unit.gateway.protect.test_arrivals import NEWER, NOW, NewestCrm, Owners

BORN, OLD, NEW = ("contact", "birthday"), date(1970, 1, 2), date(1980, 3, 4)


class Crm(NewestCrm):
    """With a trash."""

    def __init__(self) -> None:
        super().__init__({})
        self.trash: set[str] = set()
        self.locked: set[str] = set()

    async def read(self, entity: WalkEntity, record: str) -> Reading | None:
        if record in self.locked:
            raise CrmRefused("not-allowed")
        return None if record in self.trash else await super().read(entity, record)

    async def gone(self, entity: WalkEntity, record: str) -> bool:
        return record not in self.records


class Site:
    """A CRM, what is kept beside it, and looks at it."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.crm, self.beside = bench, Crm(), bench.beside

    async def look(self) -> None:
        """One turn, as the server makes it."""
        work = self.bench.work(self.crm, replace(WALK, entities=(NEWER,)))
        doubts = Doubts(work, self.crm, self.bench.vault, self.beside)
        owners = Owners()
        await Arrivals(work, self.crm, self.bench.vault, owners, lambda: NOW, single=True, doubts=doubts).turn()  # type: ignore[arg-type]

    async def created(self, cell: str, **fields: str) -> dict[str, str]:
        """What a create sends, whose answer never comes."""
        values = [NewValue("phone" if name == "mobile" else "name", clear, Origin("contact", name, None))
                  for name, clear in fields.items()]  # fmt: skip
        made = await self.bench.vault.tokenise(T, values, cell)
        await self.beside.keep(T, *BORN, NEW, record=None, cell=cell)
        return {**dict.fromkeys(("last_name", "mobile", "description", "email"), ""),
                **dict(zip(fields, made, strict=True)), "birthday": "1900-01-01"}  # fmt: skip

    async def kept(self, record: str) -> dict[int, tuple[object, bool]]:
        found = (await self.beside.candidates(T, *BORN, [record])).get(record, [])
        return {one.generation: (one.value, one.accepted) for one in found}

    async def change(self, statement: str) -> None:
        async with self.bench.pool.connection() as connection:
            await connection.execute(statement.encode())


@pytest.fixture
async def site(bench: Bench) -> Site:
    made = Site(bench)
    await made.look()
    return made


def born(day: str) -> dict[str, str]:
    return {"last_name": "-", "mobile": "", "description": "", "email": "", "birthday": day}


@pytest.mark.parametrize(("stands", "taken"), [("1900-01-02", 1), ("1900-01-01", 0)])
async def test_the_date_whose_placeholder_stands_is_taken(site: Site, stands: str, taken: int) -> None:
    await site.beside.keep(T, *BORN, OLD, record="1", cell="")
    await site.beside.offer(T, *BORN, NEW, ["1"], 365)
    site.crm.records["1"] = born(stands)
    await site.look()
    assert await site.kept("1") == ({1: (NEW, True)} if taken else {0: (OLD, True), 1: (NEW, False)})
    await site.change("UPDATE vault_beside SET written_at = written_at - interval '8 days' WHERE accepted_at IS NULL")
    await site.look()
    assert list(await site.kept("1")) == [taken]
    assert [one for one, _, _ in site.bench.trail].count("arrivals.read") >= 1


async def test_a_clear_date_or_a_record_nobody_may_read_decides_nothing(site: Site) -> None:
    for record in ("1", "2"):
        await site.beside.offer(T, *BORN, NEW, [record], 365)
        site.crm.records[record] = born("1970-01-02")
    site.crm.locked.add("2")
    await site.change("UPDATE vault_beside SET written_at = written_at - interval '99 days'")
    await site.beside.store.note_leaving(T, ["1", "2"], ["contact"])
    await site.bench.store.begin(T, "r1", "interface", 0)  # another run protects what is clear
    await site.bench.store.move(T, "r1", "done")
    work = site.bench.work(site.crm, replace(WALK, entities=(NEWER,)))
    assert await Doubts(work, site.crm, site.bench.vault, site.beside).settle() == 2
    for record in ("1", "2"):
        assert await site.kept(record) == {0: (NEW, False)}


async def test_an_empty_field_ends_only_what_no_request_can_bring_any_more(site: Site) -> None:
    await site.beside.offer(T, *BORN, NEW, ["1"], 365)
    site.crm.records["1"] = born("")
    await site.look()
    assert await site.kept("1") == {0: (NEW, False)}
    await site.change("UPDATE vault_beside SET written_at = written_at - interval '8 days'")
    await site.look()
    assert await site.kept("1") == {}


async def test_a_create_whose_answer_never_came_is_bound_to_the_record_that_holds_what_it_brought(site: Site) -> None:
    sent = await site.created("x1", last_name="Lin", mobile="13649901259")
    await site.look()
    assert await site.kept("7") == {}
    site.crm.records["7"] = sent
    await site.look()
    assert await site.kept("7") == {0: (NEW, True)}
    entries = await site.bench.vault.resolve(T, [sent["last_name"], sent["mobile"]])
    assert {origin.record for entry in entries.values() for origin in entry.origins} == {"7"}


@pytest.mark.parametrize(
    "spoilt", ["part of it", "another placeholder", "two records", "pasted", "something is kept", "no surrogate"]
)
async def test_it_is_bound_to_no_record_of_which_that_is_not_sure(site: Site, spoilt: str) -> None:
    sent = await site.created(
        "x1", **({} if spoilt == "no surrogate" else {"last_name": "Lin", "mobile": "13649901259"})
    )
    site.crm.records["7"] = sent
    match spoilt:
        case "part of it":  # the same number in the record of a second try
            (other,) = await site.bench.vault.tokenise(
                T, [NewValue("name", "Li", Origin("contact", "last_name", "7"))], ""
            )
            site.crm.records["7"] = {**sent, "last_name": other}
        case "another placeholder":
            site.crm.records["7"] = {**sent, "birthday": "1900-01-05"}
        case "two records":
            site.crm.records["8"] = dict(sent)
        case "pasted":
            await site.bench.vault.add_origin(T, sent["last_name"], Origin("contact", "last_name", None), PASTED)
        case "something is kept":
            await site.beside.keep(T, *BORN, OLD, record="7", cell="")
    await site.look()
    assert NEW not in [value for value, _ in (await site.kept("7")).values()]
    assert len(await site.beside.store.every_waiting(T, 10)) == 1


async def test_a_date_ends_with_a_record_that_is_gone_and_stays_with_one_in_the_trash(site: Site) -> None:
    for record in ("1", "2", "3"):
        await site.beside.keep(T, *BORN, OLD, record=record, cell="")
        site.crm.records[record] = born("1900-01-01")
    await site.beside.store.note_leaving(T, ["1", "2"], ["contact", "other"])
    del site.crm.records["1"]
    del site.crm.records["3"]  # nobody asked for that through the gateway, so nobody looks
    site.crm.trash.add("2")
    await site.look()
    assert [bool(await site.kept(one)) for one in "123"] == [False, True, True]
    await site.change("UPDATE vault_beside SET left_at = left_at - interval '99 days'")
    await site.look()
    assert await site.kept("2") == {0: (OLD, True)}
    del site.crm.records["2"]
    await site.look()
    assert await site.kept("2") == {}


async def test_a_record_whose_end_the_crm_refused_is_not_looked_at_for_ever(site: Site) -> None:
    await site.beside.keep(T, *BORN, OLD, record="1", cell="")
    site.crm.records["1"] = born("1900-01-01")
    await site.beside.store.note_leaving(T, ["1"], ["contact"])
    await site.look()
    assert list(await site.beside.store.unsure(T, 9)) == [("contact", "1")]  # the CRM may come to it yet
    await site.change(f"UPDATE vault_beside SET left_at = left_at - interval '{timedelta(hours=1)}'")
    await site.look()
    assert await site.beside.store.unsure(T, 9) == {}
    assert await site.kept("1") == {0: (OLD, True)}


async def test_a_record_that_stays_in_the_trash_is_looked_at_ever_more_rarely_until_it_is_asked_for_again(
    site: Site,
) -> None:
    await site.beside.keep(T, *BORN, OLD, record="1", cell="")
    site.crm.records["1"] = born("1900-01-01")
    site.crm.trash.add("1")
    await site.beside.store.note_leaving(T, ["1"], ["contact"])
    now, pauses = [0.0], {}  # type: ignore[var-annotated]
    work = site.bench.work(site.crm, replace(WALK, entities=(NEWER,)))

    async def look(at: float) -> int:
        now[0] = at
        return await Doubts(work, site.crm, site.bench.vault, site.beside, pauses, lambda: now[0]).settle()

    assert [await look(at) for at in (0, 14, 15, 44, 45)] == [1, 0, 1, 0, 1]
    assert [await look(at) for at in (100, 10_000, 13_000, 20_000)] == [0, 1, 1, 1]
    assert await look(20_001) == 0
    await site.beside.store.note_leaving(T, ["1"], ["contact"])
    assert await look(20_002) == 1
    await site.beside.store.drop_record(T, "contact", "1")
    assert await look(90_000) == 0
    assert pauses == {}
