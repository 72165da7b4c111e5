"""Identity that the gateway asserts in each request: a trusted header, or a signed token in it.

The CRM's name of a person is the one an administrator told, or the person's login here where the settings say so. Who
has none is refused. What is remembered is believed for seconds only.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from gateway.exchange import Exchange, Principal
from gateway.identity.bearing import Bearing, flat
from gateway.identity.config import IdentityMode, IdentitySettings, LoginSource
from gateway.identity.crm_login import CrmLogins
from gateway.identity.signing_key import SigningKeys
from gateway.refusal import CRM_LOGIN_UNKNOWN, Refusal

TTL = timedelta(seconds=3)
MOST = 20_000


class KnownLogins:
    """What the CRM of one tenant calls people, from memory for `TTL`."""

    def __init__(self, tenant: str, source: LoginSource, logins: CrmLogins, clock: Callable[[], datetime]) -> None:
        self._tenant = tenant
        self._source = source
        self._logins = logins
        self._clock = clock
        self._known: OrderedDict[str, tuple[datetime, str]] = OrderedDict()

    async def of(self, principal: Principal) -> str:
        """The CRM login of a person, "" where nobody told one; raises StoreUnavailable."""
        if self._source is LoginSource.SAME:
            return principal.login
        now = self._clock()
        held = self._known.get(principal.id)
        if held is not None and timedelta(0) <= now - held[0] < TTL:
            return held[1]
        row = await self._logins.row(self._tenant, principal.id)
        found = "" if row is None else row.login
        self._known[principal.id] = (now, found)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return found


class Asserted:
    """Header or token for each request of a person. public: the CRM's public address, the issuer by default."""

    def __init__(
        self,
        settings: IdentitySettings,
        public: str,
        known: KnownLogins,
        keys: SigningKeys | None,
        clock: Callable[[], datetime],
    ) -> None:
        if (settings.mode is IdentityMode.JWT) != (keys is not None):
            raise ValueError("a token needs keys, a header none")
        self._settings = settings
        self._issuer = settings.issuer or public
        self._known = known
        self._keys = keys
        self._clock = clock
        self._tokens: OrderedDict[str, tuple[datetime, str]] = OrderedDict()
        self._drops = frozenset({flat(settings.field), "authorization"})

    async def bear(self, exchange: Exchange) -> None:
        """Give the exchange what it bears.

        Raises Refusal CRM_LOGIN_UNKNOWN; StoreUnavailable, KeysUnavailable.
        """
        principal = exchange.principal
        assert principal is not None
        login = await self._known.of(principal)
        if not login or not (login.isascii() and login.isprintable()):
            raise Refusal(CRM_LOGIN_UNKNOWN)
        value = login if self._keys is None else await self._token(login)
        exchange.bearing = Bearing(f"{self._settings.field}: {value}\r\n", (), self._drops)
        exchange.principal = replace(principal, crm_login=login)

    async def _token(self, login: str) -> str:
        assert self._keys is not None
        now = self._clock()
        held = self._tokens.get(login)
        if held is not None and held[0] > now:
            return held[1]
        lifetime = timedelta(seconds=self._settings.lifetime_s)
        key = await self._keys.current()
        signed = key.sign(
            {
                "iss": self._issuer,
                "sub": login,
                "aud": self._settings.audience,
                "iat": int(now.timestamp()),
                "nbf": int(now.timestamp()),
                "exp": int((now + lifetime).timestamp()),
            }
        )
        value = f"Bearer {signed}" if self._settings.field.lower() == "authorization" else signed
        # Renewed at half its life, so that it never ends on the way.
        self._tokens[login] = (now + lifetime / 2, value)
        while len(self._tokens) > MOST:
            self._tokens.popitem(last=False)
        return value
