"""Who may order by protected columns, compare them, and look for parts of what they hold."""

import json
from urllib.parse import quote, urlencode

import pytest

from gateway.inward import Inward
from gateway.refusal import FIELD_NOT_ORDERED, SEARCH_TOO_SHORT, SEARCH_WHILE_CLEAR, Reason, Refusal
from gateway.search import Search
from tests.unit.gateway.glue import ANNA, BORIS, JSON, TENANT, Glue

LIST = "/persons/contacts"


@pytest.fixture
async def unmigrated(creme: Glue) -> Glue:
    """The same CRM while it may still hold values in clear."""
    creme.search = Search(creme.vault, creme.records, lambda _: False)
    creme.inward = Inward(creme.tokeniser, creme.search, {TENANT: creme.scanner}.__getitem__, creme.limits)
    return creme


async def refused(glue: Glue, path: str, role: str, **given: str) -> Reason | None:
    """Why a search with these parameters is refused; None when it passes."""
    exchange = glue.exchange("GET", f"{path}?{urlencode(given, quote_via=quote)}", role=role)
    try:
        await glue.protect(exchange, None)
    except Refusal as refusal:
        return refusal.reason
    return None


def condition(lookup: str, text: str) -> str:
    return json.dumps({"op": "AND", "val": [[lookup, text]]})


@pytest.mark.parametrize(
    ("column", "role", "reason"),
    [
        ("mobile", "sales", FIELD_NOT_ORDERED),
        ("email", "sales", FIELD_NOT_ORDERED),
        ("description", "sales", FIELD_NOT_ORDERED),
        ("last_name", "sales", None),
        ("created", "sales", None),
        ("mobile", "manager", None),
    ],
)
async def test_sorting_takes_a_right_to_see_the_values(
    creme: Glue, column: str, role: str, reason: Reason | None
) -> None:
    assert await refused(creme, LIST, role, sort_key=f"regular_field-{column}", sort_order="ASC") is reason


async def test_a_list_is_sorted_by_names_as_the_crm_does_anyway(unmigrated: Glue) -> None:
    assert await refused(unmigrated, LIST, "sales", sort_key="regular_field-last_name") is None
    assert await refused(unmigrated, LIST, "sales", sort_key="regular_field-mobile") is FIELD_NOT_ORDERED


@pytest.mark.parametrize("role", ["sales", "manager"])
@pytest.mark.parametrize("lookup", ["mobile__gt", "last_name__lte", "birthday__range"])
async def test_nobody_is_told_which_of_two_protected_values_is_greater(creme: Glue, role: str, lookup: str) -> None:
    assert await refused(creme, LIST, role, q_filter=condition(lookup, "1")) is FIELD_NOT_ORDERED


@pytest.mark.parametrize(
    "lookup", ["mobile__startswith", "last_name", "last_name__regex", "billing_address__address__contains"]
)
async def test_conditions_on_clear_values_are_for_who_sees_them(unmigrated: Glue, lookup: str) -> None:
    assert await refused(unmigrated, LIST, "sales", q_filter=condition(lookup, "Xy")) is SEARCH_WHILE_CLEAR
    assert await refused(unmigrated, LIST, "manager", q_filter=condition(lookup, "Xy")) is None
    assert await refused(unmigrated, LIST, "sales", q_filter=condition("mobile__isnull", "1")) is None
    assert await refused(unmigrated, LIST, "sales", q_filter=condition("created__gt", "2026-01-01")) is None


async def test_the_global_search_answers_restricted_roles_for_whole_values_only_while_some_are_clear(
    unmigrated: Glue,
) -> None:
    light = "/creme_core/search/light"
    assert await refused(unmigrated, light, "sales", value="13800") is SEARCH_WHILE_CLEAR
    assert await refused(unmigrated, light, "sales", value="13800138000") is None
    assert await refused(unmigrated, light, "manager", value="13800") is None
    assert await refused(unmigrated, LIST, "sales", **{"search-regular_field-description": "ID"}) is SEARCH_WHILE_CLEAR


