"""What the gateway keeps sealed outside the vault, and how its keys are rotated: every such column stands in `COLUMNS`.

Second-factor secrets, the service credential of a CRM, and what a protect run put aside are opened and sealed anew
under the current key by compare-and-set; values kept beside the CRM are kms.beside_rotation's. Keyed digests (of
protected fields, of delivered mail) cannot be made anew without what they are of: their old keys go on confirming.
A test compares `COLUMNS` with the columns of the database, so that a sealed one cannot be forgotten here.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway import sealing
from gateway.access.tokens import Randomness
from gateway.disclosure import sealing as disclosure
from gateway.identity import crm_login, signing_key
from gateway.identity import sealing as identity
from gateway.protect import change, credential
from gateway.rotation_store import Cell, Place, SealedStore
from kms.envelope import NONCE_BYTES, Context, EnvelopeInvalid, Sealing, key_id, open_typed, seal
from kms.keyring import Keyring
from kms.rotation import EQUAL, SEAL, TOKEN, End, Renewed

EGRESS = "egress"


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of envelopes. scope: of their key.

    bound: tenant and what names the row → what the envelope is bound to; pad_to: as its writer pads.
    """

    place: Place
    scope: str
    bound: Callable[[str, Sequence[str]], Context]
    pad_to: int

    def chosen(self, scope: str) -> Mapping[str, str] | None:
        """Which rows are under keys of a scope, by column and value; None: none."""
        return {} if scope == self.scope else None


COLUMNS = (
    SealedColumn(
        Place("app_user", "totp_secret", ("id",)),
        sealing.SCOPE,
        lambda t, row: sealing.of_user(t, row[0]),
        sealing.PAD_TO,
    ),
    SealedColumn(
        Place("app_invitation", "totp_secret", ("token_hash", "user_id")),
        sealing.SCOPE,
        lambda t, row: sealing.of_user(t, row[1]),
        sealing.PAD_TO,
    ),
    SealedColumn(
        Place("crm_credential", "blob", ("tenant",)),
        credential.SCOPE,
        lambda t, _: credential.place_of(t),
        credential.PAD_TO,
    ),
    SealedColumn(
        Place("protect_record", "kept", ("run", "entity", "record")),
        credential.SCOPE,
        lambda t, row: change.kept_place(t, row[1], row[2]),
        change.PAD_TO,
    ),
    SealedColumn(
        Place(crm_login.TABLE, "blob", ("holder",)),
        identity.SCOPE,
        lambda t, row: identity.place_of(t, crm_login.TABLE, row[0]),
        identity.PAD_TO,
    ),
    SealedColumn(
        Place(signing_key.TABLE, "blob", ("id",)),
        identity.SCOPE,
        lambda t, row: identity.place_of(t, signing_key.TABLE, row[0]),
        identity.PAD_TO,
    ),
    SealedColumn(
        Place("reveal_ledger", "reason", ("id",)),
        disclosure.SCOPE,
        lambda t, row: disclosure.of_reason(t, row[0]),
        disclosure.PAD_TO,
    ),
)


class SealedMover:
    """`kms.rotation.Mover` of `COLUMNS`. how: how a tenant seals what is new."""

    def __init__(
        self, store: SealedStore, keyring: Keyring, randomness: Randomness, how: Callable[[str], Sealing]
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._randomness = randomness
        self._how = how

    def end(self, scope: str, purpose: str) -> End | None:
        """Nothing is left under the old key."""
        return End.RETIRED if purpose == SEAL and _columns(scope) else None

    async def total(self, tenant: str, scope: str, purpose: str) -> int:
        """Envelopes in all columns of a scope."""
        return sum([await self._store.total(tenant, one.place, only) for one, only in _columns(scope)])

    async def renew(self, tenant: str, scope: str, purpose: str, after: str, most: int) -> Renewed:
        """Seal the next envelopes anew; after: JSON of the column's number and the last row, "" for the first.

        Raises KeysUnavailable, StoreUnavailable.
        """
        columns = _columns(scope)
        number, row = json.loads(after) if after else (0, [])
        column, only = columns[number]
        self._keyring.refresh(tenant)  # no notice of other processes is needed to write under the key of now
        cells = await self._store.page(tenant, column.place, only, row, most)
        made, damaged = await self._anew(tenant, scope, column, cells)
        done = await self._store.replace(tenant, column.place, made) if made else 0
        following: tuple[int, Sequence[str]] | None = (number, cells[-1].row) if len(cells) == most else None
        if following is None and number + 1 < len(columns):
            following = (number + 1, [])
        return Renewed(None if following is None else json.dumps(following), len(cells), done, damaged, 0)

    async def left(self, tenant: str, scope: str, purpose: str, key: bytes) -> int:
        """Envelopes that name a key."""
        return sum([await self._store.left(tenant, one.place, only, key) for one, only in _columns(scope)])

    async def _anew(
        self, tenant: str, scope: str, column: SealedColumn, cells: Sequence[Cell]
    ) -> tuple[list[tuple[Cell, bytes]], int]:
        """What to write instead, and how many do not open; those of destroyed keys are left as they are."""
        key = await self._keyring.field_key(tenant, scope, SEAL)
        old = [cell for cell in cells if key_id(cell.blob) != key.id]
        gone: set[bytes] = set()
        keys = await self._keyring.by_id(tenant, {key_id(cell.blob) for cell in old}, gone) if old else {}
        made: list[tuple[Cell, bytes]] = []
        damaged = 0
        for cell in old:
            place = column.bound(tenant, cell.row)
            try:
                kind, clear = open_typed(keys, cell.blob, place)
            except EnvelopeInvalid:
                damaged += key_id(cell.blob) not in gone
                continue
            nonce = self._randomness(NONCE_BYTES)
            blob = seal(key, clear, place, nonce, pad_to=column.pad_to, kind=kind, sealing=self._how(tenant))
            made.append((cell, blob))
        return made, damaged


class DigestMover:
    """`kms.rotation.Mover` of keyed digests: there is nothing to make them of, so the old key goes on confirming."""

    def __init__(self, store: SealedStore) -> None:
        self._store = store

    def end(self, scope: str, purpose: str) -> End | None:
        """The old key confirms, for ever."""
        return End.VERIFY if (scope, purpose) in ((credential.SCOPE, EQUAL), (EGRESS, TOKEN)) else None

    async def total(self, tenant: str, scope: str, purpose: str) -> int:
        """Nothing is moved."""
        return 0

    async def renew(self, tenant: str, scope: str, purpose: str, after: str, most: int) -> Renewed:
        """Nothing is moved."""
        return Renewed(None, 0, 0, 0, 0)

    async def left(self, tenant: str, scope: str, purpose: str, key: bytes) -> int | None:
        """Records of protect runs with digests under a key; those of mail do not name theirs."""
        return await self._store.digests(tenant, key) if scope == credential.SCOPE else None


def _columns(scope: str) -> list[tuple[SealedColumn, Mapping[str, str]]]:
    return [(one, only) for one in COLUMNS if (only := one.chosen(scope)) is not None]
