"""The leak drill's room for BottleCRM: records of every kind, every address of its interface, all its tables."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from gateway.demo.bottle import DATABASE, cluster
from gateway.demo.browser import Answer, Browser, Upload
from gateway.demo.driver import BottleDriver, DriverFault
from gateway.demo.people import Person
from tests.conftest import unwalled
from tests.drills.crawl import Walk

UUID = re.compile(r'"id":\s*"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"')
_PARAMETER = re.compile(r"\{[a-z_]+\}")
_OF_EACH = 8  # records of one kind that are opened, beside the people
# What ends a session, hands out tokens, or talks to others.
_LEAVE = re.compile(r"/auth/|/tokens/|/api-key/|/calendar-feed/|/public/|/portal/|/inbound")
SEARCHES = (
    "/api/contacts/?search={}",
    "/api/contacts/?phone={}",
    "/api/contacts/?email={}",
    "/api/contacts/?name={}",
    "/api/contacts/export/?search={}",
    "/api/leads/?search={}",
    "/api/leads/?title={}",
    "/api/accounts/?name={}",
    "/api/opportunities/?search={}",
    "/api/cases/?search={}",
    "/api/tasks/?search={}",
    "/api/invoices/?search={}",
    "/api/search/?q={}",
)


def enter_elsewhere(driver: BottleDriver, person: Person, contact: str, number: int) -> None:
    """The same values in a comment, a lead, a deal, a ticket, a task, an invoice and a log of a call.

    Raises DriverFault when BottleCRM does not take one of them.
    """
    post(driver.browser, f"/api/contacts/{contact}/", {"comment": person.notes})
    if number % 3:
        return
    names = {"first_name": person.first_name, "last_name": person.last_name}
    ways = {"email": person.email, "phone": person.phone, "address_line": person.address}
    post(driver.browser, "/api/leads/", {"title": f"{person.full_name} {person.phone}", **names, **ways})
    post(driver.browser, "/api/opportunities/", {"name": f"Deal {person.phone}", "description": person.notes})
    ticket = {"name": f"Call {person.phone}", "status": "New", "priority": "Normal", "description": person.notes}
    post(driver.browser, "/api/cases/", ticket)
    task = {"title": f"Write to {person.email}", "status": "New", "priority": "Medium", "description": person.notes}
    post(driver.browser, "/api/tasks/", task)
    firm = {"name": f"Firm of number {number}", "description": person.notes}
    account = post(driver.browser, "/api/accounts/", firm)["id"]
    bill = {"invoice_title": "Bill", "account_id": account, "contact_id": contact, "notes": person.notes}
    customer = {
        "client_name": person.full_name,
        "client_email": person.email,
        "client_phone": person.phone,
        "client_address_line": person.address,
    }
    lines = [{"name": "Work", "description": f"for {person.full_name}", "quantity": "1", "unit_price": "10"}]
    post(driver.browser, "/api/invoices/", {**bill, **customer, "line_items": lines})
    call = {"kind": "call", "subject": person.phone, "body": person.notes, "contact": contact}
    post(driver.browser, "/api/interactions/", call)


def post(browser: Browser, path: str, values: dict[str, Any]) -> Any:
    """What BottleCRM answers to a new record; raises DriverFault with the names of what it refused."""
    answer = browser.post_json(path, values)
    if answer.status not in (200, 201):
        told = answer.json() if "json" in answer.header("content-type") else {}
        raise DriverFault(f"{path} answered {answer.status}: {', '.join(told.get('errors', told))}")
    return answer.json()


def walk(
    browser: Browser,
    records: Sequence[tuple[str, str]],
    clear: Sequence[str],
    limit: int,
    see: Callable[[Answer], None],
) -> Walk:
    """Every address that BottleCRM's own description lists, records first; searches, refused input, an import preview.

    records: (entity, id); clear: values to search for; limit: answers at most; see: gets every answer.
    """
    told = Walk()

    def get(path: str) -> Answer:
        answer = browser.get(path, follow=False)
        told.visited.add(path)
        told.note(answer)
        see(answer)
        return answer

    paths = _paths(get("/schema/?format=json"))
    known: dict[str, list[str]] = {}
    # A short walk takes the lists of people first, and leaves room for records and searches.
    lists = sorted((one for one in paths if not _PARAMETER.search(one)), key=_is_searched, reverse=True)
    for path in lists[: limit // 2]:
        answer = get(f"{path}?limit=500" if path.endswith("s/") else path)
        known[path] = list(dict.fromkeys(UUID.findall(answer.text)))
    todo = [f"/api/{'contacts' if entity == 'contact' else 'accounts'}/{record}/" for entity, record in records]
    todo += [one.format(quote(value)) for value in clear for one in SEARCHES]
    for path in (one for one in paths if _PARAMETER.search(one)):
        # Ids of the list that stands before the parameter; whatever the list itself nests is asked for, too.
        before = path[: path.index("{")]
        todo += [_PARAMETER.sub(record, path) for record in known.get(before, [])[:_OF_EACH]]
    for path in dict.fromkeys(["/api/nowhere/", "/api/contacts/17/", *todo]):
        if told.answers >= limit:
            break
        get(path)
    for answer in _tried(browser, records, clear):
        told.note(answer)
        see(answer)
    return told


def _is_searched(path: str) -> bool:
    return any(one.startswith(f"{path}?") for one in SEARCHES)


def _paths(answer: Answer) -> list[str]:
    """Addresses that can be read, without what would end the walk; a few where the description is not shown."""
    if answer.status != 200:
        return ["/api/contacts/", "/api/contacts/{id}/", "/api/leads/", "/api/search/", "/admin/", "/api/profile/"]
    described = answer.json()["paths"]
    return [path for path, methods in described.items() if "get" in methods and not _LEAVE.search(path)]


def _tried(browser: Browser, records: Sequence[tuple[str, str]], clear: Sequence[str]) -> Iterator[Answer]:
    """Answers to requests that change nothing: looks for duplicates, refused records, files that are only previewed."""
    for value in clear:
        for field in ("email", "phone", "last_name"):
            yield browser.post_json("/api/contacts/duplicates/", {field: value, "first_name": "A"})
    contact = next((record for entity, record in records if entity == "contact"), "")
    refused = {"email": "no address", "phone": "none", "last_name": ""}
    for method, path in (("POST", "/api/contacts/"), ("PUT", f"/api/contacts/{contact}/"), ("POST", "/api/leads/")):
        yield browser.send(method, path, json.dumps(refused).encode(), {"content-type": "application/json"})
    taken = next((value for value in clear if "@" in value), "")
    yield browser.post_json("/api/contacts/", {"first_name": "Nobody", "last_name": "Else", "email": taken})
    table = f"first_name,last_name,email\nNobody,Else,{taken}\n".encode()
    yield browser.post_files(
        "/api/contacts/import/preview/", [], [("file", Upload("people.csv", table, "text/csv"))], follow=False
    )
    yield browser.send("PATCH", f"/api/contacts/{contact}/", b"{", {"content-type": "application/json"})


def rows(folder: Any) -> Iterator[tuple[str, bytes]]:
    """Every table of a stopped BottleCRM as text."""
    with cluster(folder) as server:
        dsn = make_conninfo(server.admin_dsn, dbname=DATABASE)
        with psycopg.connect(unwalled(dsn), autocommit=True) as database:
            tables = database.execute("SELECT schemaname, tablename FROM pg_tables WHERE schemaname = 'public'")
            for schema, table in tables.fetchall():
                with database.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, table))) as out:
                    yield f"table {table}", b"".join(bytes(part) for part in out)
