"""Search by a clear value: found where the searcher sees it, and no oracle where they do not."""

import asyncio
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from gateway.body.leaf import Leaf
from gateway.database import Pool
from gateway.refusal import FIELD_NOT_SEARCHABLE, SEARCH_AMBIGUOUS, Refusal
from gateway.search import Operand, Search
from kms.provider import KeysUnavailable
from kms.surrogate import no_match
from kms.tokens import NewValue, Origin, StoreUnavailable, SurrogateVault
from tests.unit.gateway.glue import ANNA, BORIS, JSON, PERSON, TENANT, Broken, Glue, open_glue

LIST = "/persons/contacts?search-regular_field-"
ID_CARD = "11010519491231002X"
PHONES = {"5": "13800138000", "6": "13912345678"}


async def searched(glue: Glue, target: str, role: str = "manager", user: str | None = ANNA) -> str:
    """The first parameter as the CRM gets it."""
    outgoing = await glue.protect(glue.exchange("GET", target, role=role, user=user), None)
    return parse_qsl(urlsplit(outgoing.target).query, keep_blank_values=True)[0][1]


async def test_a_known_value_becomes_its_surrogate_in_any_spelling(creme: Glue) -> None:
    held = await creme.create("5")
    for text in ("13800138000", "138 0013 8000", "%2B8613800138000", "0086-138-0013-8000"):
        assert await searched(creme, f"{LIST}phone={text}") == held["phone"]
    assert await searched(creme, f"{LIST}email=Zhang.Weiming@EXAMPLE.com") == held["email"]
    assert await searched(creme, f"{LIST}last_name={quote('张')}") == held["last_name"]


@pytest.mark.parametrize("role", ["manager", "sales"])
async def test_an_unknown_value_becomes_the_one_that_matches_nothing(creme: Glue, role: str) -> None:
    assert await searched(creme, f"{LIST}phone=13912345678", role) == no_match("phone")
    assert await searched(creme, "/creme_core/search?research=nobody@example.org", role) == no_match("email")


async def test_sales_find_own_customers(creme: Glue) -> None:
    held = await creme.create("5", owner=ANNA)
    assert await searched(creme, f"{LIST}phone=13800138000", "sales") == held["phone"]
    assert await searched(creme, f"{LIST}last_name={quote('张')}", "sales") == held["last_name"]
    assert await searched(creme, f"/creme_core/search?research={quote('张伟明')}", "sales") == held["last_name"]


async def test_a_value_the_searcher_sees_nowhere_looks_like_one_that_does_not_exist(creme: Glue) -> None:
    await creme.create("5", owner=BORIS)
    for field, known, unknown in (
        ("phone", "13800138000", "13912345678"),
        ("email", PERSON["email"], "a@b.example"),
        ("last_name", quote("张"), quote("李")),
    ):
        answers = {await searched(creme, f"{LIST}{field}={value}", "sales") for value in (known, unknown)}
        assert len(answers) == 1
        assert answers != {known}


async def test_a_known_name_in_a_box_that_searches_everything_stays_out_of_the_crm_and_is_no_oracle(
    creme: Glue,
) -> None:
    await creme.create("5", owner=BORIS)
    pages = {}
    for name in ("张伟明", "李无名"):
        exchange = creme.exchange("GET", f"/creme_core/search?research={quote(name)}", role="sales")
        outgoing = await creme.protect(exchange, None)
        sent = parse_qsl(urlsplit(outgoing.target).query)[0][1]
        assert (sent == name) is (name == "李无名")
        page = f'<title>{sent}</title><input name="research" value="{sent}"><p>0 hits for {sent}</p>'
        _, body = await creme.answer(exchange, page.encode())
        pages[name] = body.decode().replace(name, "…")
    assert pages["张伟明"] == pages["李无名"]
    assert pages["李无名"].count("…") == 3


@pytest.mark.parametrize("value", [ID_CARD, "110105194912310046"])
async def test_a_kind_the_role_may_not_search_is_refused_whether_it_is_known_or_not(creme: Glue, value: str) -> None:
    for target in (f"/creme_core/search?research={value}", f"/persons/contacts?anything={value}"):
        if creme_recognises(value):
            with pytest.raises(Refusal) as caught:
                await searched(creme, target, "sales")
            assert (caught.value.reason, caught.value.detail) == (FIELD_NOT_SEARCHABLE, "id_card")
    with pytest.raises(Refusal) as caught:
        await searched(creme, f"{LIST}billing_address__address={quote('建国路')}", "sales")
    assert (caught.value.reason, caught.value.detail) == (FIELD_NOT_SEARCHABLE, "address")


