"""What an accepted answer teaches: which record a create made, who owns it, who signed in to the CRM.

Only answers to our own user's write count, and only when the CRM accepted it; what another person's page shows is never
evidence (DESIGN, section 1). When one call made several records, their values stay unbound: they open to tenant-wide
rights only.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit

from gateway import headers
from gateway.access.tokens import digest
from gateway.collaborators import Fields
from gateway.exchange import Exchange
from gateway.records import ANY_ENTITY, RecordKey, Records
from kms.tokens import SurrogateVault
from policies import credential
from policies.owner import POSTED
from policies.profile import Action, FieldSpec, Operation, Profile

# (tenant, profile, operation, CRM session) → the CRM's key of that user, see gateway.whoami
Ask = Callable[[str, Profile, Operation, str], Awaitable[str | None]]
WRITES = frozenset({Action.CREATE, Action.UPDATE})

TAUGHT = WRITES | {Action.LOGIN, Action.LOGOUT}  # actions whose answers teach anything


class CrmSessions(Protocol):
    """The part of the sessions that learns CRM identities."""

    async def note_crm_identity(self, session_id: str, crm_login: str, crm_user: str) -> None:
        """Who the CRM takes this session for."""

    async def note_crm_token(self, session_id: str, token_hash: str) -> None:
        """A CRM credential that came to live in this session."""

    async def end_crm_tokens(self, session_id: str, token_hashes: Sequence[str]) -> None:
        """CRM credentials with which this session's person signed out of the CRM."""


class FileCells(Protocol):
    """The part of gateway.files that binds the files of a create."""

    async def bind(self, tenant: str, cells: Sequence[bytes], entity: str, record: str) -> None:
        """Give sealed files their record."""


class KeptValues(Protocol):
    """The part of gateway.kept that settles what a write brought in other forms than surrogates."""

    async def settle(
        self, exchange: Exchange, made: RecordKey | None, *, accepted: bool, certain: bool = False
    ) -> None:
        """What the CRM's answer means for it."""

    async def copy(self, exchange: Exchange, fields: Iterable[FieldSpec], made: RecordKey) -> None:
        """A record was copied."""


