"""What a person with full rights types is what they see again: lines, spellings, search boxes, odd values."""

import json
import re
from urllib.parse import parse_qsl, urlsplit

import pytest

from gateway.echo import typed_again
from tests.unit.gateway.glue import PERSON, TENANT, Glue

ADD, EDIT = "/persons/contact/add", "/persons/contact/edit/5"
ADDRESS = "billing_address-address"
LIST = "/persons/contacts?search-regular_field-"
NAME = "Zq[a-z2-7]{14}"
LINE = "Zx[a-z2-7]{14}"


async def test_an_address_becomes_one_surrogate_a_line_with_its_own_line_breaks(creme: Glue) -> None:
    exchange, held = await creme.send_form(ADD, {**PERSON, ADDRESS: "12 rue de Rivoli\r\n\r\nBâtiment B"})
    assert re.fullmatch(f"{LINE}\r\n\r\n{LINE}", held[ADDRESS])
    await creme.answer(exchange, b"", status=302, location="/persons/contact/5")
    shown = await creme.see(f"<p>{held[ADDRESS]}</p>", "manager")
    assert shown == "<p>12 rue de Rivoli\r\n\r\nBâtiment B</p>"


async def test_the_lines_of_an_address_that_come_back_stay(creme: Glue) -> None:
    held = await creme.create("5", billing_address__address="12 rue de Rivoli\r\nBâtiment B")
    for given in (held[ADDRESS], "12 rue de Rivoli\r\nBâtiment B"):
        _, again = await creme.send_form(EDIT, {ADDRESS: given})
        assert again[ADDRESS] == held[ADDRESS]
    _, again = await creme.send_form(EDIT, {ADDRESS: held[ADDRESS]}, role="sales")
    assert again[ADDRESS] == held[ADDRESS]


async def test_lines_that_have_no_room_for_surrogates_stay_one_value(creme: Glue) -> None:
    _, held = await creme.send_form(ADD, {**PERSON, "billing_address-po_box": "\r\n".join("abcd")})
    assert re.fullmatch(LINE, held["billing_address-po_box"])


async def test_a_mention_in_a_note_keeps_its_own_spelling(creme: Glue) -> None:
    held = await creme.create("5", phone="138 0013 8000", email="Zhang.Wei@Example.com", description="x")
    note = "call 13800138000, +86-138-0013-8000 or 138 0013 8000, write to zhang.wei@example.com"
    exchange, sent = await creme.send_form(EDIT, {"description": note})
    await creme.answer(exchange, b"", status=302, location="/persons/contact/5")
    for spelling in ("13800138000", "138-0013-8000", "138 0013 8000", "zhang.wei@example.com"):
        assert spelling not in sent["description"]
    shown = await creme.see(f"<p>{held['phone']}: {sent['description']}</p>", "manager", target="/persons/contact/5")
    assert shown == f"<p>138 0013 8000: {note}</p>"
    _, again = await creme.send_form(EDIT, {"description": note})
    assert again["description"] == sent["description"]


async def test_a_mention_in_the_same_spelling_is_the_same_surrogate(creme: Glue) -> None:
    held = await creme.create("5", phone="13800138000", description="x")
    _, sent = await creme.send_form(EDIT, {"description": "call 13800138000"})
    assert sent["description"] == f"call {held['phone']}"


async def test_a_name_that_is_also_in_a_note_is_found_in_its_field(creme: Glue) -> None:
    held = await creme.create("5", last_name="d'Arcy", first_name="Zoé", description="x")
    await creme.create("6", last_name="Smith", first_name="John", description="knows Zoé d'Arcy well")
    outgoing = await creme.protect(creme.exchange("GET", f"{LIST}last_name=d%27Arcy"), None)
    assert parse_qsl(urlsplit(outgoing.target).query)[0][1] == held["last_name"]
    outgoing = await creme.protect(creme.exchange("GET", "/creme_core/search?research=Zo%C3%A9%20d%27Arcy"), None)
    assert parse_qsl(urlsplit(outgoing.target).query)[0][1] == held["last_name"]


@pytest.mark.parametrize("column", ["phone", "email"])
async def test_what_is_no_number_and_no_address_is_found_again(creme: Glue, column: str) -> None:
    _, held = await creme.send_form(ADD, {**PERSON, column: "see notes"})
    assert re.fullmatch(NAME, held[column])
    outgoing = await creme.protect(creme.exchange("GET", f"{LIST}{column}=see%20notes"), None)
    assert parse_qsl(urlsplit(outgoing.target).query)[0][1] == held[column]


async def test_a_search_box_shows_again_what_was_typed(creme: Glue) -> None:
    await creme.create("5", email="Zhang.Wei@Example.com")
    for typed in ("zhang.wei@example.com", "nobody@example.com"):
        exchange = creme.exchange("GET", f"{LIST}email={typed}")
        sent = parse_qsl(urlsplit((await creme.protect(exchange, None)).target).query)[0][1]
        assert sent != typed
        field = '<html><input type="text" name="search-regular_field-email" value="{}"><td>x</td></html>'
        _, shown = await creme.answer(exchange, field.format(sent).encode())
        assert shown.decode() == field.format(typed)


def test_only_the_field_that_was_searched_is_changed_and_what_was_typed_cannot_leave_it() -> None:
    page = b'<input name="a" value="+888"><input name="b" value="+888"><p name="a" value="+888">+888</p>'
    assert typed_again(page, {"a": ("+888", '"><b>')}) == page.replace(
        b'"a" value="+888"', b'"a" value="&quot;&gt;&lt;b&gt;"', 1
    )


async def test_a_saved_condition_fits_a_value_that_is_entered_later(creme: Glue) -> None:
    condition = [{"field": {"name": "mobile", "type": "string"}, "value": "13900001234"}]
    form = {"name": "By mobile", "regularfieldcondition": json.dumps(condition)}
    _, sent = await creme.send_form("/creme_core/entity_filter/add/98", form)
    kept = json.loads(sent["regularfieldcondition"])[0]["value"]
    held = await creme.create("5", mobile="139 0000 1234")
    assert kept == held["mobile"]
    assert kept in await creme.vault.find(TENANT, "phone", "13900001234")


async def test_a_file_form_whose_ids_the_profile_reads_first_is_protected(creme: Glue) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="vcf_step"\r\n\r\n0\r\n'
        b'--b\r\nContent-Disposition: form-data; name="vcf_file"; filename="a.vcf"\r\nContent-Type: text/vcard\r\n\r\n'
        b"BEGIN:VCARD\r\nVERSION:3.0\r\nEMAIL:j.mueller@example.org\r\nEND:VCARD\r\n\r\n--b--\r\n"
    )
    kind = "multipart/form-data; boundary=b"
    exchange = creme.exchange("POST", "/vcfs/vcf", body=body, content_type=kind)
    outgoing = await creme.protect(exchange, body, kind)
    assert outgoing.body is not None
    assert not isinstance(outgoing.body, bytes)
    sent = b"".join([chunk async for chunk in outgoing.body.chunks()])
    await outgoing.body.close()
    assert b"mueller" not in sent
    assert b"@enc.invalid" in sent
