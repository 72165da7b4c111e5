"""What an OpenID provider has to say before somebody is let in, and every way it can be wrong."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from gateway.access.elsewhere import Elsewhere
from gateway.federation.config import ProviderSettings, SecondFactor
from gateway.federation.fetch import ANSWER_LIMIT_BYTES, Fetcher
from gateway.federation.flow import Flow
from gateway.federation.openid import OpenIdProvider
from gateway.federation.vouched import ProviderDown, VouchRefused
from tests.unit.gateway.federation.made_provider import CLIENT, hang, public

FLOW = Flow("s" * 43)
BACK = "https://crm.localhost:8443/.crmgate/sign-in/with/corp/back"


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def provider_of(made, clock, timeout_s: float = 20.0, **other) -> OpenIdProvider:
    settings = ProviderSettings(name="corp", label="Corp", client_id=CLIENT, issuer=made.issuer, **other)
    return OpenIdProvider(settings, "a secret of the client", Fetcher(timeout_s), clock)


@pytest.fixture
def provider(made, clock) -> OpenIdProvider:
    return provider_of(made, clock)


def told(made, **other: str) -> dict[str, str]:
    return {"code": "c-1", "state": FLOW.state, "iss": made.issuer, **other}


def give(made, token) -> None:
    made.answers["/token"] = (200, {"access_token": "a", "token_type": "Bearer", "id_token": token})


async def refused(provider, made, **other: str) -> str:
    with pytest.raises(VouchRefused) as caught:
        await provider.identify(told(made, **other), FLOW, BACK)
    return caught.value.why


async def test_a_right_token_says_who_it_is(provider, made, clock) -> None:
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp(), sid="s-1", email="li@example.org")))
    vouched = await provider.identify(told(made), FLOW, BACK)
    assert vouched.identity == Elsewhere(made.issuer, "0b6f2e", "s-1")
    assert not vouched.factor_proved
    _, sent, headers = next(one for one in made.asked if one[0] == "/token")
    assert sent == {
        "grant_type": "authorization_code",
        "code": "c-1",
        "redirect_uri": BACK,
        "code_verifier": FLOW.verifier,
    }
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"crmgate:a+secret+of+the+client"


async def test_the_browser_is_sent_with_everything_that_binds_the_answer(provider, made) -> None:
    address = urlsplit(await provider.address(FLOW, BACK))
    asked = {name: values[0] for name, values in parse_qs(address.query).items()}
    digest = base64.urlsafe_b64encode(hashlib.sha256(FLOW.verifier.encode()).digest()).rstrip(b"=").decode()
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{made.issuer}/authorize"
    assert asked == {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": BACK,
        "scope": "openid",
        "state": FLOW.state,
        "nonce": FLOW.nonce,
        "code_challenge": digest,
        "code_challenge_method": "S256",
    }
    assert len({FLOW.state, FLOW.nonce, FLOW.verifier, FLOW.secret}) == 4


async def test_a_client_that_may_not_use_basic_sends_its_secret_in_the_form(made, clock) -> None:
    said = made.document(token_endpoint_auth_methods_supported=["client_secret_post"])
    made.answers["/.well-known/openid-configuration"] = (200, said)
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp())))
    await provider_of(made, clock).identify(told(made), FLOW, BACK)
    _, sent, headers = next(one for one in made.asked if one[0] == "/token")
    assert (sent["client_id"], sent["client_secret"]) == (CLIENT, "a secret of the client")
    assert "authorization" not in headers


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"iss": "https://other.example.org"}, "token-issuer"),
        ({"iss": None}, "token-issuer"),
        ({"aud": "another-client"}, "token-audience"),
        ({"aud": []}, "token-audience"),
        ({"aud": None}, "token-audience"),
        ({"aud": {"crmgate": 1}}, "token-audience"),
        ({"aud": [CLIENT, "another"]}, "token-audience"),
        ({"aud": [CLIENT, "another"], "azp": "another"}, "token-audience"),
        ({"azp": "another"}, "token-audience"),
        ({"exp": 1}, "token-expired"),
        ({"exp": None}, "token-expired"),
        ({"exp": "soon"}, "token-expired"),
        ({"exp": True}, "token-expired"),
        ({"iat": None}, "token-time"),
        ({"iat": 10**12}, "token-time"),
        ({"iat": 1}, "token-time"),
        ({"nbf": 10**12}, "token-time"),
        ({"nbf": "x"}, "token-time"),
        ({"nonce": "of-another-trip"}, "token-nonce"),
        ({"nonce": None}, "token-nonce"),
        ({"nonce": 7}, "token-nonce"),
        ({"sub": None}, "token-subject"),
        ({"sub": ""}, "token-subject"),
        ({"sub": 5}, "token-subject"),
        ({"sub": "x" * 256}, "token-subject"),
    ],
)
async def test_a_token_that_says_something_else_is_refused(provider, made, clock, change, why) -> None:
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp(), **change)))
    assert await refused(provider, made) == why


async def test_a_token_for_several_parties_counts_where_it_was_made_for_us(provider, made, clock) -> None:
    claims = made.claims(FLOW.nonce, clock().timestamp(), aud=[CLIENT, "another"], azp=CLIENT)
    give(made, made.sign(claims))
    assert (await provider.identify(told(made), FLOW, BACK)).identity.subject == "0b6f2e"


def unsigned(claims) -> str:
    parts = (json.dumps({"alg": "none", "kid": "k1"}), json.dumps(claims))
    return ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts) + "."


async def test_a_token_without_a_signature_is_refused(provider, made, clock) -> None:
    give(made, unsigned(made.claims(FLOW.nonce, clock().timestamp())))
    assert await refused(provider, made) == "token-algorithm"


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(provider, made, clock) -> None:
    """The oldest of tricks: what everybody may know becomes the key of a MAC (RFC 8725, section 2.1)."""
    claims = json.dumps(made.claims(FLOW.nonce, clock().timestamp()))
    for secret in (made.key.as_pem(private=False), b"a secret of the client"):
        header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k1"}').rstrip(b"=")
        body = header + b"." + base64.urlsafe_b64encode(claims.encode()).rstrip(b"=")
        mac = base64.urlsafe_b64encode(hmac.digest(secret, body, "sha256")).rstrip(b"=")
        give(made, (body + b"." + mac).decode())
        assert await refused(provider, made) == "token-algorithm"


async def test_a_token_of_another_key_is_refused(provider, made, clock) -> None:
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp()), RSAKey.generate_key(2048)))
    assert await refused(provider, made) == "token-signature"


async def test_a_token_changed_afterwards_is_refused(provider, made, clock) -> None:
    head, _, mark = made.sign(made.claims(FLOW.nonce, clock().timestamp())).split(".")
    other = json.dumps(made.claims(FLOW.nonce, clock().timestamp(), sub="somebody else"))
    give(made, f"{head}.{base64.urlsafe_b64encode(other.encode()).rstrip(b'=').decode()}.{mark}")
    assert await refused(provider, made) == "token-signature"


async def test_a_key_that_the_token_brings_itself_does_not_count(provider, made, clock) -> None:
    own = RSAKey.generate_key(2048)
    for header in (
        {"jwk": own.as_dict(private=False)},
        {"jku": f"{made.issuer}/theirs"},
        {"x5u": f"{made.issuer}/theirs"},
    ):
        token = jws.serialize_compact(
            {"alg": "RS256", "kid": "k1", **header},
            json.dumps(made.claims(FLOW.nonce, clock().timestamp())).encode(),
            own,
            algorithms=["RS256"],
        )
        give(made, token)
        assert await refused(provider, made) in ("token-header", "token-unreadable")
    assert made.count("/theirs") == 0


async def test_an_algorithm_that_the_settings_do_not_name_is_refused(provider, made, clock) -> None:
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp()), alg="RS512"))
    assert await refused(provider, made) == "token-algorithm"


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
async def test_weak_keys_and_secrets_in_the_set_do_not_count(made, clock) -> None:
    weak = RSAKey.generate_key(1024, auto_kid=False)
    for keys in (
        [public(weak)],
        [{**OctKey.generate_key(256).as_dict(private=True), "kid": "k1"}],
        [],
        [7],
        [public(made.key, use="enc")],
        [{"kty": "RSA", "n": "AQ", "e": "AQ"}],
    ):
        made.answers["/jwks"] = (200, {"keys": keys})
        signing = weak if keys and keys[0] == public(weak) else made.key
        give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp()), signing))
        assert await refused(provider_of(made, clock), made) == "keys-weak-or-none"


async def test_an_elliptic_key_of_another_curve_does_not_count(made, clock) -> None:
    key = ECKey.generate_key("P-384")
    made.answers["/jwks"] = (200, {"keys": [public(key)]})
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp()), ECKey.generate_key("P-256"), alg="ES256"))
    assert await refused(provider_of(made, clock), made) == "token-key"


async def test_an_elliptic_key_of_the_right_curve_counts(made, clock) -> None:
    key = ECKey.generate_key("P-256")
    made.answers["/jwks"] = (200, {"keys": [public(key), public(made.key, "k2")]})
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp()), key, alg="ES256"))
    assert (await provider_of(made, clock).identify(told(made), FLOW, BACK)).identity.subject == "0b6f2e"


async def test_a_set_of_several_keys_has_to_say_which(made, clock) -> None:
    made.answers["/jwks"] = (200, {"keys": [public(made.key), public(RSAKey.generate_key(2048), "k2")]})
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp()), kid=None))
    assert await refused(provider_of(made, clock), made) == "token-key"


async def test_a_new_key_is_looked_for_once_and_not_at_every_token(provider, made, clock) -> None:
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp())))
    await provider.identify(told(made), FLOW, BACK)
    other = RSAKey.generate_key(2048)
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp()), other, kid="k2"))
    assert await refused(provider, made) == "token-key"
    assert made.count("/jwks") == 1  # looked a moment ago
    clock.now += timedelta(seconds=31)
    made.answers["/jwks"] = (200, {"keys": [public(made.key), public(other, "k2")]})
    assert (await provider.identify(told(made), FLOW, BACK)).identity.subject == "0b6f2e"
    assert made.count("/jwks") == 2
    for number in range(5):
        give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp()), other, kid=f"made-up-{number}"))
        assert await refused(provider, made) == "token-key"
    assert made.count("/jwks") == 2


async def test_discovery_is_kept_for_a_while(provider, made, clock) -> None:
    for _ in range(3):
        await provider.address(FLOW, BACK)
    clock.now += timedelta(hours=2)
    await provider.address(FLOW, BACK)
    assert made.count("/.well-known/openid-configuration") == 2


@pytest.mark.parametrize("issuer", ["https://other.example.org", "", None, "{issuer}/"])
async def test_a_discovery_document_of_somebody_else_is_refused(provider, made, issuer) -> None:
    said = made.document(issuer=issuer.format(issuer=made.issuer) if issuer else issuer)
    made.answers["/.well-known/openid-configuration"] = (200, said)
    with pytest.raises(VouchRefused, match="discovery-issuer"):
        await provider.address(FLOW, BACK)


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    ("address", "why"),
    [
        (None, "discovery-incomplete"),
        (["https://x.example.org"], "discovery-incomplete"),
        ("http://id.example.org/token", "address-invalid"),
        ("https://u:p@id.example.org/token", "address-invalid"),
        ("https://id.example.org/to ken", "address-invalid"),
        ("file:///etc/passwd", "address-invalid"),
        ("https://id.example.org:x/", "address-invalid"),
        ("https://[::1/", "address-invalid"),
    ],
)
async def test_addresses_that_may_not_be_called_are_refused(provider, made, name, address, why) -> None:
    made.answers["/.well-known/openid-configuration"] = (200, made.document(**{name: address}))
    with pytest.raises(VouchRefused, match=why):
        await provider.address(FLOW, BACK)


async def test_the_answer_of_another_provider_is_refused(provider, made) -> None:
    """Mix-up: an answer that another provider sent to this one's address (RFC 9207)."""
    assert await refused(provider, made, iss="https://other.example.org") == "issuer-other"
    with pytest.raises(VouchRefused, match="issuer-missing"):
        await provider.identify({"code": "c-1", "state": FLOW.state}, FLOW, BACK)
    assert made.count("/token") == 0


