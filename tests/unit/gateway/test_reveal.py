"""What people see of an answer: clear, masked or hidden by whose value it is; the trail gets counts, never values."""

import re
from pathlib import Path

import orjson
import pytest

from gateway.collaborators import Fields
from gateway.database import Pool
from gateway.exchange import Exchange
from gateway.reveal import PLACEHOLDER, Reveal
from kms.provider import KeysUnavailable
from kms.tokens import NewValue, Origin, StoreUnavailable
from tests.unit.gateway.glue import ANNA, BORIS, PERSON, TENANT, Broken, Glue, open_glue

ID_CARD, BANK_CARD = "11010519491231002X", "6222020200000000006"


async def with_cards(glue: Glue, record: str) -> tuple[str, str]:
    """An ID card and a bank card of a contact."""
    origins = [Origin("contact", "id_card", record), Origin("contact", "bank_card", record)]
    first, second = await glue.vault.tokenise(
        TENANT, [NewValue("id_card", ID_CARD, origins[0]), NewValue("bank_card", BANK_CARD, origins[1])], "c"
    )
    return first, second


def page(held: dict[str, str], *more: str) -> str:
    names = ("last_name", "first_name", "phone", "email", "billing_address-address")
    cells = [*(held[name] for name in names), *more]
    return "<html><body>" + "".join(f"<p>{cell}</p>" for cell in cells) + "</body></html>"


def cells(html: str) -> list[str]:
    return re.findall("<p>(.*?)</p>", html)


