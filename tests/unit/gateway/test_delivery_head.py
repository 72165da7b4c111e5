"""The head of an answer that comes again and again, read once."""

from gateway.delivery import _read_head
from gateway.origin import Origins

ORIGINS = Origins("https://crm.example", "http://crm.internal:8000")
USUAL = [(b"date", b"Sun, 22 Nov 2026 10:00:00 GMT"), (b"content-type", b"text/html"), (b"content-length", b"2")]


def test_answers_that_differ_in_date_and_length_share_one_head() -> None:
    later = [(b"date", b"Sun, 22 Nov 2026 10:00:01 GMT"), (b"content-type", b"text/html"), (b"content-length", b"3")]
    assert _read_head(ORIGINS, USUAL) is _read_head(ORIGINS, later)


def test_the_lines_are_those_of_the_fields() -> None:
    head = _read_head(ORIGINS, USUAL)
    assert head.block == "".join(f"{name}: {value}\r\n" for name, value in head.looked).encode()
    assert ("cache-control", "private, no-store") in head.looked


def test_a_head_with_a_cookie_is_not_kept() -> None:
    raw = [*USUAL, (b"set-cookie", b"sessionid=a; Path=/")]
    head = _read_head(ORIGINS, raw)
    assert head.block is None
    assert head is not _read_head(ORIGINS, raw)


def test_another_origin_has_heads_of_its_own() -> None:
    raw = [(b"content-type", b"text/html"), (b"link", b"<http://crm.internal:8000/a>; rel=next")]
    other = Origins("https://other.example", "http://crm.internal:8000")
    assert ("link", "<https://crm.example/a>; rel=next") in _read_head(ORIGINS, raw).fields
    assert ("link", "<https://other.example/a>; rel=next") in _read_head(other, raw).fields


def test_repeated_fields_stay_all() -> None:
    raw = [(b"content-type", b"text/html"), (b"x-message", b"a"), (b"x-message", b"b")]
    assert [value for name, value in _read_head(ORIGINS, raw).fields if name == "x-message"] == ["a", "b"]
