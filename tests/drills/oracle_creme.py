"""Probes of the oracle drill at Creme: boxes, conditions, orders, views, saved filters, exports, reports, pages."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from urllib.parse import urlencode

from gateway.demo.browser import Answer, BrowserFault, forms
from gateway.demo.driver import Driver
from tests.drills.oracle_probe import LOOKUPS, Hidden, Probe

_BOXES = {
    "last_name": "last_name",
    "first_name": "first_name",
    "phone": "mobile",
    "email": "email",
    "address": "billing_address__address",
}
_SORTED = ("last_name", "first_name", "mobile", "phone", "email", "billing_address__address", "birthday", "description")
_XHR = {"x-requested-with": "XMLHttpRequest"}
_FILTER_OPERATORS = {"equals": 1, "contains": 5, "greater than": 9, "less than": 11, "starts with": 13}


def probes(hidden: Hidden) -> list[Probe]:
    """All of them."""
    found = [*_boxes(hidden), *_conditions(hidden), *_orders(), *_searches(hidden), *_exports(hidden)]
    return [*found, *_views(), *_saved(hidden), *_pages(), *_errors()]


def _list(**given: str) -> Callable[[Driver], Sequence[Answer]]:
    """The list as the page itself asks for it."""

    def ask(driver: Driver) -> Sequence[Answer]:
        browser = driver.browser
        about = {
            **_XHR,
            "x-csrftoken": browser.cookies.get("csrftoken", ""),
            "referer": browser.base + "/",
            "origin": browser.base,
        }
        fields = {"rows": "100", "page": "1", "content": "1", "selection": "multiple", "transient": "1", **given}
        return [browser.post("/persons/contacts", fields, headers=about)]

    return ask


def _get(path: str, **given: str) -> Callable[[Driver], Sequence[Answer]]:
    def ask(driver: Driver) -> Sequence[Answer]:
        return [driver.browser.get(f"{path}?{urlencode(given)}" if given else path)]

    return ask


def _type(driver: Driver) -> str:
    """Creme's number for contacts in this installation."""
    listed = driver.browser.get("/persons/contacts").expect(200)
    kind = re.search(r"/creme_core/mass_import/(\d+)", listed.text)
    if kind is None:
        raise BrowserFault("the list does not tell its type")
    return kind.group(1)


def _boxes(hidden: Hidden) -> Iterator[Probe]:
    for column, box in _BOXES.items():
        for what, text in hidden.operands(column):
            yield Probe("filter", f"box {box}, {what}", _list(**{f"search-regular_field-{box}": text}))
    for part in ("start", "end"):
        for person in (hidden.here, hidden.there):
            box = f"search-regular_field-birthday-{part}"
            yield Probe("filter", f"birthday, {part}", _list(**{box: person.birthday.isoformat()}))


def _conditions(hidden: Hidden) -> Iterator[Probe]:
    for column, box in _BOXES.items():
        operands = list(hidden.operands(column))
        for number, lookup in enumerate(LOOKUPS):
            for what, text in (operands[number % len(operands)], operands[(number + 4) % len(operands)]):
                condition = json.dumps({"op": "AND", "val": [[f"{box}__{lookup}", text]]})
                yield Probe("filter", f"condition {box}__{lookup}, {what}", _list(q_filter=condition))
    several = json.dumps({"op": "AND", "val": [["mobile__in", [hidden.here.phone, hidden.there.phone]]]})
    yield Probe("filter", "condition mobile__in", _list(q_filter=several))
    for lookup, value in product(("year", "month", "gt", "lt"), (hidden.here.birthday, hidden.there.birthday)):
        operand = {"year": value.year, "month": value.month}.get(lookup, value.isoformat())
        condition = json.dumps({"op": "AND", "val": [[f"birthday__{lookup}", operand]]})
        yield Probe("filter", f"condition birthday__{lookup}", _list(q_filter=condition))
    for path in ("description__contains", "billing_address__city__startswith", "address__address__contains"):
        for what, text in hidden.operands("id_card" if path.startswith("desc") else "address"):
            if hidden.protected and text.isdecimal() and len(text) < 8:
                continue  # a few digits are part of surrogates, too, by chance
            condition = json.dumps({"op": "NAND", "val": [[path, text]]})
            yield Probe("filter", f"condition not {path}, {what}", _list(q_filter=condition))


def _orders() -> Iterator[Probe]:
    for column, way in product(_SORTED, ("ASC", "DESC")):
        given = {"sort_key": f"regular_field-{column}", "sort_order": way}
        yield Probe("sort", f"list by {column} {way}", _list(**given))
        yield Probe("sort", f"address line, {column} {way}", _get("/persons/contacts", **given))


