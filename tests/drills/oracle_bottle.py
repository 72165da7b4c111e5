"""Probes of the oracle drill at BottleCRM: filters, boxes, orders, pages, exports, looks for duplicates, and errors."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any
from urllib.parse import urlencode

from gateway.demo.browser import Answer, BrowserFault, Upload
from gateway.demo.driver import BottleDriver, Driver
from gateway.demo.people import Person
from tests.drills import fidelity_bottle, leak_bottle
from tests.drills.oracle_probe import LOOKUPS, Hidden, Probe, by_chance

MOVING = (*fidelity_bottle.MOVING, "created_on_arrow")
"""Keys of JSON that differ between any two runs; the last tells how long ago something was."""
SHUFFLED = ("accounts_list", "contacts_list")
"""Keys of lists that come in the order of random ids, whatever order is asked for."""
_CONTACTS, _LEADS, _CASES = "/api/contacts/", "/api/leads/", "/api/cases/"
# Where a text is looked for in parts of columns: list, parameter, and the columns of the person that it is tried with.
_BOXES: Sequence[tuple[str, str, tuple[str, ...]]] = (
    (_CONTACTS, "phone", ("phone",)),
    (_CONTACTS, "email", ("email",)),
    (_CONTACTS, "name", ("last_name", "first_name", "full_name")),
    (_CONTACTS, "search", ("phone", "email", "last_name")),
    (_LEADS, "email", ("email",)),
    (_LEADS, "name", ("last_name", "first_name")),
    (_LEADS, "search", ("email", "last_name")),
    ("/api/leads/kanban/", "search", ("email",)),
    ("/api/accounts/", "search", ("last_name",)),
    ("/api/opportunities/", "name", ("phone",)),
    ("/api/opportunities/", "search", ("phone",)),
    (_CASES, "name", ("phone",)),
    (_CASES, "search", ("phone", "id_card", "email", "full_name", "address")),
    ("/api/tasks/", "title", ("email",)),
    ("/api/tasks/", "search", ("email",)),
    ("/api/invoices/", "search", ("full_name", "email")),
    ("/api/invoices/", "client_name", ("full_name",)),
    ("/api/search/", "q", ("email", "last_name", "phone", "bank_card")),
)
_EXPORTS = (
    ("/api/contacts/export/", "search", "email"),
    ("/api/contacts/export/", "name", "last_name"),
    ("/api/leads/export/", "search", "last_name"),
    ("/api/invoices/export/", "search", "email"),
    ("/api/cases/export/", "search", "phone"),
    ("/api/opportunities/export/", "search", "phone"),
)
_ORDERED = (
    (_CONTACTS, "ordering", ("last_name", "first_name", "email", "phone", "address_line", "description", "phone_e164")),
    (_LEADS, "ordering", ("title", "last_name", "email", "phone")),
    ("/api/leads/kanban/", "ordering", ("title", "email")),
    ("/api/accounts/", "ordering", ("name", "email", "phone")),
    (_CASES, "ordering", ("name", "priority", "description", "created_at")),
    ("/api/cases/kanban/", "ordering", ("name",)),
    ("/api/cases/watching/", "ordering", ("name",)),
    ("/api/cases/export/", "ordering", ("name",)),
    ("/api/invoices/", "sort", ("client_name", "client_email", "created_at", "total_amount")),
    ("/api/invoices/export/", "sort", ("client_name", "client_email")),
    ("/api/tasks/", "ordering", ("title",)),
    ("/api/opportunities/", "ordering", ("name",)),
)
# Lists whose order BottleCRM keeps by what it was asked for or by time; all others come in the order of random ids.
_IN_ORDER = frozenset({_CONTACTS, _CASES, "/api/invoices/", "/api/cases/export/", "/api/contacts/export/"})
_ALL = "100"  # more than there is: of a random order nothing may be cut off
_SHOWN = (
    "/api/contacts/?limit=100",
    "/api/contacts/?limit=2&offset=1",
    "/api/contacts/?limit=1&offset=5",
    "/api/contacts/?is_active=true&limit=3",
    "/api/contacts/?fields=phone",
    "/api/contacts/?include=account,email&expand=~all",
    "/api/contacts/?format=api",
    "/api/contacts/?omit=phone&values=email",
    "/api/cases/?slim=true",
    "/api/cases/?include_deleted=true&show_merged=true",
    "/api/cases/?limit=2&offset=2",
    "/api/invoices/?limit=2&offset=1",
    "/api/leads/?limit=100",
    "/api/leads/kanban/?limit=100",
    "/api/leads/response-times/",
    "/api/accounts/?limit=100",
    "/api/opportunities/?limit=100",
    "/api/opportunities/kanban/?limit=100",
    "/api/cases/kanban/?limit=100",
    "/api/tasks/?limit=100",
    "/api/tasks/kanban/?limit=100",
    "/api/invoices/?limit=100",
    "/api/activities/",
    "/api/interactions/",
    "/api/dashboard/",
    "/api/dashboard/today/",
    "/api/documents/",
    "/api/notifications/",
    "/api/saved-views/",
    "/api/cases/analytics/export/?metric=frt",
)
_GROUPED = (
    "/api/invoices/reports/revenue/?group_by=client_name",
    "/api/invoices/reports/revenue/?group_by=client_email",
    "/api/invoices/reports/revenue/?group_by=month",
    "/api/invoices/reports/aging/?group_by=client_name",
    "/api/invoices/reports/dashboard/",
    "/api/time-entries/report/?group_by=contact",
    "/api/time-entries/report/export/?group_by=agent",
    "/api/contacts/?group_by=email",
    "/api/contacts/?aggregate=count&by=phone",
    "/api/contacts/?distinct=phone",
)
_EXPORTED = (
    "/api/contacts/export/",
    "/api/leads/export/",
    "/api/accounts/export/",
    "/api/opportunities/export/",
    "/api/cases/export/",
    "/api/invoices/export/",
)


def probes(hidden: Hidden) -> list[Probe]:
    """All of them."""
    found = [*_boxes(hidden), *_lookups(hidden), *_orders(), *_duplicates(hidden), *_exports(hidden)]
    return [*found, *_pages(), *_records(hidden), *_errors(hidden)]


def enter(driver: Driver, person: Person, record: str, number: int) -> None:
    """The person's values wherever else BottleCRM holds some: comments, leads, deals, tickets, tasks, invoices."""
    assert isinstance(driver, BottleDriver)
    leak_bottle.enter_elsewhere(driver, person, record, number * 3)


