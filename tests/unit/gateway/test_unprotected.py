"""While a CRM may hold clear values, they are hidden where the profile says that declared fields are shown."""

import io
import json
import re
from collections.abc import Callable

import openpyxl
import pytest
import xlwt  # type: ignore[import-untyped]

from gateway.body.limits import Limits as BodyLimits
from gateway.outward import Outward
from gateway.refusal import MASK_RETURNED, Refusal
from gateway.unprotected import Unprotected, Words
from gateway.verdict import PLACEHOLDER
from policies.decision import Form
from tests.unit.gateway.glue import ANNA, BORIS, Glue

ADDRESS = "12 rue Ostkel, 75001 Paris"
LIST = f"""<html><head><title>Luc Lefèvre-Ostal - Creme</title></head><body>
<a href="/persons/contact/7"><span>Contact</span>Luc Lefèvre-Ostal</a>
<a href="/persons/contact/8" data-action="redirect" title="Go to the entity 娜 孔">See</a>
<table><tr><td name="regular_field-last_name"><div>Lefèvre-Ostal</div></td>
<td name="regular_field-first_name">Luc</td><td name="regular_field-billing_address__address">{ADDRESS}</td></tr>
<tr><td name="regular_field-last_name">孔</td><td name="regular_field-first_name">娜</td></tr></table>
<p>Met Lefèvre-Ostal (LEFÈVRE-OSTAL) at {ADDRESS}; ring 13800138000</p>
<script type="application/json">{json.dumps({"owner": "Luc Lefèvre-Ostal", "at": ADDRESS})}</script></body></html>"""
SECRETS = ("Lefèvre", "LEFÈVRE", "Lef\\u00e8vre", "孔", "娜", "Ostkel", "13800138000")


def watched(glue: Glue, migrated: Callable[[str], bool] = lambda _: False) -> Glue:
    """The same gateway with a look for what is not protected."""
    look = Unprotected(lambda _: glue.scanner, migrated, BodyLimits())
    glue.outward = Outward(glue.reveal, glue.binding, BodyLimits(), unprotected=look)
    return glue


@pytest.mark.parametrize("user", [ANNA, BORIS, None])
async def test_clear_names_and_addresses_are_hidden_where_they_are_declared_and_in_the_rest_of_the_page(
    creme: Glue, user: str | None
) -> None:
    shown = await watched(creme).see(LIST, "sales", user)
    assert [one for one in SECRETS if one in shown] == []
    assert re.sub("<[^>]*>", "", shown).count("See") == 1  # buttons stay what they are
    assert '<td name="regular_field-last_name">' in shown  # and so does the markup


async def test_who_sees_everything_and_who_is_told_that_all_is_protected_get_the_page_as_it_is(creme: Glue) -> None:
    assert await watched(creme).see(LIST, "manager") == LIST
    shown = await watched(creme, lambda _: True).see(LIST, "sales")
    assert "Lefèvre-Ostal" in shown
    assert "13800138000" not in shown  # recognisers go on looking


async def test_surrogates_in_the_same_places_are_rendered_as_ever(creme: Glue) -> None:
    held = await creme.create("5", last_name="Moreau")
    page = LIST.replace("孔", held["last_name"])
    shown = await watched(creme).see(page, "sales")  # Anna's own record
    assert "Moreau" in shown
    assert "Lefèvre" not in shown


async def test_a_name_that_is_a_word_of_markup_leaves_the_markup_alone(creme: Glue) -> None:
    page = '<p class="value"><a class="title" href="/persons/contact/7">class</a><b title="x">value class</b></p>'
    shown = await watched(creme).see(page)
    assert 'class="value"' in shown
    assert ">class<" not in shown
    assert "value class" not in shown


FORM_PAGE = f"""<form action="/persons/contact/edit/7" method="post"><input name="user" value="7">
<input name="last_name" value="孔"><input name="first_name" value="倩浩"><input name="email" value="kong@example.com">
<input name="mobile" value="13800138000"><textarea name="billing_address-address">
{ADDRESS}</textarea><textarea name="description">
孔倩浩 called</textarea></form><h1>Edit «倩浩 孔»</h1>"""


