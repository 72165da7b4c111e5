"""The way in: what is personal becomes a surrogate, everything else arrives byte for byte."""

import asyncio
import re
from pathlib import Path

import pytest

from gateway.body.leaf import Leaf
from gateway.database import Pool
from gateway.prose import runs
from gateway.refusal import FIELD_NOT_WRITABLE, VALUE_INVALID, VALUE_TOO_LONG, Refusal
from gateway.tokenise import Tokeniser
from gateway.treatment import Target, Treatment
from kms.provider import KeysUnavailable
from kms.tokens import StoreUnavailable
from tests.unit.gateway.glue import ANNA, BORIS, FORM, PERSON, TENANT, Broken, Glue, open_glue

ADD, EDIT = "/persons/contact/add", "/persons/contact/edit/5"
PERSONAL = [value for name, value in PERSON.items() if name != "user"]


async def test_declared_fields_become_surrogates_and_nothing_else_changes(creme: Glue) -> None:
    exchange, sent = await creme.send_form(ADD, {**PERSON, "csrfmiddlewaretoken": "Ab9x" * 16, "position": "chief"})
    assert sent["user"] == ANNA
    assert sent["csrfmiddlewaretoken"] == "Ab9x" * 16
    assert sent["position"] == "chief"
    assert not set(PERSONAL) & set(sent.values())
    assert await creme.clear({name: sent[name] for name in PERSON}) == PERSON
    assert sorted(exchange.written) == sorted(
        [
            ("contact", "last_name", "name"),
            ("contact", "first_name", "name"),
            ("contact", "phone", "phone"),
            ("contact", "email", "email"),
            ("contact", "billing_address", "address"),
        ]
    )


async def test_declared_cards_become_surrogates(creme: Glue) -> None:
    leaves = {"id_card": Leaf(("a",), "11010519491231002X"), "bank_card": Leaf(("b",), "6222020200000000006")}
    exchange = creme.exchange("POST", EDIT, body=b"")
    targets = [
        Target(leaf, Treatment.VALUE, creme.profile.field_specs[("contact", name)]) for name, leaf in leaves.items()
    ]
    await creme.tokeniser.protect(exchange, targets, records=("5",))
    assert leaves["id_card"].new is not None
    assert leaves["id_card"].new.startswith("110000")
    assert leaves["bank_card"].new is not None
    assert leaves["bank_card"].new.startswith("9999")


async def test_empty_fields_stay_empty(creme: Glue) -> None:
    _, sent = await creme.send_form(ADD, {"last_name": "", "phone": "  ", "email": ""})
    assert (sent["last_name"], sent["phone"], sent["email"]) == ("", "  ", "")


NOTE = (
    "<b>见面</b> 13800138000，再 +44 20 7946 0958; z@example.com\r\n\tID 11010519491231002X / 卡 6222020200000000006"
    " \u00a0\u2003 <script>&amp; 'quoted' \"twice\" 100% \\ 2026-03-01 12:30 A-1234567"
)


async def test_notes_lose_what_is_recognised_and_keep_every_other_byte(creme: Glue) -> None:
    _, sent = await creme.send_form(EDIT, {"description": NOTE})
    note = sent["description"]
    for value in ("13800138000", "+44 20 7946 0958", "z@example.com", "11010519491231002X", "6222020200000000006"):
        assert value not in note
    hits = creme.scanner.find(note.encode())
    assert len(hits) == 5
    back, at = b"", 0
    for hit in hits:
        back += note.encode()[at : hit.start] + (await creme.entry(hit.canonical)).clear.encode()
        at = hit.end
    assert back + note.encode()[at:] == NOTE.encode()


async def test_known_names_in_notes_are_replaced_in_exactly_their_spelling(creme: Glue) -> None:
    await creme.create("9", last_name="Wei", first_name="Zhang")
    await creme.create("8", last_name="欧阳", first_name="娜娜")
    _, sent = await creme.send_form(EDIT, {"description": "Zhang Wei met 欧阳娜娜, not ZHANG WEI or 欧阳."})
    note = sent["description"]
    assert "Zhang Wei" not in note
    assert "欧阳" not in note
    assert "not ZHANG WEI or " in note


async def test_a_note_that_names_the_person_being_created_is_protected(creme: Glue) -> None:
    fields = {**PERSON, "description": "客户张伟明很重要；伟明 likes tea. 张, 伟明"}
    _, sent = await creme.send_form(ADD, fields)
    assert "伟明" not in sent["description"]
    assert sent["description"].startswith("客户Z")
    assert "很重要；" in sent["description"]


async def test_names_completed_by_an_update_are_known_in_full(creme: Glue) -> None:
    held = await creme.create("5")
    _, sent = await creme.send_form(
        EDIT, {"last_name": held["last_name"], "first_name": "小红", "description": "张小红 called"}, role="sales"
    )
    assert "小红" not in sent["description"]


