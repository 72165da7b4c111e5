"""Passkeys (WebAuthn, level 3) as a second factor: enrolment, use, removal; the cryptography is py_webauthn's.

A passkey belongs to exactly one host: its RP id is the name of the host the person is on, never a parent domain, so
that neither the CRM's own scripts nor a neighbouring host can ask for a proof that counts at the console. A challenge
is bound to one half-open sign-in or one session, is used up before its answer is verified, and lives five minutes. The
person must be verified by the authenticator. A signature counter that does not grow is refused: somebody may have
copied the key.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import webauthn
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from gateway.access.factor import FactorWrong
from gateway.access.factor_store import ENROL, PROVE, SIGN_IN, Challenge, FactorStore, PasskeyRow
from gateway.access.tokens import Randomness, digest, new_id, well_formed
from gateway.access.user import AppUser, printable

CHALLENGE_BYTES = 32
CHALLENGE_LIFETIME = timedelta(minutes=5)
PASSKEYS_LIMIT = 10
NAME_LIMIT_CHARS = 60
CREDENTIAL_LIMIT_CHARS = 16_384


class PasskeyWrong(FactorWrong):
    """The answer is not one of this person's authenticators to this challenge on this host."""

    reason = "passkey-wrong"


class PasskeyCounterBack(FactorWrong):
    """The signature was right but the authenticator's counter did not grow: the key may have been copied."""

    reason = "passkey-counter-back"


class PasskeyRefused(Exception):  # noqa: N818 - an outcome the form reports
    """A passkey cannot be added or removed; `problem` is `passkey-invalid`, `passkey-name` or `passkey-not-added`."""

    permanent = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Site:
    """The host a person is on: its origin as browsers write it, and its name, which is the RP id."""

    origin: str
    rp_id: str


def site_of(public_url: str, host: str) -> Site | None:
    """The site of a public address, None where passkeys cannot be used: not this host, no TLS, or a bare IP address.

    host: the request's Host header; it has to be the public address's own.
    """
    parts = urlsplit(public_url.lower())
    name = parts.hostname or ""
    if parts.scheme != "https" or not name or parts.netloc != host.lower():
        return None
    try:
        ip_address(name)
    except ValueError:
        return Site(f"https://{parts.netloc}", name)
    return None