async def test_a_provider_that_never_tells_its_issuer_need_not(made, clock) -> None:
    said = made.document(authorization_response_iss_parameter_supported=False)
    made.answers["/.well-known/openid-configuration"] = (200, said)
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp())))
    vouched = await provider_of(made, clock).identify({"code": "c-1", "state": FLOW.state}, FLOW, BACK)
    assert vouched.identity.subject == "0b6f2e"


async def test_errors_of_the_provider_are_told_apart(provider, made) -> None:
    assert await refused(provider, made, error="access_denied") == "cancelled"
    assert await refused(provider, made, error="server_error", error_description="<b>") == "provider-refused"
    assert await refused(provider, made, code="") == "code-missing"


@pytest.mark.parametrize(
    ("answer", "fault", "why"),
    [
        ((400, {"error": "invalid_grant"}), VouchRefused, "code-refused"),
        ((200, {"access_token": "a"}), VouchRefused, "code-refused"),
        ((200, {"id_token": 7}), VouchRefused, "code-refused"),
        ((200, {"id_token": "no token"}), VouchRefused, "token-unreadable"),
        ((200, {"id_token": "a.b.c"}), VouchRefused, "token-unreadable"),
        ((200, {"id_token": "ä.b.c"}), VouchRefused, "token-unreadable"),
        ((200, {"id_token": "x" * 40_000}), VouchRefused, "token-unreadable"),
        ((200, b"<html>"), VouchRefused, "answer-unreadable"),
        ((200, b"[" * 100_000), VouchRefused, "answer-unreadable"),
        ((200, [1]), VouchRefused, "answer-unreadable"),
        ((200, b"\xff\xfe"), VouchRefused, "answer-unreadable"),
        ((200, b" " * (ANSWER_LIMIT_BYTES + 1)), VouchRefused, "answer-unreadable"),
        ((302, {}), VouchRefused, "code-refused"),
        ((500, {"error": "server_error"}), ProviderDown, "trouble"),
        ((503, b"<html>"), ProviderDown, "trouble"),
        ((429, {}), ProviderDown, "trouble"),
    ],
)
async def test_nonsense_instead_of_a_token_lets_nobody_in(provider, made, answer, fault, why) -> None:
    made.answers["/token"] = answer
    with pytest.raises(fault) as caught:
        await provider.identify(told(made), FLOW, BACK)
    assert caught.value.why == why
    assert made.count("/elsewhere") == 0  # no redirect was followed


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/jwks", "/token"])
async def test_a_provider_that_hangs_lets_nobody_in(made, clock, path) -> None:
    provider = provider_of(made, clock, timeout_s=0.5)
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp())))
    made.answers[path] = hang(made)
    with pytest.raises(ProviderDown) as caught:
        await provider.identify(told(made), FLOW, BACK)
    assert caught.value.why == "slow"


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/jwks", "/token"])
async def test_a_provider_with_trouble_lets_nobody_in_and_is_asked_again(provider, made, clock, path) -> None:
    give(made, made.sign(made.claims(FLOW.nonce, clock().timestamp())))
    kept, made.answers[path] = made.answers[path], (500, {})
    with pytest.raises(ProviderDown):
        await provider.identify(told(made), FLOW, BACK)
    made.answers[path] = kept
    assert (await provider.identify(told(made), FLOW, BACK)).identity.subject == "0b6f2e"