def _get(path: str, **given: str) -> Callable[[Driver], Sequence[Answer]]:
    def ask(driver: Driver) -> Sequence[Answer]:
        return [driver.browser.get(f"{path}?{urlencode(given)}" if given else path)]

    return ask


def _post(path: str, value: Mapping[str, Any], method: str = "POST") -> Callable[[Driver], Sequence[Answer]]:
    def ask(driver: Driver) -> Sequence[Answer]:
        body, given = json.dumps(value).encode(), {"content-type": "application/json"}
        return [driver.browser.send(method, path, body, given)]

    return ask


def _boxes(hidden: Hidden) -> Iterator[Probe]:
    for path, parameter, columns in _BOXES:
        family = "search" if parameter in ("search", "q") else "filter"
        for column in columns:
            for what, text in hidden.operands(column):
                if by_chance(text):
                    continue
                given = {parameter: text, "limit": _ALL}
                title = f"{path} {parameter}, {what} of {column}"
                yield Probe(family, title, _get(path, **given), any_order=path not in _IN_ORDER)


def _lookups(hidden: Hidden) -> Iterator[Probe]:
    """Comparisons that BottleCRM does not offer by itself, and fields of its own making."""
    for (column, name), lookup in product(
        (("phone", "phone"), ("email", "email"), ("last_name", "last_name")), LOOKUPS
    ):
        text = str(getattr(hidden.here, column))
        yield Probe("filter", f"contacts with {name}__{lookup}", _get(_CONTACTS, **{f"{name}__{lookup}": text}))
    for path, column in ((_CONTACTS, "phone"), (_CASES, "email"), ("/api/invoices/", "full_name")):
        for key in ("cf_note", f"cf_{column}"):
            text = str(getattr(hidden.here, column))
            yield Probe("filter", f"{path} {key}", _get(path, **{key: text}))


def _orders() -> Iterator[Probe]:
    for path, parameter, columns in _ORDERED:
        for column, way in product(columns, ("", "-")):
            ask = _get(path, **{parameter: f"{way}{column}", "limit": _ALL})
            ties = column in ("priority", "total_amount")  # among equals random ids decide
            yield Probe("sort", f"{path} by {way}{column}", ask, any_order=ties or path not in _IN_ORDER)


def _duplicates(hidden: Hidden) -> Iterator[Probe]:
    for path in (_CONTACTS, _LEADS):
        for column in ("phone", "email"):
            for what, text in hidden.operands(column):
                ask = _post(f"{path}duplicates/", {column: text})
                yield Probe("duplicates", f"{path} {column}, {what}", ask, any_order=True)
        for side, person in (("first", hidden.here), ("second", hidden.there)):
            name = {"first_name": person.first_name, "last_name": person.last_name}
            yield Probe("duplicates", f"{path} name of the {side}", _post(f"{path}duplicates/", name), any_order=True)
            half = {"first_name": person.first_name[:1], "last_name": person.last_name}
            yield Probe("duplicates", f"{path} half of the {side}", _post(f"{path}duplicates/", half), any_order=True)
    for what, text in hidden.operands("full_name"):
        yield Probe("duplicates", f"accounts, {what}", _post("/api/accounts/duplicates/", {"name": text}))
        given = {"company_name": text, "website": f"{text}.example"}
        yield Probe("duplicates", f"companies, {what}", _post("/api/leads/duplicates/", given))


def _exports(hidden: Hidden) -> Iterator[Probe]:
    for path in _EXPORTED:
        yield Probe("export", path, _get(path), any_order=True)
    for path, parameter, column in _EXPORTS:
        for what, text in hidden.operands(column):
            if not by_chance(text):
                ask = _get(path, **{parameter: text})
                yield Probe("export", f"{path} {parameter}, {what}", ask, any_order=True)