def creme_recognises(value: str) -> bool:
    from privacy import recognise

    return recognise.whole(value) is not None


async def test_a_known_address_in_a_box_that_searches_everything_is_no_oracle(creme: Glue) -> None:
    await creme.create("5", owner=BORIS)
    address = quote(PERSON["billing_address-address"])
    sent = await searched(creme, f"/creme_core/search?research={address}", "sales")
    assert sent == no_match("address")


async def test_a_name_of_several_people_is_ambiguous_where_lists_cannot_be_asked_for(creme: Glue) -> None:
    await creme.create("5", owner=ANNA, last_name="李")
    held = await creme.create("6", owner=BORIS, last_name="李")
    target = f"/creme_core/search?research={quote('李')}"
    with pytest.raises(Refusal) as caught:
        await searched(creme, target)
    assert (caught.value.reason, caught.value.detail) == (SEARCH_AMBIGUOUS, "2")
    assert await searched(creme, target, "sales", BORIS) == held["last_name"]


async def test_wild_cards_are_kept(creme: Glue) -> None:
    held = await creme.create("5")
    assert await searched(creme, f"{LIST}phone=*13800138000*") == f"*{held['phone']}*"
    assert await searched(creme, f"{LIST}last_name=%25{quote('张')}%25") == f"%{held['last_name']}%"
    assert await searched(creme, f"{LIST}last_name=%25") == "%"


