"""Search by a part: found where the searcher sees the value in clear, asked for as a list where several fit."""

import json
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from gateway import parts
from gateway.database import Pool
from gateway.exchange import Exchange
from gateway.inward import Inward
from gateway.refusal import (
    FIELD_NOT_SEARCHABLE,
    SEARCH_NOT_READY,
    SEARCH_TOO_SHORT,
    SEARCH_TOO_WIDE,
    SEARCH_WHOLE_ONLY,
    Refusal,
)
from gateway.search import Search
from kms.blind import BlindIndex
from kms.provider import KeysUnavailable
from kms.surrogate import no_match
from kms.tokens import StoreUnavailable
from policies.profile import Where
from tests.unit.gateway.glue import ANNA, BORIS, TENANT, Glue

LIST = "/persons/contacts"
BOX = "search-regular_field-"


async def asked(
    glue: Glue, column: str, text: str, role: str = "manager", user: str | None = ANNA, **given: str
) -> tuple[dict[str, str], Exchange]:
    """What the CRM gets of a search in a box of the list."""
    query = urlencode({BOX + column: text, **given}, quote_via=quote)
    exchange = glue.exchange("GET", f"{LIST}?{query}", role=role, user=user)
    outgoing = await glue.protect(exchange, None)
    sent = parse_qs(urlsplit(outgoing.target).query, keep_blank_values=True)
    return {name: values[0] for name, values in sent.items()}, exchange


def members(sent: dict[str, str], lookup: str, parameter: str = "q_filter") -> set[str]:
    """The surrogates that the condition beside the box lists for a column."""
    condition = json.loads(sent[parameter])
    assert condition["op"] == "AND"
    return {one for name, values in condition["val"] if name == f"{lookup}__in" for one in values}


@pytest.fixture
async def unmigrated(creme: Glue) -> Glue:
    """The same CRM while it may still hold values in clear."""
    creme.search = Search(creme.vault, creme.records, lambda _: False)
    creme.inward = Inward(creme.tokeniser, creme.search, {TENANT: creme.scanner}.__getitem__, creme.limits)
    return creme


async def test_a_part_that_one_value_has_becomes_its_surrogate(creme: Glue) -> None:
    held = await creme.create("5")
    for column, text in (
        ("phone", "8001"),
        ("phone", "0013-8"),
        ("email", "WEIMING"),
        ("email", "@example"),
        ("last_name", "张"),
        ("first_name", "明"),
        ("billing_address__address", "朝阳"),
    ):
        sent, _ = await asked(creme, column, text)
        field = "billing_address-address" if column.startswith("billing") else column
        assert sent == {BOX + column: held[field]}, column


async def test_a_part_of_several_values_is_asked_for_as_a_list(creme: Glue) -> None:
    one = await creme.create("5", last_name="张三")
    two = await creme.create("6", last_name="小张", phone="13800138001")
    await creme.create("7", last_name="李", phone="13900139000")
    sent, _ = await asked(creme, "last_name", "张")
    assert sent[BOX + "last_name"] == ""
    assert members(sent, "last_name") == {one["last_name"], two["last_name"]}
    sent, _ = await asked(creme, "phone", "1380013")
    assert members(sent, "phone") == {one["phone"], two["phone"]}


async def test_a_shared_name_is_no_refusal(creme: Glue) -> None:
    one, two = await creme.create("5", last_name="李"), await creme.create("6", last_name="李", phone="13800138001")
    sent, _ = await asked(creme, "last_name", "李")
    assert members(sent, "last_name") == {one["last_name"], two["last_name"]}


async def test_a_name_that_stands_in_other_fields_only_is_not_what_the_box_is_about(creme: Glue) -> None:
    held = await creme.create("5", last_name="李", first_name="张三")
    other = await creme.create("6", last_name="张四", first_name="李", phone="13800138001")
    sent, _ = await asked(creme, "last_name", "张")
    assert sent == {BOX + "last_name": other["last_name"]}
    sent, _ = await asked(creme, "last_name", "李")
    assert sent == {BOX + "last_name": held["last_name"]}


