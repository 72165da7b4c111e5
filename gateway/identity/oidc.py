"""crmgate as OpenID provider of a CRM: authorization code with PKCE, nothing else (OpenID Connect Core 1.0, RFC 9700).

Pure rules: what a request has to say, what a token says. A client or an address that is not registered is never
redirected to; everything else that is wrong goes back to the client as an error.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus, urlencode

from gateway.identity.config import RelyingParty

BASE = "/.crmgate/oidc"
AUTHORIZE, JWKS = f"{BASE}/authorize", f"{BASE}/jwks.json"
# Where programs ask, without a page of ours behind them: see gateway.console.guard.
TOKEN, USERINFO = "/.crmgate/api/oidc/token", "/.crmgate/api/oidc/userinfo"
DISCOVERY = f"{BASE}/.well-known/openid-configuration"
SCOPES = ("openid", "profile")
CODE_LIFE = timedelta(seconds=60)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_OPAQUE = re.compile(r"[\x20-\x7e]{0,512}")


class RedirectUnknown(Exception):  # noqa: N818 - what is wrong
    """The client, or the address to go back to, is not registered: nobody is sent anywhere."""

    permanent = True


class OidcError(Exception):
    """An error that goes back to the client; `code` as the standard names it."""

    permanent = True

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Client:
    """A relying party with its secret, "" for a public one."""

    party: RelyingParty
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An authorization request that may be answered. quiet: without showing a page (prompt=none)."""

    client: str
    redirect_uri: str
    state: str
    nonce: str
    challenge: str
    scope: tuple[str, ...]
    quiet: bool

    def back(self, **given: str) -> str:
        """The address of the client with an answer."""
        mark = "&" if "?" in self.redirect_uri else "?"
        told = given | ({"state": self.state} if self.state else {})
        return f"{self.redirect_uri}{mark}{urlencode(told)}"


@dataclass(frozen=True, slots=True)
class Provider:
    """The provider of one tenant. issuer: its address; algorithm: of its tokens."""

    issuer: str
    clients: Mapping[str, Client]
    algorithm: str
    lifetime: timedelta

    def document(self) -> Mapping[str, Any]:
        """What clients discover (OpenID Connect Discovery 1.0)."""
        root = self.issuer.removesuffix(BASE)
        return {
            "issuer": self.issuer,
            "authorization_endpoint": root + AUTHORIZE,
            "token_endpoint": root + TOKEN,
            "userinfo_endpoint": root + USERINFO,
            "jwks_uri": root + JWKS,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.algorithm],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": list(SCOPES),
            "claims_supported": ["iss", "sub", "aud", "exp", "iat", "nonce", "amr", "preferred_username", "name"],
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "authorization_response_iss_parameter_supported": True,
        }

    def wanted(self, pairs: Sequence[tuple[str, str]]) -> tuple[Wanted, OidcError | None]:
        """An authorization request, and what is wrong with it; raises RedirectUnknown."""
        given = dict(pairs)
        client = self.clients.get(given.get("client_id", ""))
        uri = given.get("redirect_uri", "")
        if client is None or uri not in client.party.redirect_uris or len(given) != len(pairs):
            raise RedirectUnknown
        state, nonce = given.get("state", ""), given.get("nonce", "")
        scope = tuple(one for one in given.get("scope", "").split() if one in SCOPES)
        challenge = given.get("code_challenge", "")
        plain = _OPAQUE.fullmatch(state) is not None and _OPAQUE.fullmatch(nonce) is not None
        made = Wanted(
            client.party.id,
            uri,
            state if plain else "",
            nonce if plain else "",
            challenge,
            scope,
            given.get("prompt", "") == "none",
        )
        return made, _wrong(given, made, plain)

    def authenticated(self, authorization: str, form: Mapping[str, str]) -> Client:
        """The client that asks for a token; raises OidcError invalid_client."""
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization:
            if secret:
                raise OidcError("invalid_client")
            told, secret = _basic(authorization)
            if name and name != told:
                raise OidcError("invalid_client")
            name = told
        client = self.clients.get(name)
        if client is None or not hmac.compare_digest(client.secret.encode(), secret.encode()):
            raise OidcError("invalid_client")
        return client

    def claims(self, told: Mapping[str, Any], client: str, access_token: str, now: datetime) -> Mapping[str, Any]:
        """What an ID token says."""
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        said = {
            "iss": self.issuer,
            "sub": told["sub"],
            "aud": client,
            "iat": int(now.timestamp()),
            "exp": int((now + self.lifetime).timestamp()),
            "amr": ["pwd", "otp", "mfa"],
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            **about(told),
        }
        return said | ({"nonce": told["nonce"]} if told["nonce"] else {})


def about(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a token says of a person beside the subject, where `profile` was asked for."""
    if "profile" not in told["scope"]:
        return {}
    return {"preferred_username": told["login"], "name": told["name"]}


def proves(verifier: str, challenge: str) -> bool:
    """Whether a verifier belongs to a challenge (RFC 7636, S256)."""
    if _VERIFIER.fullmatch(verifier) is None:
        return False
    made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(made, challenge)


def _wrong(given: Mapping[str, str], made: Wanted, plain: bool) -> OidcError | None:
    if "request" in given:
        return OidcError("request_not_supported")
    if "request_uri" in given:
        return OidcError("request_uri_not_supported")
    if given.get("response_type") != "code":
        return OidcError("unsupported_response_type")
    if "openid" not in made.scope:
        return OidcError("invalid_scope")
    pkce = given.get("code_challenge_method") == "S256" and _CHALLENGE.fullmatch(made.challenge) is not None
    if not plain or not pkce or given.get("response_mode", "query") != "query":
        return OidcError("invalid_request")
    return None


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, packed = authorization.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError
        name, mark, secret = base64.b64decode(packed.strip(), validate=True).decode("utf-8").partition(":")
        if not mark:
            raise ValueError
    except ValueError:
        raise OidcError("invalid_client") from None
    return unquote_plus(name), unquote_plus(secret)
