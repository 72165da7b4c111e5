"""The demo's browser: forms as HTML says, cookies, redirects, names under .localhost."""

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.certificate import ensure_certificate
from gateway.demo.browser import Answer, Browser, BrowserFault, Upload, forms

PAGE = b"""<!doctype html><form action="/search"><input name=q value="a&amp;b"></form>
<form method=POST action="save">
<input type=hidden name=csrf value=t0ken><input name=empty><input name=off disabled value=x>
<input type=checkbox name=yes checked><input type=checkbox name=no value=1><input type=radio name=r value=1>
<input type=radio name=r value=2 checked><textarea name=note>
 two
lines</textarea><select name=owner><option value=1>A<option value=2 selected>B</select>
<select name=first><option>only text</option><option>other</option></select>
<select name=many multiple><option value=1>A</select><input type=file name=f>
<button name=go value=1>Go</button></form>"""


def page(body: bytes = PAGE) -> Answer:
    return Answer("GET", "https://crm.localhost:1/x/form", 200, (), body)


def test_forms_hold_what_a_browser_would_send() -> None:
    search, save = forms(page())
    assert (search.method, search.action, search.fields) == ("get", "/search", (("q", "a&b"),))
    assert save.method == "post"
    assert save.fields == (
        ("csrf", "t0ken"),
        ("empty", ""),
        ("yes", "on"),
        ("r", "2"),
        ("note", " two\nlines"),
        ("owner", "2"),
        ("first", "only text"),
    )
    assert dict(save.filled({"owner": "9", "yes": None, "new": "z"})) == {
        "csrf": "t0ken",
        "empty": "",
        "r": "2",
        "note": " two\nlines",
        "first": "only text",
        "owner": "9",
        "new": "z",
    }


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, headers = {
            "/old": (302, [("Location", "/new"), ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2")])
        }.get(self.path, (200, [("Set-Cookie", "b=; Max-Age=0")]))
        self.answer(status, headers, f"{self.path} {self.headers['Host']} {self.headers['Cookie']}".encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, [], body)

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name the base class uses
        """Quiet."""


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Browser]:
    files = ensure_certificate(tmp_path, ["crm.localhost"], datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    browser = Browser(f"https://crm.localhost:{server.server_port}", files.authority)
    yield browser
    browser.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_name_cookies_and_redirects(secure: Browser) -> None:
    answer = secure.get("/old")
    host = secure.base.removeprefix("https://")
    assert answer.text == f"/new {host} a=1; b=2"
    assert secure.cookies == {"a": "1"}
    assert secure.get("/old", follow=False).status == 302


def test_posts(secure: Browser) -> None:
    assert secure.post("/x", {"name": "张 伟", "a": "1&2"}).text == "name=%E5%BC%A0+%E4%BC%9F&a=1%262"
    assert secure.post_json("/x", {"a": "ü"}).json() == {"a": "ü"}
    sent = secure.post_files("/x", [("a", "1")], [("file", Upload("p.csv", b"x,y\r\n", "text/csv"))]).text
    assert 'name="file"; filename="p.csv"\r\nContent-Type: text/csv\r\n\r\nx,y\r\n' in sent


def test_another_host_is_refused(secure: Browser) -> None:
    with pytest.raises(BrowserFault, match="another host"):
        secure.get("https://example.org/")
    with pytest.raises(BrowserFault, match="/new answered 200"):
        secure.get("/new").expect(404)