async def test_two_boxes_and_the_crms_own_condition_all_have_to_hold(creme: Glue) -> None:
    for number in range(2):
        await creme.create(str(number), last_name="张", phone=f"1380013800{number}", email=f"a{number}@example.com")
    own = '{"op":"OR","val":[["birthday",null],["id",5]]}'
    sent, exchange = await asked(creme, "last_name", "张", q_filter=own, **{BOX + "phone": "1380013"})
    condition = json.loads(sent["q_filter"])
    assert condition["val"][0] == json.loads(own)
    assert len(members({"q_filter": json.dumps({"op": "AND", "val": condition["val"][1:]})}, "last_name")) == 2
    assert len(members({"q_filter": json.dumps({"op": "AND", "val": condition["val"][1:]})}, "phone")) == 2
    assert exchange.restored["q_filter"] == (sent["q_filter"], own)


async def test_a_posted_form_gets_its_condition_in_the_form(creme: Glue) -> None:
    for number in range(2):
        await creme.create(str(number), last_name="张", phone=f"1380013800{number}", email=f"a{number}@example.com")
    _, sent = await creme.send_form(LIST, {BOX + "last_name": "张", "q_filter": "", "rows": "25"})
    assert (sent[BOX + "last_name"], sent["rows"]) == ("", "25")
    assert len(members(sent, "last_name")) == 2


async def test_an_export_takes_its_condition_elsewhere(creme: Glue) -> None:
    for number in range(2):
        await creme.create(str(number), last_name="张", phone=f"1380013800{number}", email=f"a{number}@example.com")
    target = f"/creme_core/mass_export?ct_id=98&extra_q=&{BOX}last_name={quote('张')}"
    outgoing = await creme.protect(creme.exchange("GET", target), None)
    sent = parse_qs(urlsplit(outgoing.target).query, keep_blank_values=True)
    assert "q_filter" not in sent
    assert len(members({"extra_q": sent["extra_q"][0]}, "last_name", "extra_q")) == 2


@pytest.mark.parametrize("role", ["manager", "sales"])
async def test_what_nobody_has_becomes_the_one_that_matches_nothing(creme: Glue, role: str) -> None:
    await creme.create("5")
    for column, kind, text in (("last_name", "name", "龘"), ("last_name", "name", "Zq")):
        sent, _ = await asked(creme, column, text, role)
        assert sent == {BOX + column: no_match(kind)}


async def test_sales_find_parts_of_what_they_see_in_clear_only(creme: Glue) -> None:
    mine = await creme.create("5", owner=ANNA, last_name="张三")
    await creme.create("6", owner=BORIS, last_name="张四", phone="13800138001")
    sent, _ = await asked(creme, "last_name", "张", "sales", ANNA)
    assert sent == {BOX + "last_name": mine["last_name"]}
    sent, _ = await asked(creme, "last_name", "四", "sales", ANNA)
    assert sent == {BOX + "last_name": no_match("name")}


@pytest.mark.parametrize("stored", [True, False])
async def test_a_part_of_a_masked_number_is_refused_whatever_is_stored(creme: Glue, stored: bool) -> None:
    """A mask shows the last digits; a search by parts would confirm the others one by one."""
    if stored:
        await creme.create("5", owner=ANNA)
    for column, text in (("phone", "8001"), ("phone", "4242"), ("email", "weiming")):
        with pytest.raises(Refusal) as caught:
            await asked(creme, column, text, "sales", ANNA)
        assert caught.value.reason == SEARCH_WHOLE_ONLY


async def test_a_whole_masked_number_is_found_as_before(creme: Glue) -> None:
    held = await creme.create("5", owner=ANNA)
    sent, _ = await asked(creme, "phone", "138 0013 8000", "sales", ANNA)
    assert sent == {BOX + "phone": held["phone"]}
    sent, _ = await asked(creme, "phone", "13800138000", "sales", BORIS)
    assert sent == {BOX + "phone": no_match("phone")}


