"""Who may not write a field posts back what stands there and nothing else; what stood there before stands no more."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from gateway.database import Pool
from gateway.exchange import Exchange, Head
from gateway.refusal import FIELD_NOT_WRITABLE, MASK_RETURNED, TEXT_PART_NOT_WRITABLE, Refusal
from gateway.reveal import PLACEHOLDER
from gateway.standing import cell_of, maker_of
from tests.drills.edit_crm import POLICY, PROFILE, XLSX, as_csv, as_xlsx
from tests.unit.gateway.glue import ANNA, JSON, NOW, Glue, open_glue

PERSON = {
    "name": "张伟明",
    "email": "zhang.weiming@example.com",
    "phone": "138-0013-8000",
    "id_card": "11010519491231002X",
    "address": "1 rue de Rivoli\nBâtiment B",
}
RECORD = "/api/contacts/5"


@pytest_asyncio.fixture
async def contacts(pool: Pool, keyring_path: Path) -> AsyncIterator[Glue]:
    async with open_glue(pool, keyring_path, str(PROFILE), POLICY) as glue:
        yield glue


async def sent(glue: Glue, role: str, method: str, target: str, value: object, *, status: int = 200) -> dict[str, str]:
    """What the CRM gets of a JSON write that it then answers with this status."""
    body = orjson.dumps(value)
    exchange = glue.exchange(method, target, role=role, body=body, content_type=JSON)
    outgoing = await glue.protect(exchange, body, JSON)
    assert isinstance(outgoing.body, bytes)
    answer = orjson.dumps({"id": 5} if method == "POST" else {})
    await glue.answer(exchange, answer, JSON, status=status)
    return dict(orjson.loads(outgoing.body))


async def refused(glue: Glue, role: str, value: Mapping[str, object], target: str = RECORD) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await sent(glue, role, "PATCH", target, value)
    return caught.value


async def made(glue: Glue) -> dict[str, str]:
    return await sent(glue, "manager", "POST", "/api/contacts", PERSON, status=201)


async def test_who_sees_a_field_clear_and_may_not_write_it_can_save_it_as_it_is(contacts: Glue) -> None:
    held = await made(contacts)
    assert await sent(contacts, "reader", "PUT", RECORD, PERSON) == held
    fault = await refused(contacts, "reader", {**PERSON, "phone": "138-0013-8001"})
    assert (fault.reason, fault.fields) == (FIELD_NOT_WRITABLE, ("phone",))


async def test_comparing_with_what_stands_there_is_no_oracle_for_who_sees_a_mask(contacts: Glue) -> None:
    await made(contacts)
    for guess in (PERSON["phone"], "138-0013-8001"):
        assert (await refused(contacts, "clerk", {"phone": guess})).reason is FIELD_NOT_WRITABLE


async def test_an_old_page_of_somebody_without_the_right_puts_nothing_back(contacts: Glue) -> None:
    old = await made(contacts)
    new = await sent(contacts, "manager", "PATCH", RECORD, {"phone": "13900139000"})
    assert (await refused(contacts, "clerk", {"phone": old["phone"]})).reason is FIELD_NOT_WRITABLE
    assert await sent(contacts, "clerk", "PATCH", RECORD, new) == new
    assert (await refused(contacts, "reader", {"phone": PERSON["phone"]})).reason is FIELD_NOT_WRITABLE


async def test_who_may_write_puts_an_old_value_back_and_it_stands_there_again(contacts: Glue) -> None:
    old = await made(contacts)
    await sent(contacts, "manager", "PATCH", RECORD, {"phone": "13900139000"})
    await sent(contacts, "blind", "PATCH", RECORD, {"phone": old["phone"]})
    assert await sent(contacts, "clerk", "PATCH", RECORD, {"phone": old["phone"]}) == {"phone": old["phone"]}


async def test_a_write_that_the_crm_refuses_moves_nothing(contacts: Glue) -> None:
    held = await made(contacts)
    await sent(contacts, "manager", "PATCH", RECORD, {"phone": "13900139000"}, status=400)
    assert await sent(contacts, "clerk", "PATCH", RECORD, {"phone": held["phone"]}) == {"phone": held["phone"]}


@pytest.mark.parametrize("empty", ["", "  ", None, False])
async def test_emptying_a_field_takes_the_right_to_write_it(contacts: Glue, empty: str | bool | None) -> None:
    await made(contacts)
    fault = await refused(contacts, "clerk", {"phone": empty})
    assert (fault.reason, fault.fields) == (FIELD_NOT_WRITABLE, ("phone",))
    await sent(contacts, "clerk", "PATCH", RECORD, {"bank_card": empty, "name": empty})  # empty before; writable
    await sent(contacts, "manager", "PATCH", RECORD, {"phone": ""})
    await sent(contacts, "clerk", "PATCH", RECORD, {"phone": empty})


async def test_bulk_edits_in_json_know_their_records(contacts: Glue) -> None:
    held = await made(contacts)
    body = {"ids": [5, "6"], "set": {"phone": "13900139000"}}
    await sent(contacts, "manager", "POST", "/api/bulk", body)
    assert (await refused(contacts, "clerk", {"phone": held["phone"]})).reason is FIELD_NOT_WRITABLE
    assert (await refused(contacts, "clerk", {"phone": ""}, "/api/contacts/6")).reason is FIELD_NOT_WRITABLE


async def test_a_placeholder_never_brings_back_what_an_unseen_copy_replaced(contacts: Glue) -> None:
    held = await made(contacts)
    await sent(contacts, "blind", "PATCH", RECORD, {"phone": held["phone"]})
    other = await sent(contacts, "manager", "PATCH", "/api/contacts/6", {"phone": "13900139000"})
    await sent(contacts, "blind", "PATCH", RECORD, other)
    assert (await refused(contacts, "blind", {"phone": PLACEHOLDER})).reason is MASK_RETURNED


async def test_a_mask_never_brings_back_a_value_from_before_an_import(contacts: Glue) -> None:
    held = await made(contacts)
    assert await sent(contacts, "sales", "PATCH", RECORD, {"phone": "138****8000"}) == {"phone": held["phone"]}
    table = as_csv([{"id": 5, "phone": "13800238000"}], ("id", "phone"))
    exchange = contacts.exchange("POST", "/contacts/import", body=table, content_type="text/csv")
    await contacts.protect(exchange, table, "text/csv")
    assert (await refused(contacts, "sales", {"phone": "138****8000"})).reason is MASK_RETURNED
    assert (await refused(contacts, "blind", {"phone": PLACEHOLDER})).reason is MASK_RETURNED


async def test_a_value_that_stood_there_keeps_the_limits_of_its_field(contacts: Glue) -> None:
    """A text in a phone field is no phone; once replaced it lives on in histories, and no name right may open it."""
    held = await sent(contacts, "manager", "PATCH", RECORD, {"phone": "ask reception"})
    await sent(contacts, "manager", "PATCH", RECORD, {"phone": "13900139000"})
    assert "ask reception" not in str(await contacts.see_json({"was": held["phone"]}, role="sales"))


@pytest.mark.parametrize("name", ["name", "id_card", "phone", "address"])
async def test_a_surrogate_with_a_sign_typed_beside_it_or_its_first_one_lost_is_refused(
    contacts: Glue, name: str
) -> None:
    held = (await sent(contacts, "manager", "POST", "/api/contacts", PERSON | {"address": "1 rue X"}, status=201))[name]
    edited = [f"{held}9", f"1{held}", f"a{held}", f"{held}z", held[1:]]
    if name == "phone":  # without its plus it is still itself
        assert await sent(contacts, "blind", "PATCH", RECORD, {name: edited.pop()}) == {name: held}
    for text in edited:
        assert (await refused(contacts, "blind", {name: text})).reason is MASK_RETURNED, text


NOTE = "met 张伟明\r\nphone 138-0013-8000, mail zhang.weiming@example.com"


async def noted(glue: Glue, text: str = NOTE) -> str:
    """A contact with a note; what the CRM holds of it."""
    return (await sent(glue, "manager", "POST", "/api/contacts", {**PERSON, "note": text}, status=201))["note"]


async def refused_text(glue: Glue, role: str, text: str, target: str = RECORD) -> None:
    fault = await refused(glue, role, {"note": text}, target)
    assert (fault.reason, fault.fields) == (TEXT_PART_NOT_WRITABLE, ("note",)), text


async def test_the_words_around_the_personal_parts_of_a_note_are_anybodys(contacts: Glue) -> None:
    held = await noted(contacts)
    assert await sent(contacts, "reader", "PATCH", RECORD, {"note": NOTE}) == {"note": held}
    assert await sent(contacts, "clerk", "PATCH", RECORD, {"note": f"{held}, soon"}) == {"note": f"{held}, soon"}
    new = await sent(contacts, "reader", "PATCH", RECORD, {"note": NOTE.replace("met", "called") + "!"})
    assert new == {"note": held.replace("met", "called") + "!"}


async def test_the_personal_parts_of_a_note_are_neither_changed_nor_taken_away_without_the_right(
    contacts: Glue,
) -> None:
    held = await noted(contacts)
    for text in (NOTE.replace("8000", "8001"), NOTE.partition(",")[0], "nothing", "", "  "):
        await refused_text(contacts, "reader", text)
    for text in (held.partition(",")[0], "nothing", ""):
        await refused_text(contacts, "clerk", text)
    assert await sent(contacts, "manager", "PATCH", RECORD, {"note": "nothing"}) == {"note": "nothing"}
    assert await sent(contacts, "clerk", "PATCH", RECORD, {"note": ""}) == {"note": ""}


async def test_a_personal_part_is_neither_added_to_a_note_nor_moved_into_it_without_the_right(contacts: Glue) -> None:
    held = await noted(contacts)
    mail = held.rpartition(" ")[2]
    await sent(contacts, "manager", "PATCH", "/api/contacts/6", {"note": "nothing"})
    for text in ("call 13900139000", mail, f"see {mail}"):
        await refused_text(contacts, "clerk", text, "/api/contacts/6")
    await refused_text(contacts, "reader", "met 张伟明", "/api/contacts/6")
    assert "Zq" in (await sent(contacts, "clerk", "PATCH", "/api/contacts/6", {"note": "met 张伟明"}))["note"]


async def test_what_a_note_held_before_cannot_be_put_back_without_the_right(contacts: Glue) -> None:
    old = await noted(contacts)
    await sent(contacts, "manager", "PATCH", RECORD, {"note": "call 13900139000"})
    await refused_text(contacts, "clerk", old)
    await refused_text(contacts, "reader", NOTE)


async def test_guessing_what_stands_in_a_note_tells_who_sees_a_mask_nothing(contacts: Glue) -> None:
    held = await noted(contacts)
    for phone in ("138-0013-8000", "138-0013-8001"):
        await refused_text(contacts, "clerk", held.replace(held.split()[3].rstrip(","), phone))


async def test_a_bulk_edit_of_notes_keeps_the_parts_of_each_record(contacts: Glue) -> None:
    await noted(contacts)
    for role in ("reader", "clerk"):
        body = {"ids": [5, 6], "set": {"note": "nothing"}}
        with pytest.raises(Refusal) as caught:
            await sent(contacts, role, "POST", "/api/bulk", body)
        assert caught.value.reason is TEXT_PART_NOT_WRITABLE


@pytest.mark.parametrize("column", ["note", "phone"])
async def test_an_import_may_replace_what_nobody_has_read_so_it_takes_the_right(contacts: Glue, column: str) -> None:
    for value in ("", "nothing"):
        table = as_csv([{"id": 5, column: value}], ("id", column))
        exchange = contacts.exchange("POST", "/contacts/import", role="clerk", body=table, content_type="text/csv")
        with pytest.raises(Refusal) as caught:
            await contacts.protect(exchange, table, "text/csv")
        assert caught.value.reason in (FIELD_NOT_WRITABLE, TEXT_PART_NOT_WRITABLE)
    table = as_csv([{"id": 5, "name": "王芳"}], ("id", "name"))
    exchange = contacts.exchange("POST", "/contacts/import", role="clerk", body=table, content_type="text/csv")
    await contacts.protect(exchange, table, "text/csv")


@pytest.mark.parametrize("column", ["phone", "note"])
async def test_an_empty_column_of_a_workbook_takes_the_right_too(contacts: Glue, column: str) -> None:
    table = as_xlsx([{"id": 5, column: ""}], ("id", column))
    exchange = contacts.exchange("POST", "/contacts/import", role="clerk", body=table, content_type=XLSX)
    with pytest.raises(Refusal) as caught:
        await contacts.protect(exchange, table, XLSX)
    assert caught.value.fields == (column,)
    exchange = contacts.exchange("POST", "/contacts/import", body=table, content_type=XLSX)
    await contacts.protect(exchange, table, XLSX)


@pytest.mark.parametrize("text", [f"{PLACEHOLDER}9", f"see {PLACEHOLDER}", "138****8000 (new)", "1138****8000"])
@pytest.mark.parametrize("role", ["sales", "blind"])
async def test_a_mask_with_text_around_it_is_never_a_value(contacts: Glue, role: str, text: str) -> None:
    await made(contacts)
    assert (await refused(contacts, role, {"phone": text})).reason is MASK_RETURNED
    table = as_csv([{"id": 5, "phone": text}], ("id", "phone"))
    exchange = contacts.exchange("POST", "/contacts/import", role=role, body=table, content_type="text/csv")
    with pytest.raises(Refusal) as caught:
        await contacts.protect(exchange, table, "text/csv")
    assert caught.value.reason is MASK_RETURNED


async def test_after_an_import_nobody_without_the_right_empties_what_it_may_have_filled(contacts: Glue) -> None:
    await sent(contacts, "manager", "POST", "/api/contacts", {"name": "王芳"}, status=201)
    await sent(contacts, "clerk", "PATCH", RECORD, {"phone": "", "note": "nothing"})
    table = as_csv([{"id": 5, "phone": "13900139000", "note": "call 13900139000"}], ("id", "phone", "note"))
    exchange = contacts.exchange("POST", "/contacts/import", body=table, content_type="text/csv")
    await contacts.protect(exchange, table, "text/csv")
    assert (await refused(contacts, "clerk", {"phone": ""})).reason is FIELD_NOT_WRITABLE
    await refused_text(contacts, "clerk", "nothing")


@pytest.mark.parametrize(("user", "maker"), [(ANNA, ANNA), (None, ""), ("", ""), ("7.x", ""), ("张", "")])
def test_the_cell_of_an_import_says_who_made_it(user: str | None, maker: str) -> None:
    exchange = Exchange("x1", NOW, Head("POST", "/", "/", "", "crm.localhost", (), True, None), crm_user=user)
    assert maker_of(cell_of(exchange, table=True)) == maker
    assert maker_of(cell_of(exchange)) == ""
    assert cell_of(exchange, table=True).endswith("x1")
