"""Where a value is revealed: one value, one reason, one proof, counted and on record before it leaves.

In this order: who asks and for what is written down (ledger and trail); the right is asked for, the second factor is
proved, the budget of the hour is charged; the value is opened; that it is shown is written down; only then it is given
to the caller. Whatever fails on the way ends it: without trail, keys or database nothing is revealed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from audit.entry import AuditEntry
from gateway.access.gate import Gate, NotAdmitted
from gateway.access.sessions import AUDIENCE_CRM, Sessions
from gateway.access.sign_in import Attempt, HalfOpenExpired, SignIn
from gateway.access.throttle import Locked
from gateway.disclosure.config import FREE, RevealSettings
from gateway.disclosure.handle import Mask
from gateway.disclosure.right import RevealRight, permitted
from gateway.disclosure.sealing import reason_context
from gateway.disclosure.store import ASKED, SHOWN, LedgerRow, LedgerStore
from gateway.exchange import Principal
from gateway.guess_store import Count
from gateway.guesses import Counts, Trail
from gateway.named_people import ERASED, People
from gateway.records import ANY_ENTITY, Records
from gateway.refusal import (
    REVEAL_BUDGET,
    REVEAL_CODE_WRONG,
    REVEAL_LOCKED,
    REVEAL_NOT_ALLOWED,
    REVEAL_NOTHING,
    REVEAL_OFF,
    REVEAL_REASON,
    SESSION_ENDED,
    Refusal,
)
from kms.envelope import EnvelopeInvalid
from kms.provider import KeysUnavailable
from kms.tokens import Origin, VaultEntry
from policies.decision import FieldView
from privacy import mask as masks

SORT = "reveal"
OPERATION = "access.reveal"
KIND = "reveal"
DOOR_PAGE, DOOR_API = "page", "api"
WORDS_LIMIT_CHARS = 500
CODE_LIMIT_CHARS = 16
OWN_ROWS = 20


class Vault(Protocol):
    """kms.tokens.SurrogateVault."""

    async def resolve(self, tenant: str, surrogates: Sequence[str]) -> dict[str, VaultEntry]: ...

    async def at_origin(self, tenant: str, entity: str, field_name: str, record: str) -> list[VaultEntry]: ...


class ReasonSealer(Protocol):
    """gateway.access.sealer.Sealer."""

    async def seal(self, tenant: str, plaintext: bytes, context: bytes) -> bytes: ...

    async def open(self, tenant: str, sealed: bytes, context: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Given:
    """What the person gave. reason: one of those to pick from; words: in their own; code: of the second factor."""

    reason: str
    words: str = field(default="", repr=False)
    code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, from where. door: page or api; exchange: id of the request; step_up: a code is asked for."""

    principal: Principal
    client: str
    door: str
    exchange: str
    step_up: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """A mask as the person may pick it. text: masked."""

    number: int
    mask: Mask
    text: str


