"""What hosted CRMs make of several requests in one: each part is answered as if it came alone."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus, urlencode

from tests.hosted.service import Record, Reply, Request

Answer = Callable[[Request], Reply]
_RESULT = re.compile(r"@\{(\w+)[.:]([^{}]*)\}")


def inner(outer: Request, method: str, url: str, value: Any, base: str = "") -> Request:
    """One part as a request of its own."""
    path, _, query = (url if url.startswith("/") else base + url).partition("?")
    pairs = (pair.partition("=") for pair in filter(None, query.split("&")))
    parameters = {unquote_plus(name): unquote_plus(text) for name, _, text in pairs}
    return Request(method, unquote(path), parameters, outer.headers, json.dumps(value).encode())


def filled(part: Record, results: Mapping[str, Any]) -> Record:
    """A part with the results of earlier ones in the places that name them."""

    def one(found: re.Match[str]) -> str:
        at: Any = results[found[1]]
        for step in re.findall(r"\w+", found[2]):
            at = at[int(step)] if isinstance(at, list) else at[step]
        return str(at)

    made: Record = json.loads(_RESULT.sub(one, json.dumps(part)))
    return made


def salesforce_composite(request: Request, answer: Answer) -> Reply:
    """`/composite`: parts that may name results of earlier ones."""
    results: dict[str, Any] = {}
    out = []
    for part in request.json()["compositeRequest"]:
        given = filled(part, results)
        reply = answer(inner(request, given["method"], given["url"], given.get("body")))
        results[given["referenceId"]] = reply.value
        out.append(
            {
                "body": reply.value,
                "httpHeaders": {},
                "httpStatusCode": reply.status,
                "referenceId": given["referenceId"],
            }
        )
    return Reply(200, {"compositeResponse": out})


def salesforce_batch(request: Request, answer: Answer) -> Reply:
    """`/composite/batch`: parts that know nothing of one another."""
    parts = request.json()["batchRequests"]
    replies = [
        answer(inner(request, one["method"], one["url"], one.get("richInput"), "/services/data/")) for one in parts
    ]
    told = [{"statusCode": one.status, "result": one.value} for one in replies]
    return Reply(200, {"hasErrors": any(one.status >= 400 for one in replies), "results": told})


def salesforce_tree(request: Request, answer: Answer) -> Reply:
    """`/composite/tree`: records inside records, which the answer names by their labels and in its own order."""
    base = request.path.partition("/composite")[0]
    out: list[Record] = []

    def store(records: list[Record]) -> None:
        for record in records:
            values = {key: one for key, one in record.items() if not isinstance(one, dict)}
            made = answer(inner(request, "POST", f"{base}/sobjects/{record['attributes']['type']}", values))
            out.append({"referenceId": record["attributes"]["referenceId"], "id": made.value["id"]})
            for value in record.values():
                if isinstance(value, dict) and "records" in value:
                    store(value["records"])

    store(request.json()["records"])
    return Reply(201, {"hasErrors": False, "results": out[::-1]})


def salesforce_collection(request: Request, answer: Answer) -> Reply:
    """`/composite/sobjects`: records of several objects, made or changed."""
    base = request.path.partition("/composite")[0]
    out = []
    for record in request.json()["records"]:
        values = {key: one for key, one in record.items() if key not in ("attributes", "id")}
        url = f"{base}/sobjects/{record['attributes']['type']}"
        url += f"/{record['id']}" if request.method == "PATCH" else ""
        reply = answer(inner(request, request.method, url, values))
        if reply.status >= 400:
            errors = [{"statusCode": one["errorCode"], "message": one["message"]} for one in reply.value]
            out.append({"success": False, "errors": errors})
            continue
        record_id = reply.value["id"] if request.method == "POST" else record["id"]
        out.append({"id": record_id, "success": True, "errors": []})
    return Reply(200, out)


def zoho_composite(request: Request, answer: Answer) -> Reply:
    """`__composite_requests`: parts with their parameters as an object."""
    results: dict[str, Any] = {}
    out = []
    for part in request.json()["__composite_requests"]:
        given = filled(part, results)
        url = given["uri"] + ("?" + urlencode(given["params"]) if given.get("params") else "")
        reply = answer(inner(request, given["method"], url, given.get("body")))
        results[given["sub_request_id"]] = reply.value
        told = {"response": {"headers": {}, "status_code": reply.status, "body": reply.value}}
        message = "composite sub request executed successfully"
        out.append({"code": "SUCCESS", "details": told, "message": message, "status": "success"})
    return Reply(200, {"__composite_requests": out})


def multipart(request: Request, answer: Answer) -> Reply:
    """OData's `$batch`: every request answered in kind; a change set has one part for all of its requests."""
    base = request.path.rpartition("/")[0] + "/"
    out = []
    for head, content in _parts(request.headers["content-type"], request.body):
        kind = re.search(rb"multipart/mixed;[^\r\n]*", head)
        if kind is None:
            out.append(_answered(request, content, answer, base))
            continue
        given = [_answered(request, one, answer, base) for _, one in _parts(kind[0].decode(), content)]
        inside = b"".join(b"--changesetresponse_1\r\n" + one + b"\r\n" for one in given)
        out.append(
            b"Content-Type: multipart/mixed; boundary=changesetresponse_1\r\n\r\n"
            + inside
            + b"--changesetresponse_1--\r\n"
        )
    body = b"".join(b"--batchresponse_1\r\n" + one + b"\r\n" for one in out) + b"--batchresponse_1--\r\n"
    return Reply(200, body, {"Content-Type": "multipart/mixed; boundary=batchresponse_1"})


def _answered(outer: Request, message: bytes, answer: Answer, base: str) -> bytes:
    head, _, body = message.partition(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    method, url, _ = start.split(" ")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    part = inner(outer, method, url, json.loads(body) if body.strip() else None, base)
    reply = answer(Request(part.method, part.path, part.parameters, {**outer.headers, **fields}, part.body))
    data = b"" if reply.value is None else json.dumps(reply.value).encode()
    out = f"Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 {reply.status} X\r\n"
    out += "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
    if data:
        out += f"Content-Type: application/json; odata.metadata=minimal\r\nContent-Length: {len(data)}\r\n"
    return out.encode() + b"\r\n" + data


def _parts(content_type: str, body: bytes) -> list[tuple[bytes, bytes]]:
    boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
    out = []
    for piece in body.split(boundary)[1:]:
        if piece.startswith(b"--"):
            break
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        out.append((head, content.removesuffix(b"\r\n")))
    return out
