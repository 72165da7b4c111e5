"""Dates kept beside the CRM and whole texts as cells: what the CRM gets, what comes back, what is never overwritten."""

import random
import re
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import orjson
import pytest
from selectolax.lexbor import LexborHTMLParser

from gateway.body.leaf import Leaf
from gateway.database import Pool
from gateway.refusal import (
    FIELD_NOT_SEARCHABLE,
    FIELD_NOT_WRITABLE,
    MASK_RETURNED,
    NEEDS_RECORD,
    RECORD_UNKNOWN,
    VALUE_INVALID,
    Reason,
    Refusal,
)
from gateway.verdict import PLACEHOLDER as BULLETS
from kms.keyring import KeysUnavailable
from kms.persons import Persons
from kms.shredding import Shredder
from kms.store import Store, StoreUnavailable
from policies.enforcer import DEFAULT_POLICY
from tests.real.celled import celled_profile
from tests.unit.gateway.glue import ANNA, BORIS, JSON, PERSON, SECRET, TENANT, FastProvider, Glue, open_glue

PLACEHOLDER = "1900-01-01"
PLACEHOLDERS = [(date(1900, 1, 1) + timedelta(days=one)).isoformat() for one in range(365)]
BORN = "1987-06-05"
NOTE = 'Calls after six.\r\nPrefers <b>e-mail</b> & "letters".'
# clerk: sees masks and may write; reader: sees everything and may write nothing; blind: may write and sees nothing.
POLICY = """
p, clerk, *, op:*, *, any
p, clerk, *, kind:*, masked, any
p, clerk, *, kind:*, write, any
p, reader, *, op:*, *, any
p, reader, *, kind:*, clear, any
p, blind, *, op:*, *, any
p, blind, *, kind:*, write, any
p, locked, *, op:*, *, any
"""


class Breakable(FastProvider):
    """A provider that can be made to fail."""

    broken = False

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        if self.broken:
            raise RuntimeError("no")
        return await super().unwrap(tenant, wrapped, context)


class Crm:
    """A Creme that keeps what it is sent, seen through the gateway by people of several roles."""

    def __init__(self, glue: Glue, provider: Breakable) -> None:
        self.glue = glue
        self.provider = provider
        self.held: dict[str, dict[str, str]] = {}

    async def create(self, record: str, role: str = "manager", **fields: str) -> None:
        given = {**PERSON, **fields}
        exchange, held = await self.glue.send_form("/persons/contact/add", given, role=role)
        self.held[record] = held
        await self.glue.answer(exchange, b"", status=302, location=f"/persons/contact/{record}")

    async def save(self, record: str, role: str = "manager", *, refused: bool = False, **fields: str) -> str:
        """Post the edit form; the CRM shows it again when it refuses."""
        path = f"/persons/contact/edit/{record}"
        exchange, held = await self.glue.send_form(path, {"user": ANNA, **fields}, role=role)
        if refused:
            _, shown = await self.glue.answer(exchange, self.form(held).encode())
            return shown.decode()
        self.held[record] |= held
        await self.glue.answer(exchange, b"", status=302, location=f"/persons/contact/{record}")
        return ""

    @staticmethod
    def form(held: dict[str, str]) -> str:
        return (
            f'<form><input name="birthday" value="{held.get("birthday", "")}">'
            f'<textarea name="description">{held.get("description", "")}</textarea></form>'
        )

    async def form_of(self, record: str, role: str) -> dict[str, str]:
        """What the edit form holds for somebody."""
        path = f"/persons/contact/edit/{record}"
        page = LexborHTMLParser(await self.glue.see(self.form(self.held[record]), role, target=path))
        box, area = page.css_first("input"), page.css_first("textarea")
        assert box is not None
        assert area is not None
        return {"birthday": box.attributes["value"] or "", "description": area.text()}

    def tile(self, record: str, spelled: str = "Jan. 1, 1900") -> str:
        held = self.held[record]
        return (
            f'<div data-key="regular_field-birthday"><span class="brick-tile-value">{spelled}</span></div>'
            f'<div data-key="regular_field-description"><span class="brick-tile-value">'
            f"{held.get('description', '')}</span></div>"
        )

    async def page_of(self, record: str, role: str, user: str = ANNA) -> str:
        return await self.glue.see(self.tile(record), role, user, target=f"/persons/contact/{record}")

    def rows(self, *records: str) -> str:
        return "<table>" + "".join(
            f'<tr class="lv-row"><td><input type="hidden" name="entity_id" value="{one}"></td>'
            f'<td name="regular_field-birthday"><div class="lv-cell-value"> Jan. 1, 1900 </div></td>'
            f'<td name="regular_field-description"><div class="lv-cell-value">'
            f"{self.held.get(one, {}).get('description', '')}</div></td></tr>"
            for one in records
        )


