"""销售易 Neocrm as public client code speaks to it: objects in the path, `code` in every answer, status 200 always."""

import contextlib
import itertools
from typing import Any

from tests.hosted.calls import Call, Hosted, Named, Reply, serving

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

    server.route("POST", f"{OBJECTS}/([a-z]+)", create)
    for method in ("GET", "PATCH", "DELETE"):
        server.route(method, f"{OBJECTS}/([a-z]+)/([0-9]+)", one)
    return serving(server)
