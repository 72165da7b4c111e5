"""What an ID token has to be before it says who somebody is (OpenID Connect Core 1.0, section 3.1.3.7); pure.

Only the algorithms of the settings count, all of them asymmetric, and only keys of the provider's own set: whatever a
token says about where its key is to be found (`jwk`, `jku`, `x5u`, `x5c`) is a reason to refuse it (RFC 8725, 3.10).
"""

import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, RSAKey, import_key

from gateway.federation.vouched import VouchRefused

RSA_LEAST_BITS = 2048  # NIST SP 800-131A
SKEW_S = 60
OLDEST_S = 600  # a token is made when its code is redeemed, which is now
FACTOR_OLDEST_S = 600
TOKEN_MAX_CHARS = 32 * 1024
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_FORBIDDEN = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc"})


@dataclass(frozen=True, slots=True)
class Expected:
    """Whom a token has to be from and for. algorithms: that may have signed it."""

    issuer: str
    client_id: str
    algorithms: Collection[str]


class KeyUnknown(Exception):  # noqa: N818 - what it is
    """No key of the set has this id: the provider may have new ones."""

    permanent = False


def keys_of(document: Mapping[str, Any]) -> Sequence[Key]:
    """Usable signature keys of a JWK set; weak ones, secrets and what cannot be read are left out.

    Raises VouchRefused where the document is no set or has no usable key.
    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > 100:
        raise VouchRefused("keys-unreadable")
    usable: list[Key] = []
    for raw in listed:
        if not isinstance(raw, dict) or raw.get("kty") not in ("RSA", "EC") or raw.get("use", "sig") != "sig":
            continue
        public = {
            name: value for name, value in raw.items() if name in ("kty", "n", "e", "crv", "x", "y", "kid", "alg")
        }
        try:
            key = import_key(public)
            if isinstance(key, RSAKey) and not _strong(key):
                continue
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            continue
        usable.append(key)
    if not usable:
        raise VouchRefused("keys-weak-or-none")
    return usable


def _strong(key: RSAKey) -> bool:
    numbers = key.public_key.public_numbers()
    return key.public_key.key_size >= RSA_LEAST_BITS and numbers.e >= 3 and numbers.e % 2 == 1


def signed_claims(token: str, keys: Sequence[Key], expected: Expected) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims of a token whose signature is right; raises VouchRefused, KeyUnknown."""
    if len(token) > TOKEN_MAX_CHARS or token.count(".") != 2 or not token.isascii():
        raise VouchRefused("token-unreadable")
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError, TypeError, RecursionError):
        raise VouchRefused("token-unreadable") from None
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in expected.algorithms or algorithm.startswith(("HS", "none")):
        raise VouchRefused("token-algorithm")
    if _FORBIDDEN & header.keys():
        raise VouchRefused("token-header")
    key = _chosen(header.get("kid"), algorithm, keys)
    try:
        decoded = jwt.decode(token, key, algorithms=[algorithm])
    except (JoseError, ValueError, TypeError, RecursionError):
        raise VouchRefused("token-signature") from None
    return header, decoded.claims


def _chosen(kid: object, algorithm: str, keys: Sequence[Key]) -> Key:
    """The one key that may have signed; a set with several keys has to say which."""
    fitting = [key for key in keys if _fits(key, algorithm)]
    named = [key for key in keys if key.kid == kid] if isinstance(kid, str) else []
    if kid is not None and not named:
        raise KeyUnknown
    chosen = [key for key in fitting if kid is None or key.kid == kid]
    if len(chosen) != 1:
        raise VouchRefused("token-key")
    return chosen[0]


def _fits(key: Key, algorithm: str) -> bool:
    said = key.get("alg")
    if said is not None and said != algorithm:
        return False
    if isinstance(key, RSAKey):
        return algorithm.startswith(("RS", "PS"))
    return isinstance(key, ECKey) and key.curve_name == _CURVES.get(algorithm)


def check_id_token(claims: Mapping[str, Any], expected: Expected, nonce: str, now: datetime) -> str:
    """The subject of an ID token whose signature is right; raises VouchRefused."""
    _check_common(claims, expected, now)
    told = claims.get("nonce")
    if not isinstance(told, str) or not hmac.compare_digest(told.encode("utf-8", "replace"), nonce.encode()):
        raise VouchRefused("token-nonce")
    return _subject(claims)


def check_logout(
    header: Mapping[str, Any], claims: Mapping[str, Any], expected: Expected, now: datetime
) -> tuple[str, str, str]:
    """Subject and session (one may be "") of a logout token, and its id; raises VouchRefused.

    OpenID Connect Back-Channel Logout 1.0, section 2.6. A nonce is forbidden there, so that no ID token can pass.
    """
    if header.get("typ") not in (None, "logout+jwt", "JWT"):
        raise VouchRefused("token-type")
    _check_common(claims, expected, now)
    events = claims.get("events")
    if "nonce" in claims or not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise VouchRefused("token-event")
    subject = _subject(claims) if "sub" in claims else ""
    session, jti = claims.get("sid", ""), claims.get("jti")
    if not isinstance(session, str) or len(session) > 255 or not (subject or session):
        raise VouchRefused("token-subject")
    if not isinstance(jti, str) or not 0 < len(jti) <= 255:
        raise VouchRefused("token-id")
    return subject, session, jti


def _check_common(claims: Mapping[str, Any], expected: Expected, now: datetime) -> None:
    if claims.get("iss") != expected.issuer:
        raise VouchRefused("token-issuer")
    audience = claims.get("aud")
    listed = [audience] if isinstance(audience, str) else audience
    if not isinstance(listed, list) or expected.client_id not in listed:
        raise VouchRefused("token-audience")
    if (len(listed) > 1 or "azp" in claims) and claims.get("azp") != expected.client_id:
        raise VouchRefused("token-audience")
    at = now.timestamp()
    expires, issued, begins = (_seconds(claims.get(name)) for name in ("exp", "iat", "nbf"))
    if expires is None or at >= expires + SKEW_S:
        raise VouchRefused("token-expired")
    if issued is None or not at - OLDEST_S <= issued <= at + SKEW_S:
        raise VouchRefused("token-time")
    if "nbf" in claims and (begins is None or begins > at + SKEW_S):
        raise VouchRefused("token-time")


def _seconds(value: object) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and -(2**53) < value < 2**53
    return float(value) if fits else None  # type: ignore[arg-type]  # just looked


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise VouchRefused("token-subject")
    return subject


def factor_proved(claims: Mapping[str, Any], amr: Collection[str], acr: Collection[str], now: datetime) -> bool:
    """Whether the provider says that a second factor was proved, in the words of the settings, and just now.

    Without `auth_time`, or with an old one, nothing was proved for this sign-in (RFC 8176; Core, section 2).
    """
    proved_at = _seconds(claims.get("auth_time"))
    if proved_at is None or not -SKEW_S <= now.timestamp() - proved_at <= FACTOR_OLDEST_S:
        return False
    methods, level = claims.get("amr"), claims.get("acr")
    by_method = isinstance(methods, list) and any(isinstance(one, str) and one in amr for one in methods)
    return by_method or (isinstance(level, str) and level in acr)
