"""Devices of people: the challenge a browser signs, what a right proof opens, and who lets a new device in.

A proof binds the session to the device for good and gives it a new cookie token; where sessions are bound, that token
opens something for a few minutes only, and the next proof, which needs the key, makes the next one. A proof made for
one sensitive act is used up by it. A device that was revoked never comes back: its key is refused from then on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.access.device import (
    CHALLENGE_LIFETIME,
    FRESH_LIFETIME,
    POINT_BYTES,
    SIGNATURE_BYTES,
    ProofInvalid,
    check_proof,
    decode,
    name_of,
    signed_text,
    thumbprint,
)
from gateway.access.device_store import DeviceRow, DevicesFull, DeviceStore, NewDevice
from gateway.access.session_store import SessionRow
from gateway.access.sessions import NoSession, Sessions
from gateway.access.tokens import Randomness, digest, new_id, new_token, well_formed

__all__ = ["DeviceRevoked", "Devices", "DevicesFull", "Proof", "Proved"]


class DeviceRevoked(Exception):  # noqa: N818 - an outcome the page explains
    """This key belongs to a device that was shut out."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Proof:
    """What a browser sends. key: its public key as a point; act: whether it is for one sensitive act that follows."""

    challenge: str
    key: str
    signature: str
    act: bool


@dataclass(frozen=True, slots=True)
class Proved:
    """A right proof. token: the session's new cookie token; new: whether the device was not known before."""

    token: str
    device: DeviceRow
    new: bool
    first: bool


class Devices:
    """One object per process, over the sessions it binds."""

    def __init__(
        self, store: DeviceStore, sessions: Sessions, *, clock: Callable[[], datetime], randomness: Randomness
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._clock = clock
        self._randomness = randomness
        self.rules = sessions.devices

    async def ask(self, session: SessionRow) -> str:
        """A challenge for the device of this session: signed once, within a minute."""
        challenge, now = new_token(self._randomness), self._clock()
        expires = now + CHALLENGE_LIFETIME
        await self._store.insert_challenge(session.tenant, session.id, digest(challenge), now, expires)
        return challenge

    async def prove(self, session: SessionRow, cookie_token: str, proof: Proof, origin: str, user_agent: str) -> Proved:
        """Check a proof and give the session its next token. origin: of this host, as browsers write it.

        Raises ProofInvalid (also for a challenge that was used), DeviceRevoked, DevicesFull, NoSession.
        """
        now, rules = self._clock(), self.rules
        if not well_formed(proof.challenge) or not origin:
            raise ProofInvalid
        # Used up before it is looked at: whoever tries has one try.
        if not await self._store.take_challenge(session.tenant, session.id, digest(proof.challenge), now):
            raise ProofInvalid
        point = decode(proof.key, POINT_BYTES)
        check_proof(point, decode(proof.signature, SIGNATURE_BYTES), signed_text(origin, proof.challenge))
        shown = NewDevice(
            new_id("d", self._randomness),
            session.user_id,
            session.audience,
            thumbprint(point),
            point,
            name_of(user_agent),
        )
        device, new = await self._store.enrol(session.tenant, shown, now, rules.most, rules.approval)
        if device.revoked_at is not None:
            raise DeviceRevoked
        if session.device not in ("", device.id):
            raise ProofInvalid
        token = new_token(self._randomness)
        until = now + rules.renewal if rules.bound else None
        fresh = now + FRESH_LIFETIME if proof.act else None
        presented = digest(cookie_token)
        if not await self._store.bind(session.id, presented, device.id, digest(token), now, until, fresh):
            raise NoSession
        self._sessions.forget(session.id)
        return Proved(token, device, new, session.device == "")

    async def held(self, tenant: str, user_id: str) -> Sequence[DeviceRow]:
        """The devices of one person."""
        return await self._store.devices(tenant, user_id)

    async def approve(self, tenant: str, user_id: str, device: str, by: str) -> bool:
        """Let a waiting device in; False where none waits."""
        return await self._store.approve(tenant, user_id, device, by, self._clock())

    async def revoke(self, tenant: str, user_id: str, device: str, by: str) -> bool:
        """Shut a device out; its sessions end on every node. False where there is no such device."""
        ended = await self._store.revoke(tenant, user_id, device, by, self._clock())
        if ended is None:
            return False
        self._sessions.ended(ended)
        return True