async def test_a_surrogate_in_an_operand_stays(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    for name in ("phone", "email", "last_name"):
        assert await searched(creme, f"{LIST}{name}={quote(held[name])}", "sales") == held[name]


async def test_recognised_values_inside_a_longer_operand_do_not_reach_the_crm(creme: Glue) -> None:
    held = await creme.create("5")
    text = await searched(creme, f"/creme_core/search?research={quote('张 13800138000 or 13912345678')}")
    assert text == f"张 {held['phone']} or {no_match('phone')}"


async def test_other_parameters_are_looked_at_too_but_ids_and_words_are_not(creme: Glue) -> None:
    held = await creme.create("5")
    assert await searched(creme, "/persons/contact/add?phone=13800138000") == held["phone"]
    for target, value in (("/?page=2", "2"), ("/?ids=13800138000", "13800138000"), ("/?sort_key=name", "name")):
        assert await searched(creme, target) == value


async def test_a_json_filter_in_a_parameter_is_opened(creme: Glue) -> None:
    held = await creme.create("5")
    given = quote('{"op":"AND","phone":"13800138000","id":5}')
    assert await searched(creme, f"/persons/contacts?q_filter={given}") == (
        f'{{"op":"AND","phone":"{held["phone"]}","id":5}}'
    )


async def test_an_untouched_query_arrives_byte_for_byte(creme: Glue) -> None:
    target = "/persons/contacts?a=%E5%BC%A0&b=x+y&c&&d=%7e"
    assert (await creme.protect(creme.exchange("GET", target), None)).target == target


async def test_domains_of_tryton_are_searched_clause_by_clause(tryton: Glue) -> None:
    party = {"name": "张伟明", "phone": "13800138000", "email": "z@example.com"}
    exchange, sent = await tryton.call("model.party.party.create", [party])
    await tryton.answer(exchange, b'{"id":1,"result":[5]}', "application/json")
    (held,) = sent[0]
    domain = [
        "OR",
        [["phone", "=", "138 0013 8000"], ["email", "ilike", "%z@example.com%"]],
        ["contact_mechanisms.value", "in", ["13800138000", "13912345678"]],
        ["name", "ilike", "%张伟明%"],
        ["id", "=", 13800138000],
        ["create_uid", "=", 3],
    ]
    exchange, sent = await tryton.call("model.party.party.search", domain, 0, 100, None)
    assert sent[0] == [
        "OR",
        [["phone", "=", held["phone"]], ["email", "ilike", f"%{held['email']}%"]],
        ["contact_mechanisms.value", "in", [held["phone"], no_match("phone")]],
        ["name", "ilike", f"%{held['name']}%"],
        ["id", "=", 13800138000],
        ["create_uid", "=", 3],
    ]
    assert sorted(exchange.searched) == ["email", "name", "phone"]


async def test_a_field_may_be_closed_for_search_though_its_kind_is_open(pool: Pool, keyring_path: Path) -> None:
    policy = """
p, sales, *, op:*, *, any
p, sales, *, kind:*, search, any
p, sales, *, field:contact.phone, search, any, deny
"""
    async with open_glue(pool, keyring_path, policy=policy) as glue:
        with pytest.raises(Refusal):
            await searched(glue, f"{LIST}phone=13800138000", "sales")
        assert await searched(glue, f"{LIST}mobile=13800138000", "sales") == no_match("phone")


async def test_the_exchange_keeps_kinds_and_no_operands(creme: Glue) -> None:
    exchange = creme.exchange("GET", f"{LIST}phone=13800138000", role="sales")
    await creme.protect(exchange, None)
    assert exchange.searched == ["phone"]


class Twofold:
    """A vault in the middle of a key rotation that left two surrogates of one number."""

    def __init__(self, vault: SurrogateVault, both: list[str]) -> None:
        self._vault, self._both = vault, both

    async def find(self, _tenant: str, kind: str, _clear: str) -> list[str]:
        return self._both if kind == "phone" else []

    def __getattr__(self, name: str) -> object:
        return getattr(self._vault, name)


@pytest.mark.parametrize("text", ["13800138000", "called 13800138000"])
@pytest.mark.parametrize("operator", ["=", "!="])
async def test_a_number_with_two_surrogates_is_refused_where_they_cannot_be_asked_for_together(
    creme: Glue, operator: str, text: str
) -> None:
    both = [(await creme.create(record, phone=phone))["phone"] for record, phone in PHONES.items()]
    search = Search(Twofold(creme.vault, both), creme.records)  # type: ignore[arg-type]
    operand = Operand(Leaf(("q",), text), operator=operator)
    with pytest.raises(Refusal) as caught:
        await search.rewrite(creme.exchange("GET", "/"), creme.scanner, operand)
    assert (caught.value.reason, caught.value.detail) == (SEARCH_AMBIGUOUS, "2")
    assert operand.leaf.new is None


async def test_a_number_with_two_surrogates_is_asked_for_twice_but_never_to_leave_both_out(
    pool: Pool, keyring_path: Path
) -> None:
    async with open_glue(pool, keyring_path, "hubspot") as glue:
        values = [NewValue("phone", one, Origin("contact", "phone", record)) for record, one in PHONES.items()]
        both = await glue.vault.tokenise(TENANT, values, "x0")
        search = Search(Twofold(glue.vault, both), glue.records)  # type: ignore[arg-type]
        body = b'{"filterGroups":[]}'
        for operator, several in (("EQ", 1), ("NEQ", 0)):
            exchange = glue.exchange("POST", "/crm/v3/objects/contacts/search", body=body, content_type=JSON)
            operand = Operand(Leaf(("value",), "13800138000"), operator=operator)
            if several:
                await search.rewrite(exchange, glue.scanner, operand)
            else:
                with pytest.raises(Refusal, match="search-ambiguous"):
                    await search.rewrite(exchange, glue.scanner, operand)
            assert [one.values for one in exchange.several] == [tuple(both)] * several


@pytest.mark.parametrize("fault", [KeysUnavailable("down", "no answer"), StoreUnavailable("down")])
async def test_a_vault_that_fails_ends_the_search(creme: Glue, fault: Exception) -> None:
    operand = Operand(Leaf(("q",), "13800138000"))
    search = Search(Broken("raise", fault), creme.records)  # type: ignore[arg-type]
    with pytest.raises(type(fault)):
        await search.rewrite(creme.exchange("GET", "/"), creme.scanner, operand)
    assert operand.leaf.new is None


async def test_a_vault_that_hangs_lets_no_operand_pass(creme: Glue) -> None:
    operand = Operand(Leaf(("q",), "13800138000"))
    search = Search(Broken("hang", ValueError()), creme.records)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await search.rewrite(creme.exchange("GET", "/"), creme.scanner, operand)
    assert operand.leaf.new is None