async def test_every_row_of_an_import_is_known_in_full(creme: Glue) -> None:
    data = "姓,名,描述\r\n王,小明,同事 李大山\r\n李,大山,朋友 王小明\r\n".encode()
    exchange = creme.exchange("POST", ADD, body=b"")
    outgoing = await creme.protect(exchange, data, "text/csv")
    assert isinstance(outgoing.body, bytes)
    text = outgoing.body.decode()
    assert text.startswith("姓,名,描述\r\n")
    for name in ("小明", "大山", "王", "李"):
        assert name not in text.partition("\r\n")[2]
    assert "同事 Z" in text


@pytest.mark.parametrize(
    ("value", "replaced"),
    [
        ("13800138000", True),
        ("z@example.com", True),
        ("11010519491231002X", True),
        ("6222020200000000006", True),
        ("order of 13800138000 today", True),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", False),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMzgwMDEzODAwMCJ9.abc", False),
        ("1700000000000", False),
        ("2026-03-01T12:00:00Z", False),
        ("#12345", False),
        ("张三丰", False),
    ],
)
async def test_undeclared_values_are_replaced_only_when_recognised(creme: Glue, value: str, replaced: bool) -> None:
    _, sent = await creme.send_form(EDIT, {"anything": value})
    assert (sent["anything"] != value) is replaced


@pytest.mark.parametrize("name", ["csrfmiddlewaretoken", "password", "password_1", "ids", "user", "entities"])
async def test_tokens_ids_and_accounts_are_never_looked_into(creme: Glue, name: str) -> None:
    _, sent = await creme.send_form(EDIT, {name: "13800138000"})
    assert sent[name] == "13800138000"


async def test_numbers_without_quotes_are_ids_unless_the_profile_says_otherwise(tryton: Glue) -> None:
    _, sent = await tryton.call("model.party.party.write", [5], {"anything": 13800138000, "phone": 13800138000})
    assert sent[1]["anything"] == 13800138000
    assert isinstance(sent[1]["phone"], str)
    assert sent[1]["phone"].startswith("+888")


@pytest.mark.parametrize(
    ("fields", "reason", "detail"),
    [
        ({"last_name": "x" * 101}, VALUE_TOO_LONG, "too-long"),
        ({"phone": "call\nme"}, VALUE_INVALID, "newline"),
        ({"first_name": "a\x00b"}, VALUE_INVALID, "control-character"),
        ({"last_name": "a\nb"}, VALUE_INVALID, "newline"),
    ],
)
async def test_values_that_cannot_be_kept_are_refused_with_the_field_and_without_the_value(
    creme: Glue, fields: dict[str, str], reason: object, detail: str
) -> None:
    with pytest.raises(Refusal) as caught:
        await creme.send_form(ADD, fields)
    ((name, value),) = fields.items()
    assert (caught.value.reason, caught.value.fields, caught.value.detail) == (reason, (name,), detail)
    assert caught.value.__cause__ is None
    assert value not in repr((caught.value, caught.value.__dict__, str(caught.value)))


@pytest.mark.parametrize(("field", "value"), [("email", "not an address"), ("phone", "call me maybe")])
async def test_what_is_no_address_and_no_number_reaches_the_crm_as_neither(creme: Glue, field: str, value: str) -> None:
    _, sent = await creme.send_form(ADD, {field: value})
    assert re.fullmatch("Zq[a-z2-7]{14}", sent[field])


async def test_a_field_a_role_may_not_write_is_refused_unless_it_comes_back_unchanged(
    pool: Pool, keyring_path: Path
) -> None:
    policy = """
p, reader, *, op:*, *, any
p, reader, *, kind:*, masked, any
p, reader, *, kind:name, write, any
p, manager, *, op:*, *, any
p, manager, *, kind:*, clear, any
p, manager, *, kind:*, write, any
"""
    async with open_glue(pool, keyring_path, policy=policy) as glue:
        held = await glue.create("5")
        other = await glue.create("6", phone="13912345678")
        _, sent = await glue.send_form(EDIT, {**held, "last_name": "李"}, role="reader")
        assert {**sent, "last_name": ""} == {**held, "last_name": ""}
        for value in ("13811112222", other["phone"]):
            with pytest.raises(Refusal) as caught:
                await glue.send_form(EDIT, {"phone": value}, role="reader")
            assert (caught.value.reason, caught.value.fields) == (FIELD_NOT_WRITABLE, ("phone",))


async def test_pasting_a_foreign_surrogate_into_an_own_record_opens_nothing(creme: Glue) -> None:
    foreign = await creme.create("6", owner=BORIS)
    await creme.create("5", owner=ANNA, last_name="李", phone="13911112222", email="li@example.com")
    pasted = {**foreign, "user": ANNA, "description": f"note {foreign['last_name']}"}
    await creme.send_form(EDIT, pasted, role="sales")
    exchange, _ = await creme.send_form(ADD, pasted, role="sales")
    await creme.answer(exchange, b"", status=302, location="/persons/contact/7")
    shown = await creme.see("".join(f"<p>{value}</p>" for value in foreign.values() if value != BORIS))
    for value in (*PERSONAL, "138****", "z***@"):
        assert value not in shown
    for surrogate in foreign.values():
        if surrogate != BORIS:
            assert {origin.record for origin in (await creme.entry(surrogate)).origins} == {"6"}


