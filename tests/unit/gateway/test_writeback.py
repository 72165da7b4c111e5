"""What comes back from people who see masks: the real value is never changed by it, and no mask is ever stored."""

import random
from collections.abc import Mapping

import pytest

from gateway.refusal import MASK_RETURNED, Refusal
from gateway.reveal import PLACEHOLDER
from gateway.writeback import Returned, holds_edited_surrogate, holds_wire_mask, was_surrogate
from kms.scanner import Scanner
from kms.surrogate import SHAPES, make_bank_card, make_email, make_id_card, make_phone, make_short_text
from kms.tokens import NewValue, Origin
from tests.unit.gateway.glue import ANNA, BORIS, PERSON, TENANT, Glue

KEY = bytes(range(32))
SCANNER = Scanner([KEY])
EDIT = "/persons/contact/edit/5"
FIELDS = ("last_name", "first_name", "phone", "email", "billing_address-address")


async def wire(glue: Glue, held: Mapping[str, str], user: str = ANNA) -> dict[str, str]:
    """What a program of a salesperson is given for these fields."""
    shown = await glue.see_json({name: held[name] for name in FIELDS}, user=user)
    assert isinstance(shown, dict)
    return shown


async def refusal(glue: Glue, fields: Mapping[str, str], target: str = EDIT, **who: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await glue.send_form(target, fields, **{"role": "sales", **who})
    return caught.value


async def test_surrogates_posted_back_stay(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    _, sent = await creme.send_form(EDIT, held, role="sales")
    assert sent == held


async def test_surrogates_in_another_spelling_become_themselves_again(creme: Glue) -> None:
    held = await creme.create("5")
    spelled = {
        "email": held["email"].upper(),
        "phone": held["phone"].replace("+", "00"),
        "last_name": held["last_name"],
    }
    _, sent = await creme.send_form(EDIT, {"user": ANNA, **spelled}, role="sales")
    assert {name: sent[name] for name in spelled} == {name: held[name] for name in spelled}


async def test_wire_masks_posted_back_in_a_form_become_the_surrogates_again(creme: Glue) -> None:
    held = await creme.create("5")
    shown = await wire(creme, held)
    assert shown["phone"] != held["phone"]
    assert shown["email"] != held["email"]
    _, sent = await creme.send_form(EDIT, {**shown, "user": ANNA}, role="sales")
    assert await creme.clear(sent) == PERSON
    assert (sent["phone"], sent["email"]) == (held["phone"], held["email"])


async def test_wire_masks_posted_back_in_json_become_the_surrogates_again(tryton: Glue) -> None:
    party = {"name": "张伟明", "contact_mechanisms": [["create", [{"type": "phone", "value": "13800138000"}]]]}
    exchange, sent = await tryton.call("model.party.party.create", [party], role="sales")
    await tryton.answer(exchange, b'{"id":1,"result":[5]}', "application/json")
    shown = await tryton.see_tryton(sent[0], "sales")
    back = shown[0]["contact_mechanisms"][0][1][0]["value"]
    assert back.startswith("+8889")
    _, again = await tryton.call("model.party.party.write", [5], shown[0], role="sales")
    assert again[1]["contact_mechanisms"] == sent[0][0]["contact_mechanisms"]


async def test_edited_wire_masks_are_refused(creme: Glue) -> None:
    shown = await wire(creme, await creme.create("5"))
    phone, email = shown["phone"], shown["email"]
    edited = [phone[:-1] + str((int(phone[-1]) + 1) % 10), phone[:-2], phone + "1", phone[:6] + "0" + phone[6:]]
    for value in edited:
        fault = await refusal(creme, {"phone": value})
        assert (fault.reason, fault.fields) == (MASK_RETURNED, ("phone",)), value
    for value in (email.replace("example.com", "example.org"), "a" + email[1:], email + "x", email.partition("@")[0]):
        assert (await refusal(creme, {"email": value})).reason is MASK_RETURNED, value


async def test_edited_surrogates_are_refused_and_never_sealed_as_values(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    for name in FIELDS:
        for value in (held[name][:-1], held[name][:-1] + "2", held[name] + "3"):
            if value != held[name]:
                assert (await refusal(creme, {name: value})).reason is MASK_RETURNED, (name, value)


async def test_a_readable_mask_is_put_back_only_for_that_record_and_field(creme: Glue) -> None:
    held = await creme.create("5")
    await creme.create("6", phone="13900139000")
    _, sent = await creme.send_form(EDIT, {"phone": "138****8000", "email": "z***@example.com"}, role="sales")
    assert (sent["phone"], sent["email"]) == (held["phone"], held["email"])
    for target, fields in (
        ("/persons/contact/edit/6", {"phone": "138****8000"}),
        (EDIT, {"mobile": "138****8000"}),
        (EDIT, {"phone": "139****9000"}),
        ("/persons/contact/add", {"phone": "138****8000"}),
    ):
        assert (await refusal(creme, fields, target)).reason is MASK_RETURNED


async def test_a_placeholder_is_put_back_only_where_one_value_stands(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    _, sent = await creme.send_form(EDIT, {"phone": PLACEHOLDER}, role="sales")
    assert sent["phone"] == held["phone"]
    assert (await refusal(creme, {"mobile": PLACEHOLDER})).reason is MASK_RETURNED
    assert (await refusal(creme, {"phone": PLACEHOLDER}, "/persons/contact/add")).reason is MASK_RETURNED
    await creme.send_form(EDIT, {"phone": "13912345678"})
    assert (await refusal(creme, {"phone": PLACEHOLDER})).reason is MASK_RETURNED


async def test_a_mask_in_a_bulk_write_is_refused(creme: Glue) -> None:
    await creme.create("5")
    await creme.create("6", phone="13900139000")
    target = "/creme_core/entity/update/bulk/98/field/phone"
    fault = await refusal(creme, {"entities": "5,6", "phone": "138****8000"}, target)
    assert fault.reason is MASK_RETURNED


@pytest.mark.parametrize("guess", ["138****8000", "139****0000"])
async def test_masks_are_no_oracle_for_values_that_are_hidden(creme: Glue, guess: str) -> None:
    """Right and wrong guesses of the mask of a hidden value end alike."""
    held = await creme.create("5", owner=BORIS)
    fault = await refusal(creme, {"phone": guess})
    assert (fault.reason, fault.detail, fault.fields) == (MASK_RETURNED, "", ("phone",))
    right = (await wire(creme, held, user=BORIS))["phone"]
    for last in ("000", "123", "999"):
        fault = await refusal(creme, {"phone": right[:-3] + last})
        assert (fault.reason, fault.detail, fault.fields) == (MASK_RETURNED, "", ("phone",))


async def test_masks_in_notes_are_put_back_or_refused_and_the_rest_is_still_protected(creme: Glue) -> None:
    held = await creme.create("5")
    shown = await wire(creme, held)
    text = f"call {shown['phone']}, write to {shown['email']}。New: 13912345678!"
    _, sent = await creme.send_form(EDIT, {"description": text}, role="sales")
    note = sent["description"]
    assert note.startswith(f"call {held['phone']}, write to {held['email']}。New: +888")
    assert "13912345678" not in note
    assert "masked.invalid" not in note
    for text in ("call 138****8000", f"number {PLACEHOLDER}", f"call {shown['phone'][:-1]}", "x@masked.invalid"):
        assert (await refusal(creme, {"description": text})).reason is MASK_RETURNED, text


async def test_an_edited_surrogate_in_a_note_is_refused(creme: Glue) -> None:
    token = ""
    for record in range(5, 45):  # a surrogate without digits, cut, could be a word; some have none
        held = await creme.create(str(record))
        made = (one for one in held.values() if one.startswith("Z") and any(c in "234567" for c in one[3:9]))
        token = next(made, "")
        if token:
            break
    assert token
    for text in (f"met {token[:-1]} today", f"see {held['email'][:10]}{held['email'][11:]}"):
        assert (await refusal(creme, {"description": text})).reason is MASK_RETURNED, text


@pytest.mark.parametrize("text", ["**important**", "a * b", "rating ***", "2 ** 8", "zxcvbnm", "Zqwerty said hello"])
async def test_ordinary_stars_and_words_in_notes_are_no_masks(creme: Glue, text: str) -> None:
    _, sent = await creme.send_form(EDIT, {"description": f"{text} and more"}, role="sales")
    assert sent["description"] == f"{text} and more"


async def test_a_surrogate_whose_value_is_gone_stays_what_it_is(creme: Glue, pool: object) -> None:
    held = await creme.create("5")
    async with pool.connection() as connection:  # type: ignore[attr-defined]
        await connection.execute("DELETE FROM vault_term")
        await connection.execute("DELETE FROM vault_origin")
        await connection.execute("DELETE FROM vault")
    creme.vault._opened.drop_all()
    _, sent = await creme.send_form(EDIT, held, role="sales")
    assert sent == held


async def test_a_value_typed_around_a_surrogate_needs_clear_sight_of_it(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    around = {"billing_address-address": held["billing_address-address"] + " 2 楼"}
    _, sent = await creme.send_form(EDIT, around)
    assert (await creme.clear(sent))["billing_address-address"] == PERSON["billing_address-address"] + " 2 楼"
    assert (await refusal(creme, around)).reason is MASK_RETURNED


async def test_a_thousand_random_edits_of_a_form_never_change_what_was_hidden_or_masked(creme: Glue) -> None:
    """Forms as sales: hidden and masked values come back in every spelling, other fields really change."""
    chance = random.Random(20260301)
    own, other = await creme.create("5", owner=ANNA), await creme.create("6", owner=BORIS, last_name="王")
    shown = {"5": await wire(creme, own), "6": await wire(creme, other)}
    real = {"5": PERSON, "6": {**PERSON, "last_name": "王"}}
    rows = {"5": own, "6": other}
    for turn in range(1000):
        record = chance.choice("56")
        fields, wanted = {}, {}
        for name in FIELDS:
            way = chance.choice(("wire", "surrogate", "padded", "left out", "new"))
            if way == "left out":
                continue
            given = shown[record][name] if way == "wire" else rows[record][name]
            fields[name], wanted[name] = (f" {given} " if way == "padded" else given), real[record][name]
            if way == "new" and name == "first_name":
                fields[name] = wanted[name] = f"名{turn % 40}"
        _, sent = await creme.send_form(f"/persons/contact/edit/{record}", fields, role="sales")
        assert await creme.clear(sent) == wanted


async def test_a_thousand_random_edits_in_json_never_change_what_was_hidden_or_masked(tryton: Glue) -> None:
    """Lists of values as sales: phones and e-mails come back masked, names come back changed or not at all."""
    chance = random.Random(8)
    party = {
        "name": "张伟明",
        "contact_mechanisms": [{"type": "phone", "value": "13800138000"}],
        "email": "z@a.example",
    }
    exchange, sent = await tryton.call("model.party.party.create", [party], role="sales")
    await tryton.answer(exchange, b'{"id":1,"result":[5]}', "application/json")
    (held,) = sent[0]
    (shown,) = await tryton.see_tryton(sent[0], "sales")
    for turn in range(100):
        rows, wanted = [], []
        for item in range(10):
            new = f"名字{turn}-{item}" if chance.random() < 0.3 else None
            given = chance.choice((shown, held))
            rows.append({**given, "name": new or given["name"]})
            wanted.append(new)
        _, again = await tryton.call("model.party.party.write", [5], {"rows": rows}, role="sales")
        for new, row in zip(wanted, again[1]["rows"], strict=True):
            assert {**row, "name": ""} == {**held, "name": ""}
            assert new is not None or row["name"] in (held["name"], shown["name"]) or row["name"].startswith("Zq")
            assert (await tryton.entry(row["name"])).clear == (new or party["name"])


async def test_random_damage_to_one_field_is_refused_or_arrives_but_touches_no_other(creme: Glue) -> None:
    chance = random.Random(7)
    held = await creme.create("5")
    shown = await wire(creme, held)
    refused = 0
    for _ in range(150):
        name = chance.choice(("phone", "email"))
        value = shown[name]
        at = chance.randrange(len(value))
        edited = value[:at] + chance.choice(("", "0", "9", "x", "**")) + value[at + chance.choice((0, 1)) :]
        try:
            _, sent = await creme.send_form(EDIT, {**shown, name: edited}, role="sales")
        except Refusal:
            refused += 1
            continue
        clear = await creme.clear(sent)
        assert {key: clear[key] for key in clear if key != name} == {key: PERSON[key] for key in FIELDS if key != name}
        assert "masked.invalid" not in clear[name]
        assert not clear[name].startswith("+888")
    assert refused > 100


async def test_ids_and_cards_posted_back_stay_and_edited_ones_are_refused(creme: Glue) -> None:
    origin = Origin("contact", "id_card", "5")
    (id_card,) = await creme.vault.tokenise(TENANT, [NewValue("id_card", "11010519491231002X", origin)], "c")
    assert was_surrogate(id_card[:-1], SHAPES)
    _, sent = await creme.send_form(EDIT, {"description": f"ID {id_card}"}, role="sales")
    assert sent["description"] == f"ID {id_card}"


def test_an_address_that_lost_the_end_of_its_domain_is_recognised_beside_its_local_part() -> None:
    local = "e." + "a2" * 16
    for text, edited in ((f"{local}@{SHAPES.email_domain[:-1]}", True), (f"{local}@", True), (f"{local} x", False)):
        assert holds_edited_surrogate(text, [(0, len(local))], SCANNER) is edited
    whole = f"{local}@{SHAPES.email_domain}"
    assert not holds_edited_surrogate(whole, [(0, len(whole))], SCANNER)


@pytest.mark.parametrize(
    "text",
    ["x@masked.invalid", "+88891234567000", "008889 1234567 000", "+888 9", "A@MASKED.INVALID"],
)
def test_what_is_left_of_a_wire_mask_is_recognised(text: str) -> None:
    assert holds_wire_mask(text)


@pytest.mark.parametrize("rest", ["@example.org.masked.invali", "@example.org.masked", "@example.org", "@x", "@"])
@pytest.mark.parametrize("first", ["v", "V", "0"])
def test_a_wire_mask_of_an_address_whose_domain_lost_its_end_is_seen_in_running_text(first: str, rest: str) -> None:
    left = f"{first}.{'a2' * 16}{rest}"
    for text in (left, f"电话, {left}", f"write to {left}, please"):
        assert holds_edited_surrogate(text, [], SCANNER), text
    ours = f"e.{'a2' * 16}@{SHAPES.email_domain}"
    assert not holds_edited_surrogate(f"to {ours}", [(3, 3 + len(ours))], SCANNER)


@pytest.mark.parametrize(
    "text",
    ["", "13800138000", "+8613800138000", "a@b.example", "张伟", "110105", "888900", "j.constantinopoulos@a.example"],
)
def test_ordinary_values_are_not_taken_for_ours(text: str) -> None:
    assert not was_surrogate(text, SHAPES)
    assert not holds_wire_mask(text)
    assert not holds_edited_surrogate(text, [], SCANNER)


MADE = {
    "phone": make_phone(KEY, 1234567),
    "id_card": make_id_card(1234567),
    "bank_card": make_bank_card(KEY, 1234567),
    "name": make_short_text(KEY, "name", bytes(range(6))),
    "email": make_email(KEY, bytes(range(16))),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("around", ["met {}, soon", "电话{}，请联系", "{}", "a {} b 13800138000"])
def test_a_surrogate_with_a_sign_lost_or_typed_beside_it_is_seen_in_running_text(kind: str, around: str) -> None:
    made = MADE[kind]
    edited = [made[:-1], f"{made}7"] if kind == "phone" else [made[:-1], made[1:], f"{made}7", f"7{made}"]
    if kind == "email":
        edited = [made[:-1]]  # signs typed before or behind make it another address of the same domain
    if kind == "name":
        edited = [made[:-1], made[1:]]  # it is found whatever stands beside it
    whole = around.format(made)
    assert not holds_edited_surrogate(whole, spans(whole), SCANNER)
    for one in edited:
        text = around.format(one)
        assert holds_edited_surrogate(text, spans(text), SCANNER), text


@pytest.mark.parametrize(
    "text",
    [
        "order 1100001234567890 of 2026-11-26",
        "990000 9999 9999",
        "ticket 99991234567890",
        "+88 80 13",
        "IBAN FR76 3000 6000 0112 3456 7890 189, 2026-01-01 12:00",
        "zq and qx are letters; Zqueue is a name",
        "110000 people, 1850 houses",
    ],
)
def test_ordinary_numbers_in_running_text_are_not_taken_for_torn_surrogates(text: str) -> None:
    assert not holds_edited_surrogate(text, [], SCANNER)


def spans(text: str) -> list[tuple[int, int]]:
    """Where whole surrogates stand; the texts of these tests have characters of one to three bytes."""
    return Returned({text: SCANNER.find(text.encode())}).spans(text)
