"""Bad input and bad days, on running installations: a clear answer in the user's language, nothing lost or passed."""

import fcntl
import gzip
import html
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.database import EmbeddedPostgres
from gateway.demo.browser import Answer, Browser
from gateway.demo.driver import TrytonDriver
from gateway.demo.people import Person, make_people
from gateway.demo.tryton import DATABASE
from gateway.messages import message
from gateway.opening import embedded_folder
from gateway.refusal import (
    AUDIT_UNAVAILABLE,
    BODY_MALFORMED,
    BODY_TOO_LARGE,
    CRM_ANSWER_UNREADABLE,
    CRM_CUT_OFF,
    CRM_DOWN,
    CRM_SLOW,
    DECOMPRESSION_LIMIT,
    KEYS_UNAVAILABLE,
    STORE_UNAVAILABLE,
    Reason,
)
from tests.drills.stack import Member, Stack, installed
from tests.drills.transfer import GROWTH_MB, memory_of
from tests.e2e.visitors import at_work, close_all, join, newcomer, visitor
from tests.e2e.wire import connect, head, read
from tests.real.bao import ROOT, Bao, bao
from tests.real.servers import CrmServer, tryton
from tests.real.wayward import SECRET, Wayward, wayward

pytestmark = pytest.mark.real

LANGUAGES = {"en": "en", "zh": "zh-Hans"}
PATIENCE_S = 60.0
LIMIT = 8 * 1024 * 1024
HTML = "text/html,application/xhtml+xml;q=0.9"


# --- what every refusal has to be


def require_told(send: Callable[[dict[str, str]], Answer], *reasons: Reason) -> None:
    """One of these reasons as a page and as a document, in both languages, with what to do and no half answers."""
    for language, tag in LANGUAGES.items():
        for accept in (HTML, "application/json"):
            answer = send({"accept": accept, "accept-language": language})
            assert answer.status in {reason.status for reason in reasons}, answer.text[:400]
            assert answer.header("content-language") == tag
            assert SECRET not in answer.body
            titles = {message(reason.id, language).title for reason in reasons}
            actions = {message(reason.id, language).action for reason in reasons}
            if accept == HTML:
                assert f'<html lang="{tag}">' in answer.text
                page = html.unescape(answer.text)
                assert any(title in page for title in titles), page[-900:]
                assert any(action in page for action in actions)
            else:
                document = answer.json()
                assert document["reason"] in {reason.id for reason in reasons}
                assert document["title"] in titles
                assert any(action in document["detail"] for action in actions)


def as_manager(browser: Browser, path: str, body: bytes | None = None, **fields: str) -> Callable[..., Answer]:
    """One exchange of a signed-in browser, to be sent with different headers."""
    method = "GET" if body is None else "POST"
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    return lambda headers: browser.send(method, path, body, {**given, **headers})


# --- a real CRM


@pytest.fixture(scope="module")
def server() -> Iterator[CrmServer]:
    with tryton() as running:
        yield running


@pytest.fixture(scope="module")
def house(server: CrmServer) -> Iterator[Stack]:
    """crmgate in front of a real Tryton."""
    with installed(server) as stack:
        yield stack
        close_all()


@pytest.fixture(scope="module")
def manager(house: Stack) -> TrytonDriver:
    driver = at_work(house, "manager", "wang.manager")
    assert isinstance(driver, TrytonDriver)
    return driver


def rpc(method: str, params: Sequence[Any]) -> bytes:
    return json.dumps({"id": 1, "method": method, "params": list(params)}).encode()


NEW_PARTY = rpc("model.party.party.create", [[{"name": "Mia Muster"}], {}])
PARTIES = rpc("model.party.party.search_read", [[], 0, 10, None, ["name"], {}])


def call(driver: TrytonDriver, body: bytes, **fields: str) -> Callable[..., Answer]:
    return as_manager(driver.browser, f"/{DATABASE}/rpc/", body, content_type="application/json", **fields)


def stored(stack: Stack) -> int:
    """Parties in Tryton's own table."""
    file = stack.crm.folder / "db" / f"{DATABASE}.sqlite"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM party_party").fetchone()[0])