async def test_a_provider_that_is_away_lets_nobody_in(made, clock) -> None:
    settings = ProviderSettings(name="corp", label="Corp", client_id=CLIENT, issuer="http://127.0.0.1:1")
    with pytest.raises(ProviderDown):
        await OpenIdProvider(settings, "", Fetcher(0.5), clock).address(FLOW, BACK)


@pytest.mark.parametrize(
    ("said", "proved"),
    [
        ({"amr": ["pwd", "mfa"], "auth_time": 0}, True),
        ({"acr": "urn:two", "auth_time": 0}, True),
        ({"amr": ["pwd"], "auth_time": 0}, False),
        ({"amr": ["otp"], "auth_time": 0}, False),
        ({"amr": "mfa", "auth_time": 0}, False),
        ({"amr": [["mfa"]], "auth_time": 0}, False),
        ({"acr": ["urn:two"], "auth_time": 0}, False),
        ({"acr": "urn:one", "auth_time": 0}, False),
        ({"amr": ["mfa"]}, False),
        ({"amr": ["mfa"], "auth_time": -700}, False),
        ({"amr": ["mfa"], "auth_time": 700}, False),
        ({}, False),
    ],
)
async def test_a_second_factor_there_counts_only_as_the_settings_say(made, clock, said, proved) -> None:
    at = clock().timestamp()
    if "auth_time" in said:
        said = said | {"auth_time": int(at) + said["auth_time"]}
    give(made, made.sign(made.claims(FLOW.nonce, at, **said)))
    strict = provider_of(made, clock, second_factor=SecondFactor.PROVIDER, acr=("urn:two",))
    assert (await strict.identify(told(made), FLOW, BACK)).factor_proved is proved
    own = provider_of(made, clock, acr=("urn:two",))
    assert not (await own.identify(told(made), FLOW, BACK)).factor_proved
    asked = parse_qs(urlsplit(await strict.address(FLOW, BACK)).query)
    assert (asked["max_age"], asked["acr_values"]) == (["600"], ["urn:two"])


LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


def logout(made, at: float, **other) -> dict[str, object]:
    return made.claims("", at, nonce=None, events={LOGOUT: {}}, jti="j-1", sid="s-1", **other)


async def test_a_logout_token_says_what_ended(provider, made, clock) -> None:
    token = made.sign(logout(made, clock().timestamp()), typ="logout+jwt")
    assert await provider.ended(token) == Elsewhere(made.issuer, "0b6f2e", "s-1")


@pytest.mark.parametrize(
    ("change", "header", "why"),
    [
        ({"nonce": "n"}, {}, "token-event"),
        ({"events": None}, {}, "token-event"),
        ({"events": {"other": {}}}, {}, "token-event"),
        ({"events": {LOGOUT: 1}}, {}, "token-event"),
        ({"sub": None, "sid": None}, {}, "token-subject"),
        ({"sid": 5}, {}, "token-subject"),
        ({"jti": None}, {}, "token-id"),
        ({"exp": 1}, {}, "token-expired"),
        ({"aud": "another"}, {}, "token-audience"),
        ({}, {"typ": "at+jwt"}, "token-type"),
    ],
)
async def test_what_is_no_logout_token_ends_nothing(provider, made, clock, change, header, why) -> None:
    claims = {name: value for name, value in (logout(made, clock().timestamp()) | change).items() if value is not None}
    with pytest.raises(VouchRefused, match=why):
        await provider.ended(made.sign(claims, **header))


async def test_an_id_token_ends_nothing_and_a_logout_token_lets_nobody_in(provider, made, clock) -> None:
    with pytest.raises(VouchRefused):
        await provider.ended(made.sign(made.claims(FLOW.nonce, clock().timestamp())))
    give(made, made.sign(logout(made, clock().timestamp()), typ="logout+jwt"))
    assert await refused(provider, made) == "token-nonce"


def test_no_error_or_repr_holds_a_secret() -> None:
    assert FLOW.secret not in repr(FLOW)
    assert str(ProviderDown("slow")) == "slow"
