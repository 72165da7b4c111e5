"""An OpenID provider: discovery, keys, the code for an ID token (Core 1.0, Discovery 1.0, RFC 7636, 9207, 9700).

What is known of the provider is kept for a while; a key it does not know makes it look once more, at most every half
minute, so that made-up key ids cannot be used to flood the provider.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote_plus, urlencode

from joserfc.jwk import Key

from gateway.access.elsewhere import Elsewhere
from gateway.federation.config import ProviderSettings, SecondFactor
from gateway.federation.fetch import Fetcher, split
from gateway.federation.flow import Flow
from gateway.federation.id_token import (
    FACTOR_OLDEST_S,
    Expected,
    KeyUnknown,
    check_id_token,
    check_logout,
    factor_proved,
    keys_of,
    signed_claims,
)
from gateway.federation.vouched import ProviderDown, Vouched, VouchRefused

KNOWN_FOR = timedelta(hours=1)
LOOK_AGAIN = timedelta(seconds=30)
WELL_KNOWN = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Document:
    """What discovery says. tells_issuer: it puts `iss` into its answers, so that one without it is refused."""

    authorize: str
    token: str
    jwks: str
    tells_issuer: bool
    basic: bool


class OpenIdProvider:
    """One provider of the settings. secret: "" for a public client."""

    def __init__(
        self, settings: ProviderSettings, secret: str, fetcher: Fetcher, clock: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._fetcher = fetcher
        self._clock = clock
        self._expected = Expected(settings.issuer, settings.client_id, tuple(map(str, settings.algorithms)))
        self._document: tuple[Document, datetime] | None = None
        self._keys: tuple[Sequence[Key], datetime] | None = None
        self._looking = asyncio.Lock()

    async def address(self, flow: Flow, redirect_uri: str) -> str:
        """Where the browser is sent to; raises ProviderDown, VouchRefused."""
        document = await self._known()
        wanted = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(dict.fromkeys(("openid", *self._settings.scopes))),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
        }
        if self._settings.second_factor is SecondFactor.PROVIDER:
            wanted["max_age"] = str(FACTOR_OLDEST_S)
            if self._settings.acr:
                wanted["acr_values"] = " ".join(self._settings.acr)
        return f"{document.authorize}{'&' if '?' in document.authorize else '?'}{urlencode(wanted)}"

    async def identify(self, told: Mapping[str, str], flow: Flow, redirect_uri: str) -> Vouched:
        """Redeem the code and verify the ID token; raises ProviderDown, VouchRefused."""
        document = await self._known()
        issuer = told.get("iss")
        if issuer is None and document.tells_issuer:
            raise VouchRefused("issuer-missing")
        if issuer is not None and issuer != self._settings.issuer:
            raise VouchRefused("issuer-other")
        if "error" in told:
            raise VouchRefused("cancelled" if told["error"] == "access_denied" else "provider-refused")
        code = told.get("code", "")
        if not code or len(code) > 4096:
            raise VouchRefused("code-missing")
        answer = await self._fetcher.post_form(document.token, *self._redeeming(document, code, flow, redirect_uri))
        token = answer.body.get("id_token")
        if answer.status != 200 or not isinstance(token, str):
            raise VouchRefused("code-refused")
        _, claims = await self._verified(token)
        now, wanted = self._clock(), self._settings
        subject = check_id_token(claims, self._expected, flow.nonce, now)
        session = claims.get("sid", "")
        identity = Elsewhere(wanted.issuer, subject, session if isinstance(session, str) else "")
        proved = wanted.second_factor is SecondFactor.PROVIDER and factor_proved(claims, wanted.amr, wanted.acr, now)
        return Vouched(identity, proved)

    async def ended(self, logout_token: str) -> Elsewhere:
        """Whose sessions a logout token ends; raises ProviderDown, VouchRefused."""
        header, claims = await self._verified(logout_token)
        subject, session, _ = check_logout(header, claims, self._expected, self._clock())
        return Elsewhere(self._settings.issuer, subject, session)

    def _redeeming(
        self, document: Document, code: str, flow: Flow, redirect_uri: str
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": flow.verifier,
        }
        if self._secret and document.basic:  # RFC 6749, section 2.3.1: both parts are form-encoded first
            pair = f"{quote_plus(self._settings.client_id)}:{quote_plus(self._secret)}"
            return fields, {"authorization": "Basic " + base64.b64encode(pair.encode()).decode("ascii")}
        fields["client_id"] = self._settings.client_id
        return fields | ({"client_secret": self._secret} if self._secret else {}), {}

    async def _verified(self, token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        keys = await self._known_keys()
        try:
            return signed_claims(token, keys, self._expected)
        except KeyUnknown:
            keys = await self._known_keys(LOOK_AGAIN)
        try:
            return signed_claims(token, keys, self._expected)
        except KeyUnknown:
            raise VouchRefused("token-key") from None

    async def _known(self) -> Document:
        async with self._looking:
            now = self._clock()
            if self._document is None or not timedelta(0) <= now - self._document[1] < KNOWN_FOR:
                answer = await self._fetcher.get(self._settings.issuer.rstrip("/") + WELL_KNOWN)
                if answer.status != 200:
                    raise ProviderDown("discovery-missing")
                self._document = (_document(answer.body, self._settings.issuer), now)
            return self._document[0]

    async def _known_keys(self, oldest: timedelta = KNOWN_FOR) -> Sequence[Key]:
        document = await self._known()
        async with self._looking:
            now = self._clock()
            if self._keys is None or not timedelta(0) <= now - self._keys[1] < oldest:
                answer = await self._fetcher.get(document.jwks)
                if answer.status != 200:
                    raise ProviderDown("keys-missing")
                self._keys = (keys_of(answer.body), now)
            return self._keys[0]


def _document(told: Mapping[str, Any], issuer: str) -> Document:
    """The parts of a discovery document that count; raises VouchRefused (Discovery 1.0, section 4.3)."""
    if told.get("issuer") != issuer:
        raise VouchRefused("discovery-issuer")
    addresses = [told.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
    for address in addresses:
        if not isinstance(address, str):
            raise VouchRefused("discovery-incomplete")
        split(address)
    methods = told.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Document(
        str(addresses[0]),
        str(addresses[1]),
        str(addresses[2]),
        told.get("authorization_response_iss_parameter_supported") is True,
        isinstance(methods, list) and "client_secret_basic" in methods,
    )
