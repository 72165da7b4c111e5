"""Whom a CRM takes a person for, through `crmgate serve`: asserted, carried, and for programs; on real CRMs."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from joserfc import jwt
from joserfc.jwk import KeySet

from gateway.identity.pages import JWKS_PATH
from tests.drills.stack import Stack, installed
from tests.e2e.database import sql
from tests.e2e.tenants import Door
from tests.e2e.wire import ask, head, read
from tests.real.certificates import Authority
from tests.real.plain import PROFILE, Plain, plain

pytestmark = pytest.mark.real

ASSERTED = """
[tenant.main.identity]
mode = "header"
header = "X-CRM-User"
[tenant.signed]
upstream = "{upstream}"
profile = "{profile}"
public_url = "https://signed.localhost:{port}"
migrated = true
[tenant.signed.identity]
mode = "jwt"
audience = "the-crm"
login = "same"
[tenant.programs]
upstream = "{upstream}"
profile = "{profile}"
public_url = "https://programs.localhost:{port}"
migrated = true
[tenant.programs.identity]
api_clients = true
[network]
trusted_proxies = ["127.0.0.1"]
[gateway]
client_ca = "{ca}"
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Plain]:
    with plain() as server:
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stack(upstream: Plain, authority: Authority) -> Iterator[Stack]:
    extra = ASSERTED.replace("{ca}", str(authority.ca))
    extra = extra.replace("{upstream}", upstream.url).replace("{profile}", str(PROFILE))
    with installed(upstream, extra, {}) as made:  # type: ignore[arg-type]
        yield made


def door(stack: Stack, name: str, tenant: str) -> Iterator[Door]:
    made = Door(stack, tenant, f"https://{name}.localhost:{stack.home.port}")
    yield made
    made.close()


@pytest.fixture(scope="module")
def header(stack: Stack) -> Iterator[Door]:
    yield from door(stack, "crm", "main")


@pytest.fixture(scope="module")
def signed(stack: Stack) -> Iterator[Door]:
    yield from door(stack, "signed", "signed")


@pytest.fixture(scope="module")
def programs(stack: Stack) -> Iterator[Door]:
    yield from door(stack, "programs", "programs")


def refused(answer: object) -> str:
    """The reason id of a refusal for programs."""
    return str(json.loads(answer.body)["reason"])  # type: ignore[attr-defined]


def entries(door: Door) -> list[dict[str, Any]]:
    """The audit trail of a tenant."""
    rows = sql(door.stack.settings, "SELECT body FROM audit_entry WHERE tenant = %s ORDER BY index", door.tenant)
    return [json.loads(bytes(body)) for (body,) in rows]


# -- a header that the CRM trusts


def test_the_crm_gets_the_login_that_was_told_and_no_spelling_of_the_client(header: Door, upstream: Plain) -> None:
    stranger = header.sign_in(header.join("manager"))
    assert refused(stranger.get("/mine").expect(403)) == "crm-login-unknown"
    assert upstream.times("/mine") == 0
    member = header.join("manager")
    header.command("user", "crm-login", member.login, "--crm", "wang.in.crm")
    browser = header.sign_in(member)
    claims = [
        "X-CRM-User: root",
        "x_crm_user: root",
        "X.CRM.User: root",
        "X-Crm_User: root",
        "Authorization: Basic cm9vdA==",
    ]
    assert ask(header.stack, head(header.stack, "GET /mine", *claims, browser=browser)).status == 200
    seen = upstream.last("/mine")
    assert seen.values("x-crm-user") == ["wang.in.crm"]
    assert "root" not in seen.head
    assert seen.values("authorization") == []


# -- a signed token


def test_a_token_names_the_person_and_holds_for_this_crm_for_a_minute(signed: Door, upstream: Plain) -> None:
    member = signed.join("manager")
    browser = signed.sign_in(member)
    browser.get("/token", headers={"authorization": "Bearer forged"}).expect(200)
    (value,) = upstream.last("/token").values("authorization")
    keys = KeySet.import_key_set(signed.browser().get(JWKS_PATH).expect(200).json())
    assert all("d" not in key for key in keys.as_dict(private=False)["keys"])
    token = jwt.decode(value.removeprefix("Bearer "), keys, algorithms=["ES256"])
    rules = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": signed.base},
        aud={"essential": True, "value": "the-crm"},
        sub={"essential": True, "value": member.login},
        exp={"essential": True},
        nbf={"essential": True},
    )
    rules.validate(token.claims)
    assert token.claims["exp"] - token.claims["iat"] == 60
    assert "forged" not in upstream.last("/token").head


def test_the_keys_are_published_where_tokens_are_signed_only(header: Door, signed: Door) -> None:
    assert header.browser().get(JWKS_PATH).status == 404


# -- programs


def add(door: Door, name: str, *more: str, secret: str = "key-of-the-crm", roles: str = "manager") -> str:
    """A new program of the CRM; its token."""
    told = door.command("client", "add", name, "--role", roles, *more, typed=f"robot\n{secret}\n")
    return next(word for word in told.split() if word.startswith("crmgate_"))


def test_a_program_comes_in_with_its_token_and_the_crm_gets_its_own(programs: Door, upstream: Plain) -> None:
    token = add(programs, "sync", "--network", "127.0.0.1")
    for fields in ({"authorization": f"Bearer {token}"}, {"x-crmgate-client": token}):
        anybody = programs.browser()
        anybody.get("/robot", headers={**fields, "x-api-key": "forged", "cookie": "sid=forged; theme=dark"}).expect(200)
        seen = upstream.last("/robot")
        assert seen.values("x-api-key") == ["key-of-the-crm"]
        assert seen.values("cookie") == ["theme=dark"]
        assert token not in seen.head
        assert "forged" not in seen.head


