"""Origins are mapped in every spelling, in its own style, and nothing else changes."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.origin import Origins, is_rewritten, map_cookie

ORIGINS = Origins("https://crm.localhost:8443", "http://127.0.0.1:18101")
PLAIN = Origins("https://crm.example.org", "http://crm.corp")


class TestBodies:
    @pytest.mark.parametrize(
        ("inner", "outer"),
        [
            (b"http://127.0.0.1:18101/a", b"https://crm.localhost:8443/a"),
            (b"HTTP://127.0.0.1:18101/a", b"https://crm.localhost:8443/a"),
            (rb'"http:\/\/127.0.0.1:18101\/a"', rb'"https:\/\/crm.localhost:8443\/a"'),
            (rb'"http:\u002f\u002F127.0.0.1:18101"', rb'"https:\u002f\u002Fcrm.localhost:8443"'),
            (b"next=http%3A%2F%2F127.0.0.1%3A18101%2Fa", b"next=https%3A%2F%2Fcrm.localhost%3A8443%2Fa"),
            (b"next=http%3a%2f%2f127.0.0.1%3a18101", b"next=https%3a%2f%2fcrm.localhost%3a8443"),
            (b"n=http%253A%252F%252F127.0.0.1%253A18101", b"n=https%253A%252F%252Fcrm.localhost%253A8443"),
            (b"http&#58;&#x2F;&#x2f;127.0.0.1&#58;18101", b"https&#58;&#x2F;&#x2f;crm.localhost&#58;8443"),
            (b'src="//127.0.0.1:18101/x.js"', b'src="//crm.localhost:8443/x.js"'),
            (b"see http://127.0.0.1:18101.", b"see https://crm.localhost:8443."),
        ],
    )
    def test_every_spelling_becomes_public_in_its_own_style_and_back(self, inner: bytes, outer: bytes) -> None:
        assert ORIGINS.to_public(inner) == outer
        assert ORIGINS.to_upstream(outer).lower() == inner.lower()

    @pytest.mark.parametrize(
        "data",
        [
            b"http://127.0.0.1:181011/a",
            b"http://127.0.0.1/a",
            b"http://127.0.0.1:8080/a",
            b"https://127.0.0.1:18101/a",
            b"http://127.0.0.1:18101.evil.example/",
            b"http://127.0.0.1:18101@evil.example/",
            b"127.0.0.1:18101",
            b"http://x127.0.0.1:18101",
            b"path//127.0.0.1:18101",
        ],
    )
    def test_another_origin_stays(self, data: bytes) -> None:
        assert ORIGINS.to_public(data) == data

    def test_default_ports_may_be_written_or_not(self) -> None:
        assert PLAIN.to_public(b"http://crm.corp:80/ http://crm.corp/ http://crm.corp:8080/") == (
            b"https://crm.example.org/ https://crm.example.org/ http://crm.corp:8080/"
        )
        assert PLAIN.to_public(b"http://crm.corporate/") == b"http://crm.corporate/"

    def test_a_default_port_inside_gains_a_port_in_the_same_style(self) -> None:
        mixed = Origins("https://crm.localhost:8443", "http://crm.corp")
        assert mixed.to_public(b"http%3A%2F%2Fcrm.corp%2Fa") == b"https%3A%2F%2Fcrm.localhost%3A8443%2Fa"
        assert mixed.to_public(b'"//crm.corp/a"') == b'"//crm.localhost:8443/a"'

    def test_ipv6_hosts(self) -> None:
        six = Origins("https://[::1]:8443", "http://[fd00::1]:80")
        assert six.to_public(b"http://[fd00::1]/a") == b"https://[::1]:8443/a"
        assert six.to_upstream(b"https://[::1]:8443/a") == b"http://[fd00::1]:80/a"

    @settings(deadline=None)  # machines are shared
    @given(st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=4))
    def test_json_stays_json_and_the_rest_byte_equal(self, values: dict[str, str]) -> None:
        values = {**values, "self": "http://127.0.0.1:18101/api?next=" + quote("http://127.0.0.1:18101/", safe="")}
        for escape in (False, True):
            text = json.dumps(values, ensure_ascii=True)
            data = (text.replace("/", "\\/") if escape else text).encode()
            mapped = json.loads(ORIGINS.to_public(data))
            assert mapped["self"].startswith(
                "https://crm.localhost:8443/api?next=https%3A%2F%2Fcrm.localhost%3A8443%2F"
            )
            assert {key: mapped[key] for key in values if key != "self"} == {
                k: v for k, v in values.items() if k != "self"
            }

    @settings(deadline=None)  # machines are shared
    @given(st.binary(max_size=200))
    def test_bytes_without_the_origin_are_untouched(self, data: bytes) -> None:
        assert ORIGINS.to_public(data) == data or b"127.0.0.1" in data

    def test_which_bodies(self) -> None:
        assert is_rewritten("text/html; charset=utf-8")
        assert is_rewritten("application/vnd.api+json")
        assert not is_rewritten("text/csv")
        assert not is_rewritten("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
        assert not is_rewritten("image/png")

    def test_an_origin_with_a_path_is_no_origin(self) -> None:
        with pytest.raises(ValueError):
            Origins("https://crm.localhost/app", "http://127.0.0.1:1")


class TestFields:
    def test_urls_in_fields(self) -> None:
        fields = [
            ("location", "http://127.0.0.1:18101/persons/contact/7"),
            ("location", "/relative"),
            ("link", '<http://127.0.0.1:18101/p2>; rel="next"'),
            ("refresh", "0; url=http://127.0.0.1:18101/x"),
            ("x-other", "http://127.0.0.1:18101/"),
        ]
        assert ORIGINS.answer_fields(fields) == [
            ("location", "https://crm.localhost:8443/persons/contact/7"),
            ("location", "/relative"),
            ("link", '<https://crm.localhost:8443/p2>; rel="next"'),
            ("refresh", "0; url=https://crm.localhost:8443/x"),
            ("x-other", "http://127.0.0.1:18101/"),
        ]

    @pytest.mark.parametrize(
        ("inner", "outer"),
        [
            ("a=1; Path=/crm; HttpOnly; SameSite=Strict", "a=1; Path=/crm; HttpOnly; SameSite=Strict; Secure"),
            ("a=1; Domain=127.0.0.1; Secure", "a=1; Secure"),
            ("a=1;domain=.corp;secure;path=/", "a=1; secure; path=/"),
            ("__Host-x=1; Path=/; Secure", "__Host-x=1; Path=/; Secure"),
            (
                "a=; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0",
                "a=; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Secure",
            ),
            ("__Host-crmgate=evil; Path=/; Secure", None),
            ("__host-CRMGATE-console=evil", None),
        ],
    )
    def test_cookies_belong_to_the_public_host(self, inner: str, outer: str | None) -> None:
        assert map_cookie(inner, secure=True) == outer

    def test_over_plain_http_secure_goes(self) -> None:
        assert map_cookie("a=1; Secure; HttpOnly", secure=False) == "a=1; HttpOnly"
