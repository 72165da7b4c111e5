"""销售易 Neocrm as public client code speaks to it: objects in the path, `code` in every answer, status 200 always."""

import contextlib
import itertools
from typing import Any
from urllib.parse import parse_qs

from tests.hosted.calls import Call, Hosted, Named, Reply, serving
from tests.hosted.rows import Source, Unsupported, select

OBJECTS = "/rest/data/v2.0/xobjects"


def neocrm() -> contextlib.AbstractContextManager[Hosted]:
    """The running server."""
    server = Hosted(Named("neocrm"))
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    ids = itertools.count(2712345678901234567)

    def done(data: Any) -> Reply:
        return Reply({"code": 200, "msg": "OK", "data": data})

    def create(call: Call) -> Reply:
        values, table = call.json()["data"], rows.setdefault(call.found[0], {})
        for record, row in table.items():
            if values.get("mobile") and row.get("mobile") == values["mobile"]:
                return Reply({"code": 300003, "msg": f"duplicate of {row['mobile']}", "data": {"id": int(record)}})
        record = str(next(ids))
        table[record] = values
        return done({"id": int(record)})

    def one(call: Call) -> Reply:
        name, record = call.found
        table = rows.get(name, {})
        if record not in table:
            return Reply({"code": 300001, "msg": "no such data"})
        if call.method == "PATCH":
            table[record] |= call.json()["data"]
            return done({"id": int(record)})
        if call.method == "DELETE":
            del table[record]
            return done(None)
        return done({"id": int(record), **table[record]})

    def query(text: str) -> Reply:
        def listed(name: str) -> list[dict[str, Any]]:
            return [{**row, "id": int(record)} for record, row in rows.get(name, {}).items()]

        source = Source(listed, lambda _row, _name: None, lambda _row, _name: [])
        try:
            found = select(text, source)
        except Unsupported as unread:
            return Reply({"code": 300002, "msg": f"{unread} in {text}"})
        return done({"count": len(found), "records": found})

    def xoql(call: Call) -> Reply:
        return query(parse_qs(call.body.decode())["xoql"][0])

    server.route("POST", "/rest/data/v2.0/query/xoql", xoql)
    server.route("GET", "/rest/data/v2/query", lambda call: query(call.query["q"][0]))
    server.route("POST", f"{OBJECTS}/([a-z]+)", create)
    for method in ("GET", "PATCH", "DELETE"):
        server.route(method, f"{OBJECTS}/([a-z]+)/([0-9]+)", one)
    return serving(server)