@pytest.fixture
def nothing_passed(house: Stack) -> Iterator[None]:
    """Nothing that the test did reached Tryton's tables, and the manager still works afterwards."""
    before = stored(house)
    yield
    assert stored(house) == before


def works(driver: TrytonDriver) -> bool:
    return call(driver, PARTIES)({}).status == 200


# --- signing in


@pytest.mark.parametrize(
    ("language", "sentence"), [("en", "Login or password is not right."), ("zh", "登录名或密码不正确。")]
)
def test_a_wrong_password_is_told_and_the_login_stays_typed(house: Stack, language: str, sentence: str) -> None:
    member = join(house, "sales")
    browser = visitor(house, language=language)
    answer = sign_in_form(browser, member, "not-the-password-9")
    assert answer.status == 401
    assert sentence in answer.text
    assert f'value="{member.login}"' in answer.text
    assert "not-the-password-9" not in answer.text
    assert not [name for name in browser.cookies if name == "__Host-crmgate"]


@pytest.mark.parametrize(
    ("language", "wrong", "replayed"),
    [
        ("en", "The code is not right.", "This code was used already. Wait for the next one."),
        ("zh", "验证码不正确。", "此验证码已使用过，请等待下一个。"),
    ],
)
def test_a_wrong_and_a_replayed_code_are_told_apart(house: Stack, language: str, wrong: str, replayed: str) -> None:
    member = join(house, "sales")
    code = member.code()
    first = visitor(house, language=language)
    sign_in_form(first, member, member.password)
    answer = code_form(first, str((int(code) + 1) % 1_000_000).zfill(6))
    assert (answer.status, wrong in answer.text) == (401, True)
    assert code_form(first, code).status == 303
    second = visitor(house, language=language)
    sign_in_form(second, member, member.password)
    answer = code_form(second, code)
    assert (answer.status, replayed in answer.text) == (401, True)
    assert "__Host-crmgate" in first.cookies
    assert "__Host-crmgate" not in second.cookies


def sign_in_form(browser: Browser, member: Member, password: str) -> Answer:
    given = {"login": member.login, "password": password, "next": "/"}
    return browser.post("/.crmgate/sign-in", given, follow=False, headers={"origin": browser.base, "accept": HTML})


def code_form(browser: Browser, code: str) -> Answer:
    about = {"origin": browser.base, "accept": HTML}
    return browser.post("/.crmgate/sign-in/code", {"code": code}, follow=False, headers=about)


# --- bodies


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":1,"method":"model.party.party.create","params":[[{"name":"Mia Muster"',
        b'{"id":1,"method":"model.party.party.create","params":[[{"name":"Mia","name":"Max"}],{}]}',
        b'{"id":1,"method":"model.party.party.search","method":"model.party.party.create","params":[[{"name":"M"}],{}]}',
        b'{"id":1,"method":"model.party.party.create","params":[[{"name":"a\\ud800b"}],{}]}',
        b'{"id":1,"method":"model.party.party.create","params":NaN}',
        b'{"id":1,"method":"model.party.party.create","params":[[{"name":' + b"[" * 500 + b"]" * 500 + b"}],{}]}",
        b"name=Mia",
        b'\xff\xfe{"id":1}',
        b"",
    ],
    ids=["cut", "key twice", "method twice", "half character", "NaN", "deep", "no JSON", "not UTF-8", "empty"],
)
@pytest.mark.usefixtures("nothing_passed")
def test_damaged_json_is_told_and_stopped(manager: TrytonDriver, body: bytes) -> None:
    require_told(call(manager, body), BODY_MALFORMED)
    assert works(manager)


@pytest.mark.usefixtures("nothing_passed")
def test_a_compressed_bomb_is_stopped_in_bounded_memory(house: Stack, manager: TrytonDriver) -> None:
    bomb = gzip.compress(b'{"id":1,"method":"model.party.party.create","params":["' + b"a" * 100_000_000 + b'"]}', 9)
    with memory_of(house.gateway.process.pid) as memory:
        require_told(call(manager, bomb, content_encoding="gzip"), DECOMPRESSION_LIMIT)
    assert memory.growth_mb < GROWTH_MB
    assert works(manager)


