"""A CRM that takes batches of every kind: composites, trees, arrays of calls, multipart/mixed with change sets."""

import contextlib
import itertools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hosted.calls import Call, Hosted, Named, Reply, serving

PROFILE = Path(__file__).with_name("batched.yaml")
_REFERENCE = re.compile(r"@\{(\w+)\.(\w+)\}")


def batched() -> contextlib.AbstractContextManager[Hosted]:
    """The running server."""
    server = Hosted(Named(str(PROFILE)))
    rows: dict[str, dict[str, Any]] = {}
    ids = itertools.count(501)

    def create(values: dict[str, Any]) -> str:
        record = str(next(ids))
        rows[record] = {key: value for key, value in values.items() if key != "attributes"}
        return record

    def many(call: Call) -> Reply:
        if call.method == "POST":
            return Reply({"id": create(call.json())}, 201)
        wanted = call.query.get("email", [""])[0]
        found = [{"id": key, **row} for key, row in rows.items() if not wanted or row.get("email") == wanted]
        return Reply({"value": found})

    def one(call: Call) -> Reply:
        record = call.found[0]
        if record not in rows:
            return Reply({"error": {"message": "not there"}}, 404)
        if call.method == "PATCH":
            rows[record] |= call.json()
            return Reply(status=204)
        return Reply({"id": record, **rows[record]})

    def inner(method: str, url: str, body: bytes) -> Reply:
        parts = urlsplit(url)
        path = parts.path if parts.path.startswith("/") else f"/api/{parts.path}"
        return server.answer(Call(method, unquote(path), parse_qs(parts.query), {}, body))

    def composite(call: Call) -> Reply:
        results: dict[str, Any] = {}
        out = []
        for part in call.json()["compositeRequest"]:
            text = _REFERENCE.sub(lambda found: str(results[found[1]][found[2]]), json.dumps(part))
            filled = json.loads(text)
            reply = inner(filled["method"], filled["url"], json.dumps(filled.get("body")).encode())
            results[part["referenceId"]] = reply.content
            out.append({"body": reply.content, "httpStatusCode": reply.status, "referenceId": part["referenceId"]})
        return Reply({"compositeResponse": out})

    def tree(call: Call) -> Reply:
        def store(records: list[dict[str, Any]]) -> list[dict[str, str]]:
            out = []
            for record in records:
                out.append({"referenceId": record["attributes"]["referenceId"], "id": create(record)})
                for value in record.values():
                    if isinstance(value, dict) and "records" in value:
                        out += store(value["records"])
            return out

        return Reply({"hasErrors": False, "results": store(call.json()["records"])}, 201)

    def calls(call: Call) -> Reply:
        given = call.json()
        if isinstance(given, list):
            return Reply([{"id": one["id"], "result": {"id": create(one["params"])}} for one in given])
        return Reply({"id": create(given["params"])})

    def multipart(call: Call) -> Reply:
        kind = call.headers["content-type"]
        return Reply(_answers(kind, call.body, inner), 200, "multipart/mixed; boundary=batchresponse_1")

    server.route("POST", "/api/v1/composite", composite)
    server.route("POST", "/api/v1/tree", tree)
    server.route("POST", "/calls", calls)
    server.route("POST", r"/api/v1/\$batch", multipart)
    for method in ("GET", "POST"):
        server.route(method, "/api/v1/contacts", many)
    for method in ("GET", "PATCH"):
        server.route(method, "/api/v1/contacts/([0-9]+)", one)
    return serving(server)


def _answers(content_type: str, body: bytes, inner: Any) -> bytes:
    """Every request of a batch answered in kind; a change set has a part of its own for each of its requests."""
    out = []
    for head, content in _parts(content_type, body):
        if b"multipart/mixed" in head:
            kind = re.search(rb"multipart/mixed;[^\r\n]*", head)
            assert kind is not None
            answers = [_http(one, inner) for _, one in _parts(kind[0].decode(), content)]
            inside = b"".join(b"--changesetresponse_1\r\n" + one + b"\r\n" for one in answers)
            inside += b"--changesetresponse_1--\r\n"
            out.append(b"Content-Type: multipart/mixed; boundary=changesetresponse_1\r\n\r\n" + inside)
        else:
            out.append(_http(content, inner))
    return b"".join(b"--batchresponse_1\r\n" + one + b"\r\n" for one in out) + b"--batchresponse_1--\r\n"


def _http(message: bytes, inner: Any) -> bytes:
    head, _, body = message.partition(b"\r\n\r\n")
    method, url, _ = head.split(b"\r\n")[0].decode().split(" ")
    reply = inner(method, url, body)
    lines = f"Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 {reply.status} X\r\n"
    if reply.body:
        lines += f"Content-Type: application/json\r\nContent-Length: {len(reply.body)}\r\n"
    return lines.encode() + b"\r\n" + reply.body


def _parts(content_type: str, body: bytes) -> list[tuple[bytes, bytes]]:
    boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
    pieces = body.split(boundary)[1:]
    out = []
    for piece in pieces:
        if piece.startswith(b"--"):
            break
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        out.append((head, content.removesuffix(b"\r\n")))
    return out