class Binding:
    """Learns from answers; one per process."""

    def __init__(
        self,
        vault: SurrogateVault,
        records: Records,
        sessions: CrmSessions,
        clock: Callable[[], datetime],
        ask: Ask | None = None,
        files: FileCells | None = None,
        kept: KeptValues | None = None,
    ) -> None:
        self._vault = vault
        self._records = records
        self._sessions = sessions
        self._clock = clock
        self._ask = ask
        self._files = files
        self._kept = kept

    async def learn(self, exchange: Exchange, profile: Profile, status: int, fields: Fields, body: bytes) -> None:
        """Bind created records, note owners and CRM identities; raises StoreUnavailable."""
        operation = exchange.operation
        if operation is None:
            return
        if operation.action is Action.LOGIN or operation.id in profile.sign_in:
            await self._login(exchange, profile, status, fields, body)
        elif operation.action is Action.LOGOUT:
            await self._logout(exchange, profile, operation, status)
        elif operation.action in WRITES:
            await self._write(exchange, profile, status, fields, body)

    async def _login(self, exchange: Exchange, profile: Profile, status: int, fields: Fields, body: bytes) -> None:
        if exchange.operation is None or exchange.principal is None:
            return
        outcome = profile.crm_user_from_login(exchange.operation, exchange.body, status, fields, body)
        if exchange.operation.id in profile.sign_in:
            exchange.crm_signed_in = any(told is not None for told in outcome[:3])
        for token in (outcome.token, *outcome.others):
            if token is not None:
                await self._sessions.note_crm_token(exchange.principal.session_id, token_hash(token))
        crm_user = outcome.crm_user
        if crm_user is None and outcome.token is not None and self._ask is not None:
            crm_user = await self._ask(exchange.tenant, profile, exchange.operation, outcome.token)
        if outcome.crm_login is not None:
            await self._sessions.note_crm_identity(exchange.principal.session_id, outcome.crm_login, crm_user or "")

    async def _logout(self, exchange: Exchange, profile: Profile, operation: Operation, status: int) -> None:
        """Some CRMs let a token live on after a sign-out; here it ends."""
        if exchange.principal is None or status >= 400:
            return
        head = exchange.head
        carried = headers.crm_tokens((), head, (), profile.credential_headers)
        hashes = [*carried.values()]
        names = profile.credential_bodies.get(operation.id)
        if names:
            told = credential.in_body(names, head.named.get("content-type", ""), exchange.body)
            hashes += [token_hash(one) for one in told]
        if hashes:
            await self._sessions.end_crm_tokens(exchange.principal.session_id, hashes)

    async def _write(self, exchange: Exchange, profile: Profile, status: int, fields: Fields, body: bytes) -> None:
        operation = exchange.operation
        if operation is None:
            return
        turned_away = signed_out(profile, status, fields)
        accepted = not turned_away and profile.accepted(operation, status, fields, body)
        told = [] if turned_away else await self._told(exchange, profile, operation, accepted, status, fields, body)
        if operation.action is Action.CREATE and not turned_away:
            await self._created(exchange, profile, told)
        elif operation.action is Action.UPDATE and accepted:
            await self._vault.hold(exchange.tenant, exchange.held)
            await self._updated(exchange, profile, operation)
        if self._kept is not None and (exchange.kept or operation.touched):
            made = told[0] if accepted and len(told) == 1 else None
            if exchange.kept:
                # A CRM that failed, or sends to its sign-in page, may have stored it; one that shows a form has not.
                certain = not turned_away and not _says_nothing(status)
                await self._kept.settle(exchange, made, accepted=accepted, certain=certain)
            elif made is not None and operation.action is Action.CREATE:
                await self._kept.copy(exchange, profile.field_specs.values(), made)

    async def _told(
        self,
        exchange: Exchange,
        profile: Profile,
        operation: Operation,
        accepted: bool,
        status: int,
        fields: Fields,
        body: bytes,
    ) -> list[RecordKey]:
        """The records that a create made: its answer says so, or the CRM is asked."""
        keys = profile.record_from_answer(operation, status, fields, body)
        if not keys and accepted and operation.action is Action.CREATE and exchange.newest is not None:
            record = await exchange.newest.record(profile)
            return [(operation.entity, record)] if record is not None else []
        return keys

    async def _created(self, exchange: Exchange, profile: Profile, keys: list[RecordKey]) -> None:
        if len(keys) == 1:
            await self._vault.bind(exchange.tenant, exchange.id, *keys[0])
            if exchange.files and self._files is not None:
                await self._files.bind(exchange.tenant, exchange.files, *keys[0])
        owner = exchange.crm_user if profile.owner_source == "actor" else exchange.owner
        owned = [key for key in keys if key[0] in profile.owned_entities]
        if POSTED in exchange.posted:
            # Of several records nobody knows which of them the body names an owner for.
            owner = exchange.posted[POSTED] if len(owned) == 1 else None
        if owned and owned[0][0] in profile.owned_through:
            owner = await self._through(exchange, profile, owned[0][0])
        if owner:
            await self._note(exchange, profile, owned, owner)

    async def _through(self, exchange: Exchange, profile: Profile, entity: str) -> str | None:
        """Whose the record is that a record of this entity has its owner from."""
        key = profile.owned_through[entity].key(exchange.posted, profile.record_ids)
        if key is None:
            return None
        now = self._clock()
        await self._records.load(exchange.tenant, _with_number(profile, [key]), now)
        return _known(self._records, exchange.tenant, key, now)

    async def _updated(self, exchange: Exchange, profile: Profile, operation: Operation) -> None:
        """An update that names an owner is no evidence (the CRM may ignore the field): who owns it is open then."""
        records = (operation.record,) if operation.record is not None else operation.records
        keys = [(operation.entity, record) for record in records]
        if not keys or not exchange.posted:
            return
        now = self._clock()
        await self._records.load(exchange.tenant, _with_number(profile, keys), now)
        known = {key: _known(self._records, exchange.tenant, key, now) for key in keys}
        if operation.entity in profile.owned_through:
            other = await self._through(exchange, profile, operation.entity)
            doubtful = [key for key in keys if known[key] != other]
        else:
            doubtful = [key for key in keys if profile.owner_in_doubt(operation, exchange.posted, known[key])]
        await self._note(exchange, profile, doubtful, "")

    async def _note(self, exchange: Exchange, profile: Profile, keys: list[RecordKey], owner: str) -> None:
        if keys:
            await self._records.note(exchange.tenant, _with_number(profile, keys), owner, self._clock())


def _with_number(profile: Profile, keys: list[RecordKey]) -> list[RecordKey]:
    """The keys, and their bare numbers where the CRM has one number range for all records."""
    return [*keys, *((ANY_ENTITY, record) for _, record in keys)] if profile.global_record_ids else keys


def _known(records: Records, tenant: str, key: RecordKey, now: datetime) -> str | None:
    return records.owner(tenant, *key, now) or records.owner(tenant, ANY_ENTITY, key[1], now)


def signed_out(profile: Profile, status: int, fields: Fields) -> bool:
    """Whether the answer only sends the person to the CRM's sign-in page: nothing was written then."""
    sign = profile.signed_out
    if sign.get("status") != status:
        return False
    path = sign.get("location")
    location = next((value for name, value in fields if name == "location"), "")
    return path is None or urlsplit(location).path.rstrip("/") == path


def _says_nothing(status: int) -> bool:
    """Whether an answer leaves open if the CRM kept what it was sent: a fault, or a time limit on the way."""
    return status >= 500 or status == 408


def token_hash(token: str) -> str:
    """What the deny list keeps of a CRM credential."""
    return digest(token).hex()
