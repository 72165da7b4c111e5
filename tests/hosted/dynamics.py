"""A small Dataverse: entity sets, OData queries, alternate keys, annotations and absolute next links, as documented."""

import contextlib
import re
from typing import Any
from urllib.parse import quote

from tests.hosted.composite import multipart
from tests.hosted.fetched import fetched
from tests.hosted.filters import condition
from tests.hosted.rows import Unsupported
from tests.hosted.service import Record, Reply, Request, Service, serving

BASE = "/api/data/v9.2"
FORMATTED = "@OData.Community.Display.V1.FormattedValue"
PAGE = 4
USERS = {login: f"00000000-0000-4000-9000-{number:012d}" for number, login in enumerate(("lin", "chen", "zhou"))}
_SETS = {"contacts": "contactid", "accounts": "accountid", "leads": "leadid"}
_PATH = re.compile(r"(\w+)(?:\((?:(\w+)='((?:[^']|'')*)'|([0-9a-f-]{36}))\))?\Z")
_SINGLE = {"parentcustomerid_account": ("accounts", "_parentcustomerid_value")}
_SEVERAL = {"contact_customer_accounts": ("contacts", "_parentcustomerid_value", "accountid")}


def dynamics() -> contextlib.AbstractContextManager[Service]:
    """A running Dataverse without records."""
    return serving("dynamics", _answer, USERS)


def _answer(service: Service, request: Request) -> Reply:
    if not request.headers.get("authorization", "").startswith("Bearer "):
        return _error(401, "0x80048306", "Authentication failed")
    if request.path == f"{BASE}/WhoAmI":
        return Reply(200, {"UserId": USERS.get(request.headers["authorization"].partition("-of-")[2], "")})
    if request.path == f"{BASE}/$batch":
        return multipart(request, lambda part: _answer(service, part))
    found = _PATH.match(request.path.removeprefix(BASE + "/"))
    if found is None or found[1] not in _SETS:
        return _error(404, "0x80060888", "Resource not found for the segment")
    kind, key, value, record = found[1], found[2], found[3], found[4]
    if key is None and record is None:
        return _create(service, request, kind) if request.method == "POST" else _list(service, request, kind)
    rows = service.tables.get(kind, {})
    if key is not None:
        wanted = value.replace("''", "'").lower()
        record = next((one for one, row in rows.items() if str(row.get(key, "")).lower() == wanted), None)
    return _one(service, request, kind, record, {key: value.replace("''", "'")} if key else {})


def _create(service: Service, request: Request, kind: str, given: Record | None = None) -> Reply:
    service.made += 1
    record = f"00000000-0000-4000-8000-{service.made:012x}"
    row = {**(given or {}), **request.json(), _SETS[kind]: record, "createdon": f"2026-01-01T00:00:{service.made:02d}Z"}
    for bound, (target, column) in _SINGLE.items():
        if f"{bound}@odata.bind" in row:
            row[column] = re.search(rf"{target}\(([^)]+)\)", row.pop(f"{bound}@odata.bind"))[1]  # type: ignore[index]
    if kind == "contacts":
        row["fullname"] = " ".join(filter(None, (row.get("firstname"), row.get("lastname"))))
    service.tables.setdefault(kind, {})[record] = row
    place = {"OData-EntityId": f"{service.url}{BASE}/{kind}({record})"}
    if "return=representation" in request.headers.get("prefer", ""):
        return Reply(201, _shown(service, kind, row, request), place)
    return Reply(204, None, place)


def _one(service: Service, request: Request, kind: str, record: str | None, keys: Record) -> Reply:
    rows = service.tables.get(kind, {})
    if request.method == "PATCH" and record is None and keys:
        return _create(service, request, kind, keys)
    if record is None or record not in rows:
        return _error(404, "0x80040217", f"{kind} With Id = {record} Does Not Exist")
    if request.method == "DELETE":
        del rows[record]
        return Reply(204)
    if request.method == "PATCH":
        rows[record].update(request.json())
        return Reply(204, None, {"OData-EntityId": f"{service.url}{BASE}/{kind}({record})"})
    return Reply(200, _shown(service, kind, rows[record], request))