async def test_a_form_posted_back_as_it_was_shown_is_refused_and_the_clear_value_stays(creme: Glue) -> None:
    """Nothing stands in the vault for it, so a mask cannot be put back; it must never reach the CRM either."""
    glue = watched(creme)
    shown = await glue.see(FORM_PAGE, "sales", target="/persons/contact/edit/7")
    for value in ("孔", "倩浩", "kong@", "138001", "Ostkel"):
        assert value not in shown, value
    masked = re.findall(r'name="(last_name|first_name|email|mobile)" value="([^"]*)"', shown)
    assert len(masked) == 4
    for name, value in masked:
        with pytest.raises(Refusal) as caught:
            await glue.send_form("/persons/contact/edit/7", {name: value}, role="sales")
        assert caught.value.reason is MASK_RETURNED


async def test_a_masked_form_never_comes_back_as_a_value(creme: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a role that sees masks: every one of them is known for what it is."""
    glue = watched(creme)
    view = glue.exchange("GET", "/persons/contact/edit/7", role="sales").decision
    assert view is not None
    monkeypatch.setattr(type(view.view), "form", lambda *_, **__: Form.MASKED)
    shown = await glue.see(FORM_PAGE, "sales", target="/persons/contact/edit/7")
    masked = re.findall(r'name="(last_name|first_name|email|mobile)" value="([^"]*)"', shown)
    monkeypatch.undo()
    assert [value for _, value in masked if "*" not in value and value != PLACEHOLDER] == []
    assert masked[:2] == [("last_name", "**"), ("first_name", "倩**")]
    for name, value in masked:
        with pytest.raises(Refusal):
            await glue.send_form("/persons/contact/edit/7", {name: value}, role="sales")


async def test_tables_and_cards_are_read_by_their_labels(creme: Glue) -> None:
    glue = watched(creme)
    book, sheet = openpyxl.Workbook(), None
    sheet = book.active
    assert sheet is not None
    old = xlwt.Workbook()
    old_sheet = old.add_sheet("people")
    for number, row in enumerate((("Last name", "Address"), ("孔", ADDRESS))):
        sheet.append(row)
        for column, value in enumerate(row):
            old_sheet.write(number, column, value)
    out, old_out = io.BytesIO(), io.BytesIO()
    book.save(out)
    old.save(old_out)
    card = f"BEGIN:VCARD\r\nN:孔;娜;;;\r\nFN:娜 孔\r\nADR:;;12 rue Ostkel;;;;\r\nNOTE:{ADDRESS}\r\nEND:VCARD\r\n"
    xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    for body, media in (
        (f'"Last name";"Address"\r\n"孔";"{ADDRESS}"\r\n'.encode(), "text/csv"),
        (card.encode(), "text/vcard"),
        (out.getvalue(), xlsx),
        (old_out.getvalue(), "application/vnd.ms-excel"),
    ):
        exchange = glue.exchange("GET", "/persons/contacts", role="sales")
        _, shown = await glue.answer(exchange, body, media)
        text = shown.decode("utf-8", "replace")
        if shown[:2] == b"PK":
            cells = openpyxl.load_workbook(io.BytesIO(shown)).active
            assert cells is not None
            text = str([[cell.value for cell in row] for row in cells])
        assert PLACEHOLDER in text or "*" in text, media
        for value in ("孔", "Ostkel"):
            assert value not in text, (media, text)


async def test_json_is_read_by_its_keys_and_by_addresses_of_records(tryton: Glue, creme: Glue) -> None:
    rows = [{"id": 1, "name": "孔娜", "rec_name": "孔娜", "party.": {"rec_name": "Luc Ostal"}, "note": "孔娜 rang"}]
    exchange = watched(tryton).exchange(
        "POST",
        "/demo/rpc/",
        role="sales",
        body=json.dumps({"id": 1, "method": "model.party.party.read", "params": [[1], ["name"], {}]}).encode(),
        content_type="application/json",
    )
    _, shown = await tryton.answer(exchange, json.dumps({"result": rows}).encode(), "application/json")
    told = json.loads(shown)["result"][0]
    assert "孔娜" not in str(told)
    assert "Ostal" not in str(told)
    found = {"results": [{"label": "Luc Ostal", "url": "/persons/contact/9"}, {"label": "孔", "url": "/nowhere/1"}]}
    exchange = watched(creme).exchange("GET", "/creme_core/search/light?value=x", role="sales")
    _, shown = await creme.answer(exchange, json.dumps(found).encode(), "application/json")
    assert json.loads(shown)["results"] == [
        {"label": PLACEHOLDER, "url": "/persons/contact/9"},
        {"label": "孔", "url": "/nowhere/1"},
    ]


async def test_a_name_in_a_file_name_is_hidden_too(creme: Glue) -> None:
    card = "BEGIN:VCARD\r\nN:Ostal;Luc;;;\r\nFN:Luc Ostal\r\nEND:VCARD\r\n"
    exchange = watched(creme).exchange("GET", "/vcfs/7/generate_vcf", role="sales")
    fields, _ = await creme.answer(
        exchange, card.encode(), "text/vcard", content_disposition='attachment; filename="Luc Ostal.vcf"'
    )
    assert "Ostal" not in fields["content-disposition"]


async def test_what_is_escaped_once_more_is_hidden_too(creme: Glue) -> None:
    """Creme writes the backslashes of JSON inside its pages as escapes."""
    page = '<a href="/persons/contact/7">倩浩 孔</a><script type="application/json"><!-- ["\\u005Cu5b54\\u005Cu5029'
    page += '\\u005Cu6d69"] --></script>'
    shown = await watched(creme).see(page)
    assert "u5b54" not in shown
    assert PLACEHOLDER in shown


def test_short_words_count_only_where_they_are_a_whole_text_and_the_longer_of_two_wins() -> None:
    words = Words({"Luc Ostal": ("name", "A"), "Ostal": ("name", "B"), "Li": ("name", "C"), "孔": ("name", "D")})
    text = "Luc Ostal\n\0\n Li \n\0\nLift 孔子\n\0\n孔\n\0\nOstalgie, OSTAL"
    found = {(text[start:end], shown) for start, end, _, shown in words.find(text)}
    assert found == {("Luc Ostal", "A"), ("Ostal", "B"), ("OSTAL", "B"), ("Li", "C"), ("孔", "D")}


@pytest.mark.parametrize("text", ["", "<<<>>>", "<form><input name=last_name>", "<td name=regular_field-last_name>"])
async def test_odd_pages_come_through(creme: Glue, text: str) -> None:
    assert await watched(creme).see(text) == text


async def test_the_trail_counts_what_was_caught(creme: Glue) -> None:
    glue = watched(creme)
    exchange = glue.exchange("GET", "/persons/contacts", role="sales")
    await glue.answer(exchange, LIST.encode())
    assert exchange.caught["name"] >= 4


async def test_bare_rows_of_an_export_are_read_by_the_columns_that_the_request_named(tryton: Glue) -> None:
    columns = ["id", "name", "addresses.street", "party.rec_name", "code"]
    call = {"id": 1, "method": "model.party.party.export_data_domain", "params": [[], columns, 0, 9, None, {}]}
    body = json.dumps(call).encode()
    exchange = watched(tryton).exchange("POST", "/crm/rpc/", role="sales", body=body, content_type="application/json")
    await tryton.protect(exchange, body, "application/json")
    rows = {"id": 1, "result": [[7, "Luc Lefèvre-Ostal", ADDRESS, "孔娜", "C-17"], [8, "孔", None, "", "C-18"]]}
    _, shown = await tryton.answer(exchange, json.dumps(rows).encode(), "application/json")
    told = json.loads(shown)["result"]
    assert told == [[7, PLACEHOLDER, PLACEHOLDER, PLACEHOLDER, "C-17"], [8, PLACEHOLDER, None, "", "C-18"]]


HISTORY = """<a href="/persons/contact/7">Somebody</a><td><div class="history-line"><ul>
<li><span class="field-change-field_name">Last name</span> changed from <span class="field-change-old_value">孔</span>
to <span class="field-change-new_value">Ostrowskaja</span></li>
<li><span class="field-change-field_name">Sector</span> changed to
<span class="field-change-new_value">Forestry</span></li>
<li><span class="field-change-field_name">Address</span> set <details>
<div class="history-line-field-change-text-old_value">
<h4>Old value</h4><p>12 rue Ostkel</p></div></details></li></ul><div></td>
<td><div class="history-line"><span class="field-change-field_name">Prénom</span> :
<span class="field-change-new_value">Ludmila</span><div></td>
<td><div class="history-line">“Address“ added: 7 Quellweg Nord Springfield
<div></td>"""


async def test_histories_hide_what_a_field_held_before_and_after(creme: Glue) -> None:
    shown = await watched(creme).see(HISTORY, "sales")
    hidden = ("孔", "Ostrowskaja", "Ostkel", "Ludmila", "Quellweg")
    assert [one for one in hidden if one in shown] == []
    assert "Forestry" in shown
    assert "Old value" in shown
    assert await watched(creme).see(HISTORY, "manager") == HISTORY
