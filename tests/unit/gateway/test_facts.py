"""What an answer tells of records opens what rows with conditions say, and only there; nobody lets himself in."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.database import Pool
from gateway.exchange import Exchange
from gateway.facts import writing
from gateway.records import ANY_ENTITY, Records
from gateway.refusal import Refusal
from gateway.settle import records_of, settle
from gateway.showing import ShownPage
from gateway.store import StaffStore
from kms.connections import StoreUnavailable
from kms.tokens import Origin
from policies.decision import Form
from policies.enforcer import DEFAULT_POLICY
from tests.unit.gateway.glue import ANNA, BORIS, JSON, TENANT, Glue, open_glue

POLICY = (
    DEFAULT_POLICY.read_text(encoding="utf-8")
    + """
p, north, *, op:*, *, any
p, north, *, kind:*, masked, any
p, north, *, field:contact.*, clear, any, where=contact.region:north
p, north, *, field:contact.phone, write, any, where=contact.region:north
p, north, *, field:contact.phone, search, any
p, north, *, field:lead.*, clear, any, where=lead.value:<100000
p, not-south, *, op:*, *, any
p, not-south, *, kind:*, clear, any
p, not-south, *, kind:*, write, any
p, not-south, *, field:contact.*, masked, any, deny, where=contact.region:south
p, team, *, op:*, *, any
p, team, *, kind:phone, clear, team
p, carrier, *, op:*, *, any
p, carrier, *, field:contact.*, clear, any, where=contact.region:north
p, carrier, *, field:contact.*, export, any, deny, where=contact.region:north
p, carrier, *, kind:*, masked, any
"""
)
ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
PHONE = "13800138000"
CONTACT = {"first_name": "Wei", "last_name": "Zhang", "email": "zhang.wei@example.com", "phone": PHONE}


@pytest.fixture
async def bottle(pool: Pool, keyring_path: Path) -> AsyncIterator[Glue]:
    async with open_glue(pool, keyring_path, "bottle", POLICY) as made:
        yield made


async def made(glue: Glue, record: str, entity: str = "contact", **changed: str) -> dict[str, Any]:
    """What the CRM holds of a new record."""
    body = orjson.dumps(CONTACT | changed)
    path = f"/api/{entity}s/"
    exchange = glue.exchange("POST", path, body=body, content_type=JSON)
    outgoing = await glue.protect(exchange, body, JSON)
    assert isinstance(outgoing.body, bytes)
    await glue.answer(exchange, orjson.dumps({"error": False, "id": record}), JSON)
    return {**orjson.loads(outgoing.body), "id": record}


async def shown(glue: Glue, target: str, value: Any, role: str = "north", user: str | None = BORIS) -> Any:
    exchange = glue.exchange("GET", target, role=role, user=user)
    _, seen = await glue.answer(exchange, orjson.dumps(value), JSON)
    return orjson.loads(seen)


async def test_a_list_opens_the_records_of_the_region_and_no_other(bottle: Glue) -> None:
    one, two = await made(bottle, ONE), await made(bottle, TWO, phone="13900139000", last_name="Li")
    answer = {"results": [{**one, "state": "North"}, {**two, "state": "South"}]}
    seen = (await shown(bottle, "/api/contacts/", answer))["results"]
    assert (seen[0]["phone"], seen[0]["last_name"]) == (PHONE, "Zhang")
    assert "13900139000" not in seen[1]["phone"]
    assert "Li" not in seen[1]["last_name"]


async def test_what_is_not_told_or_told_twice_stays_masked(bottle: Glue) -> None:
    one = await made(bottle, ONE)
    for rows in (
        [one],
        [{**one, "state": None}],
        [{**one, "state": ""}],
        [{**one, "state": ["north"]}],
        [{**one, "state": "north"}, {**one, "state": "south"}],
        [{**one, "region": "north"}],
        [{**one, "id": "7", "state": "north"}],
        [{"nested": {**one, "state": "north"}}],
    ):
        assert PHONE not in orjson.dumps(await shown(bottle, "/api/contacts/", {"results": rows})).decode(), rows
    elsewhere = {"results": [{**one, "state": "north"}]}
    assert PHONE not in orjson.dumps(await shown(bottle, "/api/tasks/", elsewhere)).decode()


async def test_what_one_answer_told_does_not_count_in_the_next(bottle: Glue) -> None:
    one = await made(bottle, ONE)
    north = {"contact_obj": {**one, "state": "north"}}
    assert (await shown(bottle, f"/api/contacts/{ONE}/", north))["contact_obj"]["phone"] == PHONE
    assert PHONE not in orjson.dumps(await shown(bottle, f"/api/contacts/{ONE}/", {"contact_obj": one})).decode()
    south = {"contact_obj": {**one, "state": "south"}}
    assert PHONE not in orjson.dumps(await shown(bottle, f"/api/contacts/{ONE}/", south)).decode()


async def test_a_denial_holds_where_nothing_is_known(bottle: Glue) -> None:
    one = await made(bottle, ONE)
    for state, seen in (
        ({}, False),
        ({"state": "south"}, False),
        ({"state": "SOUTH "}, False),
        ({"state": "north"}, True),
    ):
        told = await shown(bottle, f"/api/contacts/{ONE}/", {"contact_obj": {**one, **state}}, role="not-south")
        assert (told["contact_obj"]["phone"] == PHONE) is seen, state


async def test_amounts_are_compared_as_numbers(bottle: Glue) -> None:
    one = await made(bottle, ONE, entity="lead")
    for amount, seen in ((99999.99, True), ("100000.00", False), ("9.000", False), (None, False), (1e30, False)):
        told = await shown(bottle, f"/api/leads/{ONE}/", {"lead_obj": {**one, "opportunity_amount": amount}})
        assert (told["lead_obj"]["phone"] == PHONE) is seen, amount


async def test_a_table_tells_by_its_column_of_ids(bottle: Glue) -> None:
    one, two = await made(bottle, ONE), await made(bottle, TWO, phone="13900139000")
    row = "{id},{phone},{state}\r\n"
    table = "ID,Phone,State\r\n" + row.format(**one, state="North") + row.format(**two, state="South")

    async def export(body: str, role: str = "north") -> str:
        exchange = bottle.exchange("GET", "/api/contacts/export/", role=role, user=BORIS)
        _, seen = await bottle.answer(exchange, body.encode(), "text/csv")
        return seen.decode()

    seen = await export(table)
    assert PHONE in seen
    assert "13900139000" not in seen
    assert PHONE not in await export(table.replace("ID,Phone,State", "ID,Phone,State of things"))
    assert PHONE not in await export(table.replace("ID,Phone", "Key,Phone"))
    assert PHONE not in await export("ID,Phone,State,State\r\n" + row.format(**one, state="North,South"))
    assert PHONE not in await export(table, role="carrier")  # clear on pages, and not to be exported


async def test_a_name_in_both_regions_opens_where_one_of_them_is_told(bottle: Glue) -> None:
    """As with owners: a value opens if one of its places does, and then wherever it stands in that answer."""
    one, two = await made(bottle, ONE), await made(bottle, TWO)
    assert one["phone"] == two["phone"]
    south = {"contact_obj": {**two, "state": "south"}}
    assert PHONE not in orjson.dumps(await shown(bottle, f"/api/contacts/{TWO}/", south)).decode()


class Shows:
    """Stands for what the CRM shows at the address that is written to."""

    silent = False

    def __init__(self, glue: Glue, path: str, value: Any, role: str) -> None:
        self._glue, self._path, self._value, self._role = glue, path, value, role

    async def page(self) -> ShownPage | None:
        if self._value is None:
            return None
        return ShownPage(self._glue.exchange("GET", self._path, role=self._role), JSON, orjson.dumps(self._value))

    async def text(self, path: tuple[str, ...]) -> str | None:
        return None


async def written(
    glue: Glue, value: dict[str, Any], there: Any, role: str = "north", record: str = ONE, method: str = "PATCH"
) -> dict[str, Any]:
    body, path = orjson.dumps(value), f"/api/contacts/{record}/"
    exchange: Exchange = glue.exchange(method, path, role=role, user=BORIS, body=body, content_type=JSON)
    exchange.showing = Shows(glue, path, there, role)  # type: ignore[assignment]
    outgoing = await glue.protect(exchange, body, JSON)
    assert isinstance(outgoing.body, bytes)
    return dict(orjson.loads(outgoing.body))


async def test_a_write_takes_a_record_that_is_known_to_fit(bottle: Glue) -> None:
    one = await made(bottle, ONE)
    new = {"phone": "13700137000"}
    held = await written(bottle, new, {"contact_obj": {**one, "state": "north"}})
    assert await bottle.clear({"phone": held["phone"]}) == new
    for there in (None, {"contact_obj": one}, {"contact_obj": {**one, "state": "south"}}, {"contact_obj": []}):
        with pytest.raises(Refusal) as refused:
            await written(bottle, new, there)
        assert refused.value.reason.id == "field-not-writable", there


@pytest.mark.parametrize("role", ["north", "not-south"])
async def test_nobody_writes_the_attribute_that_his_own_rights_depend_on(bottle: Glue, role: str) -> None:
    one = await made(bottle, ONE)
    there = {"contact_obj": {**one, "state": "South"}}
    for value in ({"state": "north"}, {"a": {"STATE": "north"}}, {"state": ["north"]}, {"state": ""}):
        with pytest.raises(Refusal) as refused:
            await written(bottle, value, there, role)
        assert (refused.value.reason.id, refused.value.fields) == ("field-not-writable", ("region",)), value
    assert await written(bottle, {"state": " south"}, there, role) == {"state": " south"}
    with pytest.raises(Refusal):
        await written(bottle, {"state": "south"}, None, role)
    assert await written(bottle, {"state": "north"}, there, "manager") == {"state": "north"}


async def test_two_records_are_not_made_one_by_somebody_whose_rights_depend_on_one(bottle: Glue) -> None:
    body = orjson.dumps({"target": TWO})
    for role, passes in (("manager", True), ("north", False)):
        exchange = bottle.exchange("POST", f"/api/contacts/{ONE}/merge/", role=role, body=body, content_type=JSON)
        if passes:
            await bottle.protect(exchange, body, JSON)
            continue
        with pytest.raises(Refusal):
            await bottle.protect(exchange, body, JSON)


async def test_a_condition_makes_no_oracle_of_searches(bottle: Glue) -> None:
    """The right to search has no condition: who sees a field only under one searches as who sees it masked."""
    assert bottle.bundle.view(TENANT, ("north",)).rule("contact", "phone", "phone").searchable
    for query in ("search=Zhang", "email=zhang.wei%40example.com"):
        exchange = bottle.exchange("GET", f"/api/contacts/?{query}", role="north", user=BORIS)
        with pytest.raises(Refusal) as refused:
            await bottle.protect(exchange, b"")
        assert refused.value.reason.id == "field-not-searchable"


async def test_a_team_sees_what_its_people_own(bottle: Glue, pool: Pool) -> None:
    one = await made(bottle, ONE)
    entry = await bottle.entry(one["phone"])

    class Staff:
        told: dict[str, tuple[str, ...]] = {ANNA: ("sales.north",), BORIS: ("law",)}  # noqa: RUF012

        async def departments(self, tenant: str) -> dict[str, tuple[str, ...]]:
            return self.told

    records = Records(bottle.records._store, max_age=timedelta(days=1), staff=Staff())
    view = bottle.bundle.view(TENANT, ("team", "dept:sales.north"))
    now = bottle.clock()
    keys = [("contact", ONE), (ANY_ENTITY, ONE)]

    async def form(owner: str) -> Form:
        await records.note(TENANT, keys, owner, now)
        await records.load(TENANT, records_of([entry]), now, team=True)
        return settle(entry, view, records, TENANT, "9", now)[0]

    assert entry.origins == (Origin("contact", "phone", ONE),)
    assert await form(ANNA) is Form.CLEAR
    assert await form(BORIS) is await form("77") is await form("") is Form.HIDDEN
    await records.note(TENANT, keys, ANNA, now)
    late = now + timedelta(hours=1)  # nobody asked who is where since
    assert settle(entry, view, records, TENANT, "9", late)[0] is Form.HIDDEN

    class Broken:
        async def departments(self, tenant: str) -> dict[str, tuple[str, ...]]:
            raise StoreUnavailable("staff")

    with pytest.raises(StoreUnavailable):
        await Records(bottle.records._store, max_age=timedelta(days=1), staff=Broken()).load(
            TENANT, records_of([entry]), now, team=True
        )


async def test_a_key_of_two_people_is_nobodys(pool: Pool) -> None:
    async with pool.connection() as db:
        for number, (key, placed) in enumerate(
            [
                ("5", ["dept:sales"]),
                ("6", ["dept:law"]),
                ("6", ["dept:sales"]),
                (None, ["dept:x"]),
                ("8", ["position:y"]),
            ]
        ):
            await db.execute(
                "INSERT INTO app_user (tenant, id, login, login_key, crm_user, placements, created_at)"
                " VALUES ('staff', %s, %s, %s, %s, %s, now())",
                (f"u{number}", f"l{number}", f"l{number}", key, placed),
            )
    assert await StaffStore(pool).departments("staff") == {"5": ("sales",), "8": ()}


async def test_rights_to_write_are_those_of_the_record_that_a_value_is_written_to(bottle: Glue) -> None:
    exchange = bottle.exchange("PATCH", f"/api/contacts/{ONE}/", role="north", body=b"{}", content_type=JSON)
    exchange.facts = {
        ("contact", ONE): {"contact.region": ("north",)},
        ("contact", TWO): {"contact.region": ("north",)},
    }

    def may(entity: str = "contact", records: tuple[str, ...] | None = None) -> bool:
        return writing(exchange, entity, records).rule("contact", "phone", "phone").writable

    assert may()
    assert may(records=(ONE,))
    assert not may(records=(TWO,))
    assert not may(records=(ONE, TWO))
    assert not may(records=())
    assert not may(entity="lead")
    exchange.operation = bottle.profile.classify("POST", "/api/contacts/", "", b"{}", JSON)
    assert not may()