@dataclass(frozen=True, slots=True)
class Revealed:
    """A value on its way to the person, and how many are left in this hour."""

    value: str = field(repr=False)
    mask: Mask
    left: int


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A row of the ledger with its reason opened; reason, words: "" where the key is gone.

    record: by the CRM's key, `ERASED` of an erased person, whose name may be in `words`, which are "" then; as in the
    row while there are no keys.
    """

    row: LedgerRow
    reason: str
    words: str = field(repr=False)
    record: str


@dataclass(frozen=True, slots=True)
class Desk:
    """One per process. settings: tenant → its section; view: tenant and roles → what the policy shows them."""

    settings: Mapping[str, RevealSettings]
    view: Callable[[str, tuple[str, ...]], FieldView]
    right: RevealRight
    vault: Vault
    records: Records
    sessions: Sessions
    sign_in: SignIn
    gate: Gate
    counts: Counts
    trail: Trail
    ledger: LedgerStore
    sealer: ReasonSealer
    people: People
    clock: Callable[[], datetime]
    new_id: Callable[[str], str]

    def settings_of(self, tenant: str) -> RevealSettings:
        """The section of a tenant where it is switched on; raises Refusal REVEAL_OFF."""
        found = self.settings.get(tenant)
        if found is None or not found.enabled:
            raise Refusal(REVEAL_OFF)
        return found

    async def present(
        self, tenant: str, session_id: str, user_id: str, client: str, proven: datetime | None = None
    ) -> Principal:
        """Whose CRM session this is, while it lives and may be used from this address at this hour.

        proven: when its device had to have proved itself, None for now.
        Raises Refusal SESSION_ENDED (locked sessions, too), PLACE_NOT_ALLOWED or HOUR_NOT_ALLOWED; StoreUnavailable.
        """
        now = self.clock()
        found = await self.sessions.live_principal(tenant, session_id, user_id, now, proven)
        if found is None:
            raise Refusal(SESSION_ENDED)
        try:
            self.gate.check(found, AUDIENCE_CRM, client, now)
        except NotAdmitted as refused:
            raise Refusal(refused.reason) from refused
        return found

    async def listed(self, principal: Principal, shown: Sequence[Mask]) -> list[Listed]:
        """Those of a page's masks that this person may have revealed now, as masks."""
        now = self.clock()
        view = self.view(principal.tenant, principal.roles)
        await self._load_owners(principal.tenant, shown, now)
        wanted = [
            (number, one)
            for number, one in enumerate(shown)
            if self._by(principal, view, one.kind, (_origin(one),), now)
        ]
        found = await self.vault.resolve(principal.tenant, [one.surrogate for _, one in wanted])
        return [
            Listed(number, one, masks.mask(entry.kind, _spelled(entry, one)))
            for number, one in wanted
            if (entry := found.get(one.surrogate)) is not None and _origin(one) in entry.origins
        ]

    async def find(self, tenant: str, entity: str, name: str, record: str) -> Mask | None:
        """The newest value that a field of a record holds, as a mask; None for none."""
        held = await self.vault.at_origin(tenant, entity, name, record)
        return Mask(held[0].surrogate, held[0].kind, entity, name, record) if held else None

    async def reveal(self, asking: Asking, wanted: Mask, given: Given) -> Revealed:
        """One value, once everything about it is written down.

        Raises Refusal, AuditUnavailable, StoreUnavailable, KeysUnavailable.
        """
        tenant = asking.principal.tenant
        settings = self.settings_of(tenant)
        row = await self._write_down(asking, wanted, given)
        try:
            _require_reason(settings, given)
            await self._require_right(asking.principal, wanted)
            if asking.step_up:
                await self._prove(asking, given.code)
            left = await self._charge(asking, wanted, settings.per_hour)
            value = await self._open(asking.principal, wanted)
        except Refusal as refusal:
            await self._settle(asking, wanted, row, refusal.reason.id, refusal.reason.status)
            raise
        await self._settle(asking, wanted, row, SHOWN, 200)
        return Revealed(value, wanted, left)

    async def own(self, tenant: str, user_id: str) -> Sequence[LedgerLine]:
        """What one person asked to have revealed lately, without reasons while there are no keys.

        Raises StoreUnavailable.
        """
        rows = await self.ledger.page(tenant, actor=user_id, most=OWN_ROWS)
        try:
            return await self.lines(tenant, rows)
        except KeysUnavailable:
            return [LedgerLine(row, "", "", row.record) for row in rows]

    async def lines(self, tenant: str, rows: Sequence[LedgerRow]) -> list[LedgerLine]:
        """Rows of the ledger with their reasons; raises KeysUnavailable."""
        lines = []
        people = await self.people.told(tenant, {row.record for row in rows})
        for row in rows:
            try:
                text = (await self.sealer.open(tenant, row.reason, reason_context(row.id))).decode()
            except EnvelopeInvalid:
                text = ""
            reason, _, words = text.partition("\n")
            told = people.get(row.record)
            record = row.record if told is None else told.partition("/")[2]
            lines.append(LedgerLine(row, reason, "" if record == ERASED else words, record))
        return lines

    # -- one after the other -----------------------------------------------------------------------------------------

    async def _write_down(self, asking: Asking, wanted: Mask, given: Given) -> LedgerRow:
        who, tenant = asking.principal, asking.principal.tenant
        id_ = self.new_id("v")
        text = f"{given.reason[:WORDS_LIMIT_CHARS]}\n{given.words[:WORDS_LIMIT_CHARS]}"
        sealed = await self.sealer.seal(tenant, text.encode("utf-8", "replace"), reason_context(id_))
        # The id of the row is in the trail, beside the pseudonym.
        record = await self.people.name_of(tenant, wanted.entity, wanted.record)
        row = LedgerRow(
            id_, self.clock(), who.id, who.login, wanted.entity, wanted.field, record, wanted.kind, asking.door,
            asking.step_up, ASKED, sealed,
        )  # fmt: skip
        await self.ledger.insert(tenant, row)
        await self._append(asking, wanted, row, "reveal-asked", 0)
        return row

    async def _settle(self, asking: Asking, wanted: Mask, row: LedgerRow, outcome: str, status: int) -> None:
        await self.ledger.settle(asking.principal.tenant, row.id, outcome)
        reason = "reveal-shown" if outcome == SHOWN else outcome
        await self._append(asking, wanted, row, reason, status)

    async def _append(self, asking: Asking, wanted: Mask, row: LedgerRow, reason: str, status: int) -> None:
        who = asking.principal
        fields: dict[str, object] = {
            "detail": [asking.door, "step-up" if asking.step_up else "no-step-up"],
            "parts": [f"{wanted.entity}.{wanted.field}"],
            "roles": who.roles,
            "target": row.id,
            **who.trace,
        }
        if reason == "reveal-shown":
            fields["shown"] = {f"{wanted.entity}.{wanted.field}": {wanted.record: {"clear": 1}}}
        await self.trail.append(
            AuditEntry(
                actor=who.id,
                actor_login=who.login,
                at=self.clock(),
                client=asking.client,
                crm_user=who.crm_login or who.crm_user or "",
                entity=wanted.entity,
                exchange=asking.exchange,
                fields=fields,
                id=self.new_id("a"),
                kind=KIND,
                operation=OPERATION,
                policy=self.view(who.tenant, who.roles).policy_version,
                reason=reason,
                record=wanted.record,
                status=status,
                tenant=who.tenant,
            )
        )

    async def _require_right(self, principal: Principal, wanted: Mask) -> None:
        now = self.clock()
        await self._load_owners(principal.tenant, (wanted,), now)
        view = self.view(principal.tenant, principal.roles)
        if not self._by(principal, view, wanted.kind, (_origin(wanted),), now):
            raise Refusal(REVEAL_NOT_ALLOWED)

    async def _prove(self, asking: Asking, code: str) -> None:
        who = asking.principal
        try:
            await self.sign_in.prove_factor(who.tenant, who.id, code[:CODE_LIMIT_CHARS], asking.client)
        except Attempt as attempt:
            locked = isinstance(attempt.outcome, Locked)
            raise Refusal(REVEAL_LOCKED if locked else REVEAL_CODE_WRONG) from attempt
        except HalfOpenExpired as closed:  # the account was closed meanwhile
            raise Refusal(REVEAL_CODE_WRONG) from closed

    async def _charge(self, asking: Asking, wanted: Mask, most: int) -> int:
        """Count the value against the hour before it is opened; how many are left. Raises Refusal REVEAL_BUDGET."""
        hour = self.clock().replace(minute=0, second=0, microsecond=0)
        count = Count(asking.principal.tenant, asking.principal.id, SORT, hour, 1)
        (now,) = await self.counts.add([count])
        if now > most:
            await self.counts.add([Count(count.tenant, count.actor, SORT, hour, -1)])
            raise Refusal(REVEAL_BUDGET)
        if now == most:
            who = asking.principal
            await self.trail.append(
                AuditEntry(
                    actor=who.id,
                    actor_login=who.login,
                    at=self.clock(),
                    client=asking.client,
                    entity=wanted.entity,
                    exchange=asking.exchange,
                    fields={"count": now, "detail": SORT, **who.trace},
                    id=self.new_id("a"),
                    kind="alarm",
                    operation=OPERATION,
                    reason=REVEAL_BUDGET.id,
                    tenant=who.tenant,
                )
            )
        return most - now

    async def _open(self, principal: Principal, wanted: Mask) -> str:
        """The value, where it still stands in the record it was shown in."""
        entry = (await self.vault.resolve(principal.tenant, [wanted.surrogate])).get(wanted.surrogate)
        if entry is None or entry.kind != wanted.kind or _origin(wanted) not in entry.origins:
            raise Refusal(REVEAL_NOTHING)
        return _spelled(entry, wanted)

    async def _load_owners(self, tenant: str, shown: Sequence[Mask], now: datetime) -> None:
        keys = {(entity, one.record) for one in shown for entity in (one.entity, ANY_ENTITY)}
        await self.records.load(tenant, keys, now)

    def _by(
        self, principal: Principal, view: FieldView, kind: str, origins: Sequence[Origin], now: datetime
    ) -> list[Origin]:
        return permitted(self.right, view, self.records, principal.tenant, principal.crm_user, now, kind, origins)


def _origin(one: Mask) -> Origin:
    return Origin(one.entity, one.field, one.record)


def _spelled(entry: VaultEntry, wanted: Mask) -> str:
    return entry.spellings.get((wanted.entity, wanted.field, wanted.record), entry.clear)


def _require_reason(settings: RevealSettings, given: Given) -> None:
    """Raise Refusal REVEAL_REASON unless a reason was given as the tenant wants it."""
    words = given.words.strip()
    if given.reason not in settings.reasons or len(words) > WORDS_LIMIT_CHARS:
        raise Refusal(REVEAL_REASON)
    if given.reason == FREE and len(words) < settings.words_chars:
        raise Refusal(REVEAL_REASON)
