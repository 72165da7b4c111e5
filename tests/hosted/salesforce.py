"""A small Salesforce: objects, SOQL, external ids and next pages of the REST API, in their documented shapes."""

import contextlib
from collections.abc import Sequence

from tests.hosted import composite
from tests.hosted.rows import Source, Unsupported, select
from tests.hosted.service import Record, Reply, Request, Service, serving

BASE = "/services/data/v60.0"
PAGE = 2000
_PREFIXES = {"Account": "001", "Contact": "003", "Lead": "00Q", "Case": "500", "Task": "00T"}
_PARENTS = {"Account": ("Account", "AccountId"), "Contact": ("Contact", "ContactId"), "Owner": ("User", "OwnerId")}
_CHILDREN = {"Contacts": ("Contact", "AccountId"), "Cases": ("Case", "ContactId")}
UNIQUE = "Email__c"
_CASES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def salesforce() -> contextlib.AbstractContextManager[Service]:
    """A running Salesforce without records."""
    return serving("salesforce", _answer, USERS)


def full_id(short: str) -> str:
    """The id of 18 signs for one of 15: the last three tell which signs are capital letters."""
    ends = []
    for at in (0, 5, 10):
        ends.append(_CASES[sum(2**place for place, sign in enumerate(short[at : at + 5]) if sign.isupper())])
    return short + "".join(ends)


USERS = {login: full_id(f"0055g00000{login}AA"[:15].ljust(15, "0")) for login in ("lin", "chen", "zhou")}


def _answer(service: Service, request: Request) -> Reply:
    if not request.headers.get("authorization", "").startswith("Bearer "):
        return _error(401, "INVALID_SESSION_ID", "Session expired or invalid")
    user = USERS.get(request.headers["authorization"].partition("-of-")[2], "")
    if request.path == "/services/oauth2/userinfo":
        return Reply(200, {"user_id": user, "preferred_username": f"{user}@example.com"})
    parts = request.path.removeprefix(BASE).strip("/").split("/")
    match parts:
        case ["query" | "queryAll"]:
            return _query(service, request.parameters.get("q", ""))
        case ["query", cursor]:
            number, _, start = cursor.rpartition("-")
            return _page(service, service.queries[int(number.removeprefix("01g"))], int(start))
        case ["sobjects", kind] if request.method == "POST":
            return _create(service, kind, request.json())
        case ["sobjects", kind, record] if request.method == "GET":
            return _read(service, kind, record)
        case ["sobjects", kind, record] if request.method == "PATCH":
            return _change(service, kind, record, request.json())
        case ["sobjects", kind, record] if request.method == "DELETE":
            return Reply(204) if service.tables.get(kind, {}).pop(record, None) else _missing()
        case ["sobjects", kind, key, value] if request.method in ("GET", "PATCH"):
            return _by_key(service, request, kind, key, value)
        case ["composite", *rest] if request.method in ("POST", "PATCH"):
            return _several(service, request, rest)
        case ["composite", "sobjects", kind] if request.method == "GET":
            found = service.tables.get(kind, {})
            return Reply(200, [found.get(one) for one in request.parameters["ids"].split(",")])
    return _missing()


def _several(service: Service, request: Request, rest: list[str]) -> Reply:
    def answer(part: Request) -> Reply:
        return _answer(service, part)

    match rest:
        case []:
            return composite.salesforce_composite(request, answer)
        case ["batch"]:
            return composite.salesforce_batch(request, answer)
        case ["tree", _]:
            return composite.salesforce_tree(request, answer)
        case ["sobjects"]:
            return composite.salesforce_collection(request, answer)
    return _missing()


def _query(service: Service, text: str) -> Reply:
    service.queries.append(text)
    return _page(service, text, 0)


def _page(service: Service, text: str, start: int) -> Reply:
    source = Source(
        lambda name: list(service.tables.get(name, {}).values()),
        lambda row, name: _parent(service, row, name),
        lambda row, name: _children(service, row, name),
    )
    try:
        rows = select(text, source)
    except Unsupported as unread:
        return _error(400, "MALFORMED_QUERY", f"unexpected token in: {text} ({unread})")
    size = 2 if "LIMIT" not in text.upper() and len(rows) > 4 else PAGE  # so that pages can be tested with few records
    value: Record = {"totalSize": len(rows), "done": start + size >= len(rows)}
    if not value["done"]:
        value["nextRecordsUrl"] = f"{BASE}/query/01g{len(service.queries) - 1}-{start + size}"
    value["records"] = [{"attributes": {"type": "AggregateResult"}, **row} for row in rows[start : start + size]]
    return Reply(200, value)


def _parent(service: Service, row: Record, name: str) -> Record | None:
    kind, key = _PARENTS.get(name, ("", ""))
    return service.tables.get(kind, {}).get(row.get(key, ""))


def _children(service: Service, row: Record, name: str) -> Sequence[Record]:
    kind, key = _CHILDREN.get(name, ("", ""))
    return [one for one in service.tables.get(kind, {}).values() if one.get(key) == row["Id"]]


def _taken(service: Service, kind: str, given: Record, own: str = "") -> Reply | None:
    """The refusal of a second contact with the same external id: it names the first."""
    for record, row in service.tables.get(kind, {}).items():
        if record != own and given.get(UNIQUE) and str(row.get(UNIQUE, "")).lower() == str(given[UNIQUE]).lower():
            where = f"{UNIQUE} duplicates value on record with id: {record}"
            return _error(400, "DUPLICATE_VALUE", f"duplicate value found: {where}")
    return None


def _create(service: Service, kind: str, given: Record) -> Reply:
    if (taken := _taken(service, kind, given)) is not None:
        return taken
    service.made += 1
    record = full_id(f"{_PREFIXES.get(kind, 'a00')}5g00000{service.made:05d}")
    row = {**given, "Id": record, "CreatedDate": f"2026-01-01T00:00:{service.made:02d}.000+0000"}
    if "LastName" in given:
        row["Name"] = " ".join(filter(None, (given.get("FirstName"), given["LastName"])))
    service.tables.setdefault(kind, {})[record] = row
    return Reply(201, {"id": record, "success": True, "errors": []})


def _read(service: Service, kind: str, record: str) -> Reply:
    row = service.tables.get(kind, {}).get(record)
    if row is None:
        return _missing()
    return Reply(200, {"attributes": {"type": kind, "url": f"{BASE}/sobjects/{kind}/{record}"}, **row})


def _change(service: Service, kind: str, record: str, given: Record) -> Reply:
    row = service.tables.get(kind, {}).get(record)
    if row is None:
        return _missing()
    if (taken := _taken(service, kind, given, record)) is not None:
        return taken
    row.update(given)
    return Reply(204)


def _by_key(service: Service, request: Request, kind: str, key: str, value: str) -> Reply:
    found = [one for one in service.tables.get(kind, {}).values() if str(one.get(key, "")).lower() == value.lower()]
    if len(found) > 1:
        return Reply(300, [f"{BASE}/sobjects/{kind}/{one['Id']}" for one in found])
    if request.method == "GET":
        return _read(service, kind, found[0]["Id"]) if found else _missing()
    if not found:
        made = _create(service, kind, {**request.json(), key: value})
        return Reply(201, {**made.value, "created": True})
    found[0].update(request.json())
    return Reply(200, {"id": found[0]["Id"], "success": True, "errors": [], "created": False})


def _missing() -> Reply:
    return _error(404, "NOT_FOUND", "The requested resource does not exist")


def _error(status: int, code: str, message: str) -> Reply:
    return Reply(status, [{"message": message, "errorCode": code}])
