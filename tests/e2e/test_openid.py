"""crmgate as OpenID provider, through `crmgate serve`, with a kept library as the CRM's side of it (authlib)."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

from gateway.access.tokens import digest
from gateway.demo.browser import Browser
from gateway.identity.oidc import DISCOVERY, TOKEN, USERINFO
from tests.drills.stack import Stack, installed
from tests.e2e.database import sql
from tests.e2e.tenants import Door
from tests.real.plain import PROFILE, plain

pytestmark = pytest.mark.real

SECRET = "a-secret-of-the-crm-that-is-long-enough"
OPENID = """
[tenant.main.identity]
mode = "oidc"
login = "same"
algorithm = "RS256"
[[tenant.main.identity.client]]
id = "the-crm"
redirect_uris = ["https://crm.localhost:{port}/oidc/callback"]
secret_file = "{secret}"
[[tenant.main.identity.client]]
id = "an-app"
redirect_uris = ["https://crm.localhost:{port}/oidc/callback"]
subject = "id"
[tenant.other]
upstream = "{upstream}"
profile = "{profile}"
public_url = "https://other.localhost:{port}"
migrated = true
[tenant.other.identity]
mode = "oidc"
login = "same"
[[tenant.other.identity.client]]
id = "the-crm"
redirect_uris = ["https://other.localhost:{port}/oidc/callback"]
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    secret = tmp_path_factory.mktemp("secret") / "client"
    secret.write_text(SECRET)
    with plain() as upstream:
        extra = OPENID.replace("{upstream}", upstream.url).replace("{profile}", str(PROFILE))
        with installed(upstream, extra.replace("{secret}", str(secret)), {}) as made:  # type: ignore[arg-type]
            yield made


@pytest.fixture(scope="module")
def door(stack: Stack) -> Iterator[Door]:
    made = Door(stack, "main", stack.home.crm_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def other(stack: Stack) -> Iterator[Door]:
    made = Door(stack, "other", f"https://other.localhost:{stack.home.port}")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names under .localhost are this machine, as browsers have it."""
    found = socket.getaddrinfo

    def here(host: Any, *more: Any, **named: Any) -> Any:
        return found("127.0.0.1" if str(host).endswith(".localhost") else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", here)


class Party:
    """A CRM that lets people in by crmgate, with authlib's client."""

    def __init__(self, door: Door, client: str = "the-crm", secret: str = SECRET) -> None:
        self.door = door
        self.callback = f"{door.base}/oidc/callback"
        method = "client_secret_basic" if secret else "none"
        self.session = OAuth2Session(
            client,
            secret or None,
            scope="openid profile",
            redirect_uri=self.callback,
            code_challenge_method="S256",
            token_endpoint_auth_method=method,
        )
        self.session.verify, self.session.trust_env = str(door.stack.home.authority), False
        self.told = self.session.get(door.base + DISCOVERY, withhold_token=True).json()
        self.verifier = "v" * 64

    def address(self, **more: str) -> str:
        """Where a browser is sent to; path and query."""
        url, self.state = self.session.create_authorization_url(
            self.told["authorization_endpoint"], code_verifier=self.verifier, nonce="n-1", **more
        )
        return url.removeprefix(self.door.base)

    def code(self, browser: Browser, **more: str) -> str:
        """What the browser brings back."""
        back = browser.get(self.address(**more), follow=False).expect(303).header("location")
        told = parse_qs(urlsplit(back).query)
        assert back.startswith(self.callback + "?")
        assert told["state"] == [self.state]
        assert told["iss"] == [self.told["issuer"]]
        return told["code"][0]

    def tokens(self, code: str, **more: str) -> dict[str, Any]:
        """Tokens for a code; raises authlib's error."""
        given = {"code": code, "code_verifier": self.verifier, "grant_type": "authorization_code", **more}
        return dict(self.session.fetch_token(self.told["token_endpoint"], **given))

    def keys(self) -> KeySet:
        """The published keys."""
        return KeySet.import_key_set(self.session.get(self.told["jwks_uri"], withhold_token=True).json())

    def close(self) -> None:
        self.session.close()


@pytest.fixture
def party(door: Door) -> Iterator[Party]:
    made = Party(door)
    yield made
    made.close()


@pytest.fixture(scope="module")
def member(door: Door) -> Any:
    return door.join("manager")


@pytest.fixture(scope="module")
def browser(door: Door, member: Any) -> Browser:
    return door.sign_in(member)


def test_a_relying_party_learns_who_signed_in(party: Party, browser: Browser, member: Any) -> None:
    tokens = party.tokens(party.code(browser))
    claims = jwt.decode(tokens["id_token"], party.keys(), algorithms=["RS256"]).claims
    jwt.JWTClaimsRegistry(exp={"essential": True}).validate(claims)
    assert (claims["iss"], claims["aud"]) == (party.told["issuer"], "the-crm")
    assert (claims["sub"], claims["nonce"]) == (member.login, "n-1")
    assert claims["preferred_username"] == member.login
    answer = party.session.get(party.told["userinfo_endpoint"]).json()
    assert answer["sub"] == member.login


def test_a_code_is_good_once_and_its_second_use_ends_the_token(party: Party, browser: Browser) -> None:
    code = party.code(browser)
    party.tokens(code)
    assert party.session.get(party.told["userinfo_endpoint"]).status_code == 200
    assert _error(party, code) == "invalid_grant"
    assert party.session.get(party.told["userinfo_endpoint"]).status_code == 401


def test_a_code_is_bound_to_verifier_client_address_and_time(door: Door, party: Party, browser: Browser) -> None:
    assert _error(party, party.code(browser), code_verifier="w" * 64) == "invalid_grant"
    assert _error(party, party.code(browser), redirect_uri="https://evil.invalid/") == "invalid_grant"
    app = Party(door, "an-app", "")
    try:
        assert _error(app, party.code(browser)) == "invalid_grant"
        tokens = app.tokens(app.code(browser))
        claims = jwt.decode(tokens["id_token"], app.keys(), algorithms=["RS256"]).claims
        assert claims["aud"] == "an-app"
        assert claims["sub"].startswith("u-")
    finally:
        app.close()
    code = party.code(browser)
    sql(door.stack.settings, "UPDATE oidc_code SET expires_at = now() WHERE code_hash = %s", digest(code))
    assert _error(party, code) == "invalid_grant"
    wrong = Party(door, "the-crm", "b" * 40)
    try:
        assert _error(wrong, party.code(browser)) == "invalid_client"
    finally:
        wrong.close()


def test_nobody_is_sent_to_an_address_that_is_not_registered(party: Party, browser: Browser) -> None:
    good = party.address()
    for bad in (
        good.replace("callback", "callback2"),
        good.replace("client_id=the-crm", "client_id=nobody"),
        good + "&redirect_uri=https%3A%2F%2Fevil.invalid%2F",
    ):
        answer = browser.get(bad, follow=False).expect(400)
        assert answer.header("location") == ""


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("code_challenge_method=S256", "code_challenge_method=plain"), "invalid_request"),
        (("response_type=code", "response_type=token"), "unsupported_response_type"),
        (("scope=openid+profile", "scope=profile"), "invalid_scope"),
        (("nonce=n-1", "nonce=n-1&request=x"), "request_not_supported"),
    ],
)
def test_what_is_wrong_goes_back_as_an_error(
    party: Party, browser: Browser, change: tuple[str, str], error: str
) -> None:
    address = party.address()
    assert change[0] in address
    back = browser.get(address.replace(*change), follow=False).expect(303).header("location")
    told = parse_qs(urlsplit(back).query)
    assert told["error"] == [error]
    assert "code" not in told