def _list(service: Service, request: Request, kind: str) -> Reply:
    asked = request.parameters
    rows = list(service.tables.get(kind, {}).values())
    try:
        if "fetchXml" in asked:
            accounts = service.tables.get("accounts", {})
            found = fetched(
                asked["fetchXml"], rows, lambda row, link: accounts.get(row.get(f"_{link.get('to')}_value", ""))
            )
            return Reply(200, {"@odata.context": f"{service.url}{BASE}/$metadata#{kind}", "value": found})
        if "$filter" in asked:
            holds = condition(asked["$filter"], lambda row, name: _value(service, row, name))
            rows = [one for one in rows if holds(one)]
        if "$apply" in asked:
            return Reply(200, {"value": _grouped(rows, asked["$apply"])})
    except Unsupported as unread:
        return _error(400, "0x80060888", f"Syntax error in '{asked.get('$filter', '')}': {unread}")
    for part in reversed(asked.get("$orderby", "").split(",") if "$orderby" in asked else []):
        name, _, way = part.strip().partition(" ")
        rows.sort(key=lambda row, name=name: str(_value(service, row, name) or ""), reverse=way == "desc")  # type: ignore[misc]
    start = int(asked.get("$skiptoken", "0"))
    size = int(asked.get("$top", PAGE))
    value: Record = {"@odata.context": f"{service.url}{BASE}/$metadata#{kind}"}
    if asked.get("$count") == "true":
        value["@odata.count"] = len(rows)
    value["value"] = [_shown(service, kind, row, request) for row in rows[start : start + size]]
    if "$top" not in asked and start + size < len(rows):
        kept = "&".join(f"{key}={quote(text)}" for key, text in asked.items() if key != "$skiptoken")
        value["@odata.nextLink"] = f"{service.url}{BASE}/{kind}?{kept}&$skiptoken={start + size}"
    return Reply(200, value)


def _value(service: Service, row: Record, name: str) -> Any:
    steps = name.split("/")
    at: Record | None = row
    for step in steps[:-1]:
        kind, key = _SINGLE.get(step, ("", ""))
        at = service.tables.get(kind, {}).get((at or {}).get(key, ""))
    return (at or {}).get(steps[-1])


def _shown(service: Service, kind: str, row: Record, request: Request) -> Record:
    asked = request.parameters
    names = [one for one in asked.get("$select", "").split(",") if one] or list(row)
    out: Record = {"@odata.etag": 'W/"1"'}
    annotated = "FormattedValue" in request.headers.get("prefer", "")
    for name in dict.fromkeys((*names, _SETS[kind])):
        if annotated and isinstance(row.get(name), str):
            out[name + FORMATTED] = row[name]
        out[name] = row.get(name)
    for name in filter(None, re.findall(r"(\w+)(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?", asked.get("$expand", ""))):
        if name in _SINGLE:
            target, key = _SINGLE[name]
            out[name] = service.tables.get(target, {}).get(row.get(key, ""))
        elif name in _SEVERAL:
            target, key, own = _SEVERAL[name]
            out[name] = [one for one in service.tables.get(target, {}).values() if one.get(key) == row[own]]
    return out


def _grouped(rows: list[Record], text: str) -> list[Record]:
    found = re.fullmatch(r"groupby\(\((\w+)\),aggregate\(\$count as (\w+)\)\)", text)
    if found is None:
        raise Unsupported("apply")
    groups: dict[Any, int] = {}
    for row in rows:
        groups[row.get(found[1])] = groups.get(row.get(found[1]), 0) + 1
    return [{found[1]: key, found[2]: count} for key, count in groups.items()]


def _error(status: int, code: str, message: str) -> Reply:
    return Reply(status, {"error": {"code": code, "message": message}})
