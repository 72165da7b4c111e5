"""What was typed is shown again, but no answer tells whether somebody has the value that was guessed."""

from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

from gateway.typed import Brought
from tests.unit.gateway.glue import ANNA, BORIS, TENANT, Glue

GUESSES = {"name": "张伟明", "mobile": "13800138000", "email": "zhang.weiming@example.com"}
PARTY = {
    "name": "张伟明",
    "contact_mechanisms": [["create", [{"type": "mobile", "value": "13800138000"}]]],
}


async def party(tryton: Glue, record: str, user: str) -> list[str]:
    """A party made by somebody in sales; what Tryton holds of it."""
    exchange, params = await tryton.call("model.party.party.create", [PARTY], role="sales", user=user)
    await tryton.answer(exchange, b'{"id":1,"result":[%s]}' % record.encode(), "application/json")
    held = params[0][0]
    return [held["name"], held["contact_mechanisms"][0][1][0]["value"]]


async def test_a_read_confirms_no_guess(tryton: Glue) -> None:
    name, phone = await party(tryton, "5", BORIS)
    before = {one: (await tryton.entry(one)).origins for one in (name, phone)}
    exchange, _ = await tryton.call("model.party.party.read", [5], ["name"], GUESSES, role="sales", user=ANNA)
    assert not exchange.typed
    body = f'{{"result":["{name}","{phone}"]}}'.encode()
    _, shown = await tryton.answer(exchange, body, "application/json")
    assert shown == body
    for one, origins in before.items():
        bound = {origin for origin in (await tryton.entry(one)).origins if origin.record is not None}
        assert bound == {origin for origin in origins if origin.record is not None}


async def test_a_write_confirms_no_guess_about_others(tryton: Glue) -> None:
    name, phone = await party(tryton, "5", BORIS)
    note = {"comment": "13800138000", "name": "张伟明"}
    exchange, _ = await tryton.call("model.party.party.write", [5], note, role="sales", user=ANNA)
    _, shown = await tryton.answer(exchange, f'{{"error":["{name} {phone}"]}}'.encode(), "application/json")
    assert "13800138000" not in shown.decode()
    assert "张伟明" not in shown.decode()


async def test_a_refused_form_comes_back_as_it_was_typed(creme: Glue) -> None:
    fields = {"user": ANNA, "last_name": "李", "phone": "13911112222", "email": "li.new@example.com"}
    for _ in range(2):  # the second time the values are in the vault, on no record
        exchange, held = await creme.send_form("/persons/contact/add", fields, role="sales")
        page = f'<input name="phone" value="{held["phone"]}"><input name="email" value="{held["email"]}">'
        _, shown = await creme.answer(exchange, page.encode())
        assert 'value="13911112222"' in shown.decode()
        assert 'value="li.new@example.com"' in shown.decode()


async def test_a_refused_form_does_not_tell_that_somebody_else_has_the_value(creme: Glue) -> None:
    await creme.create("6", owner=BORIS)
    fields = {"user": ANNA, "last_name": "李", "phone": "13800138000"}
    exchange, held = await creme.send_form("/persons/contact/add", fields, role="sales")
    _, shown = await creme.answer(exchange, f"<p>{held['phone']}</p>".encode())
    assert "13800138000" not in shown.decode()


WAY = "model.party.contact_mechanism.on_change_notify"


async def asked(tryton: Glue, clear: str, role: str = "manager", method: str = WAY) -> str:
    """What Tryton gets of a new mechanism that somebody is typing."""
    way = {"id": -1, "type": "email", "value": clear, "party": -1}
    _, params = await tryton.call(method, way, role=role)
    return str(params[0]["value"])


async def test_a_form_of_a_half_protected_crm_meets_clear_duplicates(tryton: Glue) -> None:
    """What the vault does not know can only stand in clear; what it knows stands as its surrogate."""
    tryton.tokeniser._migrated = lambda _: False
    assert await asked(tryton, "clear@example.com") == "clear@example.com"
    assert await tryton.vault.find(TENANT, "email", "clear@example.com") == []
    made = {"name": "李", "contact_mechanisms": [["create", [{"type": "email", "value": "known@example.com"}]]]}
    _, params = await tryton.call("model.party.party.create", [made])
    held = params[0][0]["contact_mechanisms"][0][1][0]["value"]
    assert held != "known@example.com"
    assert await asked(tryton, "known@example.com") == held


async def test_nothing_typed_reaches_a_protected_crm_nor_by_roles_that_do_not_see_everything(tryton: Glue) -> None:
    assert await asked(tryton, "one@example.com") != "one@example.com"
    tryton.tokeniser._migrated = lambda _: False
    assert await asked(tryton, "two@example.com", role="sales") != "two@example.com"
    made = {"type": "email", "value": "three@example.com", "party": 5}
    _, params = await tryton.call("model.party.contact_mechanism.create", [made])
    assert params[0][0]["value"] != "three@example.com"


async def told_of(creme: Glue, sign_in: str) -> str:
    """What a salesperson of this sign-in gets of a form with a certain number in it that the CRM refuses."""
    body = urlencode({"user": ANNA, "last_name": "李", "phone": "13911112222"}).encode()
    exchange = creme.exchange("POST", "/persons/contact/add", role="sales", body=body)
    assert exchange.principal is not None
    exchange.principal = replace(exchange.principal, session_id=sign_in)
    outgoing = await creme.protect(exchange, body)
    assert isinstance(outgoing.body, bytes)
    held = dict(parse_qsl(outgoing.body.decode()))
    _, shown = await creme.answer(exchange, f'<input name="phone" value="{held["phone"]}">'.encode())
    return shown.decode()


async def test_what_belongs_to_no_known_record_comes_back_to_who_brought_it_alone(creme: Glue) -> None:
    """An import waits for its records, and a CRM without a profile never tells any: neither may confirm a guess."""
    assert "13911112222" in await told_of(creme, "session-1")
    assert "13911112222" not in await told_of(creme, "session-2")
    assert "13911112222" in await told_of(creme, "session-1")


async def test_what_sign_ins_brought_is_remembered_up_to_a_number(creme: Glue) -> None:
    exchange, brought = creme.exchange("GET", "/persons/contacts"), Brought(most=2)
    for surrogate in ("a", "b", "c"):
        brought.note(exchange, surrogate)
    assert [brought.by(exchange, one) for one in ("a", "b", "c")] == [False, True, True]