async def test_a_mask_moved_to_a_record_where_more_is_seen_does_not_become_the_value(
    pool: Pool, keyring_path: Path
) -> None:
    policy = """
p, sales, *, op:*, *, any
p, sales, *, kind:*, write, any
p, sales, *, field:*.*, clear, own
p, sales, *, field:*.*, masked, other
"""
    async with open_glue(pool, keyring_path, policy=policy) as glue:
        foreign = await glue.create_as("sales", "6", BORIS)
        await glue.create_as("sales", "5", ANNA, phone="13911112222")
        await glue.send_form(EDIT, {"phone": foreign["phone"]}, role="sales")
        assert "13800138000" not in await glue.see(f"<p>{foreign['phone']}</p>")


async def test_a_surrogate_the_writer_sees_clear_gets_the_new_place_as_an_origin(creme: Glue) -> None:
    held = await creme.create("6", owner=BORIS)
    await creme.create("5", owner=ANNA)
    await creme.send_form(EDIT, {"last_name": held["last_name"]})
    assert {origin.record for origin in (await creme.entry(held["last_name"])).origins} == {"5", "6"}


async def test_a_value_of_another_entity_is_not_bound_to_the_number_in_the_path(creme: Glue) -> None:
    """A contact's form names its employer: that name does not belong to the company with the contact's number."""
    _, sent = await creme.send_form(EDIT, {"organisation": "长城贸易"})
    (origin,) = (await creme.entry(sent["organisation"])).origins
    assert (origin.entity, origin.record) == ("organisation", None)


async def test_a_bulk_write_belongs_to_every_record_it_names(creme: Glue) -> None:
    target = "/creme_core/entity/update/bulk/98/field/phone"
    _, sent = await creme.send_form(target, {"entities": "5,6", "phone": "13800138000"})
    assert {origin.record for origin in (await creme.entry(sent["phone"])).origins} == {"5", "6"}


async def test_text_that_is_no_unicode_is_handled_without_an_accident(creme: Glue) -> None:
    held = await creme.create("5")
    leaf = Leaf(("description",), f"\udce9 {held['phone']} 13912345678 \udcff")
    exchange = creme.exchange("POST", EDIT, body=b"")
    await creme.tokeniser.protect(exchange, [Target(leaf, Treatment.TEXT)], records=("5",))
    assert leaf.new is not None
    assert leaf.new.startswith(f"\udce9 {held['phone']} +888")
    assert leaf.new.endswith(" \udcff")


@pytest.mark.parametrize("fault", [KeysUnavailable("down", "no answer"), StoreUnavailable("down")])
@pytest.mark.parametrize("value", ["13800138000", "+88870000001111"])
async def test_a_vault_that_fails_lets_nothing_pass(creme: Glue, fault: Exception, value: str) -> None:
    broken = Tokeniser(Broken("raise", fault), creme.records, lambda _: creme.scanner)  # type: ignore[arg-type]
    leaf = Leaf(("phone",), value)
    target = Target(leaf, Treatment.VALUE, creme.profile.field_specs[("contact", "phone")])
    with pytest.raises((type(fault), Refusal)):
        await broken.protect(creme.exchange("POST", EDIT, body=b""), [target], records=("5",))
    assert leaf.new is None


@pytest.mark.parametrize("way", ["hang", "nonsense"])
async def test_a_vault_that_hangs_or_answers_nonsense_lets_nothing_pass(creme: Glue, way: str) -> None:
    broken = Tokeniser(Broken(way, ValueError()), creme.records, lambda _: creme.scanner)  # type: ignore[arg-type]
    leaf = Leaf(("phone",), "13800138000")
    target = Target(leaf, Treatment.VALUE, creme.profile.field_specs[("contact", "phone")])
    with pytest.raises((TimeoutError, TypeError, ValueError)):
        async with asyncio.timeout(0.05):
            await broken.protect(creme.exchange("POST", EDIT, body=b""), [target], records=("5",))


async def test_login_bodies_are_never_touched(creme: Glue) -> None:
    body = b"username=13800138000&password=z%40example.com"
    exchange = creme.exchange("POST", "/creme_login", body=body)
    assert (await creme.protect(exchange, body, FORM)).body == body


async def test_the_exchange_keeps_kinds_and_no_values(creme: Glue) -> None:
    exchange, sent = await creme.send_form(ADD, {**PERSON, "description": NOTE})
    kept = repr((exchange.written, exchange.searched, exchange.shown, exchange.caught))
    assert not any(value in kept for value in (*PERSONAL, *(sent[name] for name in ("phone", "email"))))
    assert await creme.vault.find(TENANT, "phone", PERSON["phone"]) == [sent["phone"]]


@pytest.mark.parametrize(("text", "running"), [("13800138000", False), (" a ", False), ("a b", True), ("张三", True)])
def test_running_text_is_what_has_spaces_or_chinese(text: str, running: bool) -> None:
    assert runs(text) is running
