"""The glue between policy, vault and bodies on real parts: vault, profiles and the shipped policy, no pipeline."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson

from gateway.binding import Binding
from gateway.body.limits import Limits as BodyLimits
from gateway.cell_sight import CellSight
from gateway.collaborators import Fields, Limits, Outgoing
from gateway.database import Pool
from gateway.digit_sight import DigitSight
from gateway.digits import DigitFields, means_something
from gateway.exchange import Exchange, Head, Principal
from gateway.installation import Installation
from gateway.inward import Inward
from gateway.kept import KeptFields
from gateway.outward import Outward
from gateway.placed import Placed
from gateway.records import Records
from gateway.reveal import Reveal
from gateway.row_records import RowRecords
from gateway.search import Search
from gateway.sight import Sight
from gateway.store import RecordStore
from gateway.tokenise import Tokeniser
from kms.beside import Beside
from kms.cell_store import CellStore
from kms.cells import Cells
from kms.digit_store import DigitStore
from kms.digits import Digits
from kms.envelope import DEFAULT
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.persons import Persons
from kms.scanner import Scanner
from kms.store import Store
from kms.tokens import SurrogateVault, VaultEntry
from policies.enforcer import DEFAULT_POLICY, Bundle, Enforcer
from policies.profile import Profile, load_profile

TENANT = "acme"
SECRET = b"correct horse battery staple"
NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
# Keys of CRM users.
ANNA, BORIS = "7", "8"
PERSON = {
    "user": ANNA,
    "last_name": "张",
    "first_name": "伟明",
    "phone": "13800138000",
    "email": "zhang.weiming@example.com",
    "billing_address-address": "北京市朝阳区建国路 1 号",
}


@lru_cache
def shipped(name: str, policy: str | Path) -> tuple[Profile, Bundle]:
    """A profile and a policy compiled for it; both never change."""
    profile = load_profile(name)
    return profile, Enforcer(profile.field_specs, profile.operation_ids).load(policy)


@lru_cache
def unsealed(path: Path, data: bytes) -> bytes:
    """The root key in a keyring file; deriving its key is slow on purpose."""
    return LocalProvider(path, SECRET)._unseal(data)


class FastProvider(LocalProvider):
    """The local provider, which derives the key of one file only once a session."""

    def _unseal(self, data: bytes) -> bytes:
        return unsealed(self._path, data)


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class SeenSessions:
    """Keeps what the binding learns of CRM sign-ins."""

    identities: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: list[tuple[str, str]] = field(default_factory=list)
    ended: list[tuple[str, list[str]]] = field(default_factory=list)

    async def note_crm_identity(self, session_id: str, crm_login: str, crm_user: str) -> None:
        self.identities.append((session_id, crm_login, crm_user))

    async def note_crm_token(self, session_id: str, token_hash: str) -> None:
        self.tokens.append((session_id, token_hash))

    async def end_crm_tokens(self, session_id: str, token_hashes: Sequence[str]) -> None:
        self.ended.append((session_id, list(token_hashes)))


class Glue:
    """The stages of one gateway for one CRM, and a CRM that only remembers what it was sent."""

    def __init__(
        self,
        vault: SurrogateVault,
        scanner: Scanner,
        pool: Pool,
        profile: str,
        policy: str | Path,
        keyring: Keyring,
        persons: Persons | None = None,
    ) -> None:
        self.vault = vault
        self.keyring = keyring
        self.scanner = scanner
        self.clock = Clock()
        self.records = Records(RecordStore(pool), max_age=timedelta(days=30))
        self.sessions = SeenSessions()
        given, self.bundle = shipped(profile, policy)
        self.installation = Installation(given)
        scanners: Mapping[str, Scanner] = {TENANT: scanner}
        self.limits = Limits()
        store, sight = CellStore(pool), Sight(self.records)
        self.cells = Cells(store, keyring, lambda _: DEFAULT, persons=persons)
        self.beside = Beside(store, keyring, lambda _: DEFAULT)
        self.digits = Digits(DigitStore(pool), keyring, means_something)
        numbers = DigitFields(self.digits, sight)
        self.kept = KeptFields(self.beside, self.cells, sight, numbers)
        rows = RowRecords(vault, scanners.__getitem__)
        self.placed = Placed(self.beside, sight, rows, DigitSight(self.digits, sight))
        cell_sight = CellSight(self.cells, sight, lambda _: self.profile.field_specs)
        self.reveal = Reveal(vault, self.records, scanners, self.clock, cell_sight)
        self.binding = Binding(vault, self.records, self.sessions, self.clock, kept=self.kept)
        self.tokeniser = Tokeniser(vault, self.records, scanners.__getitem__, kept=self.kept)
        self.search = Search(vault, self.records, digits=numbers)
        self.inward = Inward(
            self.tokeniser, self.search, scanners.__getitem__, self.limits, kept=self.kept, digits=numbers
        )
        self.outward = Outward(self.reveal, self.binding, BodyLimits(), self.placed)
        self._count = 0

    def outward_with(self, reveal: Reveal) -> Outward:
        """The way out with another way of rendering."""
        return Outward(reveal, self.binding, BodyLimits(), self.placed)

    def outward_over(self, vault: "Broken") -> Outward:
        """The way out over another vault."""
        return self.outward_with(Reveal(vault, self.records, {TENANT: self.scanner}, self.clock))  # type: ignore[arg-type]

    @property
    def profile(self) -> Profile:
        return self.installation.current

    def exchange(
        self,
        method: str,
        target: str,
        *,
        role: str = "manager",
        user: str | None = ANNA,
        body: bytes | None = None,
        content_type: str = FORM,
    ) -> Exchange:
        """A decided exchange of somebody with this role, whom the CRM knows under `user`."""
        self._count += 1
        parts = urlsplit(target)
        head = Head(method, target, parts.path, parts.query, "crm.localhost", (), body is not None, None)
        made = Exchange(f"x{self._count}", self.clock(), head, tenant=TENANT, crm_user=user)
        made.principal = Principal("u1", "anna", (role,), TENANT, "session-1", crm_user=user)
        made.operation = self.profile.classify(method, parts.path, parts.query, body, content_type)
        made.decision = self.bundle.decide(TENANT, (role,), made.operation)
        assert made.decision.allowed, (made.operation.id, made.decision.reason)
        return made

    async def protect(self, exchange: Exchange, body: bytes | None, content_type: str = FORM) -> Outgoing:
        return await self.inward.protect_request(exchange, self.profile, content_type, body)

    async def send_form(
        self, target: str, fields: Mapping[str, str], *, role: str = "manager", user: str | None = ANNA
    ) -> tuple[Exchange, dict[str, str]]:
        """What the CRM gets of a posted form."""
        body = urlencode(fields).encode()
        exchange = self.exchange("POST", target, role=role, user=user, body=body)
        outgoing = await self.protect(exchange, body)
        assert isinstance(outgoing.body, bytes)
        return exchange, dict(parse_qsl(outgoing.body.decode(), keep_blank_values=True))

    async def call(
        self, method: str, *params: object, role: str = "manager", user: str | None = ANNA
    ) -> tuple[Exchange, list[Any]]:
        """What Tryton gets of a JSON-RPC call: its parameters."""
        body = orjson.dumps({"id": 1, "method": method, "params": [*params, {}]})
        exchange = self.exchange("POST", "/demo/rpc/", role=role, user=user, body=body, content_type=JSON)
        outgoing = await self.protect(exchange, body, JSON)
        assert isinstance(outgoing.body, bytes)
        return exchange, list(orjson.loads(outgoing.body)["params"])

    async def answer(
        self, exchange: Exchange, body: bytes, content_type: str = "text/html", status: int = 200, **fields: str
    ) -> tuple[dict[str, str], bytes]:
        """What the person gets of an answer of the CRM."""
        given: Fields = [("content-type", content_type), *((k.replace("_", "-"), v) for k, v in fields.items())]
        out, rendered = await self.outward.render_answer(exchange, self.installation, status, given, body)
        return dict(out), rendered

    async def create(self, record: str, owner: str = ANNA, **changed: str) -> dict[str, str]:
        """A Creme contact made by a manager; returns what the CRM holds of it."""
        return await self.create_as("manager", record, owner, **changed)

    async def create_as(self, role: str, record: str, owner: str, **changed: str) -> dict[str, str]:
        """A Creme contact made by somebody with this role."""
        fields = {**PERSON, **{k.replace("__", "-"): v for k, v in changed.items()}, "user": owner}
        exchange, held = await self.send_form("/persons/contact/add", fields, role=role)
        await self.answer(exchange, b"", status=302, location=f"/persons/contact/{record}")
        return held

    async def see(
        self, body: bytes | str, role: str = "sales", user: str | None = ANNA, target: str = "/persons/contacts"
    ) -> str:
        """A page of the CRM as somebody sees it."""
        data = body.encode() if isinstance(body, str) else body
        _, shown = await self.answer(self.exchange("GET", target, role=role, user=user), data)
        return shown.decode()

    async def see_json(self, value: object, role: str = "sales", user: str | None = ANNA) -> object:
        exchange = self.exchange("GET", "/persons/contacts", role=role, user=user)
        _, shown = await self.answer(exchange, orjson.dumps(value), JSON)
        return orjson.loads(shown)

    async def see_tryton(self, value: object, role: str, user: str | None = ANNA) -> Any:
        """The result of a read in Tryton as somebody's program gets it."""
        call = b'{"id":1,"method":"model.party.party.read","params":[[5],["name"],{}]}'
        exchange = self.exchange("POST", "/demo/rpc/", role=role, user=user, body=call, content_type=JSON)
        _, shown = await self.answer(exchange, orjson.dumps({"id": 1, "result": value}), JSON)
        return orjson.loads(shown)["result"]

    async def entry(self, surrogate: str) -> VaultEntry:
        return (await self.vault.resolve(TENANT, [surrogate]))[surrogate]

    async def clear(self, held: Mapping[str, str]) -> dict[str, str]:
        """The real values behind what the CRM holds."""
        entries = await self.vault.resolve(TENANT, set(held.values()))
        return {name: entries[value].clear if value in entries else value for name, value in held.items()}


@asynccontextmanager
async def open_glue(
    pool: Pool,
    keyring_path: Path,
    profile: str = "creme",
    policy: str | Path = DEFAULT_POLICY,
    provider: LocalProvider | None = None,
    persons: Persons | None = None,
) -> AsyncIterator[Glue]:
    """The stages over a real vault; persons: whose keys hold what is new."""
    keyring = Keyring(provider or FastProvider(keyring_path, SECRET), Store(pool), clock=time.monotonic)
    vault = SurrogateVault(pool, keyring, persons=persons)
    try:
        yield Glue(vault, await vault.start(TENANT), pool, profile, policy, keyring, persons)
    finally:
        await vault.close()


class Broken:
    """A collaborator whose every method raises, hangs or answers nonsense."""

    def __init__(self, way: str, fault: Exception) -> None:
        self._way = way
        self._fault = fault

    def __getattr__(self, name: str) -> object:
        async def call(*_: object, **__: object) -> object:
            if self._way == "raise":
                raise self._fault
            if self._way == "hang":
                await asyncio.sleep(3600)
            return "nonsense"

        def cached(_tenant: str, surrogates: set[str]) -> tuple[dict[str, VaultEntry], list[str]]:
            return {}, list(surrogates)

        return cached if name == "cached" else call
