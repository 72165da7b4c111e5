"""A small Zoho CRM: modules, search conditions and COQL, with answers per record, in their documented shapes."""

import contextlib
import re
from collections.abc import Callable
from typing import Any

from tests.hosted.composite import zoho_composite
from tests.hosted.rows import Source, Unsupported, select
from tests.hosted.service import Record, Reply, Request, Service, serving

BASE = "/crm/v8"
USERS = {login: f"41088800000001000{number}" for number, login in enumerate(("lin", "chen", "zhou"))}
_LOOKUPS = {"Account_Name": "Accounts", "Contact_Name": "Contacts"}
_TESTS: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda value, given: value == given,
    "not_equal": lambda value, given: value != given,
    "starts_with": lambda value, given: value.startswith(given),
    "in": lambda value, given: value in given.split("\0"),
    "greater_than": lambda value, given: value > given,
}


def zoho() -> contextlib.AbstractContextManager[Service]:
    """A running Zoho CRM without records."""
    return serving("zoho", _answer, USERS)


def _answer(service: Service, request: Request) -> Reply:
    if not request.headers.get("authorization", "").startswith("Zoho-oauthtoken "):
        return _error(401, "INVALID_TOKEN", "invalid oauth token")
    parts = request.path.removeprefix(BASE).strip("/").split("/")
    match parts:
        case ["__composite_requests"] if request.method == "POST":
            return zoho_composite(request, lambda part: _answer(service, part))
        case ["users"]:
            user = USERS.get(request.headers["authorization"].partition("-of-")[2], "")
            return Reply(200, {"users": [{"id": user, "email": "somebody.of.ours@example.com"}]})
        case ["coql"] if request.method == "POST":
            return _coql(service, request.json()["select_query"])
        case [module, "search"]:
            return _search(service, module, request)
        case [module] if request.method == "POST":
            made = [_create(service, module, one) for one in request.json()["data"]]
            return Reply(201, {"data": made})
        case [module] if request.method == "GET":
            return _listed(list(service.tables.get(module, {}).values()))
        case [module, record] if request.method == "GET":
            row = service.tables.get(module, {}).get(record)
            return Reply(200, {"data": [row]}) if row is not None else Reply(204)
        case [module, record] if request.method == "PUT":
            service.tables[module][record].update(request.json()["data"][0])
            return Reply(200, {"data": [_done(record, "record updated")]})
        case [module, record] if request.method == "DELETE":
            service.tables[module].pop(record)
            return Reply(200, {"data": [_done(record, "record deleted")]})
    return _error(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one")


def _create(service: Service, module: str, given: Record) -> Record:
    if module in ("Contacts", "Leads") and "Last_Name" not in given:
        message = "required field not found"
        return {
            "code": "MANDATORY_NOT_FOUND",
            "details": {"api_name": "Last_Name"},
            "message": message,
            "status": "error",
        }
    service.made += 1
    record = f"410888000000{service.made:06d}"
    row = {**given, "id": record, "Created_Time": f"2026-01-01T00:00:{service.made:02d}+00:00"}
    if "Last_Name" in given:
        row["Full_Name"] = " ".join(filter(None, (given.get("First_Name"), given["Last_Name"])))
    service.tables.setdefault(module, {})[record] = row
    return _done(record, "record added")


def _done(record: str, message: str) -> Record:
    return {"code": "SUCCESS", "details": {"id": record}, "message": message, "status": "success"}


def _listed(rows: list[Record], page: int = 1, per_page: int = 200) -> Reply:
    shown = rows[(page - 1) * per_page :][:per_page]
    if not shown:
        return Reply(204)
    more = page * per_page < len(rows)
    info = {"count": len(shown), "more_records": more, "page": page, "per_page": per_page}
    return Reply(200, {"data": shown, "info": info})


def _search(service: Service, module: str, request: Request) -> Reply:
    asked = request.parameters
    rows = list(service.tables.get(module, {}).values())
    if "criteria" in asked:
        try:
            holds, rest = _condition(asked["criteria"])
            if rest:
                raise Unsupported(rest)
        except Unsupported as unread:
            return _error(400, "INVALID_QUERY", f"{asked['criteria']}: {unread}")
        rows = [one for one in rows if holds(one)]
    for name, keys in (("email", ("Email", "Secondary_Email")), ("phone", ("Phone", "Mobile"))):
        if name in asked:
            rows = [one for one in rows if any(_folded(one.get(key)) == asked[name].lower() for key in keys)]
    if "word" in asked:
        rows = [one for one in rows if any(asked["word"].lower() in _folded(value) for value in one.values())]
    key = {"Created_Time": "Created_Time"}.get(asked.get("sort_by", ""), "id")
    rows.sort(key=lambda one: str(one[key]), reverse=asked.get("sort_order", "desc") == "desc")
    return _listed(rows, int(asked.get("page", 1)), int(asked.get("per_page", 200)))


def _condition(text: str) -> tuple[Callable[[Record], bool], str]:
    """Conditions in brackets, joined from left to right, and what stands behind them."""
    first, rest = _bracket(text)
    while (joined := re.match(r"\s*(and|or)\s*(?=\()", rest)) is not None:
        second, rest = _bracket(rest[joined.end() :])
        first = _both(first, second) if joined[1] == "and" else _either(first, second)
    return first, rest


def _both(one: Callable[[Record], bool], other: Callable[[Record], bool]) -> Callable[[Record], bool]:
    return lambda row: one(row) and other(row)


def _either(one: Callable[[Record], bool], other: Callable[[Record], bool]) -> Callable[[Record], bool]:
    return lambda row: one(row) or other(row)


def _bracket(text: str) -> tuple[Callable[[Record], bool], str]:
    if text.startswith("(("):
        inner, rest = _condition(text[1:])
        if not rest.startswith(")"):
            raise Unsupported("bracket")
        return inner, rest[1:]
    found = re.match(r"\((\w+):(\w+):((?:\\.|[^\\()])*)\)", text)
    if found is None or found[2] not in _TESTS:
        raise Unsupported("condition")
    given = re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\),", "\0", found[3])).lower()
    name, test = found[1], _TESTS[found[2]]
    return lambda row: test(_folded(row.get(name)), given), text[found.end() :]


def _folded(value: Any) -> str:
    return str("" if value is None else value).lower()


def _coql(service: Service, text: str) -> Reply:
    source = Source(
        lambda name: list(service.tables.get(name, {}).values()),
        lambda row, name: service.tables.get(_LOOKUPS.get(name, ""), {}).get((row.get(name) or {}).get("id", "")),
        lambda _row, _name: [],
    )
    try:
        rows = select(text, source)
    except Unsupported as unread:
        return _error(400, "SYNTAX_ERROR", f"{text}: {unread}")
    return _listed(rows)


def _error(status: int, code: str, message: str) -> Reply:
    return Reply(status, {"code": code, "details": {}, "message": message, "status": "error"})