@pytest.fixture
async def crm(pool: Pool, keyring_path: Path, persons: Persons, tmp_path: Path) -> AsyncIterator[Crm]:
    profile, policy = tmp_path / "creme.yaml", tmp_path / "policy.csv"
    profile.write_text(celled_profile(), encoding="utf-8")
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    provider = Breakable(keyring_path, SECRET)
    async with open_glue(pool, keyring_path, str(profile), policy, provider, persons) as glue:
        yield Crm(glue, provider)


async def refused(work: Awaitable[object], reason: Reason) -> None:
    with pytest.raises(Refusal) as fault:
        await work
    assert fault.value.reason is reason


# -- dates ---------------------------------------------------------------------------------------------------------


async def test_the_crm_gets_a_placeholder_and_each_role_its_view(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    assert crm.held["5"]["birthday"] == PLACEHOLDER
    seen = {role: await crm.page_of("5", role) for role in ("manager", "clerk", "blind")}
    assert "June 5, 1987" in seen["manager"]
    assert "1987-**-**" in seen["clerk"]
    assert "June" not in seen["clerk"]
    assert BULLETS in seen["blind"]
    assert "19" not in seen["blind"]
    forms = {role: (await crm.form_of("5", role))["birthday"] for role in ("manager", "clerk", "blind")}
    assert forms == {"manager": BORN, "clerk": PLACEHOLDER, "blind": PLACEHOLDER}


async def test_a_role_sees_the_dates_of_own_records_only(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    assert "1987-**-**" in await crm.page_of("5", "sales", ANNA)
    assert "1987" not in await crm.page_of("5", "sales", BORIS)


async def test_rows_of_a_list_show_each_its_own_date(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    await crm.create("6", birthday="1991-12-31")
    page = LexborHTMLParser(await crm.glue.see(crm.rows("6", "5", "7"), "manager", target="/persons/contacts"))
    assert [node.text().strip() for node in page.css("td[name=regular_field-birthday] div")] == [
        "Dec. 31, 1991",
        "June 5, 1987",
        BULLETS,
    ]


async def test_parts_of_a_page_inside_json_are_shown_by_record(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    exchange = crm.glue.exchange("GET", "/creme_core/bricks/reload/detailview/5", role="clerk")
    body = b'[["hat", ' + orjson.dumps(crm.tile("5")) + b"]]"
    _, shown = await crm.glue.answer(exchange, body, "application/json")
    assert b"1987-**-**" in shown
    assert b"1900" not in shown


async def test_rows_of_a_table_are_told_apart_by_their_names(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    await crm.create("6", birthday="1991-12-31")
    lines = ["Last name,First name,Birthday"]
    lines += [f"{crm.held[one]['last_name']},{crm.held[one]['first_name']},{PLACEHOLDER}" for one in ("6", "5")]
    # A row with the names of two people, and rows without any name.
    lines += [f"{crm.held['5']['last_name']},{crm.held['6']['first_name']},{PLACEHOLDER}"]
    lines += [f",,{PLACEHOLDER}", f"Smith,,{PLACEHOLDER}", ",,1970-02-03"]
    body = "\r\n".join(lines).encode()
    crm.glue.installation.learn("/persons/contacts", 200, b"/creme_core/mass_import/98\n")
    told = {}
    for role in ("manager", "clerk", "blind"):
        exchange = crm.glue.exchange("GET", "/creme_core/mass_export?ct_id=98&type=csv", role=role)
        _, shown = await crm.glue.answer(exchange, body, "text/csv")
        told[role] = [line.rpartition(",")[2] for line in shown.decode().splitlines()[1:]]
    assert told["manager"] == ["1991-12-31", BORN, BULLETS, BULLETS, BULLETS, "1970-02-03"]
    assert told["clerk"] == ["1991-**-**", "1987-**-**", BULLETS, BULLETS, BULLETS, "1970-**-**"]
    assert told["blind"] == [BULLETS] * 6


async def test_a_cell_in_a_table_opens_in_the_row_of_its_record_only(crm: Crm) -> None:
    await crm.create("5", description="Calls after six")
    await crm.create("6", description="other")
    crm.glue.installation.learn("/persons/contacts", 200, b"/creme_core/mass_import/98\n")
    cell = crm.held["5"]["description"]
    for whose, opens in (("5", True), ("6", False)):
        names = f"{crm.held[whose]['last_name']},{crm.held[whose]['first_name']}"
        body = f"Last name,First name,Description\r\n{names},{cell}\r\n".encode()
        exchange = crm.glue.exchange("GET", "/creme_core/mass_export?ct_id=98&type=csv")
        _, shown = await crm.glue.answer(exchange, body, "text/csv")
        assert (b"Calls after six" in shown) is opens
        assert cell.encode() not in shown


async def test_nothing_is_opened_where_the_page_is_about_somebody_else(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    shown = await crm.glue.see(crm.tile("5"), "manager", target="/persons/organisation/5")
    assert "Jan. 1, 1900" in shown
    assert "1987" not in await crm.glue.see(crm.tile("5"), "manager", target="/persons/contact/6")


async def test_a_date_that_is_not_protected_yet_follows_the_rights_and_is_not_lost(crm: Crm) -> None:
    await crm.create("5")
    crm.held["5"]["birthday"] = "1970-02-03"
    assert "Feb. 3, 1970" in await crm.glue.see(crm.tile("5", "Feb. 3, 1970"), "manager", target="/persons/contact/5")
    masked = await crm.glue.see(crm.tile("5", "Feb. 3, 1970"), "clerk", target="/persons/contact/5")
    assert "1970-**-**" in masked
    assert "Feb. 3" not in masked
    for role in ("clerk", "blind"):
        box = (await crm.form_of("5", role))["birthday"]
        assert box != PLACEHOLDER
        assert "02-03" not in box
        await refused(crm.save("5", role, birthday=box), MASK_RETURNED)


@pytest.mark.parametrize("shown", [PLACEHOLDER, "1987-**-**", BULLETS])
async def test_what_was_shown_keeps_the_date(crm: Crm, shown: str) -> None:
    await crm.create("5", birthday=BORN)
    await crm.save("5", "clerk", birthday=shown)
    assert crm.held["5"]["birthday"] == PLACEHOLDER
    assert (await crm.form_of("5", "manager"))["birthday"] == BORN


async def test_a_mask_of_another_date_or_of_none_is_refused(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    await refused(crm.save("5", "clerk", birthday="1986-**-**"), MASK_RETURNED)
    await refused(crm.save("5", "blind", birthday="1987-**-**"), MASK_RETURNED)
    await crm.create("6")
    await refused(crm.save("6", "clerk", birthday=BULLETS), MASK_RETURNED)
    await refused(crm.create("7", "clerk", birthday="1987-**-**"), MASK_RETURNED)


async def test_without_the_right_to_write_nothing_changes(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    for text in ("1980-01-02", ""):
        await refused(crm.save("5", "reader", birthday=text), FIELD_NOT_WRITABLE)
        await refused(crm.save("5", "locked", birthday=text), FIELD_NOT_WRITABLE)
    await refused(crm.save("5", "locked", birthday=BORN), FIELD_NOT_WRITABLE)  # it is no oracle
    await refused(crm.create("6", "locked", birthday=BORN), FIELD_NOT_WRITABLE)
    await crm.save("5", "reader", birthday=BORN)
    await crm.save("5", "locked", birthday=PLACEHOLDER)
    assert (await crm.form_of("5", "manager"))["birthday"] == BORN


async def test_a_refused_form_changes_nothing_and_shows_what_was_typed(crm: Crm, pool: Pool) -> None:
    await crm.create("5", birthday=BORN)
    shown = await crm.save("5", "blind", refused=True, birthday="1980-01-02")
    assert 'value="1980-01-02"' in shown
    assert (await crm.form_of("5", "manager"))["birthday"] == BORN
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM vault_beside WHERE record = ''")
        assert await cursor.fetchone() == (0,)


async def test_an_emptied_date_is_forgotten(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    await crm.save("5", "clerk", birthday="")
    assert await crm.glue.beside.read(TENANT, "contact", "birthday", ["5"]) == {}
    await crm.save("5", "clerk", birthday=PLACEHOLDER)
    assert (await crm.form_of("5", "manager"))["birthday"] == PLACEHOLDER


async def test_a_placeholder_in_a_new_record_never_shows_what_was_kept_under_its_number(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    await crm.create("5", "clerk", birthday=PLACEHOLDER)
    assert (await crm.form_of("5", "manager"))["birthday"] == PLACEHOLDER
    assert "1987" not in await crm.page_of("5", "manager")


async def test_values_that_could_be_given_to_no_record_are_refused(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    await refused(
        crm.glue.send_form("/persons/contact/add", {**PERSON, "birthday": BORN, "callback_url": "/x"}), NEEDS_RECORD
    )
    await crm.create("6", birthday=BORN)
    await refused(bulk(crm, "", "5", "6"), NEEDS_RECORD)
    await refused(crm.glue.send_form("/creme_core/mass_import/98", {"birthday_defval": BORN}), NEEDS_RECORD)
    await refused(crm.save("5", birthday="5/6/87"), VALUE_INVALID)


async def bulk(crm: Crm, given: str, *records: str, role: str = "manager") -> str:
    """A bulk edit of the birthday that is answered with an error; what the CRM gets."""
    crm.glue.installation.learn("/persons/contacts", 200, b"/creme_core/mass_import/98\n")
    target = "/creme_core/entity/update/bulk/98/field/regular_field-birthday"
    body = urlencode([("birthday", given), *(("entities", one) for one in records)]).encode()
    exchange = crm.glue.exchange("POST", target, body=body, role=role)
    outgoing = await crm.glue.protect(exchange, body)
    assert isinstance(outgoing.body, bytes)
    await crm.glue.answer(exchange, b"some were left out", status=409)
    return dict(parse_qsl(outgoing.body.decode(), keep_blank_values=True))["birthday"]


async def test_of_several_records_each_has_the_date_that_its_placeholder_names(crm: Crm) -> None:
    for record in ("5", "6", "7"):
        await crm.create(record, birthday=BORN)
    await crm.save("6", birthday="1950-01-01")
    sent = await bulk(crm, "1944-02-29", "5", "6", "7")
    assert sent in PLACEHOLDERS
    assert sent not in {crm.held[one]["birthday"] for one in ("5", "6", "7")}
    for record in ("5", "6"):  # the CRM takes it for these two
        crm.held[record]["birthday"] = sent
    forms = [(await crm.form_of(one, "manager"))["birthday"] for one in ("5", "6", "7")]
    assert forms == ["1944-02-29", "1944-02-29", BORN]
    await refused(bulk(crm, "1944-03-01", "5", "6", role="reader"), FIELD_NOT_WRITABLE)
    await refused(bulk(crm, BORN, "5", "7", role="reader"), FIELD_NOT_WRITABLE)


# -- answers that never came ---------------------------------------------------------------------------------------


async def test_a_date_whose_answer_never_came_is_the_one_that_the_crm_holds(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    path = "/persons/contact/edit/5"
    _, sent = await crm.glue.send_form(path, {"user": ANNA, "birthday": "1950-01-01"})
    assert (await crm.form_of("5", "manager"))["birthday"] == BORN  # the CRM has not taken it, or not yet
    crm.held["5"] |= sent
    assert (await crm.form_of("5", "manager"))["birthday"] == "1950-01-01"
    assert (await crm.form_of("5", "clerk"))["birthday"] == sent["birthday"]
    # What comes back as it was shown changes nothing; who may not write has to wait until it is sure what stands.
    await crm.save("5", "clerk", birthday=sent["birthday"])
    assert (await crm.form_of("5", "manager"))["birthday"] == "1950-01-01"
    for day in ("1950-01-01", BORN, PLACEHOLDER, sent["birthday"], "1950-**-**"):
        await refused(crm.save("5", "reader", birthday=day), FIELD_NOT_WRITABLE)
    await crm.save("5", "clerk", birthday="1950-**-**")
    assert (await crm.form_of("5", "manager"))["birthday"] == "1950-01-01"
    await refused(crm.save("5", "clerk", birthday=BULLETS), MASK_RETURNED)  # nobody is sure of which of the two
    await refused(crm.save("5", "clerk", birthday=PLACEHOLDERS[200]), MASK_RETURNED)
    await crm.save("5", birthday="1960-02-03")
    assert (await crm.form_of("5", "manager"))["birthday"] == "1960-02-03"


class Held:
    """What the CRM says that it holds."""

    def __init__(self, birthday: str) -> None:
        self._birthday = birthday

    async def text(self, path: tuple[str, ...]) -> str | None:
        return self._birthday if path == ("birthday",) else None


async def test_where_nobody_is_sure_the_crm_tells_a_save_without_the_right_which_date_stands(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    _, sent = await crm.glue.send_form("/persons/contact/edit/5", {"user": ANNA, "birthday": "1950-01-01"})
    spec = crm.glue.profile.field_specs["contact", "birthday"]

    async def saved(day: str, shown: str, path: tuple[str, ...] | None = ("birthday",)) -> str | None:
        exchange = crm.glue.exchange("POST", "/persons/contact/edit/5", role="reader", body=b"")
        exchange.showing = Held(shown)  # type: ignore[assignment]
        leaf = Leaf(("birthday",), day)
        await crm.glue.kept.take(exchange, leaf, spec, ("5",), "*", alone=True, path=path)
        assert exchange.kept == ()
        return leaf.new

    assert sent["birthday"] != PLACEHOLDER
    assert await saved("1950-01-01", sent["birthday"]) == sent["birthday"]
    assert await saved(BORN, PLACEHOLDER) == PLACEHOLDER
    for day, shown in (
        (BORN, sent["birthday"]),
        ("1950-01-01", PLACEHOLDER),
        ("", PLACEHOLDER),
        (BORN, ""),
        (BORN, "x"),
    ):
        await refused(saved(day, shown), FIELD_NOT_WRITABLE)
    await refused(saved(BORN, PLACEHOLDER, None), FIELD_NOT_WRITABLE)
    assert await saved("", "") is None  # it was emptied meanwhile, and stays so


async def test_an_old_page_brings_no_date_back_while_only_the_crm_is_sure(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    _, sent = await crm.glue.send_form("/persons/contact/edit/5", {"user": ANNA, "birthday": "1950-01-01"})
    spec = crm.glue.profile.field_specs["contact", "birthday"]
    exchange = crm.glue.exchange("POST", "/persons/contact/edit/5", role="clerk", body=b"")
    exchange.showing = Held(sent["birthday"])  # type: ignore[assignment]
    leaf = Leaf(("birthday",), PLACEHOLDER)  # as the page was before
    await crm.glue.kept.take(exchange, leaf, spec, ("5",), "*", alone=True, path=("birthday",))
    assert leaf.new == sent["birthday"] != PLACEHOLDER


@pytest.mark.parametrize("given", [BULLETS, "1950-**-**", PLACEHOLDER])
async def test_what_stood_in_a_field_that_was_emptied_does_not_come_back_by_a_mask(crm: Crm, given: str) -> None:
    await crm.create("5", birthday="")
    await crm.glue.send_form("/persons/contact/edit/5", {"user": ANNA, "birthday": "1950-01-01"})  # and no answer
    spec = crm.glue.profile.field_specs["contact", "birthday"]
    exchange = crm.glue.exchange("POST", "/persons/contact/edit/5", role="clerk", body=b"")
    exchange.showing = Held("")  # type: ignore[assignment]
    work = crm.glue.kept.take(exchange, Leaf(("birthday",), given), spec, ("5",), "*", alone=True, path=("birthday",))
    await refused(work, MASK_RETURNED)
    exchange.showing = Held(PLACEHOLDER)  # type: ignore[assignment]
    leaf = Leaf(("birthday",), given)
    await crm.glue.kept.take(exchange, leaf, spec, ("5",), "*", alone=True, path=("birthday",))
    assert (leaf.text if leaf.new is None else leaf.new) == PLACEHOLDER


@pytest.mark.parametrize("records", [("5", "6"), ("6", "5")])
async def test_a_merge_keeps_the_placeholder_of_the_date_that_it_keeps(crm: Crm, records: tuple[str, str]) -> None:
    await crm.create("5", birthday=BORN)
    await crm.save("5", birthday="1950-01-01")  # another placeholder than the first one
    await crm.create("6", birthday="")
    spec, held = crm.glue.profile.field_specs["contact", "birthday"], crm.held["5"]["birthday"]
    for given in ("1950-01-01", held):
        exchange = crm.glue.exchange("POST", "/persons/contact/edit/5", role="manager", body=b"")
        assert exchange.operation is not None
        exchange.operation = replace(exchange.operation, record=None, records=records, extra={"merges": "yes"})
        leaf = Leaf(("birthday_merged",), given)
        await crm.glue.kept.take(exchange, leaf, spec, records, "*", alone=True)
        assert (leaf.text if leaf.new is None else leaf.new) == held != PLACEHOLDER
        assert {one.record for one in exchange.kept} == {"6"}
        await crm.glue.kept.settle(exchange, None, accepted=given == held, certain=True)  # refused at first
    crm.held["6"]["birthday"] = held
    assert (await crm.form_of("6", "manager"))["birthday"] == "1950-01-01"


@pytest.mark.parametrize("status", [408, 500, 502, 504])
async def test_an_answer_that_says_nothing_keeps_both_dates(crm: Crm, status: int) -> None:
    await crm.create("5", birthday=BORN)
    exchange, sent = await crm.glue.send_form("/persons/contact/edit/5", {"user": ANNA, "birthday": "1950-01-01"})
    await crm.glue.answer(exchange, b"", status=status)
    assert (await crm.form_of("5", "manager"))["birthday"] == BORN
    crm.held["5"] |= sent
    assert (await crm.form_of("5", "manager"))["birthday"] == "1950-01-01"


async def test_an_old_form_brings_no_old_date_back(crm: Crm) -> None:
    await crm.create("5", birthday=BORN)
    old = (await crm.form_of("5", "clerk"))["birthday"]
    await crm.save("5", birthday="1950-01-01")
    await crm.save("5", "clerk", birthday=old)
    assert crm.held["5"]["birthday"] != old
    assert (await crm.form_of("5", "manager"))["birthday"] == "1950-01-01"
    crm.held["5"]["birthday"] = old  # the CRM took the old form after the new one
    assert (await crm.form_of("5", "manager"))["birthday"] == "1950-01-01"


async def test_a_day_of_the_placeholders_is_no_date_of_birth(crm: Crm) -> None:
    await refused(crm.create("5", birthday=PLACEHOLDERS[1]), VALUE_INVALID)


# -- deletions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "body"),
    [("/creme_core/entity/delete/5", b""), ("/creme_core/entity/delete/multi", b"ids=5%2C6")],
)
async def test_records_that_are_asked_to_end_are_looked_at_and_lose_nothing_yet(
    crm: Crm, target: str, body: bytes
) -> None:
    for record in ("5", "6", "7"):
        await crm.create(record, birthday=BORN)
    exchange = crm.glue.exchange("POST", target, body=body)
    await crm.glue.protect(exchange, body)
    await crm.glue.answer(exchange, b"", status=409)
    asked = set(await crm.glue.beside.store.unsure(TENANT, 9))
    assert asked == {("contact", one) for one in (("5", "6") if body else ("5",))}
    assert "June 5, 1987" in await crm.page_of("5", "manager")


# -- null ----------------------------------------------------------------------------------------------------------


async def empty(crm: Crm, record: str, role: str, blank: bytes, status: int = 302) -> None:
    """A program sends null for the birthday."""
    body = b'{"user": "%s", "birthday": %s, "phone": null}' % (ANNA.encode(), blank)
    target = f"/persons/contact/edit/{record}"
    exchange = crm.glue.exchange("POST", target, role=role, body=body, content_type=JSON)
    outgoing = await crm.glue.protect(exchange, body, JSON)
    assert outgoing.body == body
    await crm.glue.answer(exchange, b"", status=status, location=f"/persons/contact/{record}")


@pytest.mark.parametrize("blank", [b"null", b"false"])
async def test_null_clears_a_date_for_somebody_who_may_write_it_and_for_nobody_else(crm: Crm, blank: bytes) -> None:
    await crm.create("5", birthday=BORN)
    await refused(empty(crm, "5", "reader", blank), FIELD_NOT_WRITABLE)
    await empty(crm, "5", "clerk", blank, status=409)
    assert "June 5, 1987" in await crm.page_of("5", "manager")
    await empty(crm, "5", "clerk", blank)
    assert "1987" not in await crm.page_of("5", "manager")  # not even behind the placeholder that stands there still
    await empty(crm, "5", "reader", blank)  # there is nothing to clear


async def test_null_clears_a_whole_text_only_for_somebody_who_may_write_it(crm: Crm) -> None:
    await crm.create("5", description=NOTE)
    body = b'{"user": "%s", "description": null}' % ANNA.encode()
    exchange = crm.glue.exchange("POST", "/persons/contact/edit/5", role="reader", body=body, content_type=JSON)
    await refused(crm.glue.protect(exchange, body, JSON), FIELD_NOT_WRITABLE)


async def test_a_create_whose_record_the_crm_does_not_tell_is_told_to_the_person(crm: Crm) -> None:
    exchange, _ = await crm.glue.send_form("/persons/contact/add", {**PERSON, "birthday": BORN})
    await refused(crm.glue.answer(exchange, b"", status=302, location="/"), RECORD_UNKNOWN)


async def test_a_search_by_date_is_refused(crm: Crm) -> None:
    exchange = crm.glue.exchange("GET", "/persons/contacts?search-regular_field-birthday-start=1987-06-05")
    await refused(crm.glue.protect(exchange, b""), FIELD_NOT_SEARCHABLE)


# -- cells ---------------------------------------------------------------------------------------------------------


async def test_a_whole_text_is_sealed_and_shown_by_role(crm: Crm) -> None:
    await crm.create("5", description=NOTE)
    cell = crm.held["5"]["description"]
    assert re.fullmatch(r"~G1\.[A-Za-z0-9_-]+", cell)
    assert (await crm.form_of("5", "manager"))["description"] == NOTE
    assert "Prefers &lt;b&gt;e-mail&lt;/b&gt; &amp;" in await crm.page_of("5", "manager")
    for role in ("clerk", "blind", "locked"):
        page = await crm.page_of("5", role)
        assert "Calls" not in page
        assert cell not in page
        assert BULLETS in page
        assert (await crm.form_of("5", role))["description"] == cell
    assert (await crm.form_of("5", "reader"))["description"] == NOTE
    assert "Calls after six" in await crm.page_of("5", "reader")


async def test_a_cell_moved_to_another_record_opens_nowhere(crm: Crm) -> None:
    await crm.create("5", description=NOTE)
    await crm.create("6", description="other")
    crm.held["6"]["description"] = crm.held["5"]["description"]
    assert "Calls" not in await crm.page_of("6", "manager")
    assert "Calls" not in (await crm.form_of("6", "manager"))["description"]
    assert "Calls" not in await crm.glue.see(crm.rows("6"), "manager", target="/persons/contacts")
    assert "Calls" not in await crm.glue.see(crm.rows("5", "6"), "manager", target="/persons/contacts")
    assert "Calls" in await crm.page_of("5", "manager")


@pytest.mark.parametrize("content_type", ["application/json", "text/csv", "text/html", "text/plain"])
async def test_a_cell_is_found_in_every_format_and_opens_only_where_its_record_is_known(
    crm: Crm, content_type: str
) -> None:
    await crm.create("5", description="Calls after six")
    cell = crm.held["5"]["description"]
    body = {
        "application/json": f'{{"note": "{cell}"}}',
        "text/csv": f"a,b\r\n1,{cell}\r\n",
        "text/html": f"<p>{cell}</p>",
        "text/plain": f"note: {cell}.",
    }[content_type].encode()
    for target, opens in (("/persons/contact/5", True), ("/persons/contact/6", False), ("/persons/contacts", False)):
        _, shown = await crm.glue.answer(crm.glue.exchange("GET", target), body, content_type)
        assert (b"Calls after six" in shown) is opens
        assert cell.encode() not in shown or content_type == "application/json"


async def test_a_cut_or_unknown_cell_is_hidden(crm: Crm) -> None:
    await crm.create("5", description=NOTE)
    cut = crm.held["5"]["description"][:60]
    shown = await crm.glue.see(f"<p>{cut}…</p>", "manager", target="/persons/contact/5")
    assert cut not in shown
    assert BULLETS in shown


async def test_only_the_cell_that_stands_there_may_come_back(crm: Crm) -> None:
    await crm.create("5", description=NOTE)
    await crm.create("6", description="somebody else's")
    old = crm.held["5"]["description"]
    for role in ("blind", "locked", "reader"):
        await crm.save("5", role, description=old)
        assert crm.held["5"]["description"] == old
    for role, shown in (("manager", NOTE), ("reader", NOTE), ("locked", BULLETS), ("clerk", BULLETS)):
        await crm.save("5", role, description=shown)
        assert crm.held["5"]["description"] == old, role
    await refused(crm.save("5", "locked", description=NOTE), FIELD_NOT_WRITABLE)  # it is no oracle
    await crm.save("5", "manager", description="new")
    assert (await crm.form_of("5", "manager"))["description"] == "new"
    for role in ("locked", "reader"):
        await refused(crm.save("5", role, description=old), FIELD_NOT_WRITABLE)
        await refused(crm.save("5", role, description="typed"), FIELD_NOT_WRITABLE)
        await refused(crm.save("5", role, description=""), FIELD_NOT_WRITABLE)
    for role in ("manager", "blind", "locked"):
        for pasted in (crm.held["6"]["description"], old + "x", "see " + old, old[1:], old[:-1], "~G1." + "A" * 60):
            await refused(crm.save("5", role, description=pasted), MASK_RETURNED)
    wire = str((await crm.glue.see_json({"phone": crm.held["5"]["phone"]}, "clerk"))["phone"])  # type: ignore[index,call-overload]
    for ours in (crm.held["5"]["phone"], crm.held["5"]["last_name"], wire, crm.held["5"]["email"][:-1]):
        await refused(crm.save("5", "blind", description=f"see {ours}"), MASK_RETURNED)  # sealed, it would be lost
    assert (await crm.form_of("5", "manager"))["description"] == "new"
    await crm.save("5", "manager", description="")
    await refused(crm.save("5", "blind", description=BULLETS), MASK_RETURNED)
    assert crm.held["5"]["description"] == ""
    await crm.save("5", "locked", description="")


async def test_a_refused_form_shows_the_text_again_and_leaves_the_old_one(crm: Crm) -> None:
    await crm.create("5", description=NOTE)
    shown = await crm.save("5", "blind", refused=True, description="typed <just> now")
    assert "typed &lt;just&gt; now" in shown
    assert (await crm.form_of("5", "manager"))["description"] == NOTE
    await crm.save("5", "locked", description=crm.held["5"]["description"])


# -- collaborators away --------------------------------------------------------------------------------------------


async def test_nothing_is_shown_or_taken_while_keys_are_away(
    pool: Pool, keyring_path: Path, tmp_path: Path, persons: Persons, crm: Crm
) -> None:
    await crm.create("5", birthday=BORN, description=NOTE)
    profile, policy = tmp_path / "creme.yaml", tmp_path / "policy.csv"
    provider = Breakable(keyring_path, SECRET)
    async with open_glue(pool, keyring_path, str(profile), policy, provider, persons) as other:
        late = Crm(other, crm.provider)
        late.held = crm.held
        Breakable.broken = True
        try:
            for work in (
                late.page_of("5", "manager"),
                late.form_of("5", "clerk"),
                late.save("5", birthday="1980-01-02"),
                late.save("5", description="new"),
            ):
                with pytest.raises(KeysUnavailable):
                    await work
        finally:
            Breakable.broken = False
        assert "June 5, 1987" in await late.page_of("5", "manager")


async def test_nothing_is_shown_or_taken_while_the_store_is_away(crm: Crm, pool: Pool) -> None:
    await crm.create("5", birthday=BORN, description=NOTE)
    await pool.close()
    for work in (
        crm.page_of("5", "manager"),
        crm.save("5", birthday="1980-01-02"),
        crm.save("5", description="new"),
    ):
        with pytest.raises(StoreUnavailable):
            await work


# -- random edits --------------------------------------------------------------------------------------------------

ROLES = {"manager": (True, True), "clerk": (False, True), "blind": (False, True), "reader": (True, False)}


@pytest.mark.parametrize("seed", range(4))
async def test_random_edits_lose_and_overwrite_nothing(crm: Crm, seed: int) -> None:
    """Everybody saves forms as they came, with new values, emptied, or with masks; a model says what must stand."""
    rng = random.Random(seed)
    truth = {"birthday": BORN, "description": NOTE}
    await crm.create("5", birthday=BORN, description=NOTE)
    for number in range(25):
        role = rng.choice(list(ROLES))
        _, writes = ROLES[role]
        shown = await crm.form_of("5", role)
        posted, means = dict(shown), dict(truth)
        for name in posted:
            how = rng.choice(("kept", "kept", "new", "emptied"))
            if how == "new":
                posted[name] = means[name] = (
                    date(1950 + number, 1 + number % 12, 3).isoformat() if name == "birthday" else f"note {number}"
                )
            elif how == "emptied":
                posted[name] = means[name] = ""
        refuses = rng.random() < 0.2
        if not writes and means != truth:
            await refused(crm.save("5", role, refused=refuses, **posted), FIELD_NOT_WRITABLE)
        else:
            await crm.save("5", role, refused=refuses, **posted)
            truth = truth if refuses else means
        assert await crm.form_of("5", "manager") == truth, (number, role)
        assert crm.held["5"]["birthday"] in ("", *PLACEHOLDERS)
        assert "note" not in crm.held["5"]["description"]


# -- cells after an erasure ----------------------------------------------------------------------------------------


async def cells_of(pool: Pool) -> list[tuple[str, bool, bool]]:
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT record, held, erased_at IS NOT NULL FROM vault_cell ORDER BY record")
        return [(str(record), bool(held), bool(erased)) for record, held, erased in await cursor.fetchall()]


async def test_a_cell_of_an_erased_person_is_six_bullets_to_everybody(crm: Crm, persons: Persons, pool: Pool) -> None:
    await crm.create("5", description=NOTE)
    await crm.create("6", description=NOTE)
    assert await cells_of(pool) == [("5", True, False), ("6", True, False)]
    await Shredder(Store(pool), persons, crm.glue.clock).erase(TENANT, [("contact", "5")])
    crm.glue.vault.persons_changed(TENANT)
    assert await cells_of(pool) == [("5", True, True), ("6", True, False)]
    for role in ("manager", "reader", "clerk", "blind"):
        page = await crm.page_of("5", role)
        assert BULLETS in page
        assert "after six" not in page
    assert "after six" in await crm.page_of("6", "manager")
    # The record may still be written, and then it holds what is new.
    await crm.save("5", description="Somebody else.")
    assert "Somebody else." in await crm.page_of("5", "manager")


@pytest.mark.parametrize(("status", "left"), [(200, 0), (403, 0), (500, 1), (503, 1)])
async def test_a_create_leaves_its_cell_unless_it_was_surely_refused(
    crm: Crm, pool: Pool, status: int, left: int
) -> None:
    """A CRM that failed may have stored the record, and without the value key nobody could ever read it."""
    exchange, _ = await crm.glue.send_form("/persons/contact/add", {**PERSON, "description": NOTE})
    assert await cells_of(pool) == [("", True, False)]
    await crm.glue.answer(exchange, b"<form></form>", status=status)
    assert len(await cells_of(pool)) == left
