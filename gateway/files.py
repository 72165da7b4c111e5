"""Files that a profile marks: sealed as a stream on their way into the CRM, opened on their way out by role.

A sealed file carries a cell id. The store knows which field of which record it belongs to; of a create, that is learnt
from the CRM's answer. Rights come from there and never from the address it is downloaded from. A file may hold values
of every kind, so it opens for those who may see every kind in its field clear; not bound yet, for those who may see
every kind in the whole tenant.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

from gateway.exchange import Exchange
from gateway.facts import asks_team, rights
from gateway.records import ANY_ENTITY, Records
from gateway.refusal import ANSWER_NOT_RENDERABLE, FILE_ERASED, Refusal
from kms.cell_keys import CellHolding, value_keys_of
from kms.cell_store import CellRow, CellStore
from kms.envelope import CELL_BYTES, Context, FieldKey, Sealing
from kms.keyring import Keyring
from kms.persons import Persons
from kms.stream import CHUNK_BYTES, SALT_BYTES, SUITES, Head, StreamInvalid, StreamOpener, StreamSealer, make_head
from kms.stream_flow import seal_flow
from kms.suites.aes_gcm import AES_256_GCM
from kms.suites.suite import Suite
from kms.value_key import derived
from policies.decision import FieldView, Form
from policies.operation import FieldSpec
from policies.profile import Action

APPLICATION = "file"
PURPOSE = "seal"


class SealedUpload:
    """One file on its way to the CRM (gateway.body.spool.Transform)."""

    def __init__(self, key: FieldKey, context: Context, salt: bytes, suite: Suite, *, held: bool) -> None:
        self._key, self._context, self._salt, self._suite, self._held = key, context, salt, suite, held
        self._head = make_head(key, context, salt, CHUNK_BYTES, suite, held=held)

    def size(self, length: int) -> int:
        """Bytes of the sealed file."""
        return self._head.sealed_size(length)

    def flow(self, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The sealed file."""
        sealer = StreamSealer(self._key, self._context, self._salt, suite=self._suite, held=self._held)
        return seal_flow(sealer, source)


class Files:
    """Seals, binds and opens files of one gateway.

    sealing: how a tenant seals; entropy: n random bytes; persons: whose keys hold new files, None: nobody's.
    """

    def __init__(
        self,
        store: CellStore,
        keyring: Keyring,
        sealing: Callable[[str], Sealing],
        records: Records,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        persons: Persons | None = None,
    ) -> None:
        self._store = store
        self._holding = None if persons is None else CellHolding(store, persons, entropy)
        self._keyring = keyring
        self._sealing = sealing
        self._records = records
        self._clock = clock
        self._entropy = entropy

    async def sealed(self, exchange: Exchange, spec: FieldSpec) -> SealedUpload:
        """What seals one file of this request; raises KeysUnavailable, StoreUnavailable."""
        operation = exchange.operation
        assert operation is not None
        tenant = exchange.tenant
        key = await self._keyring.field_key(tenant, f"{APPLICATION}/{spec.entity}/{spec.name}", PURPOSE)
        cell = self._entropy(CELL_BYTES)
        # A file that comes with the record it hangs on has a record of its own, which no answer tells.
        own = spec.entity == operation.entity
        record = operation.record if own and operation.action is Action.UPDATE and operation.record is not None else ""
        # The row comes first: a file whose cell nobody knows could never be opened again.
        row = CellRow(spec.entity, spec.name, record)
        if self._holding is None:
            await self._store.note_cell(tenant, cell, row)
        else:
            key = derived(key, (await self._holding.note(tenant, [cell], row, exchange.id))[cell])
        if own and not record:
            exchange.files += (cell,)
        suite = self._sealing(tenant).suite
        context = Context(tenant, APPLICATION, spec.entity, spec.name, cell=cell)
        # A retired suite has no streams: files of such a tenant are sealed with the default.
        usable = suite if suite.number in SUITES else AES_256_GCM
        return SealedUpload(key, context, self._entropy(SALT_BYTES), usable, held=self._holding is not None)

    async def bind(self, tenant: str, cells: Sequence[bytes], entity: str, record: str) -> None:
        """Give the files of a create their record; raises StoreUnavailable."""
        await self._store.settle_cells(tenant, cells, entity, record)

    async def opener(self, exchange: Exchange, head: bytes) -> StreamOpener | None:
        """What opens a file that begins with these bytes; None: it is none of ours, whatever it looks like.

        Raises Refusal ANSWER_NOT_RENDERABLE, StreamInvalid (ours, but changed), KeysUnavailable, StoreUnavailable.
        """
        try:
            parsed = Head.parse(head)
        except StreamInvalid:
            return None
        tenant, cell = exchange.tenant, parsed.cell
        row = (await self._store.cells(tenant, [cell])).get(cell) if cell is not None else None
        if row is None:
            return None
        if await self._form(exchange, row) is not Form.CLEAR:
            raise Refusal(ANSWER_NOT_RENDERABLE, fields=(row.field,))
        gone: set[bytes] = set()  # keys that were destroyed: nobody will ever read these files again
        key = (await self._keyring.by_id(tenant, {parsed.key_id}, gone)).get(parsed.key_id)
        if gone:
            raise Refusal(ANSWER_NOT_RENDERABLE, fields=(row.field,))
        assert cell is not None
        if parsed.held and key is not None:
            values = await value_keys_of(self._holding, tenant, {cell: row})
            if cell in values.erased:
                raise Refusal(FILE_ERASED, fields=(row.field,))
            key = values.opening(cell, key)
        if key is None:
            raise StreamInvalid
        opener = StreamOpener(key, Context(tenant, APPLICATION, row.entity, row.field, cell=cell), parsed)
        shown = (row.entity, row.field, row.record, Form.CLEAR.name)
        exchange.shown[shown] = exchange.shown.get(shown, 0) + 1
        return opener

    async def _form(self, exchange: Exchange, row: CellRow) -> Form:
        """The form of the least visible kind the file may hold."""
        assert exchange.decision is not None
        view, now = exchange.decision.view, self._clock()
        owned = False
        if row.record and (exchange.crm_user or view.criteria):
            keys = [(row.entity, row.record), (ANY_ENTITY, row.record)]
            await self._records.load(exchange.tenant, keys, now, team=asks_team(view))
            owned = bool(exchange.crm_user) and any(
                self._records.owner(exchange.tenant, *key, now) == exchange.crm_user for key in keys
            )
            view = rights(view, row.entity, row.record, self._records, exchange.tenant, now, exchange.facts)
        return least_form(view, row, owned=owned)


def least_form(view: FieldView, row: CellRow, *, owned: bool) -> Form:
    """What a person may see of everything that could stand in a field."""
    bound = bool(row.record)
    forms = [view.form(row.entity, row.field, kind, bound=bound, owned=owned) for kind in view.by_kind]
    return min(forms, default=Form.HIDDEN)