def _searches(hidden: Hidden) -> Iterator[Probe]:
    for column in _BOXES:
        for what, text in hidden.operands(column):
            if text.isdecimal() and len(text) < 8:
                continue  # a few digits are part of surrogates, too, by chance
            if len(text) >= 3:
                yield Probe("search", f"everywhere, {what} of {column}", _get("/creme_core/search", research=text))
            yield Probe("search", f"while typing, {what} of {column}", _get("/creme_core/search/light", value=text))


def _export(**given: str) -> Callable[[Driver], Sequence[Answer]]:
    def ask(driver: Driver) -> Sequence[Answer]:
        asked = {
            "ct_id": _type(driver),
            "type": "csv",
            "hfilter": "persons-hf_contact",
            "sort_key": "regular_field-created",
            "sort_order": "ASC",
            "efilter": "",
            **given,
        }
        return [driver.browser.get(f"/creme_core/mass_export?{urlencode(asked)}")]

    return ask


def _exports(hidden: Hidden) -> Iterator[Probe]:
    for column in _SORTED:
        yield Probe("export", f"in the order of {column}", _export(sort_key=f"regular_field-{column}"))
    for column, box in _BOXES.items():
        for what, text in hidden.operands(column):
            condition = json.dumps({"op": "AND", "val": [[f"{box}__startswith", text]]})
            yield Probe("export", f"{box} begins with {what}", _export(extra_q=condition))


def _views() -> Iterator[Probe]:
    """Views of one's own that show hidden columns."""
    for number, cells in enumerate((("mobile", "email"), ("birthday",), ("description", "billing_address__address"))):

        def ask(driver: Driver, cells: Sequence[str] = cells, name: str = f"probe {number}") -> Sequence[Answer]:
            browser = driver.browser
            page = browser.get(f"/creme_core/header_filter/add/{_type(driver)}").expect(200)
            index = next(at for at, form in enumerate(forms(page)) if any(one == "name" for one, _ in form.fields))
            given = ",".join(f"regular_field-{cell}" for cell in cells)
            kept = browser.submit(page, {"name": name, "cells": given}, index)
            return [kept, browser.get("/persons/contacts")]

        yield Probe("include", f"view with {', '.join(cells)}", ask)


def _saved(hidden: Hidden) -> Iterator[Probe]:
    """Filters of one's own, kept by the CRM."""
    for (operator, number), (column, box) in product(_FILTER_OPERATORS.items(), list(_BOXES.items())[:4]):
        what, text = next(hidden.operands(column))

        def ask(
            driver: Driver, number: int = number, box: str = box, text: str = text, operator: str = operator
        ) -> Sequence[Answer]:
            browser = driver.browser
            page = browser.get(f"/creme_core/entity_filter/add/{_type(driver)}").expect(200)
            index = next(at for at, form in enumerate(forms(page)) if any(one == "name" for one, _ in form.fields))
            field = next(name for name, _ in forms(page)[index].fields if "regularfieldcondition" in name)
            condition = [{"field": {"name": box, "type": "string"}, "operator": {"id": number}, "value": text}]
            kept = browser.submit(page, {"name": f"{operator} {box}", field: json.dumps(condition)}, index)
            return [kept, browser.get("/persons/contacts")]

        yield Probe("saved filter", f"{box} {operator} the {what}", ask)


def _pages() -> Iterator[Probe]:
    """Pages about the record and about all of them."""
    for path in (
        "/",
        "/my_page",
        "/persons/contacts",
        "/persons/organisations",
        "/creme_core/entity/trash",
        "/reports/reports",
        "/creme_core/job/all",
    ):
        yield Probe("include", path, _get(path))

    def about(path: str) -> Callable[[Driver], Sequence[Answer]]:
        def ask(driver: Driver) -> Sequence[Answer]:
            numbers = sorted(
                set(re.findall(r"/persons/contact/(\d+)", driver.browser.get("/persons/contacts").text)), key=int
            )
            return [driver.browser.get(path.replace("{record}", number)) for number in numbers]

        return ask

    for path in ("/persons/contact/{record}", "/persons/contact/edit/{record}", "/vcfs/{record}/generate_vcf"):
        yield Probe("include", f"{path} of everybody", about(path))


def _errors() -> Iterator[Probe]:
    for condition in (
        '{"op":"AND","val":[["nonsense__exact","1"]]}',
        '{"op":"AND","val":[["mobile__nonsense","1"]]}',
        '{"op":"AND","val":[["mobile__regex","("]]}',
        "{",
    ):
        yield Probe("error", "condition that means nothing", _list(q_filter=condition))
    yield Probe("error", "order by nothing", _list(sort_key="regular_field-nonsense"))