@pytest.mark.parametrize("framing", ["Content-Length: 100000000", "Transfer-Encoding: chunked"])
@pytest.mark.usefixtures("nothing_passed")
def test_100_mb_where_8_are_the_limit_are_stopped_in_bounded_memory(
    house: Stack, manager: TrytonDriver, framing: str
) -> None:
    sent = 0
    fields = ["Content-Type: application/json", framing, "Accept-Language: zh"]
    fields.append(f"Authorization: {manager.browser.extra_headers['authorization']}")
    piece = b'"' + b"a" * 65_533 + b'",'
    with memory_of(house.gateway.process.pid) as memory, connect(house) as connection:
        connection.sendall(head(house, f"POST /{DATABASE}/rpc/", *fields, browser=manager.browser))
        try:
            while sent < 100_000_000:
                connection.sendall(piece if "Length" in framing else b"%x\r\n%s\r\n" % (len(piece), piece))
                sent += len(piece)
        except OSError:
            pass  # the gateway does not have to take all of it
        reply = read(connection, "POST")
    assert (reply.status, reply.reason) == (413, BODY_TOO_LARGE.id)
    assert json.loads(reply.body)["title"] == message(BODY_TOO_LARGE.id, "zh").title
    assert memory.growth_mb < GROWTH_MB
    assert works(manager)


# --- a CRM that misbehaves


@pytest.fixture(scope="module")
def upstream() -> Iterator[Wayward]:
    with wayward() as running:
        yield running


@pytest.fixture(scope="module")
def odd(upstream: Wayward) -> Iterator[Stack]:
    """crmgate in front of a CRM that misbehaves, with little patience."""
    with installed(upstream, "[tenant.main]\nanswer_timeout_s = 0.5") as stack:  # type: ignore[arg-type]
        yield stack
        close_all()


@pytest.fixture(scope="module")
def visitor_of_odd(odd: Stack) -> Browser:
    return newcomer(odd, "manager")


@pytest.mark.parametrize(
    ("path", "reasons"),
    [
        ("/slow", (CRM_SLOW,)),
        ("/slow-body", (CRM_SLOW,)),
        ("/cut", (CRM_CUT_OFF,)),
        ("/cut-chunked", (CRM_CUT_OFF,)),
        ("/cut-head", (CRM_CUT_OFF,)),
        ("/cut-at-once", (CRM_CUT_OFF, CRM_DOWN)),
        ("/garbage", (CRM_ANSWER_UNREADABLE,)),
        ("/two-lengths", (CRM_ANSWER_UNREADABLE,)),
        ("/length-and-chunked", (CRM_ANSWER_UNREADABLE,)),
        ("/bad-chunk", (CRM_ANSWER_UNREADABLE,)),
        ("/bad-status", (CRM_ANSWER_UNREADABLE,)),
        ("/half-gzip", (CRM_ANSWER_UNREADABLE,)),
    ],
)
def test_half_an_answer_or_nonsense_is_told_and_not_shown(
    visitor_of_odd: Browser, path: str, reasons: tuple[Reason, ...]
) -> None:
    require_told(as_manager(visitor_of_odd, path), *reasons)
    assert visitor_of_odd.get("/fine").text == "ok"


def test_an_answer_that_swells_is_stopped_in_bounded_memory(odd: Stack, visitor_of_odd: Browser) -> None:
    with memory_of(odd.gateway.process.pid) as memory:
        answer = visitor_of_odd.get("/bomb", headers={"accept": "application/json", "accept-language": "zh"})
    assert answer.status == 502
    assert answer.json()["reason"] == "answer-too-large"
    assert answer.json()["title"] == message("answer-too-large", "zh").title
    assert memory.growth_mb < GROWTH_MB


def test_a_write_is_never_sent_twice(upstream: Wayward, visitor_of_odd: Browser) -> None:
    before = len(upstream.asked)
    answer = visitor_of_odd.send("POST", "/cut-at-once", b"a=1", {"content-type": "application/x-www-form-urlencoded"})
    assert answer.status == 502
    assert upstream.asked[before:] == ["POST /cut-at-once HTTP/1.1"]