async def test_a_field_that_may_not_be_searched_is_refused_by_parts_too(creme: Glue) -> None:
    with pytest.raises(Refusal) as caught:
        await asked(creme, "billing_address__address", "朝阳", "sales")
    assert caught.value.reason == FIELD_NOT_SEARCHABLE


async def test_one_letter_or_digit_is_too_short_and_one_chinese_sign_is_not(creme: Glue) -> None:
    for column, text in (("last_name", "a"), ("phone", "1")):
        with pytest.raises(Refusal) as caught:
            await asked(creme, column, text)
        assert caught.value.reason == SEARCH_TOO_SHORT
    await asked(creme, "last_name", "张")


async def test_a_search_that_too_much_fits_is_refused(creme: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        await creme.create(str(number), last_name="张", phone=f"1380013800{number}", email=f"a{number}@example.com")
    monkeypatch.setitem(parts.MOST_ASKED_FOR, Where.QUERY, 2)
    with pytest.raises(Refusal) as caught:
        await asked(creme, "last_name", "张")
    assert caught.value.reason == SEARCH_TOO_WIDE
    monkeypatch.setattr(parts, "MOST_LOOKED_AT", 1)
    with pytest.raises(Refusal) as caught:
        await asked(creme, "phone", "1380013")
    assert caught.value.reason == SEARCH_TOO_WIDE


async def test_an_index_that_is_not_ready_is_no_short_answer(creme: Glue, pool: Pool) -> None:
    await creme.create("5")
    async with pool.connection() as connection:
        await connection.execute("DELETE FROM vault_index")
    creme.vault.index = BlindIndex(creme.vault._store, creme.vault._keyring)
    with pytest.raises(Refusal) as caught:
        await asked(creme, "last_name", "张")
    assert caught.value.reason == SEARCH_NOT_READY


@pytest.mark.parametrize("fault", [KeysUnavailable("down", "no answer"), StoreUnavailable("down")])
async def test_a_vault_that_fails_ends_the_search(
    creme: Glue, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> object:
        raise fault

    monkeypatch.setattr(creme.vault, "search", fail)
    with pytest.raises(type(fault)):
        await asked(creme, "last_name", "张")


async def test_nothing_typed_reaches_a_protected_crm(creme: Glue) -> None:
    for number in range(2):
        await creme.create(str(number), last_name="张三", phone=f"1380013800{number}", email=f"a{number}@example.com")
    for column, text in (("last_name", "张"), ("last_name", "Smi"), ("phone", "1380013"), ("email", "@example.com")):
        sent, _ = await asked(creme, column, text)
        assert text not in "".join(sent.values())


async def test_an_unprotected_rest_is_searched_in_clear_by_who_sees_everything(unmigrated: Glue) -> None:
    held = await unmigrated.create("5", last_name="Smith")
    sent, _ = await asked(unmigrated, "last_name", "smi")
    listed, clear = json.loads(sent["q_filter"])["val"][0]["val"]
    assert listed == ["last_name__in", [held["last_name"]]]
    assert clear["val"][0] == ["last_name__icontains", "smi"]
    assert {"op": "NAND", "val": [["last_name__istartswith", "Zq"]]} in clear["val"]
    sent, _ = await asked(unmigrated, "last_name", "smi", "sales", ANNA)
    assert sent == {BOX + "last_name": held["last_name"]}


async def test_the_page_shows_the_box_as_typed_and_the_crms_own_condition(creme: Glue) -> None:
    """Both would be sent again with the next page; the links of the page carry them as well."""
    for number in range(2):
        await creme.create(str(number), last_name="张", phone=f"1380013800{number}", email=f"a{number}@example.com")
    sent, exchange = await asked(creme, "last_name", "张", q_filter="")
    inside = sent["q_filter"].replace('"', "&quot;")
    page = (
        f'<input value="{inside}" type="hidden" name="q_filter" /><input name="{BOX}last_name" type="text" />'
        f'<a href="/creme_core/mass_export?extra_q={quote(sent["q_filter"], safe="")}&{BOX}last_name=">x</a>'
        '<input name="other" value="1">'
    )
    _, body = await creme.answer(exchange, page.encode())
    shown = body.decode()
    assert "__in" not in shown
    assert f'<input name="{BOX}last_name" value="张" type="text" />' in shown
    assert 'name="q_filter" value="{&quot;op&quot;:&quot;AND&quot;,&quot;val&quot;:[]}"' in shown
    assert f"{BOX}last_name={quote('张')}" in shown
    assert '<input name="other" value="1">' in shown


# -- Tryton --------------------------------------------------------------------------------------------------------


async def party(tryton: Glue, record: int, **values: str) -> dict[str, str]:
    exchange, sent = await tryton.call("model.party.party.create", [values])
    await tryton.answer(exchange, b'{"id":1,"result":[%d]}' % record, "application/json")
    held: dict[str, str] = sent[0][0]
    return held


async def clause(tryton: Glue, *given: object, model: str = "party.party", role: str = "manager") -> object:
    _, sent = await tryton.call(f"model.{model}.search", [list(given)], 0, 100, None, role=role)
    return sent[0][0]


async def test_clauses_that_several_values_fit_become_lists(tryton: Glue) -> None:
    one = await party(tryton, 5, name="张三", phone="13800138000")
    two = await party(tryton, 6, name="张四", phone="13800138001")
    both = sorted([one["name"], two["name"]])
    assert await clause(tryton, "name", "ilike", "%张%") == ["name", "in", both]
    assert await clause(tryton, "name", "not ilike", "张%") == ["name", "not in", both]
    assert await clause(tryton, "name", "ilike", "%三") == ["name", "ilike", f"%{one['name']}"]
    assert await clause(tryton, "name", "like", "%龘%") == ["name", "like", f"%{no_match('name')}%"]
    found = await clause(tryton, "contact_mechanisms.value", "ilike", "%1380013%")
    assert isinstance(found, list)
    assert found[-1] == ["contact_mechanisms.value", "in", sorted([one["phone"], two["phone"]])]


async def test_shared_names_are_listed_for_every_operator(tryton: Glue) -> None:
    one, two = await party(tryton, 5, name="李娜"), await party(tryton, 6, name="李娜")
    three = await party(tryton, 7, name="王伟")
    both = [one["name"], two["name"]]
    assert await clause(tryton, "name", "=", "李娜") == ["name", "in", sorted(both)]
    assert await clause(tryton, "name", "!=", "李娜") == ["name", "not in", sorted(both)]
    found = await clause(tryton, "name", "in", ["王伟", "李娜", "王伟"])
    assert isinstance(found, list)
    assert found[:2] == ["name", "in"]
    assert set(found[2]) == {three["name"], *both}


async def test_the_box_of_the_list_looks_for_codes_beside_names_and_numbers(tryton: Glue) -> None:
    held = await party(tryton, 5, name="张三", phone="13800138000")
    found = await clause(tryton, "rec_name", "ilike", "%8001%")
    assert isinstance(found, list)
    assert found[0] == "OR"
    assert found[-2:] == [["code", "ilike", "8001%"], ["rec_name", "in", [held["phone"]]]]
    assert await clause(tryton, "rec_name", "ilike", "%张三%") == ["rec_name", "ilike", f"%{held['name']}%"]
    recognised = await clause(tryton, "rec_name", "ilike", "%13800138000%")
    assert recognised == ["rec_name", "ilike", f"%{held['phone']}%"]


async def test_a_column_that_holds_unprotected_text_as_well_is_asked_for_it_as_typed(tryton: Glue) -> None:
    """Web sites and accounts stand in it in clear; a known name never goes there."""
    held = await party(tryton, 5, name="张三")
    column = "contact_mechanisms.value"
    found = await clause(tryton, column, "ilike", "%zhangwei_81%")
    assert isinstance(found, list)
    assert found[1][2][0] == ["value", "ilike", "%zhangwei_81%"]
    assert found[-1] == [column, "in", [no_match("phone")]]
    assert await clause(tryton, column, "=", "wechat: zw") == [column, "in", [no_match("phone"), "wechat: zw"]]
    assert await clause(tryton, column, "=", "张三") == [column, "=", held["name"]]
    assert await clause(tryton, column, "=", "13912345678") == [column, "=", no_match("phone")]


async def test_names_of_other_objects_are_not_those_of_parties(tryton: Glue) -> None:
    await party(tryton, 5, name="张三")
    assert await clause(tryton, "rec_name", "ilike", "%Widg%", model="product.product") == [
        "rec_name",
        "ilike",
        "%Widg%",
    ]


async def test_a_clause_with_more_behind_its_operand_keeps_it(tryton: Glue) -> None:
    one, two = await party(tryton, 5, name="张三"), await party(tryton, 6, name="张四")
    both = sorted([one["name"], two["name"]])
    assert await clause(tryton, "name", "ilike", "%张%", "party.party") == ["name", "in", both, "party.party"]


async def test_identifiers_in_clear_are_compared_from_the_beginning_as_tryton_does(tryton: Glue) -> None:
    tryton.search = Search(tryton.vault, tryton.records, lambda _: False)
    tryton.inward = Inward(tryton.tokeniser, tryton.search, {TENANT: tryton.scanner}.__getitem__, tryton.limits)
    found = await clause(tryton, "rec_name", "ilike", "%21%")
    assert isinstance(found, list)
    identifiers = next(one for one in found[1:] if one[0] == "identifiers")
    assert identifiers[1:2] == ["where"]
    assert identifiers[2][0] == ["code", "ilike", "21%"]


async def test_a_half_protected_tryton_tells_a_role_nothing_about_values_in_clear(tryton: Glue) -> None:
    """Each guessed beginning of a clear number would be confirmed; who sees all of them may ask."""
    column = "contact_mechanisms.value"
    for migrated, asked in ((True, True), (False, False)):
        tryton.search = Search(tryton.vault, tryton.records, lambda _, now=migrated: now)  # type: ignore[misc]
        tryton.inward = Inward(tryton.tokeniser, tryton.search, {TENANT: tryton.scanner}.__getitem__, tryton.limits)
        for operator, text in (("ilike", "%example%"), ("=", "wechat: zw")):
            found = await clause(tryton, column, operator, text, role="sales")
            assert ("example" in str(found) or "wechat" in str(found)) is asked, (migrated, operator)


async def test_an_unprotected_rest_of_tryton_is_searched_in_clear(tryton: Glue) -> None:
    tryton.search = Search(tryton.vault, tryton.records, lambda _: False)
    tryton.inward = Inward(tryton.tokeniser, tryton.search, {TENANT: tryton.scanner}.__getitem__, tryton.limits)
    held = await party(tryton, 5, name="Smith")
    found = await clause(tryton, "name", "ilike", "%smi%")
    assert found == [
        "OR",
        [["name", "ilike", "%smi%"], ["name", "not ilike", "Zq%"]],
        ["name", "in", [held["name"]]],
    ]
    related = await clause(tryton, "contact_mechanisms.value", "ilike", "%8001%")
    assert isinstance(related, list)
    assert related[1][:2] == ["contact_mechanisms", "where"]
    assert related[1][2][0] == ["value", "ilike", "%8001%"]
    assert ["value", "not ilike", "+888%"] in related[1][2]
    everything = await clause(tryton, "rec_name", "ilike", "%8001%")
    assert isinstance(everything, list)
    assert ["code", "ilike", "8001%"] in everything
    assert everything[-1][:2] == ["rec_name", "in"]
    assert await clause(tryton, "name", "=", "Smith") == ["name", "in", [held["name"], "Smith"]]
