"""From where and when people come in: a real gateway behind a sender of PROXY headers, before a plain upstream.

Every connection of this machine's usual address is a load balancer's: it names its client in a PROXY header before TLS.
"""

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address

import pytest

from gateway.access.pages import CODE_PATH, SIGN_IN_PATH
from gateway.demo.browser import Answer, Browser
from gateway.demo.filling import API_SIGN_IN
from tests.drills.stack import Member, Stack, installed
from tests.e2e.database import sql
from tests.e2e.visitors import join
from tests.real.plain import plain

pytestmark = pytest.mark.real
BALANCER, STRANGER = "127.0.0.1", "127.0.0.2"
OFFICE, ELSEWHERE = "203.0.113.9", "198.51.100.7"
PAGE = "/page"
WAIT_S = 120.0
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def another_day() -> str:
    """A day of the week that is neither today nor a neighbour of it, wherever the clock of this run stands."""
    return DAYS[(datetime.now(UTC) + timedelta(days=3)).weekday()]


SETTINGS = f"""
[network]
proxy_protocol = ["{BALANCER}"]
[tenant.main.entry]
time_zone = "UTC"
[tenant.main.entry.role.sales]
networks = ["203.0.113.0/24"]
[tenant.main.entry.role.manager]
hours = ["{another_day()} 00:00-24:00"]
"""


def version_1(client: str) -> bytes:
    """The line a load balancer begins with."""
    return f"PROXY TCP4 {client} 192.0.2.1 40000 443\r\n".encode()


def version_2(client: str) -> bytes:
    """The same in binary, with a TLV that means nothing to us."""
    address = ip_address(client).packed
    block = address + ip_address("192.0.2.1").packed + b"\x9c\x40\x01\xbb" + b"\xe0\x00\x02ok"
    return b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + len(block).to_bytes(2) + block


class _Balanced(HTTPSConnection):
    """TLS behind a PROXY header, from one of this machine's own addresses."""

    def __init__(self, name: str, port: int, context: ssl.SSLContext, header: bytes, source: str) -> None:
        super().__init__(BALANCER, port, timeout=WAIT_S, context=context, source_address=(source, 0))
        self._name, self._tls, self._header = name, context, header

    def connect(self) -> None:
        """Connect, say who the client is, then TLS."""
        HTTPConnection.connect(self)
        self.sock.sendall(self._header)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


@dataclass(slots=True)
class Visitor(Browser):
    """A browser whose connections carry a header of their own and come from an address of their own."""

    header: bytes = b""
    source: str = BALANCER

    def _connect(self, host: str, port: int | None) -> HTTPConnection:
        context = ssl.create_default_context(cafile=str(self.authority))
        return _Balanced(host, port or 443, context, self.header, self.source)

    def at(self, client: str, header: Callable[[str], bytes] = version_1) -> "Visitor":
        """The same browser, cookies and all, from somewhere else."""
        self.close()
        self.header, self.source = header(client), BALANCER
        return self


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with plain() as upstream, installed(upstream, SETTINGS, members={}) as stack:  # type: ignore[arg-type]
        yield stack


