"""What a CRM must not notice, through `crmgate serve` on its TLS listener: heads, URLs, framing, streams, sizes."""

import json
import ssl
import threading
from collections import deque
from http.client import IncompleteRead

import pytest

from gateway.demo.browser import Browser
from tests.drills.stack import Stack
from tests.drills.transfer import (
    GROWTH_MB,
    download,
    export,
    give_table,
    memory_of,
    pieces,
    upload,
    upload_form,
)
from tests.e2e.visitors import PlainStack, at_work, join, newcomer, sign_in
from tests.e2e.wire import ask, connect, head, read
from tests.real.plain import FIRST_BYTES, Plain

pytestmark = pytest.mark.real
SIZE = 200_000_000
TABLE_SIZE = 10_000_000


@pytest.fixture(scope="module")
def upstream(plain_stack: PlainStack) -> Plain:
    return plain_stack.upstream


@pytest.fixture(scope="module")
def stack(plain_stack: PlainStack) -> Stack:
    return plain_stack.stack


@pytest.fixture(scope="module")
def manager(stack: Stack) -> Browser:
    return newcomer(stack, "manager")


def test_the_crm_sees_its_own_origin_and_no_claims_of_the_client(
    stack: Stack, upstream: Plain, manager: Browser
) -> None:
    public = stack.home.crm_url
    claims = ["X_Forwarded_For: 10.9.8.7", "Forwarded: for=10.9.8.7", "X-Real-IP: 10.9.8.7", "Remote-User: root"]
    fields = [*claims, f"Origin: {public}", f"Referer: {public}/list?q=secret", "X-Many: 1", "X-Many: 2"]
    fields += ["Connection: X-Hop", "X-Hop: 1", "TE: trailers", "Keep-Alive: timeout=5", "Content-Length: 0"]
    assert ask(stack, head(stack, "POST /claims", *fields, browser=manager)).status == 200
    seen = upstream.last("/claims")
    assert seen.values("host") == [f"127.0.0.1:{upstream.port}"]
    assert seen.values("origin") == [upstream.url]
    assert seen.values("referer") == [f"{upstream.url}/list"]
    assert seen.values("x-many") == ["1", "2"]
    for claim in claims:
        assert seen.values(claim.partition(":")[0].lower()) == []
    for gone in ("x-hop", "te", "keep-alive", "cookie"):
        assert seen.values(gone) == []
    assert "10.9.8.7" not in seen.head


@pytest.mark.parametrize("console", [False, True])
def test_each_host_knows_its_public_address_and_so_offers_passkeys(stack: Stack, console: bool) -> None:
    browser = newcomer(stack, "administrator", console=console)
    page = browser.send("GET", "/.crmgate/account").expect(200)
    assert "/.crmgate/account/passkeys/new" in page.text
    assert browser.send("POST", "/.crmgate/sign-in/passkey/ask", headers={"origin": browser.base}).status == 404


