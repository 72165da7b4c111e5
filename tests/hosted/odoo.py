"""Odoo's calls as its documentation describes them: JSON-2, the web client's call_kw and the old execute_kw."""

import contextlib
import itertools
from collections.abc import Mapping
from typing import Any

from tests.hosted.calls import Call, Hosted, Named, Reply, serving

DATABASE, USER, PASSWORD = "odoo", 2, "Odoo-pw-4-tests"
_SIGNATURES = {
    "create": ("vals",),
    "write": ("ids", "vals"),
    "unlink": ("ids",),
    "read": ("ids", "fields"),
    "search_read": ("domain", "fields", "offset", "limit", "order"),
    "name_search": ("name", "domain"),
    "web_save": ("ids", "vals", "specification"),
}


class _Models:
    """Records by model and id."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[int, dict[str, Any]]] = {}
        self._ids = itertools.count(31)

    def call(self, model: str, method: str, given: Mapping[str, Any]) -> Any:
        table = self.tables.setdefault(model, {})
        ids = given.get("ids") or []
        match method:
            case "create":
                new = [self._new(table, one) for one in _listed(given["vals"])]
                return new if isinstance(given["vals"], list) else new[0]
            case "web_save":
                ids = ids or [self._new(table, {})]
                for one in ids:
                    table[one] |= given["vals"]
                return [self._shown(table, one) for one in ids]
            case "write":
                for one in ids:
                    table[one] |= given["vals"]
                return True
            case "unlink":
                for one in ids:
                    del table[one]
                return True
            case "read":
                return [self._shown(table, one) for one in ids]
            case "search_read":
                return [self._shown(table, one) for one, row in table.items() if _meets(row, given.get("domain", []))]
            case "name_search":
                wanted = given.get("name", "")
                return [[one, row.get("name")] for one, row in table.items() if wanted in str(row.get("name"))]
        raise KeyError(method)

    def _new(self, table: dict[int, dict[str, Any]], values: Mapping[str, Any]) -> int:
        record = next(self._ids)
        table[record] = dict(values)
        return record

    def _shown(self, table: Mapping[int, Mapping[str, Any]], record: int) -> dict[str, Any]:
        out = {"id": record, "create_uid": [USER, "Lin Tao"], **table[record]}
        parent = out.get("parent_id")
        if isinstance(parent, int) and parent in table:
            out["parent_id"] = [parent, table[parent].get("name")]
        return out


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _meets(row: Mapping[str, Any], domain: list[Any]) -> bool:
    for clause in domain:
        column, operator, wanted = clause
        value = row.get(column)
        found = {"=": value == wanted, "in": value in _listed(wanted), "!=": value != wanted}.get(operator)
        if found is None:
            found = str(wanted).strip("%") in str(value or "")
        if not found:
            return False
    return True


def odoo() -> contextlib.AbstractContextManager[Hosted]:
    """The running server."""
    server, models = Hosted(Named("odoo")), _Models()

    def run(model: str, method: str, args: list[Any], named: Mapping[str, Any]) -> Any:
        return models.call(model, method, {**dict(zip(_SIGNATURES[method], args, strict=False)), **named})

    def error(text: str) -> Reply:
        data = {"name": "odoo.exceptions.ValidationError", "message": text}
        return Reply({"jsonrpc": "2.0", "id": 1, "error": {"code": 200, "message": "Odoo Server Error", "data": data}})

    def web(call: Call) -> Reply:
        params = call.json()["params"]
        try:
            found = run(params["model"], params["method"], params["args"], params["kwargs"])
        except KeyError as fault:
            return error(f"no record {fault}")
        return Reply({"jsonrpc": "2.0", "id": 1, "result": found})

    def json2(call: Call) -> Reply:
        model, method = call.found
        if not call.headers.get("authorization", "").startswith("bearer "):
            return Reply({"name": "Unauthorized"}, 401)
        try:
            return Reply(models.call(model, method, call.json()))
        except KeyError as fault:
            return Reply({"name": "KeyError", "message": str(fault)}, 404)

    def old(call: Call) -> Reply:
        params = call.json()["params"]
        if params["service"] == "common":
            return Reply({"jsonrpc": "2.0", "id": 1, "result": USER})
        _, user, password, model, method, args, *named = params["args"]
        if (user, password) != (USER, PASSWORD):
            return error("Access Denied")
        return Reply({"jsonrpc": "2.0", "id": 1, "result": run(model, method, args, named[0] if named else {})})

    server.route("POST", "/web/dataset/call_kw(?:/.*)?", web)
    server.route("POST", "/json/2/([^/]+)/([^/]+)", json2)
    server.route("POST", "/jsonrpc", old)
    return serving(server)