class Passkeys:
    """The passkeys of all accounts; one object per process. product: the name authenticators show."""

    def __init__(
        self,
        store: FactorStore,
        *,
        clock: Callable[[], datetime],
        randomness: Randomness,
        product: str = "crmgate",
    ) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._product = product

    async def held(self, tenant: str, user_id: str) -> Sequence[PasskeyRow]:
        """A person's passkeys on every host."""
        return await self._store.passkeys(tenant, user_id)

    async def ask_new(self, user: AppUser, session_id: str, site: Site) -> str:
        """Options for `navigator.credentials.create` as JSON; the proof of password and factor was given before."""
        challenge = await self._challenge(ENROL, user.tenant, digest(session_id), user.id, site)
        known = await self._store.passkeys(user.tenant, user.id)
        options = webauthn.generate_registration_options(
            rp_id=site.rp_id,
            rp_name=self._product,
            user_id=user.id.encode("utf-8"),
            user_name=user.login,
            user_display_name=user.name,
            challenge=challenge,
            timeout=int(CHALLENGE_LIFETIME.total_seconds() * 1000),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[_described(one.credential_id) for one in known if one.rp_id == site.rp_id],
        )
        return webauthn.options_to_json(options)

    async def check_new(
        self, tenant: str, user_id: str, session_id: str, credential: str, name: str, site: Site
    ) -> PasskeyRow:
        """The authenticator's answer as a passkey that is not stored yet; the challenge is used up.

        Raises PasskeyRefused, StoreUnavailable.
        """
        label = name.strip()
        if not label or len(label) > NAME_LIMIT_CHARS or not printable(label):
            raise PasskeyRefused("passkey-name")
        now = self._clock()
        asked = await self._store.take_challenge(tenant, ENROL, digest(session_id), now)
        if asked is None or asked.user_id != user_id or asked.rp_id != site.rp_id:
            raise PasskeyRefused("passkey-invalid")
        try:
            verified = webauthn.verify_registration_response(
                credential=_parsed(credential),
                expected_challenge=asked.value,
                expected_rp_id=site.rp_id,
                expected_origin=site.origin,
                require_user_verification=True,
            )
        # The answer is a stranger's bytes, read by parsers of CBOR, ASN.1 and COSE: whatever they raise is a refusal.
        except Exception as fault:
            raise PasskeyRefused("passkey-invalid") from fault
        return PasskeyRow(
            id=new_id("k", self._randomness),
            user_id=user_id,
            rp_id=site.rp_id,
            credential_id=verified.credential_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            name=label,
            created_at=now,
            last_used_at=None,
        )

    async def keep(self, tenant: str, passkey: PasskeyRow) -> None:
        """Store a checked passkey; raises PasskeyRefused, StoreUnavailable."""
        if not await self._store.insert_passkey(tenant, passkey, PASSKEYS_LIMIT):
            raise PasskeyRefused("passkey-not-added")

    async def offered(self, tenant: str, half_open: str, audience: str, site: Site | None) -> bool:
        """Whether a half-open sign-in can be finished with a passkey on this host."""
        return bool(await self._usable(tenant, half_open, audience, site))

    async def ask(self, tenant: str, half_open: str, audience: str, site: Site | None) -> str | None:
        """Options for `navigator.credentials.get` as JSON, None when there is no passkey to ask for."""
        usable = await self._usable(tenant, half_open, audience, site)
        if not usable or site is None:
            return None
        challenge = await self._challenge(SIGN_IN, tenant, digest(half_open), usable[0][0], site)
        return _options(site, challenge, [credential_id for _, credential_id in usable])

    async def usable_here(self, tenant: str, user_id: str, site: Site | None) -> bool:
        """Whether a person has a passkey of this host."""
        return site is not None and any(one.rp_id == site.rp_id for one in await self._store.passkeys(tenant, user_id))

    async def ask_proof(self, tenant: str, user_id: str, session_id: str, site: Site | None) -> str | None:
        """Options for a proof inside a session, None when there is no passkey to ask for."""
        held = [] if site is None else await self._store.passkeys(tenant, user_id)
        usable = [one.credential_id for one in held if site is not None and one.rp_id == site.rp_id]
        if not usable or site is None:
            return None
        return _options(site, await self._challenge(PROVE, tenant, digest(session_id), user_id, site), usable)

    async def use_proof(self, user: AppUser, session_id: str, credential: str, site: Site | None) -> None:
        """Verify the answer to a session's challenge; raises as `use` does."""
        await self._verify(user, PROVE, digest(session_id), credential, site)

    async def use(self, user: AppUser, half_open: str, credential: str, site: Site | None) -> None:
        """Verify the answer to a half-open sign-in's challenge.

        Raises PasskeyWrong, PasskeyCounterBack, StoreUnavailable.
        """
        await self._verify(user, SIGN_IN, digest(half_open), credential, site)

    async def _verify(self, user: AppUser, purpose: str, bound_to: bytes, credential: str, site: Site | None) -> None:
        now = self._clock()
        asked = await self._store.take_challenge(user.tenant, purpose, bound_to, now)
        if site is None or asked is None or asked.user_id != user.id or asked.rp_id != site.rp_id:
            raise PasskeyWrong
        held = [one for one in await self._store.passkeys(user.tenant, user.id) if one.rp_id == site.rp_id]
        try:
            parsed = _parsed(credential)
            used = webauthn.base64url_to_bytes(str(parsed["id"]))
            passkey = next(one for one in held if one.credential_id == used)
            verified = webauthn.verify_authentication_response(
                credential=parsed,
                expected_challenge=asked.value,
                expected_rp_id=site.rp_id,
                expected_origin=site.origin,
                credential_public_key=passkey.public_key,
                # The counter is compared in the statement that stores it, where parallel answers meet.
                credential_current_sign_count=0,
                require_user_verification=True,
            )
        # A stranger's bytes, as above.
        except Exception as fault:
            raise PasskeyWrong from fault
        if not await self._store.advance_counter(user.tenant, passkey.id, verified.new_sign_count, now):
            raise PasskeyCounterBack

    async def remove(self, tenant: str, user_id: str, passkey_id: str) -> bool:
        """Remove a passkey of a person; False when there is none or it is the last factor."""
        return await self._store.delete_passkey(tenant, user_id, passkey_id)

    async def _usable(self, tenant: str, half_open: str, audience: str, site: Site | None) -> list[tuple[str, bytes]]:
        if site is None or not well_formed(half_open):
            return []
        return await self._store.half_open_passkeys(tenant, digest(half_open), audience, site.rp_id, self._clock())

    async def _challenge(self, purpose: str, tenant: str, bound_to: bytes, user_id: str, site: Site) -> bytes:
        value = self._randomness(CHALLENGE_BYTES)
        asked = Challenge(user_id, site.rp_id, value)
        await self._store.put_challenge(tenant, purpose, bound_to, asked, self._clock() + CHALLENGE_LIFETIME)
        return value


def _options(site: Site, challenge: bytes, credential_ids: Sequence[bytes]) -> str:
    """Options for `navigator.credentials.get` as JSON."""
    options = webauthn.generate_authentication_options(
        rp_id=site.rp_id,
        challenge=challenge,
        timeout=int(CHALLENGE_LIFETIME.total_seconds() * 1000),
        allow_credentials=[_described(one) for one in credential_ids],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return webauthn.options_to_json(options)


def _described(credential_id: bytes) -> PublicKeyCredentialDescriptor:
    return PublicKeyCredentialDescriptor(id=credential_id)


def _parsed(credential: str) -> dict[str, Any]:
    if len(credential) > CREDENTIAL_LIMIT_CHARS:
        raise WebAuthnException("too long")
    parsed = json.loads(credential)
    if not isinstance(parsed, dict):
        raise WebAuthnException("not an object")
    return parsed