@pytest.mark.parametrize(
    ("source", "said", "told"),
    [
        ("127.0.0.2", "203.0.113.7", "127.0.0.2"),  # no hop of ours: what it says counts for nothing
        ("127.0.0.1", "10.1.1.1, 203.0.113.7", "203.0.113.7"),  # a hop of ours: only what that one has seen
    ],
)
def test_the_forwarded_client_is_overwritten_never_appended(
    stack: Stack, upstream: Plain, manager: Browser, source: str, said: str, told: str
) -> None:
    fields = [f"X-Forwarded-For: {said}", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http"]
    assert ask(stack, head(stack, "GET /forwarded", *fields, browser=manager), source).status == 200
    seen = upstream.last("/forwarded")
    assert seen.values("x-forwarded-for") == [told]
    assert seen.values("x-forwarded-proto") == ["https"]
    assert seen.values("x-forwarded-host") == [f"crm.localhost:{stack.home.port}"]


def test_location_cookies_and_duplicate_fields_come_back_for_the_public_host(
    stack: Stack, upstream: Plain, manager: Browser
) -> None:
    public = stack.home.crm_url
    answer = ask(stack, head(stack, "GET /moved", browser=manager))
    assert answer.status == 302
    assert answer.values("location") == [f"{public}/landing?next={public}/page"]
    assert answer.values("link") == [f'<{public}/next>; rel="next"']
    assert answer.values("set-cookie") == [
        "theme=dark; Path=/; HttpOnly; Secure",
        "lang=zh; Path=/x; SameSite=Strict; Secure",
    ]
    assert answer.values("x-note") == ["one", "two"]
    assert answer.values("x-hop") == []
    assert "plain/1.0" not in answer.values("server")
    assert str(upstream.port) not in str(answer.fields)


def test_absolute_urls_are_mapped_in_pages_and_inside_json_in_their_own_spelling(
    stack: Stack, upstream: Plain, manager: Browser
) -> None:
    public, port = stack.home.crm_url, stack.home.port
    page = manager.get("/page").expect(200)
    assert f'<a href="{public}/x">' in page.text
    assert f'action="{public}/y"' in page.text
    assert f'"https:\\/\\/crm.localhost:{port}\\/z"' in page.text
    assert str(upstream.port) not in page.text
    data = manager.get("/data").expect(200)
    assert b"https:\\/\\/crm.localhost:%d\\/b" % port in data.body
    told = data.json()
    assert told["plain"] == f"{public}/a"
    assert told["unicode"] == f"{public}/c"
    assert told["other"] == f"http://127.0.0.1:{upstream.port}9/d"  # another port is another origin


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_packed_pages_are_opened_and_packed_assets_are_not(
    stack: Stack, upstream: Plain, manager: Browser, coding: str
) -> None:
    page = ask(stack, head(stack, f"GET /packed/{coding}", f"Accept-Encoding: {coding}", browser=manager))
    assert page.values("content-encoding") == []
    assert f"{stack.home.crm_url}/x".encode() in page.body
    asset = ask(stack, head(stack, f"GET /static/{coding}/app.css", f"Accept-Encoding: {coding}", browser=manager))
    assert asset.values("content-encoding") == [coding]
    assert asset.values("etag") == ['"7"']
    assert b"p{}p{}" not in asset.body
    assert upstream.last(f"/static/{coding}/app.css").values("accept-encoding") == [coding]


def test_chunked_bodies_are_read_both_ways(stack: Stack, upstream: Plain, manager: Browser) -> None:
    assert f"{stack.home.crm_url}/x" in manager.get("/chunked").expect(200).text
    fields = [
        "Transfer-Encoding: chunked",
        f"Origin: {stack.home.crm_url}",
        "Content-Type: application/x-www-form-urlencoded",
    ]
    start = head(stack, "POST /form", *fields, browser=manager)
    assert ask(stack, start + b"3\r\na=1\r\n4\r\n&b=2\r\n0\r\n\r\n").status == 200
    assert upstream.last("/form").size == len("a=1&b=2")
    assert upstream.last("/form").values("content-length") == ["7"]
    assert upstream.last("/form").values("transfer-encoding") == []


def test_connections_are_kept_on_both_sides(stack: Stack, upstream: Plain, manager: Browser) -> None:
    with connect(stack) as connection:
        for _ in range(10):
            connection.sendall(head(stack, "GET /kept", browser=manager))
            assert read(connection).body == b"ok"
    assert len({one.connection for one in upstream.asked if one.target == "/kept"}) == 1


@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive, Upgrade"])
def test_websockets_are_refused_and_never_reach_the_crm(
    stack: Stack, upstream: Plain, manager: Browser, connection: str
) -> None:
    fields = [f"Connection: {connection}", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    fields += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"Origin: {stack.home.crm_url}"]
    answer = ask(stack, head(stack, "GET /socket", *fields, browser=manager))
    assert (answer.status, answer.reason) == (403, "upgrade-refused")
    assert upstream.times("/socket") == 0


AMBIGUOUS = {
    "two lengths": ["Content-Length: 4", "Content-Length: 5"],
    "the same length twice": ["Content-Length: 4", "Content-Length: 4"],
    "length and chunked": ["Content-Length: 4", "Transfer-Encoding: chunked"],
    "chunked twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "chunked, identity": ["Transfer-Encoding: chunked, identity"],
    "obscured chunked": ["Transfer-Encoding: \x0bchunked"],
    "space before the colon": ["Content-Length : 4"],
    "folded field": ["X-Folded: one\r\n two", "Content-Length: 4"],
    "signed length": ["Content-Length: +4"],
    "list of lengths": ["Content-Length: 4, 4"],
    "underscore for the hyphen": ["Content_Length: 4", "Transfer-Encoding: x"],
    "second host": ["Host: evil.example", "Content-Length: 4"],
    "bare line feed": ["X-Bare: one\nContent-Length: 4"],
    "null in a value": ["X-Null: a\0b", "Content-Length: 4"],
}


@pytest.mark.parametrize("fields", AMBIGUOUS.values(), ids=list(AMBIGUOUS))
def test_ambiguous_framing_is_refused_on_the_tls_listener(
    stack: Stack, upstream: Plain, manager: Browser, fields: list[str]
) -> None:
    data = head(stack, "POST /ambiguous", *fields, f"Origin: {stack.home.crm_url}", browser=manager)
    with connect(stack) as connection:
        connection.sendall(data + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = read(connection)
        assert answer.status == 400
        assert answer.reason in ("ambiguous-framing", "malformed-request")
        rest = b""
        try:
            while chunk := connection.recv(4096):
                rest += chunk
        except (ssl.SSLError, ConnectionResetError):
            pass
    assert rest == b""  # closed: nothing behind it was taken for another request
    assert upstream.times("/ambiguous") == 0
    assert upstream.times("/smuggled") == 0


@pytest.mark.parametrize(
    "target", ["/a//b", "/a/../b", "/a/%2e%2e/b", "/a/..;/b", "/a%2fb", "/a%5cb", "/%00", "http://evil.example/x"]
)
def test_ambiguous_targets_are_refused(stack: Stack, upstream: Plain, manager: Browser, target: str) -> None:
    before = len(upstream.asked)
    assert ask(stack, head(stack, f"GET {target}", browser=manager)).status == 400
    assert len(upstream.asked) == before


def test_the_listener_speaks_tls_1_3_and_http_1_1(stack: Stack) -> None:
    with connect(stack, protocols=("h2", "http/1.1")) as connection:
        assert connection.version() == "TLSv1.3"
        assert connection.selected_alpn_protocol() in (None, "http/1.1")


def test_the_first_bytes_of_a_stream_arrive_before_the_crm_has_sent_the_last(
    stack: Stack, upstream: Plain, manager: Browser
) -> None:
    upstream.let_go.clear()
    with connect(stack) as connection:
        connection.sendall(head(stack, "GET /trickle", browser=manager))
        got = b""
        while len(got) < FIRST_BYTES:
            chunk = connection.recv(64 * 1024)
            assert chunk
            got += chunk
        assert not upstream.let_go.is_set()
        upstream.let_go.set()
        while not got.endswith(b"0\r\n\r\n"):
            got += connection.recv(64 * 1024)
        assert b"last" in got[-30:]


def test_a_binary_nobody_can_look_into_is_only_for_roles_that_see_everything(stack: Stack, upstream: Plain) -> None:
    sales = newcomer(stack, "sales")
    answer = sales.get("/download/4096")
    assert (answer.status, answer.json()["reason"]) == (403, "answer-not-renderable")


@pytest.mark.parametrize("transfer", [download, upload, upload_form])
def test_200_mb_go_through_in_bounded_memory(stack: Stack, upstream: Plain, manager: Browser, transfer) -> None:
    with memory_of(stack.gateway.process.pid) as memory:
        transfer(stack, upstream, manager, SIZE)
    assert memory.growth_mb < GROWTH_MB, f"{memory.growth_mb:.0f} MB more"


@pytest.fixture(scope="module")
def table(stack: Stack, upstream: Plain, manager: Browser) -> int:
    """How often the rows of the CRM's table make a long one."""
    give_table(stack, upstream, manager, 250)
    return TABLE_SIZE // len(upstream.table)


@pytest.mark.parametrize("role", ["manager", "sales"])
def test_a_long_table_is_rendered_on_its_way_as_a_short_one_and_in_bounded_memory(
    stack: Stack, upstream: Plain, table: int, role: str
) -> None:
    browser = newcomer(stack, role)
    short = b"".join(pieces(stack, browser, "/table/1"))
    assert (b"1380013" in short, b"person1@example.com" in short) == (role == "manager",) * 2
    assert upstream.table.partition(b"\n")[2] not in short
    with memory_of(stack.gateway.process.pid) as memory:
        export(stack, upstream, browser, TABLE_SIZE)
    assert memory.growth_mb < GROWTH_MB, f"{memory.growth_mb:.0f} MB more"


def test_a_long_table_that_breaks_off_has_no_end(stack: Stack, manager: Browser, table: int) -> None:
    piece = pieces(stack, manager, f"/torn/{table}")
    assert next(piece).startswith(b"number,phone,mail,note\n")
    with pytest.raises((IncompleteRead, OSError)):
        deque(piece)


def test_two_people_at_once_get_their_own_answers(stack: Stack, manager: Browser) -> None:
    other = newcomer(stack, "manager")
    wrong: list[str] = []

    def ask_often(browser: Browser, path: str, expected: str) -> None:
        for _ in range(20):
            if expected not in browser.get(path).text:
                wrong.append(path)

    threads = [
        threading.Thread(target=ask_often, args=(manager, "/page", "<form")),
        threading.Thread(target=ask_often, args=(other, "/data", '"escaped"')),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_creme_works_behind_another_origin(creme_stack: Stack) -> None:
    """Creme checks Host, Origin and Referer of every form, redirects, and sets cookies: log-in and a write prove it."""
    driver = at_work(creme_stack, "manager", "wang.manager")
    browser = driver.browser
    assert {"sessionid", "csrftoken"} <= browser.cookies.keys()
    sent = browser.get("/", follow=True)
    assert sent.status == 200
    assert sent.url.startswith(creme_stack.home.crm_url)
    assert str(creme_stack.crm.port) not in sent.text
    form = browser.get("/persons/contact/add").expect(200)
    made = browser.submit(form, {"last_name": "Proxy", "first_name": "Petra"}, index=-1, follow=False).expect(302)
    assert made.header("location").startswith(("/persons/contact/", creme_stack.home.crm_url))


def test_creme_sends_a_stranger_to_its_own_log_in_at_the_public_address(creme_stack: Stack) -> None:
    browser = sign_in(creme_stack, join(creme_stack, "manager"))
    answer = browser.get("/persons/contacts", follow=False).expect(302)
    assert answer.header("location").startswith(("/creme_login", creme_stack.home.crm_url))
    cookies = [value for name, value in browser.get("/creme_login/").headers if name == "set-cookie"]
    assert cookies
    assert all("; Secure" in cookie for cookie in cookies)
    assert json.dumps(cookies).count("Domain") == 0
