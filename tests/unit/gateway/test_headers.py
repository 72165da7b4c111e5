"""The head parser refuses what two servers could read differently; the heads built from it hold nothing by accident."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import headers
from gateway.exchange import Exchange, Head
from gateway.network import Allowlist, Tenant
from gateway.origin import Origins
from gateway.refusal import (
    AMBIGUOUS_FRAMING,
    AMBIGUOUS_PATH,
    MALFORMED_REQUEST,
    METHOD_REFUSED,
    UPGRADE_REFUSED,
    Refusal,
)

HOST = (b"host", b"crm.localhost:8443")


def scope(target: bytes = b"/", *fields: tuple[bytes, bytes], method: str = "GET") -> dict[str, Any]:
    return {"type": "http", "method": method, headers.TARGET: target, "headers": [HOST, *fields]}


def tenant(*, forward: bool = False) -> Tenant:
    origins = Origins("https://crm.localhost:8443", "http://127.0.0.1:18101")
    return Tenant("main", origins, cast("Any", None), cast("Any", None), Allowlist(), forward)


def forwarded(head: Head, **options: Any) -> list[str]:
    exchange = Exchange("x1", datetime(2026, 11, 1, tzinfo=UTC), head, client_address="203.0.113.9")
    options.setdefault("target", head.target)
    options.setdefault("length", 0)
    options.setdefault("pairs", headers.cookies(head))
    text = headers.upstream_headers(head, exchange, tenant(forward=options.pop("forward", False)), **options)
    assert text.endswith(b"\r\n\r\n")
    return text[:-4].decode("latin-1").split("\r\n")


def names(lines: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in lines[1:]]


class TestParse:
    def test_a_plain_request_keeps_every_field_and_the_raw_target(self) -> None:
        head = headers.parse(scope(b"/a%20b?x=%E5%BC%A0&y=1", (b"x-a", b"1"), (b"x-a", b"2")))
        assert (head.path, head.query, head.host) == ("/a%20b", "x=%E5%BC%A0&y=1", "crm.localhost:8443")
        assert head.all("x-a") == ["1", "2"]
        assert head.first("x-a") == "1"
        assert not head.has_body

    @pytest.mark.parametrize(
        "path",
        [
            "/./a", "/a/.", "/../a", "/a/..", "/%2e/a", "/a/%2E%2e/b", "/a/.%2e", "/a/..;/b", "/a/.;x=1/b",
            "/a%2fb", "/a%2Fb", "/a%5cb", "/a%00b", "/a%0db", "/a%7f", "/a%252e", "/a%252Fb", "/a%255c", "/a%2500",
            "/a%25252e", "//a", "/a//b", "/a//", "/a%1fb",
        ],
    )  # fmt: skip
    def test_a_path_with_two_readings_is_refused(self, path: str) -> None:
        with pytest.raises(Refusal) as caught:
            headers.parse(scope(path.encode()))
        assert caught.value.reason is AMBIGUOUS_PATH

    @pytest.mark.parametrize(
        "target",
        [
            b"/a%2", b"/a%zz", b"/a%", b"/\xe5\xbc\xa0", b"/a\\b", b"/a#f", b"/a?x=1#f", b"/a?x=%", b"/a?x=%0",
            b"/a?%00", b"/a<b", b"/a\"b", b"/a b", b"/%ff", b"/a?x=%ff", b"/a?x=\xff", b"*", b"a", b"", b"ftp://crm.localhost:8443/",
            b"/a?x= y", b"/a\x7f", b"/a\tb",
        ],
    )  # fmt: skip
    def test_a_target_that_is_not_proper_is_refused(self, target: bytes) -> None:
        with pytest.raises(Refusal) as caught:
            headers.parse(scope(target))
        assert caught.value.reason is MALFORMED_REQUEST

    @pytest.mark.parametrize(
        "target", [b"/a.b", b"/a/...", b"/a/..b", b"/a/b.", b"/a%2520b", b"/a;b=1", b"/a?x=../..", b"/?a[]={}|^"]
    )
    def test_what_only_looks_odd_is_kept(self, target: bytes) -> None:
        assert headers.parse(scope(target)).target == target.decode()

    def test_an_absolute_target_must_name_the_same_host(self) -> None:
        assert headers.parse(scope(b"https://CRM.localhost:8443/a?b=1")).target == "/a?b=1"
        assert headers.parse(scope(b"http://crm.localhost:8443")).target == "/"
        with pytest.raises(Refusal) as caught:
            headers.parse(scope(b"https://other.localhost:8443/a"))
        assert caught.value.reason is AMBIGUOUS_FRAMING
        with pytest.raises(Refusal):
            headers.parse(scope(b"https://user@crm.localhost:8443/a"))

    @pytest.mark.parametrize(
        "fields",
        [
            [HOST],
            [(b"content-length", b"3"), (b"content-length", b"3")],
            [(b"content-length", b"3"), (b"transfer-encoding", b"chunked")],
            [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
            [(b"transfer-encoding", b"gzip, chunked")],
            [(b"transfer-encoding", b"xchunked")],
            [(b"content-length", b"+3")],
            [(b"content-length", b"3,3")],
            [(b"content-length", b"\xb2")],
            [(b"content-length", b"")],
            [(b"content-length", b"9" * 19)],
            # What is judged by one type, coding or credential must not be read by another.
            [(b"content-type", b"text/plain"), (b"content-type", b"application/x-www-form-urlencoded")],
            [(b"content-encoding", b"gzip"), (b"content-encoding", b"identity")],
            [(b"authorization", b"Session a"), (b"authorization", b"Session b")],
        ],
    )
    def test_ambiguous_framing_is_refused(self, fields: list[tuple[bytes, bytes]]) -> None:
        with pytest.raises(Refusal) as caught:
            headers.parse(scope(b"/", *fields, method="POST"))
        assert caught.value.reason is AMBIGUOUS_FRAMING

    @pytest.mark.parametrize(
        "host", [b"", b"a b", b"a/b", b"a,b", b"user@a", b"a:0", b"a:x", b"-a", b"a?b", b"a\xff", b"a:123456"]
    )
    def test_a_host_that_is_no_host_is_refused(self, host: bytes) -> None:
        with pytest.raises(Refusal):
            headers.parse({"method": "GET", headers.TARGET: b"/", "headers": [(b"host", host)]})

    def test_methods_upgrades_and_overrides_are_refused(self) -> None:
        for method in ("TRACE", "CONNECT", "PROPFIND", "get", "PURGE"):
            with pytest.raises(Refusal) as caught:
                headers.parse(scope(method=method))
            assert caught.value.reason is METHOD_REFUSED
        for query in (b"_method=DELETE", b"a=1&_method=PUT", b"X-HTTP-Method-Override=PUT"):
            with pytest.raises(Refusal) as caught:
                headers.parse(scope(b"/?" + query, method="POST"))
            assert caught.value.reason is METHOD_REFUSED
        with pytest.raises(Refusal) as caught:
            headers.parse(scope(b"/", (b"upgrade", b"websocket"), (b"connection", b"Upgrade")))
        assert caught.value.reason is UPGRADE_REFUSED

    @settings(deadline=None)  # machines are shared
    @given(st.binary(max_size=60))
    def test_any_target_is_refused_or_stays_byte_equal(self, data: bytes) -> None:
        try:
            head = headers.parse(scope(b"/" + data))
        except Refusal:
            return
        assert head.target.encode("ascii") == b"/" + data
        assert not any(segment in (".", "..") for segment in head.path.split("/"))

    @settings(deadline=None)  # machines are shared
    @given(st.text(alphabet="./%2eEfF5cC0;a", max_size=24))
    def test_no_spelling_of_a_dot_segment_gets_through(self, text: str) -> None:
        from urllib.parse import unquote

        try:
            path = headers.parse(scope(b"/" + text.encode())).path
        except Refusal:
            return
        once = unquote(path)
        twice = unquote(once)
        for reading in (path, once, twice):
            parts = [part.partition(";")[0] for part in reading.split("/")]
            assert "." not in parts
            assert ".." not in parts
        assert once.count("/") == path.count("/")


class TestCookies:
    def test_two_session_cookies_are_refused(self) -> None:
        head = headers.parse(scope(b"/", (b"cookie", b"__Host-crmgate=a; x=1; __Host-crmgate=b")))
        with pytest.raises(Refusal) as caught:
            headers.session_token(headers.cookies(head))
        assert caught.value.reason is AMBIGUOUS_FRAMING

    def test_two_cookie_fields_count_together(self) -> None:
        head = headers.parse(scope(b"/", (b"cookie", b"__Host-crmgate=a"), (b"cookie", b"__Host-crmgate=a")))
        with pytest.raises(Refusal):
            headers.session_token(headers.cookies(head))

    def test_the_token_is_found_among_others(self) -> None:
        head = headers.parse(scope(b"/", (b"cookie", b"a=1;__Host-crmgate=tok; __Host-crmgate-console=z")))
        assert headers.session_token(headers.cookies(head)) == "tok"

    def test_crm_credentials_are_only_known_by_their_hash(self) -> None:
        head = headers.parse(scope(b"/", (b"cookie", b"sessionid=secret; other=1"), (b"authorization", b"Bearer abc")))
        found = headers.crm_tokens({"sessionid"}, head, headers.cookies(head))
        assert set(found) == {"sessionid", "authorization"}
        assert "secret" not in str(found)
        assert all(len(value) == 64 for value in found.values())


class TestUpstreamHead:
    def test_host_origin_and_referer_are_the_upstreams_own(self) -> None:
        head = headers.parse(
            scope(
                b"/x",
                (b"origin", b"https://crm.localhost:8443"),
                (b"referer", b"https://crm.localhost:8443/a?phone=13800138000"),
                method="POST",
            )
        )
        lines = forwarded(head)
        assert lines[0] == "POST /x HTTP/1.1"
        assert "host: 127.0.0.1:18101" in lines
        assert "origin: http://127.0.0.1:18101" in lines
        assert "referer: http://127.0.0.1:18101/a" in lines
        assert "content-length: 0" in lines

    def test_a_foreign_or_similar_referer_is_dropped(self) -> None:
        for value in (
            b"https://evil.example/",
            b"https://crm.localhost:8443.evil.example/",
            b"https://crm.localhost:84431/",
        ):
            assert "referer" not in names(forwarded(headers.parse(scope(b"/", (b"referer", value)))))

    @pytest.mark.parametrize(
        "name",
        [
            "x-forwarded-for", "x_forwarded_for", "x-forwarded_host", "forwarded", "x-real-ip", "x_real_ip",
            "remote-user", "remote_user", "x-remote-user", "x_remote_user", "x-http-method-override",
            "x_http_method_override",
            "x-original-url", "x-rewrite-url", "proxy", "via", "x-crmgate-user", "x-forwarded-proto",
            "x-auth-request-user", "connection", "keep-alive", "te", "trailer", "proxy-authorization", "expect",
            "http2-settings", "content_length", "transfer_encoding", "ssl-client-cert", "x-ssl-client-verify",
            "cf-connecting-ip",
        ],
    )  # fmt: skip
    def test_identity_forwarding_and_hop_fields_never_pass(self, name: str) -> None:
        lines = forwarded(headers.parse(scope(b"/", (name.encode(), b"evil"))))
        assert "evil" not in "\n".join(lines)

    def test_what_connection_names_is_dropped_but_never_ours(self) -> None:
        head = headers.parse(
            scope(b"/", (b"connection", b"close, X-Secret, host, cookie"), (b"x-secret", b"1"), (b"cookie", b"a=1"))
        )
        lines = forwarded(head, forward=True)
        assert "x-secret" not in names(lines)
        assert "host: 127.0.0.1:18101" in lines
        assert "x-forwarded-for: 203.0.113.9" in lines
        assert names(lines).count("host") == 1

    def test_our_cookies_stay_here_and_ended_ones_of_the_crm_too(self) -> None:
        head = headers.parse(
            scope(b"/", (b"cookie", b"__Host-crmgate=t; a=1; sessionid=s; __Host-crmgate-language=zh; b=2"))
        )
        assert "cookie: a=1; sessionid=s; b=2" in forwarded(head)
        assert "cookie: a=1; b=2" in forwarded(head, withheld={"sessionid"})

    def test_conditions_and_ranges_only_for_assets(self) -> None:
        fields = (
            (b"if-none-match", b'"a"'),
            (b"range", b"bytes=0-1"),
            (b"accept-encoding", b"gzip;q=0.5, br, deflate, zstd;q=0"),
        )
        head = headers.parse(scope(b"/", *fields))
        looked = forwarded(head)
        assert not {"if-none-match", "range"} & set(names(looked))
        assert "accept-encoding: identity" in looked
        asset = forwarded(head, asset=True)
        assert {"if-none-match", "range"} <= set(names(asset))
        assert "accept-encoding: gzip, br" in asset

    def test_a_body_of_unknown_length_is_chunked(self) -> None:
        head = headers.parse(scope(b"/", (b"transfer-encoding", b"chunked"), method="POST"))
        assert "transfer-encoding: chunked" in forwarded(head, length=None)
        assert "content-length: 7" in forwarded(head, length=7)

    @pytest.mark.parametrize("name", ["target", "content_type", "referer"])
    def test_nothing_given_can_break_the_head(self, name: str) -> None:
        head = headers.parse(scope(b"/", (b"referer", b"https://crm.localhost:8443/"), (b"content-type", b"a/b")))
        with pytest.raises(ValueError):
            forwarded(head, **{name: "/a\r\nX: 1"})

    def test_other_fields_pass_in_order_with_duplicates(self) -> None:
        head = headers.parse(
            scope(b"/", (b"x-a", b"1"), (b"x-csrftoken", b"t"), (b"x-a", b"2"), (b"authorization", b"Bearer t"))
        )
        assert [line for line in forwarded(head) if line.startswith("x-a")] == ["x-a: 1", "x-a: 2"]
        assert "authorization: Bearer t" in forwarded(head)


class TestAnswerHead:
    RAW = (
        (b"server", b"x"), (b"connection", b"close, x-hop"), (b"x-hop", b"1"), (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"), (b"etag", b'"v"'), (b"cache-control", b"public, max-age=60, s-maxage=9"),
        (b"content-md5", b"x"), (b"digest", b"y"), (b"strict-transport-security", b"max-age=1; preload"),
        (b"content-length", b"9"), (b"transfer-encoding", b"chunked"), (b"content-encoding", b"gzip"),
    )  # fmt: skip

    def test_a_body_we_read_leaves_no_trace_of_the_crms_own_bytes(self) -> None:
        fields = headers.looked_into(headers.answer_fields(self.RAW), secure=True)
        found = dict(fields)
        gone = {"etag", "content-md5", "digest", "content-encoding", "server", "x-hop", "connection", "content-length"}
        assert not gone & set(found)
        assert found["cache-control"] == "private, no-store"
        assert found["strict-transport-security"] == headers.HSTS
        assert [value for name, value in fields if name == "set-cookie"] == ["a=1", "b=2"]
        assert sum(name == "cache-control" for name, _ in fields) == 1

    def test_a_body_we_did_not_read_may_be_kept_by_the_person_only(self) -> None:
        found = dict(headers.streamed_past(headers.answer_fields(self.RAW), secure=False))
        assert found["cache-control"] == "private, max-age=60"
        assert found["etag"] == '"v"'
        assert found["content-encoding"] == "gzip"
        assert "strict-transport-security" not in found

    def test_frame_rules_of_the_crm_stay(self) -> None:
        found = headers.looked_into([("x-frame-options", "DENY")], secure=True)
        assert [value for name, value in found if name == "x-frame-options"] == ["DENY"]
        assert [value for name, value in found if name == "content-security-policy"] == ["frame-ancestors 'none'"]

    def test_a_policy_without_a_frame_rule_gets_one_beside_it(self) -> None:
        found = headers.looked_into([("content-security-policy", "img-src 'self'")], secure=True)
        told = [value for name, value in found if name == "content-security-policy"]
        assert told == ["img-src 'self'", "frame-ancestors 'self'"]

    def test_every_answer_says_who_may_frame_it(self) -> None:
        for fields in ([], [("referrer-policy", "origin")], [("x-content-type-options", "nosniff")]):
            for made in (headers.looked_into(fields, secure=True), headers.streamed_past(fields, secure=False)):
                assert ("content-security-policy", "frame-ancestors 'self'") in made