BOUNDARY = "multipart/form-data; boundary=xyz"
PART = b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (BOUNDARY, PART),
        (BOUNDARY, PART + b"--xy"),
        (BOUNDARY, b"--xyz\r\nContent-Disposition: form-data; name="),
        (BOUNDARY, b"--xyz\r\nno colon here\r\n\r\n1\r\n--xyz--\r\n"),
        (BOUNDARY, b"--other\r\n\r\n1\r\n--other--\r\n"),
        ("multipart/form-data", PART + b"--xyz--\r\n"),
    ],
    ids=["no end", "half an end", "half a head", "no header", "other boundary", "no boundary named"],
)
def test_broken_multipart_is_told_and_never_passed(
    upstream: Wayward, visitor_of_odd: Browser, content_type: str, body: bytes
) -> None:
    before = upstream.seen
    require_told(as_manager(visitor_of_odd, "/fine", body, content_type=content_type), BODY_MALFORMED)
    assert upstream.seen == before


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "text/csv"])
def test_a_body_over_the_limit_never_reaches_the_crm(
    upstream: Wayward, visitor_of_odd: Browser, content_type: str
) -> None:
    before = upstream.seen
    body = b"a=" + b"x" * LIMIT
    require_told(as_manager(visitor_of_odd, "/fine", body, content_type=content_type), BODY_TOO_LARGE)
    assert upstream.seen == before


# --- bad days


@pytest.mark.usefixtures("nothing_passed")
def test_a_crm_that_is_down_is_told_and_works_again_afterwards(house: Stack, manager: TrytonDriver) -> None:
    house.crm.child.stop()
    require_told(call(manager, PARTIES), CRM_DOWN)
    require_told(call(manager, NEW_PARTY), CRM_DOWN)
    house.crm.restart()
    assert works(manager)


@pytest.mark.usefixtures("nothing_passed")
def test_without_the_trail_nothing_is_done(house: Stack, manager: TrytonDriver) -> None:
    with psycopg.connect(embedded(house).admin_dsn, dbname="crmgate", autocommit=True) as database:
        database.execute("ALTER TABLE audit_entry RENAME TO audit_entry_away")
        try:
            require_told(call(manager, NEW_PARTY), AUDIT_UNAVAILABLE)
            require_told(call(manager, PARTIES), AUDIT_UNAVAILABLE)
        finally:
            database.execute("ALTER TABLE audit_entry_away RENAME TO audit_entry")
    wait_until(lambda: works(manager))


@pytest.mark.usefixtures("nothing_passed")
def test_without_its_database_it_refuses_and_afterwards_goes_on(house: Stack, manager: TrytonDriver) -> None:
    record = manager.call("model.party.party.create", [[{"name": "Vor dem Ausfall"}], {}])[0]
    try:
        with kept_from_starting(house) as postgres:
            stop_postgres(postgres)
            require_told(call(manager, NEW_PARTY), STORE_UNAVAILABLE, AUDIT_UNAVAILABLE)
            assert call(manager, PARTIES)({}).status == 503
        wait_until(lambda: works(manager))  # the gateway starts it again by itself
        assert manager.call("model.party.party.read", [[record], ["name"], {}])[0]["name"] == "Vor dem Ausfall"
        assert newcomer(house, "sales").get("/").status != 503
    finally:
        manager.call("model.party.party.delete", [[record], {}])


def embedded(stack: Stack) -> EmbeddedPostgres:
    return EmbeddedPostgres(embedded_folder(stack.settings))