@pytest.fixture
def visit(stack: Stack) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors and closes them."""
    made: list[Visitor] = []

    def one(client: str, *, console: bool = False, language: str = "en") -> Visitor:
        base = stack.home.console_url if console else stack.home.crm_url
        visitor = Visitor(base, stack.home.authority, language=language, header=version_1(client))
        made.append(visitor)
        return visitor

    yield one
    for visitor in made:
        visitor.close()


Visit = Callable[..., Visitor]


def sign_in(visitor: Visitor, member: Member) -> Answer:
    """Both factors at once, as a program sends them."""
    given = {"login": member.login, "password": member.password, "code": member.code()}
    return visitor.post_json(API_SIGN_IN, given, headers={"origin": visitor.base})


def asked(visitor: Visitor, path: str = PAGE) -> tuple[int, str]:
    """Status and reason id a program is told."""
    answer = visitor.send("GET", path, headers={"accept": "application/json"})
    return answer.status, "" if answer.status == 200 else str(answer.json()["reason"])


def shown(visitor: Visitor, language: str) -> Answer:
    """What a person sees there."""
    about = {"accept": "text/html", "sec-fetch-dest": "document", "accept-language": language}
    return visitor.send("GET", PAGE, headers=about)


def crmgate(stack: Stack, *words: str) -> None:
    command = [sys.executable, "-m", "gateway.cli", *words, "-c", str(stack.home.settings_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr


def until(told: Callable[[], tuple[int, str]], wanted: tuple[int, str]) -> None:
    """Wait for a state; what never comes fails with what came instead."""
    end = time.monotonic() + WAIT_S
    while (last := told()) != wanted and time.monotonic() < end:
        time.sleep(0.1)
    assert last == wanted


def bytes_from(source: str, port: int, data: bytes) -> bytes:
    """What comes back for these first bytes of a connection, "" where it is closed without a word."""
    with socket.create_connection((BALANCER, port), timeout=WAIT_S, source_address=(source, 0)) as opened:
        opened.sendall(data)
        try:
            return opened.recv(100)
        except ConnectionResetError:
            return b""


def test_a_role_of_some_networks_signs_in_and_works_from_them_only(stack: Stack, visit: Visit) -> None:
    member, other = join(stack, "sales"), join(stack, "sales")  # two, so that nobody waits for the next code
    away = visit(ELSEWHERE)
    refused = sign_in(away, other)
    assert (refused.status, refused.json()["reason"]) == (403, "place-not-allowed")
    assert not away.cookies
    here = visit(OFFICE)
    assert sign_in(here, member).status == 200
    assert asked(here) == (200, "")
    assert asked(here.at(OFFICE, version_2)) == (200, "")
    for header in (version_1, version_2):  # the cookie, carried away
        assert asked(here.at(ELSEWHERE, header)) == (403, "place-not-allowed")
    assert "Not from this place" in shown(here, "en").text
    assert "不允许从此处访问" in shown(here, "zh-CN").text
    assert asked(here.at(OFFICE)) == (200, "")
    told = "convert_from(body, 'UTF8')::json"
    rows = sql(
        stack.settings,
        f"SELECT DISTINCT {told}->>'client', {told}->>'reason' FROM audit_entry WHERE {told}->>'actor_login' = %s",
        member.login,
    )
    assert (ELSEWHERE, "place-not-allowed") in rows
    assert {client for client, reason in rows if reason != "place-not-allowed"} == {OFFICE}
    refusals = (
        f"SELECT {told}->>'client' FROM audit_entry"
        f" WHERE {told}->>'actor_login' = %s AND {told}->>'reason' = 'place-not-allowed'"
    )
    assert sql(stack.settings, refusals, other.login) == [(ELSEWHERE,)]


@pytest.mark.parametrize(
    ("console", "language", "place", "hour"),
    [
        (False, "en", "Not from this place", "Not at this hour"),
        (True, "zh-CN", "不允许从此处访问", "当前时段不允许访问"),
    ],
    ids=["crm", "console"],
)
def test_the_page_after_both_factors_says_what_is_not_allowed(
    stack: Stack, visit: Visit, console: bool, language: str, place: str, hour: str
) -> None:
    for role, words in (("sales", place), ("manager", hour)):
        member, visitor = join(stack, role), visit(ELSEWHERE, console=console, language=language)
        about = {"origin": visitor.base}
        given = {"login": member.login, "password": member.password}
        visitor.post(SIGN_IN_PATH, given, follow=False, headers=about).expect(303)  # nothing of the place is told here
        answer = visitor.post(CODE_PATH, {"code": member.code()}, follow=False, headers=about)
        assert answer.status == 403
        assert words in answer.text
        assert not visitor.cookies.keys() & {"__Host-crmgate", "__Host-crmgate-console"}


def test_a_role_outside_its_hours_does_not_get_in(stack: Stack, visit: Visit) -> None:
    refused = sign_in(visit(OFFICE), join(stack, "manager"))
    assert (refused.status, refused.json()["reason"]) == (403, "hour-not-allowed")


def test_an_open_session_follows_the_list_of_its_person(stack: Stack, visit: Visit) -> None:
    member, visitor = join(stack, "sales"), visit(OFFICE)
    assert sign_in(visitor, member).status == 200
    assert asked(visitor) == (200, "")
    crmgate(stack, "user", "networks", member.login, "--network", "203.0.113.128/25")
    until(lambda: asked(visitor), (403, "place-not-allowed"))
    assert asked(visitor.at("203.0.113.200")) == (200, "")
    crmgate(stack, "user", "networks", member.login, "--anywhere")
    until(lambda: asked(visitor.at(OFFICE)), (200, ""))


def test_only_a_load_balancer_names_a_client_and_it_has_to(stack: Stack, visit: Visit) -> None:
    member, visitor = join(stack, "sales"), visit(OFFICE)
    assert sign_in(visitor, member).status == 200
    port = stack.home.port
    assert bytes_from(BALANCER, port, b"GET / HTTP/1.1\r\nHost: crm.localhost\r\n\r\n") == b""
    assert not bytes_from(STRANGER, port, version_1(OFFICE)).startswith(b"HTTP/1.1 2")  # no TLS record, no answer
    visitor.close()
    visitor.source, visitor.header = STRANGER, version_1(OFFICE)
    with pytest.raises((OSError, HTTPException)):
        asked(visitor)
    visitor.header = b""  # from its own address it may ask, and that is none of the role's
    assert asked(visitor) == (403, "place-not-allowed")
    nobody = b"PROXY UNKNOWN\r\n"
    assert asked(visitor.at(OFFICE, lambda _client: nobody)) == (403, "place-not-allowed")


def test_open_sessions_follow_the_rules_of_their_roles(stack: Stack, visit: Visit) -> None:
    seller, keeper = visit(OFFICE), visit(OFFICE, console=True)
    assert sign_in(seller, join(stack, "sales")).status == 200
    assert sign_in(keeper, join(stack, "administrator")).status == 200
    file = stack.home.settings_file
    before = file.read_text(encoding="utf-8")
    closed = f'[tenant.main.entry.role.administrator]\nhours = ["{another_day()} 00:00-24:00"]\n'
    try:
        file.write_text(before.replace("203.0.113.0/24", "203.0.113.128/25") + closed, encoding="utf-8")
        restart(stack, seller, keeper)
        assert asked(seller) == (403, "place-not-allowed")
        refused = keeper.get("/", follow=False)
        assert refused.status == 403
        assert "Not at this hour" in refused.text
    finally:
        file.write_text(before, encoding="utf-8")
        restart(stack, seller, keeper)
    assert asked(seller) == (200, "")  # the sessions themselves never ended
    assert keeper.get("/", follow=False).status == 200


def restart(stack: Stack, *visitors: Visitor) -> None:
    for visitor in visitors:
        visitor.close()
    stack.restart_gateway()