def _pages() -> Iterator[Probe]:
    for path in _SHOWN:
        ordered = path.partition("?")[0] in _IN_ORDER
        yield Probe("page" if "offset=" in path else "include", path, _get(path), any_order=not ordered)
    for path in _GROUPED:
        yield Probe("group", path, _get(path), any_order=True)


_ID = re.compile(r'"id":\s*"([0-9a-f]{8}-[0-9a-f-]{27})"')


def _each(listed: str, key: str, *parts: str) -> Callable[[Driver], Sequence[Answer]]:
    """Every record of a list, and what stands below each."""

    def ask(driver: Driver) -> Sequence[Answer]:
        told = driver.browser.get(listed).json()
        for step in key.split("."):
            told = told[step]
        ids = [str(one["id"]) for one in told]
        if not ids:
            raise BrowserFault("the list shows nothing, so that nothing could be told")
        before = listed.partition("?")[0]
        return [driver.browser.get(f"{before}{one}/{part}") for one in ids for part in parts or ("",)]

    return ask


def _records(hidden: Hidden) -> Iterator[Probe]:
    contacts = "/api/contacts/?limit=100"
    yield Probe("include", "every contact", _each(contacts, "results"))
    yield Probe("duplicates", "duplicates of every contact", _each(contacts, "results", "duplicates/"), any_order=True)
    yield Probe("include", "every ticket", _each("/api/cases/?limit=100", "cases", "", "activities/"), any_order=True)
    targets = _each("/api/cases/?limit=100", "cases", "merge-targets/", "solution-suggestions/")
    yield Probe("include", "what tickets could become one", targets, any_order=True)
    yield Probe("include", "every invoice", _each("/api/invoices/?limit=100", "results"), any_order=True)
    yield Probe("include", "every task", _each("/api/tasks/?limit=100", "tasks"), any_order=True)
    yield Probe(
        "include", "every account", _each("/api/accounts/?limit=100", "active_accounts.open_accounts"), any_order=True
    )
    for what, text in hidden.operands("phone"):
        if not by_chance(text):
            part = f"merge-targets/?{urlencode({'search': text})}"
            ask = _each("/api/cases/?limit=100", "cases", part)
            yield Probe("search", f"tickets to merge with, {what}", ask, any_order=True)


def _errors(hidden: Hidden) -> Iterator[Probe]:
    for path in (
        "/api/contacts/?limit=x&offset=y",
        "/api/contacts/?assigned_to=x",
        "/api/contacts/?created_at__gte=x",
        "/api/contacts/?is_active=maybe",
        "/api/contacts/17/",
        "/api/contacts/00000000-0000-4000-8000-000000000000/",
        "/api/contacts/nonsense/export/",
        "/api/search/?q=x",
        "/api/search/",
        "/api/leads/?status=nonsense",
        "/api/invoices/?sort=;drop",
        "/api/invoices/?account=x",
        "/api/nowhere/",
    ):
        yield Probe("error", path, _get(path))
    wrong: Sequence[tuple[str, dict[str, Any]]] = (
        ("no name", {"first_name": "", "email": "no address", "phone": "none"}),
        ("a list for a text", {"first_name": ["A"], "last_name": {"a": 1}}),
        ("a team of nobody", {"first_name": "A", "last_name": "B", "teams": ["x"]}),
        ("an owner of nobody", {"first_name": "A", "last_name": "B", "assigned_to": ["17"]}),
    )
    for title, value in wrong:
        yield Probe("error", f"a contact with {title}", _post(_CONTACTS, value))
        yield Probe("error", f"a lead with {title}", _post(_LEADS, {**value, "title": "", "status": "nonsense"}))
    for module, parameters in (
        ("contacts", {"phone": [hidden.here.phone], "limit": ["1"]}),
        ("contacts", {"ordering": ["phone"]}),
        ("leads", {"email": [hidden.here.email], "order_by": ["email"]}),
        ("cases", {"search": [hidden.here.full_name], "values": ["name"]}),
    ):
        view = {"name": "Kept", "module": module, "filters": parameters, "params": parameters}
        yield Probe("error", f"a view of {module} that keeps {', '.join(parameters)}", _post("/api/saved-views/", view))
    table = b"first_name,last_name,email\nNo,Body,nobody-at-all@example.net\nBad,,no address\n"

    def preview(driver: Driver) -> Sequence[Answer]:
        file = ("file", Upload("people.csv", table, "text/csv"))
        return [driver.browser.post_files("/api/contacts/import/preview/", [], [file], follow=False)]

    yield Probe("import", "a file that is only previewed", preview)
    yield Probe("error", "a body cut off", _broken)


def _broken(driver: Driver) -> Sequence[Answer]:
    given = {"content-type": "application/json"}
    return [driver.browser.send("POST", path, b'{"email": ', given) for path in (_CONTACTS, f"{_CONTACTS}duplicates/")]
