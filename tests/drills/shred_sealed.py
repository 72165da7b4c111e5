"""The cells and files of the shredding drill: ciphertext in a CRM, which keeps it and backs it up as it likes.

Of every person there is a note as a cell and a file, both made by a create whose record is learnt afterwards. What is
kept here of them is what the CRM has; the drill tries to open it in whatever state our own databases are.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import psycopg

from kms import cell as text_form
from kms.cell_keys import CellHolding, value_keys_of
from kms.cell_store import CellRow, CellStore, name_of
from kms.cells import Cells
from kms.envelope import CELL_BYTES, Context, EnvelopeInvalid, FieldKey, Sealing, cell_id, key_id
from kms.keyring import Keyring
from kms.original import open_value
from kms.person import EPOCH_CLOSED
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.stream import HEAD_BYTES, SALT_BYTES, Head, StreamInvalid, StreamOpener, StreamSealer
from kms.stream_flow import seal_pieces
from kms.value_key import derived, unwrap, value_place
from tests.conftest import unwalled

AT = ("contact", "note")
FILE = "file"


@dataclass
class Sealed:
    """What the CRM holds: cells and files by record."""

    cells: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def of(self, record: str) -> "Sealed":
        """What is one record's."""
        return Sealed({record: self.cells[record]}, {record: self.files[record]})

    def without(self, record: str) -> "Sealed":
        """What is everybody else's."""
        return Sealed(
            {one: text for one, text in self.cells.items() if one != record},
            {one: blob for one, blob in self.files.items() if one != record},
        )


class SealedAt:
    """What seals and opens them in one process."""

    def __init__(self, tenant: str, store: CellStore, keyring: Keyring, persons: Persons) -> None:
        self.tenant, self.store, self.keyring = tenant, store, keyring
        self.cells = Cells(store, keyring, lambda _: Sealing(), persons=persons)
        self.holding = CellHolding(store, persons, os.urandom)

    async def make(self, sealed: Sealed, record: str) -> None:
        """A note and a file of a new record; the vault binds the holder with `exchange`, as for its other values."""
        exchange = f"x-{record}"
        (text,) = await self.cells.seal(self.tenant, *AT, [(note(record), None)], exchange=exchange)
        cell = os.urandom(CELL_BYTES)
        keys = await self.holding.note(self.tenant, [cell], CellRow(AT[0], FILE, ""), exchange)
        key = derived(await self.keyring.field_key(self.tenant, f"file/{AT[0]}/{FILE}", "seal"), keys[cell])
        sealer = StreamSealer(key, self._place(cell), os.urandom(SALT_BYTES), chunk=64, held=True)
        await self.cells.bind(self.tenant, *AT, record, [text])
        await self.store.settle_cells(self.tenant, [cell], AT[0], record)
        sealed.cells[record] = text
        sealed.files[record] = b"".join(seal_pieces(sealer, [content(record)]))

    async def opened(self, sealed: Sealed) -> int:
        """How many open. Raises KeysUnavailable."""
        texts = [(text, record) for record, text in sealed.cells.items()]
        found = await self.cells.open(self.tenant, *AT, texts)
        count = sum(value == note(record) for value, (_, record) in zip(found, texts, strict=True))
        for record, blob in sealed.files.items():
            count += await self._file(blob) == content(record)
        return count

    async def refused(self, sealed: Sealed) -> tuple[int, int]:
        """One by one: how many open, and how many are refused because the epoch is closed."""
        opened = closed = 0
        every = [Sealed(cells={record: text}) for record, text in sealed.cells.items()]
        every += [Sealed(files={record: blob}) for record, blob in sealed.files.items()]
        for one in every:
            try:
                opened += await self.opened(one)
            except KeysUnavailable as fault:
                closed += fault.problem == EPOCH_CLOSED
        return opened, closed

    async def _file(self, blob: bytes) -> bytes | None:
        head = Head.parse(blob[:HEAD_BYTES])
        assert head.cell is not None
        rows = await self.store.cells(self.tenant, [head.cell])
        values = await value_keys_of(self.holding, self.tenant, rows)
        field_key = (await self.keyring.by_id(self.tenant, {head.key_id}))[head.key_id]
        key = values.opening(head.cell, field_key)
        return None if key is None else _read(key, self._place(head.cell), head, blob)

    def _place(self, cell: bytes) -> Context:
        return Context(self.tenant, "file", AT[0], FILE, cell=cell)

    async def try_all(self, dsn: str, mine: Sealed, persons: Mapping[bytes, bytes]) -> tuple[int, int, int]:
        """Every person key on every wrapping, every value key on what is one person's in the CRM.

        (tries, openings, value keys of others that opened: without any, trying would prove nothing)
        """
        tries = openings = 0
        with psycopg.connect(unwalled(dsn)) as connection:
            wraps = connection.execute(
                "SELECT cell, holder, wrapped FROM vault_cell_wrap WHERE tenant = %s", (self.tenant,)
            ).fetchall()
        ids = {cell_id(_blob(text)) for text in mine.cells.values()}
        ids |= {Head.parse(blob[:HEAD_BYTES]).cell for blob in mine.files.values()}
        value_keys: set[bytes] = set()
        for cell, holder, wrapped in wraps:
            place = value_place(self.tenant, bytes(holder), name_of(bytes(cell)))
            for key in persons.values() if bytes(cell) in ids else [persons.get(bytes(holder), bytes(32))]:
                tries += 1
                value = unwrap(key, bytes(wrapped), place)
                if value is not None:
                    value_keys.add(value)
                    openings += bytes(cell) in ids
        for text in mine.cells.values():
            blob = _blob(text)
            for key in await self._keys(key_id(blob), value_keys):
                for held in (True, False):
                    tries += 1
                    openings += _opens(key, blob, Context(self.tenant, "cell", *AT, cell=cell_id(blob)), held=held)
        for blob in mine.files.values():
            head = Head.parse(blob[:HEAD_BYTES])
            assert head.cell is not None
            for key in await self._keys(head.key_id, value_keys):
                tries += 1
                openings += _read(key, self._place(head.cell), head, blob) is not None
        return tries, openings, len(value_keys)

    async def _keys(self, one: bytes, value_keys: Iterable[bytes]) -> list[FieldKey]:
        key = (await self.keyring.by_id(self.tenant, {one}))[one]
        return [key, *(derived(key, value) for value in value_keys)]


def note(record: str) -> str:
    """What somebody noted about a person."""
    return f"note about {record}"


def content(record: str) -> bytes:
    """The file of a person: several chunks."""
    return f"contract of {record}; ".encode() * 20


def _blob(text: str) -> bytes:
    blob = text_form.read(text)
    assert blob is not None
    return blob


def _opens(key: FieldKey, blob: bytes, place: Context, *, held: bool) -> bool:
    try:
        open_value({key.id: key}, blob, place, held=held)
    except EnvelopeInvalid:
        return False
    return True


def _read(key: FieldKey, place: Context, head: Head, blob: bytes) -> bytes | None:
    try:
        opener = StreamOpener(key, place, head)
        return opener.update(blob[HEAD_BYTES:]) + opener.finish()
    except StreamInvalid:
        return None