async def test_saved_filters_are_judged_by_column_and_comparison(unmigrated: Glue) -> None:
    def saved(operator: int) -> bytes:
        told = [{"field": {"name": "mobile", "type": "string"}, "operator": {"id": operator}, "value": "138"}]
        return urlencode({"name": "mine", "entity_filter-regularfieldcondition": json.dumps(told)}).encode()

    for operator, role, reason in (
        (13, "sales", SEARCH_WHILE_CLEAR),
        (9, "manager", FIELD_NOT_ORDERED),
        (13, "manager", None),
    ):
        exchange = unmigrated.exchange("POST", "/creme_core/entity_filter/add/98", role=role, body=saved(operator))
        try:
            await unmigrated.protect(exchange, saved(operator))
            told = None
        except Refusal as refusal:
            told = refusal.reason
        assert told is reason


async def test_a_short_text_is_refused_whether_or_not_somebody_hidden_is_called_so(creme: Glue) -> None:
    await creme.create("5", last_name="王伟")
    light = "/creme_core/search/light"
    exchange = creme.exchange("GET", f"{light}?value={quote('王伟')}", role="sales", user=BORIS)
    with pytest.raises(Refusal) as told:
        await creme.protect(exchange, None)
    assert told.value.reason is SEARCH_TOO_SHORT
    assert await refused(creme, light, "sales", value="龘龘") is SEARCH_TOO_SHORT
    own = creme.exchange("GET", f"{light}?value={quote('王伟')}", role="sales", user=ANNA)
    assert "Zq" in (await creme.protect(own, None)).target  # their own customer is found as before


async def test_parts_of_identifiers_are_for_who_sees_them_while_some_are_clear(tryton: Glue) -> None:
    tryton.search = Search(tryton.vault, tryton.records, lambda _: False)
    tryton.inward = Inward(tryton.tokeniser, tryton.search, {TENANT: tryton.scanner}.__getitem__, tryton.limits)

    async def asked(role: str, clause: list[object]) -> Reason | None:
        body = json.dumps({"id": 1, "method": "model.party.identifier.search", "params": [[clause], 0, 9, None, {}]})
        exchange = tryton.exchange("POST", "/crm/rpc/", role=role, body=body.encode(), content_type=JSON)
        try:
            await tryton.protect(exchange, body.encode(), JSON)
        except Refusal as refusal:
            return refusal.reason
        return None

    assert await asked("sales", ["code", "ilike", "1101%"]) is SEARCH_WHILE_CLEAR
    assert await asked("sales", ["code", "in", ["E12345", "E12346"]]) is SEARCH_WHILE_CLEAR
    assert await asked("sales", ["code", "=", None]) is None
    assert await asked("manager", ["code", "ilike", "1101%"]) is None


async def test_domains_and_orders_of_a_json_rpc(tryton: Glue) -> None:
    async def called(role: str, method: str, *params: object) -> Reason | None:
        body = json.dumps({"id": 1, "method": method, "params": [*params, {}]}).encode()
        exchange = tryton.exchange("POST", "/crm/rpc/", role=role, body=body, content_type=JSON)
        try:
            await tryton.protect(exchange, body, JSON)
        except Refusal as refusal:
            return refusal.reason
        return None

    search = "model.party.party.search_read"
    assert await called("sales", search, [], 0, 10, [["contact_mechanisms.value", "ASC"]], ["id"]) is FIELD_NOT_ORDERED
    assert await called("sales", search, [], 0, 10, [["name", "ASC"]], ["id"]) is None
    assert await called("manager", search, [], 0, 10, [["phone", "DESC"]], ["id"]) is None
    assert await called("manager", search, [["name", ">", "A"]], 0, 10, None, ["id"]) is FIELD_NOT_ORDERED
    assert await called("manager", search, [["id", ">", 5]], 0, 10, None, ["id"]) is None
    identifiers = "model.party.identifier.search"
    assert await called("sales", identifiers, [], 0, 10, [["code", "ASC"]]) is FIELD_NOT_ORDERED
    exported = "model.party.party.export_data_domain"
    assert await called("sales", exported, [], ["id"], 0, 10, [["mobile", "ASC"]]) is FIELD_NOT_ORDERED