async def test_a_manager_sees_everything_clear(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    shown = cells(await creme.see(page(held, *await with_cards(creme, "5")), role="manager"))
    assert shown == [
        PERSON["last_name"],
        PERSON["first_name"],
        PERSON["phone"],
        PERSON["email"],
        PERSON["billing_address-address"],
        ID_CARD,
        BANK_CARD,
    ]


async def test_sales_see_names_of_own_customers_phones_masked_and_cards_hidden(creme: Glue) -> None:
    held = await creme.create("5", owner=ANNA)
    shown = cells(await creme.see(page(held, *await with_cards(creme, "5"))))
    assert shown == [
        PERSON["last_name"],
        PERSON["first_name"],
        "138****8000",
        "z***@example.com",
        PERSON["billing_address-address"],
        PLACEHOLDER,
        PLACEHOLDER,
    ]


async def test_sales_see_nothing_of_customers_of_others(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    assert set(cells(await creme.see(page(held, *await with_cards(creme, "5"))))) == {PLACEHOLDER}
    assert set(cells(await creme.see(page(held), user=None))) == {PLACEHOLDER}


async def test_values_not_bound_to_a_record_are_hidden_from_sales(creme: Glue) -> None:
    _, held = await creme.send_form("/persons/contact/add", PERSON, role="sales")
    assert set(cells(await creme.see(page(held)))) == {PLACEHOLDER}
    assert PERSON["phone"] in await creme.see(page(held), role="manager")


async def test_programs_get_something_they_may_post_back(creme: Glue) -> None:
    held = await creme.create("5", owner=ANNA)
    id_card, _ = await with_cards(creme, "5")
    shown = await creme.see_json({"name": held["last_name"], "phone": held["phone"], "id": id_card})
    assert isinstance(shown, dict)
    assert shown["name"] == PERSON["last_name"]
    assert shown["phone"].startswith("+8889")
    assert shown["phone"].endswith("000")
    assert shown["id"] == id_card


@pytest.mark.parametrize("role", ["sales", "manager"])
async def test_what_is_remembered_is_shown_and_counted_like_the_first_time(creme: Glue, role: str) -> None:
    held = await creme.create("5", owner=ANNA, phone="138 0013 8000")
    body = orjson.dumps({**held, "note": f"13912345678 {held['phone']}", held["last_name"]: "Zqaaaaaaaaaaaaaa"})
    answers = []
    for text in (body, body, body.replace(b"Zqaaaaaaaaaaaaaa", b""), body.replace(b"Zqaaaaaaaaaaaaaa", b"")):
        exchange = creme.exchange("GET", "/persons/contacts", role=role)
        _, shown = await creme.answer(exchange, text, "application/json")
        answers.append((shown.replace(b"Zqaaaaaaaaaaaaaa", b""), exchange.shown, exchange.caught))
    assert answers[1:] == answers[:1] * 3
    assert answers[0][1]


async def test_what_is_remembered_ends_with_the_owner(creme: Glue) -> None:
    held = await creme.create("5", owner=ANNA)
    value = {"name": held["last_name"]}
    for _ in range(2):
        assert await creme.see_json(value) == {"name": PERSON["last_name"]}
    await creme.records.note(TENANT, [("contact", "5"), ("*", "5")], BORIS, creme.clock())
    for _ in range(2):
        assert await creme.see_json(value) == value


async def test_what_was_typed_is_shown_to_programs_as_well(creme: Glue) -> None:
    exchange, held = await creme.send_form("/persons/contact/add", PERSON, role="sales")
    body = orjson.dumps({"phone": held["phone"]})
    for one, phone in ((exchange, PERSON["phone"]), (creme.exchange("GET", "/x", role="sales"), held["phone"])):
        _, shown = await creme.answer(one, body, "application/json")
        assert orjson.loads(shown) == {"phone": phone}


async def test_a_value_is_shown_as_it_was_typed_into_the_record_at_hand(creme: Glue) -> None:
    await creme.create("5", phone="138 0013 8000")
    held = await creme.create("6", phone="+86 13800138000")
    for record, spelled in (("5", "138 0013 8000"), ("6", "+86 13800138000")):
        shown = await creme.see(page(held), role="manager", target=f"/persons/contact/{record}")
        assert cells(shown)[2] == spelled


async def test_what_the_vault_does_not_know_stays_as_it_is(creme: Glue) -> None:
    foreign = "<p>Zqaaaaaaaaaaaaaa</p><p>e.abcdefghijklmnopqrstuvwxyz234567@enc.invalid</p>"
    assert await creme.see(foreign) == foreign
    assert await creme.see(foreign, role="manager") == foreign


async def test_clear_values_nobody_protected_are_caught_for_roles_without_full_rights(creme: Glue) -> None:
    clear = "<p>call 13912345678 or bob@example.org</p>"
    exchange = creme.exchange("GET", "/persons/contacts", role="sales")
    _, shown = await creme.answer(exchange, clear.encode())
    assert "13912345678" not in shown.decode()
    assert "bob@example.org" not in shown.decode()
    assert exchange.caught == {"phone": 1, "email": 1}
    assert await creme.see(clear, role="manager") == clear


async def test_hostile_values_stay_text(creme: Glue) -> None:
    hostile = '<img src=x onerror="alert(1)">'
    held = await creme.create("5", last_name=hostile)
    for role in ("sales", "manager"):
        shown = await creme.see(f'<p title="{held["last_name"]}">{held["last_name"]}</p>', role=role)
        assert "<img" not in shown
        assert "&lt;img" in shown


async def test_the_exchange_holds_counts_and_no_values(creme: Glue) -> None:
    held = await creme.create("5", owner=ANNA)
    exchange = creme.exchange("GET", "/persons/contacts", role="sales")
    await creme.answer(exchange, (page(held) + "<p>13912345678</p>").encode())
    assert exchange.shown[("contact", "phone", "5", "MASKED")] == 1
    assert exchange.shown[("contact", "last_name", "5", "CLEAR")] == 1
    kept = repr((exchange.shown, exchange.caught, exchange.written, exchange.searched))
    for value in (*PERSON.values(), "13912345678", *held.values()):
        assert value == ANNA or value not in kept


async def test_a_form_shown_again_shows_what_was_typed_and_saving_it_then_binds(creme: Glue) -> None:
    exchange, held = await creme.send_form("/persons/contact/add", PERSON, role="sales")
    _, shown = await creme.answer(exchange, page(held).encode())
    assert cells(shown.decode()) == [value for name, value in PERSON.items() if name != "user"][:5]
    assert set(cells(await creme.see(page(held)))) == {PLACEHOLDER}
    held = await creme.create_as("sales", "5", ANNA)
    assert cells(await creme.see(page(held)))[2] == "138****8000"


async def test_what_came_back_masked_is_not_shown_clear_in_the_form_shown_again(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    exchange, _ = await creme.send_form("/persons/contact/edit/5", {**held, "phone": held["phone"]}, role="sales")
    _, shown = await creme.answer(exchange, page(held).encode())
    assert set(cells(shown.decode())) == {PLACEHOLDER}


async def test_an_erased_owner_hides_again(creme: Glue) -> None:
    held = await creme.create("5", owner=ANNA)
    assert PERSON["last_name"] in await creme.see(page(held))
    await creme.records.note(TENANT, [("contact", "5"), ("*", "5")], "", creme.clock())
    assert PERSON["last_name"] not in await creme.see(page(held))


async def test_own_policies_decide_field_by_field(pool: Pool, keyring_path: Path) -> None:
    policy = """
p, sales, *, op:*, *, any
p, sales, *, kind:*, write, any
p, sales, *, field:contact.email, clear, any
p, sales, *, field:contact.phone, masked, other
"""
    async with open_glue(pool, keyring_path, policy=policy) as glue:
        held = await glue.create_as("sales", "5", BORIS)
        shown = cells(await glue.see(page(held)))
        assert shown == [PLACEHOLDER, PLACEHOLDER, "138****8000", PERSON["email"], PLACEHOLDER]


@pytest.mark.parametrize("role", ["sales", "manager"])
@pytest.mark.parametrize("fault", [KeysUnavailable("down", "no answer"), StoreUnavailable("down")])
async def test_a_vault_that_fails_ends_the_answer(creme: Glue, role: str, fault: Exception) -> None:
    held = await creme.create("5")
    creme.outward = creme.outward_over(Broken("raise", fault))
    with pytest.raises(type(fault)):
        await creme.see(page(held), role=role)


@pytest.mark.parametrize("role", ["sales", "manager"])
async def test_a_vault_that_answers_nonsense_ends_the_answer(creme: Glue, role: str) -> None:
    held = await creme.create("5")
    creme.outward = creme.outward_over(Broken("nonsense", ValueError()))
    with pytest.raises((TypeError, ValueError, AttributeError)):
        await creme.see(page(held), role=role)


@pytest.mark.parametrize("role", ["sales", "manager"])
async def test_a_vault_that_hangs_lets_nothing_out(creme: Glue, role: str) -> None:
    import asyncio

    held = await creme.create("5")
    creme.outward = creme.outward_over(Broken("hang", ValueError()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await creme.see(page(held), role=role)


async def test_owners_that_cannot_be_asked_for_end_the_answer(creme: Glue) -> None:
    held = await creme.create("5")
    reveal = Reveal(creme.vault, Broken("raise", StoreUnavailable("down")), {TENANT: creme.scanner}, creme.clock)  # type: ignore[arg-type]
    creme.outward = creme.outward_with(reveal)
    with pytest.raises(StoreUnavailable):
        await creme.see(page(held))


async def test_nothing_is_rendered_before_a_decision(creme: Glue) -> None:
    exchange = Exchange("x", creme.clock(), creme.exchange("GET", "/").head, tenant=TENANT)
    fields: Fields = []
    with pytest.raises(RuntimeError):
        await creme.outward.render_answer(exchange, creme.installation, 200, fields, b"<p>hello</p>")
