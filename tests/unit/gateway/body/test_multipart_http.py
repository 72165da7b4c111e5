"""Batches of HTTP messages: read strictly, written anew from what was read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.body import multipart_http
from gateway.body.fault import BodyFault, BodyMalformed
from gateway.body.multipart_http import Http

KIND = "multipart/mixed; boundary=b1"
PART = b"Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"


def wrapped(*parts: bytes) -> bytes:
    return b"".join(b"--b1\r\n" + part + b"\r\n" for part in parts) + b"--b1--\r\n"


def request(line: bytes = b"GET /a HTTP/1.1", fields: bytes = b"", body: bytes = b"") -> bytes:
    return PART + line + b"\r\n" + fields + b"\r\n" + body


def test_what_is_written_reads_as_what_was_read() -> None:
    group = b"Content-Type: multipart/mixed; boundary=c1\r\n\r\n"
    group += b"--c1\r\n" + request(b"POST /b HTTP/1.1", b"Content-Type: application/json\r\n", b'{"a":1}\r\n')
    group += b"\r\n--c1\r\n" + request(b"PATCH /c HTTP/1.1", b"Content-Length: 2\r\n", b"{}") + b"\r\n--c1--\r\n"
    messages = multipart_http.read(KIND, wrapped(request(), group))
    assert [one.request for one in messages] == [("GET", "/a"), ("POST", "/b"), ("PATCH", "/c")]
    assert [(one.place, one.group) for one in messages] == [(0, False), (1, True), (1, True)]
    assert [one.body for one in messages] == [b"", b'{"a":1}', b"{}"]
    content_type, data = multipart_http.write(messages, lambda size: "0f" * size)
    again = multipart_http.read(content_type, data)
    assert [(one.request, one.body, one.place, one.group) for one in again] == [
        (one.request, one.body, one.place, one.group) for one in messages
    ]
    assert again[1].first("content-type") == "application/json"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"--b1--\r\n",
        wrapped(request())[:-8],
        wrapped(b"Content-Type: text/plain\r\n\r\nx"),
        wrapped(PART + b"GET /a HTTP/1.1\r\nbroken\r\n\r\n"),
        wrapped(PART.replace(b"binary", b"base64") + b"GET /a HTTP/1.1\r\n\r\n"),
        wrapped(request(fields=b"Content-Length: 5\r\n", body=b"{}")),
        wrapped(request(fields=b"Content-Length: 1\r\n", body=b"{}")),
        wrapped(request(fields=b"Content-Length: 2\r\nContent-Length: 2\r\n", body=b"{}")),
        wrapped(request(fields=b"Transfer-Encoding: chunked\r\n", body=b"0\r\n\r\n")),
        wrapped(
            b"Content-Type: multipart/mixed; boundary=c1\r\n\r\n--c1\r\nContent-Type: multipart/mixed; boundary=d1"
            b"\r\n\r\n--d1\r\n" + request() + b"\r\n--d1--\r\n\r\n--c1--\r\n"
        ),
    ],
)
def test_what_two_readers_could_split_differently_is_refused(data: bytes) -> None:
    with pytest.raises(BodyMalformed):
        multipart_http.read(KIND, data)


@pytest.mark.parametrize(
    "kind", ["multipart/mixed", "multipart/mixed; boundary=", "multipart/mixed; boundary=b1; boundary=b2"]
)
def test_a_batch_has_one_boundary(kind: str) -> None:
    with pytest.raises(BodyMalformed):
        multipart_http.read(kind, wrapped(request()))


@pytest.mark.parametrize(
    "line", [b"GET  /a HTTP/1.1", b"GET /a", b"get /a HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /a HTTP/1.0"]
)
def test_a_request_line_is_plain(line: bytes) -> None:
    (message,) = multipart_http.read(KIND, wrapped(request(line)))
    with pytest.raises(BodyMalformed):
        _ = message.request


def test_lengths_of_answers_are_from_before_their_urls_were_mapped() -> None:
    data = wrapped(PART + b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}")
    (message,) = multipart_http.read(KIND, data, framed=False)
    assert (message.status, message.body, message.fields) == (200, b"{}", [])


def test_no_part_may_hold_the_new_boundary() -> None:
    message = Http([], b"GET /a HTTP/1.1", [], b"batch_crmgateabab")
    with pytest.raises(BodyMalformed):
        multipart_http.write([message], lambda _: "abab")


@given(st.binary(max_size=300))
def test_no_bytes_make_reading_fail_otherwise(data: bytes) -> None:
    for given_data in (data, wrapped(data), wrapped(PART + data)):
        try:
            for message in multipart_http.read(KIND, given_data):
                _ = message.request
        except BodyFault:
            pass
