"""The rules of the OpenID provider, without a server."""

import base64
import hashlib
from datetime import timedelta

import pytest

from gateway.identity.config import RelyingParty
from gateway.identity.oidc import Client, OidcError, Provider, RedirectUnknown, proves
from tests.unit.gateway.glue import NOW

URI = "https://crm.example/back?x=1"
PARTY = RelyingParty("crm", (URI,))
PROVIDER = Provider(
    "https://crm.example/.crmgate/oidc", {"crm": Client(PARTY, "s" * 40)}, "ES256", timedelta(minutes=5)
)
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
GOOD = {
    "client_id": "crm",
    "redirect_uri": URI,
    "response_type": "code",
    "scope": "openid profile",
    "state": "s",
    "nonce": "n",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def test_a_good_request_goes_back_with_code_state_and_its_own_query() -> None:
    wanted, wrong = PROVIDER.wanted(list(GOOD.items()))
    assert wrong is None
    assert wanted.back(code="c") == "https://crm.example/back?x=1&code=c&state=s"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code id_token", "unsupported_response_type"),
        ("scope", "profile", "invalid_scope"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("response_mode", "fragment", "invalid_request"),
        ("state", "a\r\nb", "invalid_request"),
        ("request", "x", "request_not_supported"),
        ("request_uri", "https://x", "request_uri_not_supported"),
    ],
)
def test_what_is_wrong_has_the_name_of_the_standard(name: str, value: str, code: str) -> None:
    _, wrong = PROVIDER.wanted(list({**GOOD, name: value}.items()))
    assert wrong is not None
    assert wrong.code == code


@pytest.mark.parametrize(("name", "value"), [("client_id", "x"), ("redirect_uri", URI + "&y=2"), ("redirect_uri", "")])
def test_nobody_goes_to_an_address_that_is_not_registered(name: str, value: str) -> None:
    with pytest.raises(RedirectUnknown):
        PROVIDER.wanted(list({**GOOD, name: value}.items()))
    with pytest.raises(RedirectUnknown):
        PROVIDER.wanted([*GOOD.items(), ("scope", "openid")])


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        ("", {"client_id": "crm"}),
        ("", {"client_id": "crm", "client_secret": "t" * 40}),
        ("", {"client_id": "nobody", "client_secret": "s" * 40}),
        (basic("crm"), {}),
        (basic("crm:" + "t" * 40), {}),
        (basic("crm:" + "s" * 40), {"client_id": "other"}),
        (basic("crm:" + "s" * 40), {"client_secret": "s" * 40}),
        ("Bearer x", {"client_id": "crm", "client_secret": ""}),
        ("Basic ???", {}),
    ],
)
def test_a_client_without_its_secret_is_nobody(authorization: str, form: dict[str, str]) -> None:
    with pytest.raises(OidcError, match="invalid_client"):
        PROVIDER.authenticated(authorization, form)


def test_a_client_with_its_secret_is_known_either_way() -> None:
    assert PROVIDER.authenticated(basic("crm:" + "s" * 40), {}).party is PARTY
    assert PROVIDER.authenticated("", {"client_id": "crm", "client_secret": "s" * 40}).party is PARTY


def test_a_verifier_proves_its_own_challenge_only() -> None:
    assert proves(VERIFIER, CHALLENGE)
    assert not proves("w" * 43, CHALLENGE)
    assert not proves("v" * 42, CHALLENGE)
    assert not proves("", "")


def test_a_token_says_no_more_than_was_asked_for() -> None:
    told = {"sub": "wang", "login": "wang", "name": "Wang", "nonce": "n", "scope": ["openid"]}
    claims = PROVIDER.claims(told, "crm", "access", NOW)
    assert "name" not in claims
    assert claims["exp"] - claims["iat"] == 300
    assert PROVIDER.claims({**told, "scope": ["openid", "profile"]}, "crm", "access", NOW)["name"] == "Wang"