def test_who_is_not_signed_in_is_asked_first_and_comes_back(door: Door, party: Party) -> None:
    visitor = door.browser()
    sent = visitor.get(party.address(), follow=False).expect(303).header("location")
    assert sent.startswith("/.crmgate/sign-in?next=/.crmgate/oidc/authorize")
    assert "code_challenge" in parse_qs(urlsplit(sent).query)["next"][0]
    back = visitor.get(party.address(prompt="none"), follow=False).expect(303).header("location")
    assert parse_qs(urlsplit(back).query)["error"] == ["login_required"]


def test_a_role_without_the_crm_gets_no_code(door: Door, party: Party) -> None:
    auditor = door.sign_in(door.join("auditor"))
    back = auditor.get(party.address(), follow=False).expect(303).header("location")
    assert parse_qs(urlsplit(back).query)["error"] == ["access_denied"]


def test_codes_tokens_and_keys_of_one_crm_mean_nothing_at_the_other(
    door: Door, other: Door, party: Party, browser: Browser
) -> None:
    second = Party(other, secret="")
    try:
        assert second.told["issuer"] != party.told["issuer"]
        assert _error(second, party.code(browser)) == "invalid_grant"
        token = party.tokens(party.code(browser))["access_token"]
        asked = other.browser().get(USERINFO, headers={"authorization": f"Bearer {token}"})
        assert asked.status == 401
        ours = {key["kid"] for key in party.keys().as_dict(private=False)["keys"]}
        theirs = {key["kid"] for key in second.keys().as_dict(private=False)["keys"]}
        assert ours.isdisjoint(theirs)
        stranger = other.browser()
        stranger.cookies.update(browser.cookies)
        sent = stranger.get(second.address(), follow=False).expect(303).header("location")
        assert sent.startswith("/.crmgate/sign-in")
    finally:
        second.close()


def test_signing_out_ends_what_was_given(door: Door, party: Party) -> None:
    browser = door.sign_in(door.join("manager"))
    party.tokens(party.code(browser))
    waiting = party.code(browser)
    browser.post("/.crmgate/sign-out", {}, headers={"origin": browser.base}, follow=False).expect(303)
    assert party.session.get(party.told["userinfo_endpoint"]).status_code == 401
    assert _error(party, waiting) == "invalid_grant"


def test_what_was_given_and_refused_is_in_the_trail(door: Door, member: Any) -> None:
    rows = sql(
        door.stack.settings, "SELECT body FROM audit_entry WHERE tenant = 'main' AND operation = 'identity.oidc'"
    )
    entries = [json.loads(bytes(body)) for (body,) in rows]
    assert {one["reason"] for one in entries} == {"oidc-code-given", "oidc-signed-in", "oidc-refused"}
    assert {one["actor_login"] for one in entries if one["reason"] == "oidc-signed-in"} >= {member.login}


def _error(party: Party, code: str, **more: str) -> str:
    """The error with which the token endpoint refuses a code."""
    secret = party.session.client_secret
    given = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": party.verifier,
        "redirect_uri": party.callback,
        "client_id": party.session.client_id,
        **({"client_secret": secret} if secret else {}),
        **more,
    }
    answer = party.session.post(party.door.base + TOKEN, data=given, withhold_token=True)
    assert answer.status_code in (400, 401)
    return str(answer.json()["error"])