def test_a_program_is_refused_without_a_good_token_from_a_good_place(programs: Door, upstream: Plain) -> None:
    good = add(programs, "far", "--network", "203.0.113.0/24")
    before = len(upstream.asked)
    browser = programs.browser()
    assert refused(browser.get("/no", headers={"x-crmgate-client": good}).expect(403)) == "client-not-here"
    near = {"x-forwarded-for": "203.0.113.9"}
    for token in ("crmgate_" + "A" * 43, "crmgate_x", "x"):
        assert refused(browser.get("/no", headers={"x-crmgate-client": token, **near}).expect(401)) == "client-unknown"
    both = {"x-crmgate-client": good, "authorization": f"Bearer {good}", **near}
    assert refused(browser.get("/no", headers=both).expect(400)) == "ambiguous-framing"
    assert len(upstream.asked) == before
    browser.get("/yes", headers={"x-crmgate-client": good, **near}).expect(200)
    programs.command("client", "revoke", "far")
    deadline = time.monotonic() + 120
    while (answer := browser.get("/yes", headers={"x-crmgate-client": good, **near})).status == 200:
        assert time.monotonic() < deadline
    assert (answer.status, refused(answer)) == (401, "client-unknown")
    listed = programs.command("client", "list")
    assert "revoked" in listed
    assert good not in listed


def test_a_program_that_has_to_show_a_certificate_shows_it(
    programs: Door, authority: Authority, upstream: Plain
) -> None:
    right, wrong = authority.pair("robot"), authority.pair("other")
    shown = x509.load_pem_x509_certificate(right.certificate.read_bytes()).fingerprint(hashes.SHA256()).hex()
    token = add(programs, "sealed", "--certificate", shown)
    answers = {}
    for name, pair in (("right", right), ("wrong", wrong), ("none", None)):
        context = ssl.create_default_context(cafile=str(programs.stack.home.authority))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        plain_socket = socket.create_connection(("127.0.0.1", programs.stack.home.port), timeout=60)
        with context.wrap_socket(plain_socket, server_hostname="programs.localhost") as connection:
            host = programs.base.removeprefix("https://")
            connection.sendall(f"GET /mtls HTTP/1.1\r\nHost: {host}\r\nX-Crmgate-Client: {token}\r\n\r\n".encode())
            answers[name] = read(connection)
    assert {name: one.status for name, one in answers.items()} == {"right": 200, "wrong": 403, "none": 403}
    assert answers["wrong"].reason == answers["none"].reason == "client-not-here"
    assert upstream.times("/mtls") == 1


def test_a_program_may_do_what_its_roles_may(programs: Door) -> None:
    token = add(programs, "reader", "--network", "127.0.0.1", roles="auditor")
    assert refused(programs.browser().get("/page", headers={"x-crmgate-client": token}).expect(403)) == "not-allowed"


def test_a_program_of_one_crm_is_nobody_at_another(programs: Door, header: Door, signed: Door, upstream: Plain) -> None:
    token = add(programs, "wanderer", "--network", "127.0.0.1")
    before = len(upstream.asked)
    assert refused(signed.browser().get("/x", headers={"x-crmgate-client": token}).expect(401)) == "sign-in-required"
    member = header.join("manager")
    header.command("user", "crm-login", member.login, "--crm", "somebody")
    browser = header.sign_in(member)
    answer = browser.get("/x", headers={"authorization": f"Bearer {token}"}).expect(401)
    assert refused(answer) == "client-unknown"  # no CRM sees a credential of ours
    assert len(upstream.asked) == before


def test_without_limits_or_with_odd_ones_no_program_is_made(programs: Door) -> None:
    for words in ([], ["--certificate", "00"], ["--network", "127.0.0.1", "--days", "5000"]):
        programs.command("client", "add", "odd", "--role", "manager", *words, typed="robot\nkey\n", code=2)
    assert "odd" not in programs.command("client", "list")


def test_who_came_in_for_whom_is_in_the_trail(programs: Door, header: Door) -> None:
    token = add(programs, "traced", "--network", "127.0.0.1")
    programs.browser().get("/traced", headers={"x-crmgate-client": token}).expect(200)
    programs.command("client", "revoke", "traced")
    seen = entries(programs)
    mine = [one for one in seen if one["actor_login"] == "traced"]
    assert {one["crm_user"] for one in mine if one["operation"] == "page.read"} == {"robot"}
    assert [one["reason"] for one in mine if one["kind"] == "identity"] == ["crm-signing-in", "crm-signed-in"]
    told = [one["operation"] for one in seen if one["fields"].get("target") == "traced"]
    assert told == ["client.add", "client.revoke"]
    assert "key-of-the-crm" not in json.dumps(seen)
    known, unknown = header.join("manager"), header.join("manager")
    header.command("user", "crm-login", known.login, "--crm", "traced.in.crm")
    header.sign_in(known).get("/traced").expect(200)
    header.sign_in(unknown).get("/traced").expect(403)
    seen = entries(header)
    assert {one["crm_user"] for one in seen if one["actor_login"] == known.login and one["kind"] == "outcome"} == {
        "traced.in.crm"
    }
    assert [one["reason"] for one in seen if one["actor_login"] == unknown.login and one["kind"] == "refusal"] == [
        "crm-login-unknown"
    ]