@contextmanager
def kept_from_starting(stack: Stack) -> Iterator[EmbeddedPostgres]:
    """The embedded server; who starts it has to hold a lock, which is held here meanwhile."""
    postgres = embedded(stack)
    with (postgres.folder / "start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield postgres


def stop_postgres(postgres: EmbeddedPostgres) -> None:
    """As if the machine had taken it away: its own fast shutdown, whoever is connected."""
    number = int((postgres.data / "postmaster.pid").read_text().split("\n", 1)[0])
    os.kill(number, signal.SIGINT)
    wait_until(lambda: not (postgres.data / "postmaster.pid").exists())


def wait_until(done: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < until, f"not within {PATIENCE_S:.0f} s"
        time.sleep(0.2)


# --- keys


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("", "the passphrase does not open the keyring"),
        ("passphrase_file", "the passphrase of the keyring cannot be read"),
        ("path", "there is no keyring at"),
    ],
    ids=["wrong passphrase", "no passphrase", "no keyring"],
)
def test_a_locked_keyring_is_told_at_start(house: Stack, tmp_path: Path, missing: str, sentence: str) -> None:
    wrong = tmp_path / "wrong.pass"
    wrong.write_text("another passphrase than the right one")
    wrong.chmod(0o600)
    line = f'{missing} = "{tmp_path / "nothing"}"' if missing else f'passphrase_file = "{wrong}"'
    text = house.home.settings_file.read_text().replace("[keys]\n", f"[keys]\n{line}\n", 1)
    file = house.home.folder / f"locked-{missing or 'wrong'}.toml"
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "serve", "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def provider() -> Iterator[Bao]:
    with bao() as running:
        yield running


@pytest.fixture(scope="module")
def vaulted(server: CrmServer, provider: Bao, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The same installation with its keys in OpenBao: nothing but [keys] differs."""
    token = tmp_path_factory.mktemp("bao") / "token"
    token.write_text(ROOT)
    token.chmod(0o600)
    lines = [f'address = "{provider.address}"', f'token_file = "{token}"', "timeout_s = 0.5", "cache_s = 2"]
    with installed(server, "\n".join(["[keys]", 'provider = "openbao"', *lines])) as stack:
        yield stack
        close_all()


@pytest.fixture(scope="module")
def person() -> Person:
    return make_people(random.Random(41), 1)[0]


def test_with_openbao_the_main_job_is_the_same(vaulted: Stack, person: Person) -> None:
    """Enter, read as two roles, look at what is at rest."""
    manager = driver_of(vaulted, "manager", "wang.manager")
    record = int(manager.add_person(person))
    assert read_party(manager, record) == (person.full_name, person.phone, person.email)
    seen = read_party(driver_of(vaulted, "sales", "lin.sales"), record)
    assert not {person.full_name, person.phone, person.email} & set(seen)
    found = manager.call(
        "model.party.party.search", [[["contact_mechanisms.value", "=", person.phone]], 0, 10, None, {}]
    )
    assert found == [record]
    at_rest = (vaulted.crm.folder / "db" / f"{DATABASE}.sqlite").read_bytes()
    for value in (person.full_name, person.phone, person.email, person.address):
        assert value.encode() not in at_rest


def test_lost_keys_serve_until_their_time_then_refuse_then_come_back(
    vaulted: Stack, provider: Bao, person: Person
) -> None:
    manager = driver_of(vaulted, "manager", "wang.manager")
    record = int(manager.add_person(person))
    before = stored(vaulted)
    read_name = rpc("model.party.party.read", [[record], ["name"], {}])
    with provider.silent():
        assert call(manager, read_name)({}).status == 200
        wait_until(lambda: call(manager, read_name)({}).status == 503)
        for language in LANGUAGES:
            told = call(manager, read_name)({"accept": "application/json", "accept-language": language}).json()
            assert told["title"] == message(KEYS_UNAVAILABLE.id, language).title
        require_told(call(manager, NEW_PARTY), KEYS_UNAVAILABLE)
    assert stored(vaulted) == before
    wait_until(lambda: call(manager, read_name)({}).status == 200)
    assert read_party(manager, record) == (person.full_name, person.phone, person.email)


def driver_of(stack: Stack, role: str, login: str) -> TrytonDriver:
    driver = at_work(stack, role, login)
    assert isinstance(driver, TrytonDriver)
    return driver


def read_party(driver: TrytonDriver, record: int) -> tuple[str, str, str]:
    row = driver.call("model.party.party.read", [[record], ["name", "mobile", "email"], {}])[0]
    return row["name"], row["mobile"], row["email"]
