"""纷享销客 as its documentation describes it: POST only, object and credential in the body, errors with status 200."""

import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any

from tests.hosted.calls import Call, Hosted, Named, Reply, serving

TOKEN = "corp-token-7F3A"
PREFIX = "/cgi/crm/v2/data"


class _Store:
    """Records by object and id."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, dict[str, Any]]] = {}

    def create(self, name: str, values: Mapping[str, Any], owner: str) -> str:
        table = self.records.setdefault(name, {})
        record = hashlib.sha256(f"{name}{len(table)}".encode()).hexdigest()[:24]
        table[record] = {**values, "_id": record, "owner": [owner]}
        return record

    def query(self, name: str, info: Mapping[str, Any]) -> list[dict[str, Any]]:
        rows = [
            row for row in self.records.get(name, {}).values() if all(_meets(row, f) for f in info.get("filters", ()))
        ]
        for order in info.get("orders", ()):
            rows.sort(key=lambda row: str(row.get(order["fieldName"], "")), reverse=not order.get("isAsc", True))
        return rows


def _meets(row: Mapping[str, Any], clause: Mapping[str, Any]) -> bool:
    value, wanted = str(row.get(clause["field_name"]) or ""), clause.get("field_values", [])
    match clause["operator"]:
        case "EQ":
            return value in wanted
        case "IN":
            return value in wanted
        case "LIKE":
            return any(one.strip("%") in value for one in wanted)
        case "IS":
            return not value
        case "ISN":
            return bool(value)
    return False


def _failed(code: int, message: str) -> Reply:
    return Reply({"traceId": "t", "errorCode": code, "errorMessage": message})


def _done(**more: Any) -> Reply:
    return Reply({"traceId": "t", "errorCode": 0, "errorMessage": "success", **more})


def fxiaoke() -> contextlib.AbstractContextManager[Hosted]:
    """The running server."""
    server, store = Hosted(Named("fxiaoke")), _Store()

    def handle(call: Call) -> Reply:
        given = call.json()
        if given.get("corpAccessToken") != TOKEN:
            return _failed(20016, "corpAccessToken is invalid")
        data, verb = given["data"], call.found[0]
        values = data.get("object_data", {})
        name = data.get("dataObjectApiName") or values.get("dataObjectApiName")
        table = store.records.setdefault(name, {})
        if verb == "create":
            for row in table.values():
                if values.get("email") and row.get("email") == values["email"]:
                    # What stands in the way is named, with the record: an error that carries an id.
                    return Reply({"errorCode": 320001, "errorMessage": f"{row['email']} exists", "dataId": row["_id"]})
            return _done(dataId=store.create(name, values, given["currentOpenUserId"]))
        if verb == "query":
            rows = store.query(name, data.get("search_query_info", {}))
            return _done(data={"total": len(rows), "dataList": [_with_copies(row) for row in rows]})
        record = data.get("objectDataId") or values.get("_id") or data.get("object_data_id")
        if record not in table:
            return _failed(330001, "no such data")
        if verb == "get":
            return _done(data=_with_copies(table[record]))
        if verb == "update":
            table[record] |= values
            return _done()
        del table[record]
        return _done()

    server.route("POST", "/cgi/crm/v2/data/(create|get|query|update|invalid|delete)", handle)
    server.route(
        "POST", "/cgi/corpAccessToken/get/V2", lambda _: _done(corpAccessToken=TOKEN, corpId="FSCID", expiresIn=7200)
    )
    return serving(server)


def _with_copies(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the copies of what it looks up."""
    out = dict(row)
    out["owner__r"] = {"id": row["owner"][0], "name": "Lin Tao", "email": "lin.tao@staff.example"}
    out["name__r"] = row.get("name")
    out["name__l"] = [{"name": row.get("name"), "tel": row.get("tel1")}]
    return out
