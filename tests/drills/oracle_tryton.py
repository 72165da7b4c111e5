"""Probes of the oracle drill at Tryton: domains, orders, dotted fields, exports, counts, and calls that go wrong."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gateway.demo.browser import Answer
from gateway.demo.driver import Driver
from gateway.demo.tryton import DATABASE
from tests.drills.oracle_probe import Hidden, Probe

_PLACES = {
    "full_name": ("name", "rec_name", "full_name"),
    "phone": ("contact_mechanisms.value", "mobile", "phone", "contact_mechanisms.value_compact"),
    "email": ("email", "contact_mechanisms.value", "contact_mechanisms.rec_name"),
    "address": ("addresses.street", "addresses.full_address", "addresses.rec_name"),
    "id_card": ("identifiers.code", "tax_identifier.code"),
}
_COMPARED = ("=", "!=", "<", "<=", ">", ">=")
_LIKED = ("like", "ilike", "not like", "not ilike")
_SHOWN = [
    "name",
    "rec_name",
    "full_name",
    "code",
    "lang",
    "active",
    "email",
    "mobile",
    "phone",
    "contact_mechanisms",
    "addresses",
]
_DOTTED = (
    "contact_mechanisms.value",
    "contact_mechanisms.value_compact",
    "contact_mechanisms.rec_name",
    "contact_mechanisms.url",
    "contact_mechanisms.email",
    "addresses.street",
    "addresses.full_address",
    "addresses.rec_name",
    "identifiers.code",
    "identifiers.rec_name",
    "name:string",
    "contact_mechanisms.type:string",
    "contact_mechanisms.value:string",
    "create_uid.name",
    "replaced_by.name",
)


def probes(hidden: Hidden) -> list[Probe]:
    """All of them."""
    found = [*_filters(hidden), *_nested(hidden), *_orders(), *_included(), *_exports(hidden), *_others(hidden)]
    return [one for one in found if not (hidden.protected and one.title in _BY_NAME)]


# Salespeople see some names, so they may sort by them where surrogates stand; these are random for each record.
_BY_NAME = {
    f"{start}{place} {way}"
    for start, place in (
        ("", "name"),
        ("first by ", "name"),
        ("", "full_name"),
        ("first by ", "full_name"),
        ("", "rec_name"),
        ("first by ", "rec_name"),
        ("party.address by ", "party.name"),
        ("party.contact_mechanism by ", "party.name"),
    )
    for way in ("ASC", "DESC", "ASC NULLS FIRST")
} | {"in the order of name"}


def _rpc(method: str, *params: Any) -> Callable[[Driver], Sequence[Answer]]:
    def ask(driver: Driver) -> Sequence[Answer]:
        body = {"id": 1, "method": method, "params": [*params, {}]}
        return [driver.browser.post_json(f"/{DATABASE}/rpc/", body)]

    return ask


def _search(
    domain: list[Any], order: Any = None, fields: Sequence[str] = ("rec_name",)
) -> Callable[..., Sequence[Answer]]:
    return _rpc("model.party.party.search_read", domain, 0, 100, order or [["id", "ASC"]], list(fields))


def _filters(hidden: Hidden) -> Iterator[Probe]:
    for column, places in _PLACES.items():
        for place in places:
            for number, (what, text) in enumerate(hidden.operands(column)):
                operator = (*_COMPARED, "in")[number % 7]
                operand: Any = [text] if operator == "in" else text
                yield Probe("filter", f"{place} {operator} {what}", _search([[place, operator, operand]]))
                liked = _LIKED[number % 4]
                yield Probe("filter", f"{place} {liked} {what}", _search([[place, liked, f"{text}%"]]))
    for place in ("name", "contact_mechanisms.value"):
        for what, text in hidden.operands("full_name" if place == "name" else "phone"):
            count = _rpc("model.party.party.search_count", [[place, "<", text]])
            yield Probe("count", f"{place} < {what}", count)


def _nested(hidden: Hidden) -> Iterator[Probe]:
    for what, text in hidden.operands("phone"):
        inner = [["contact_mechanisms", "where", [["value", "like", f"{text}%"]]]]
        yield Probe("filter", f"mechanisms where {what}", _search(inner))
        mechanisms = _rpc("model.party.contact_mechanism.search_count", [["value", "ilike", f"%{text}%"]])
        yield Probe("count", f"mechanisms with {what}", mechanisms)
        both = _search(["OR", ["contact_mechanisms.value", ">=", text], ["id", "=", -1]])
        yield Probe("filter", f"one of two, {what}", both)
    for model, place, column in (
        ("party.address", "street", "address"),
        ("party.address", "party.name", "full_name"),
        ("party.contact_mechanism", "party.name", "full_name"),
        ("party.identifier", "code", "id_card"),
        ("sale.opportunity", "party.name", "full_name"),
    ):
        for what, text in hidden.operands(column):
            asked = _rpc(f"model.{model}.search", [[place, "ilike", f"{text}%"]], 0, 100, [["id", "ASC"]])
            yield Probe("filter", f"{model} {place}, {what}", asked)


def _orders() -> Iterator[Probe]:
    for place in ("name", "contact_mechanisms.value", "email", "mobile", "phone", "full_name", "rec_name"):
        for way in ("ASC", "DESC"):
            yield Probe("sort", f"{place} {way}", _search([], [[place, way]], ("id",)))
            first = _rpc("model.party.party.search", [], 0, 1, [[place, way]])
            yield Probe("sort", f"first by {place} {way}", first)
    for model, place in (
        ("party.contact_mechanism", "value"),
        ("party.contact_mechanism", "value_compact"),
        ("party.address", "street"),
        ("party.identifier", "code"),
        ("party.address", "party.name"),
        ("party.contact_mechanism", "party.name"),
    ):
        for way in ("ASC", "DESC", "ASC NULLS FIRST"):
            asked = _rpc(f"model.{model}.search", [], 0, 100, [[place, way]])
            yield Probe("sort", f"{model} by {place} {way}", asked)


def _included() -> Iterator[Probe]:
    for place in _DOTTED:
        yield Probe("include", place, _search([], fields=("id", place)))
    yield Probe("include", "all of it", _search([], fields=_SHOWN))
    for model in ("party.contact_mechanism", "party.address", "party.identifier"):
        fields = {
            "party.contact_mechanism": ["type", "value", "value_compact", "rec_name", "email", "url", "party.name"],
            "party.address": ["street", "city", "full_address", "rec_name", "party.rec_name"],
            "party.identifier": ["type", "code", "rec_name", "party.rec_name"],
        }[model]
        asked = _rpc(f"model.{model}.search_read", [], 0, 100, [["id", "ASC"]], fields)
        yield Probe("include", f"{model}, all of it", asked)


def _exports(hidden: Hidden) -> Iterator[Probe]:
    fields = ["id", "name", "contact_mechanisms.value", "addresses.street", "identifiers.code"]
    for place in fields[1:]:
        yield Probe(
            "export", place, _rpc("model.party.party.export_data_domain", [], ["id", place], 0, 100, [["id", "ASC"]])
        )
        ordered = _rpc("model.party.party.export_data_domain", [], ["id"], 0, 100, [[place, "ASC"]])
        yield Probe("export", f"in the order of {place}", ordered)
    for what, text in hidden.operands("phone"):
        domain = [["contact_mechanisms.value", "<=", text]]
        yield Probe(
            "export",
            f"up to {what}",
            _rpc("model.party.party.export_data_domain", domain, ["id"], 0, 100, [["id", "ASC"]]),
        )


def _others(hidden: Hidden) -> Iterator[Probe]:
    for column in ("full_name", "phone", "email"):
        for what, text in hidden.operands(column):
            yield Probe("search", f"everywhere for {what} of {column}", _rpc("model.ir.model.global_search", text, 20))
    for method, params in (
        ("model.party.party.fields_get", ([],)),
        ("model.party.party.default_get", (["name", "lang"], True)),
        ("model.party.party.nonsense", ([],)),
        ("model.party.party.search_read", ([["nonsense", "=", 1]], 0, 10, None, ["name"])),
        ("model.party.party.search_read", ([["name", "nonsense", 1]], 0, 10, None, ["name"])),
        ("model.party.party.search_read", ([], 0, 10, [["nonsense", "ASC"]], ["name"])),
    ):
        yield Probe("error", method, _rpc(method, *params))
