"""Files that a profile marks: sealed on the way in, bound by the create's answer, opened by right; all else refused."""

import dataclasses
import secrets
import time
import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.binding import Binding
from gateway.database import Pool
from gateway.exchange import Exchange
from gateway.files import Files
from gateway.inward import Inward
from gateway.refusal import ANSWER_NOT_RENDERABLE, FILE_ERASED, Refusal
from kms.cell_store import CellRow, CellStore
from kms.destruction import Destructions, Person
from kms.destruction_store import DestructionStore
from kms.envelope import Sealing
from kms.keyring import Keyring
from kms.local_custody import LocalCustody
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.shredding import Shredder
from kms.store import Store, StoreUnavailable
from kms.stream import HEAD_BYTES, StreamInvalid
from kms.suites.sm4_gcm import SM4_GCM
from kms.suites.suite import Suite
from kms.suites.triple_des import TRIPLE_DES
from policies.enforcer import DEFAULT_POLICY
from tests.real.marked import marked_profile
from tests.unit.gateway.glue import ANNA, SECRET, TENANT, FastProvider, Glue, open_glue
from tests.unit.gateway.test_inward import CSV, MULTIPART, chunks, upload, whole

ADD, EDIT = "/documents/document/add", "/documents/document/edit/5"
PDF = b"%PDF-1.7 \x00\x01 the contract of somebody"
POLICY = """
p, clerk, *, field:document.filedata, clear, any
p, clerk, *, op:*, *, any
p, owner, *, field:document.filedata, clear, own
p, owner, *, op:*, *, any
p, some, *, field:document.filedata#name, clear, any
p, some, *, op:*, *, any
"""


class Office:
    """The stages of a gateway that seals documents, and the suite it seals with."""

    def __init__(self, glue: Glue, files: Files, keyring: Keyring, provider: Any, persons: Persons) -> None:
        self.glue, self.files, self.keyring, self.provider = glue, files, keyring, provider
        self.persons = persons
        self.suite: Suite | None = None

    async def sent(self, target: str, body: bytes, role: str = "manager") -> tuple[Exchange, bytes]:
        """What the CRM gets of an upload."""
        exchange = self.glue.exchange("POST", target, role=role, body=body, content_type=MULTIPART)
        outgoing = await self.glue.inward.protect_request(exchange, self.glue.profile, MULTIPART, chunks(body))
        return exchange, await whole(outgoing)

    async def stored(self, target: str = ADD, record: str = "5", **fields: str) -> bytes:
        """A sealed document as the CRM keeps it, bound by its answer."""
        exchange, data = await self.sent(target, upload("contract.pdf", PDF, "application/pdf", **fields))
        location = f"/documents/document/{record}"
        await self.glue.answer(exchange, b"", status=302, location=location)
        return data[data.index(b"G1S1") : data.index(b"\r\n--crmgate-", data.index(b"G1S1"))]

    async def opened(self, blob: bytes, role: str, user: str | None = ANNA) -> bytes | None:
        """What somebody with this role gets of it."""
        exchange = self.glue.exchange("GET", "/creme_core/download/9/5/filedata", role=role, user=user)
        opener = await self.files.opener(exchange, blob[:HEAD_BYTES])
        if opener is None:
            return None
        assert sum(exchange.shown.values()) == 1
        return opener.update(blob[HEAD_BYTES:]) + opener.finish()


class Breakable(FastProvider):
    """A provider that can be made to fail."""

    broken = False

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        if self.broken:
            raise RuntimeError("no")
        return await super().unwrap(tenant, wrapped, context)


@pytest.fixture
async def office(pool: Pool, keyring_path: Path, persons: Persons, tmp_path: Path) -> AsyncIterator[Office]:
    profile, policy = tmp_path / "creme.yaml", tmp_path / "policy.csv"
    profile.write_text(marked_profile(), encoding="utf-8")
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    provider = Breakable(keyring_path, SECRET)
    keyring = Keyring(provider, Store(pool), clock=time.monotonic)
    async with open_glue(pool, keyring_path, str(profile), policy, persons=persons) as glue:

        def sealing(_: str) -> Sealing:
            return Sealing() if made.suite is None else Sealing(made.suite, legacy=True)

        entropy = secrets.token_bytes
        files = Files(CellStore(pool), keyring, sealing, glue.records, glue.clock, entropy, persons)
        glue.binding = Binding(glue.vault, glue.records, glue.sessions, glue.clock, None, files)
        glue.outward = glue.outward_with(glue.reveal)
        scanner = glue.scanner
        glue.inward = Inward(glue.tokeniser, glue.search, lambda _: scanner, glue.limits, files)
        made = Office(glue, files, keyring, provider, persons)
        yield made
    await keyring.close()


async def row_of(pool: Pool, blob: bytes) -> CellRow:
    return (await CellStore(pool).cells(TENANT, [blob[12:20]]))[blob[12:20]]


async def test_a_marked_file_reaches_the_crm_sealed_and_opens_by_role(office: Office, pool: Pool) -> None:
    blob = await office.stored()
    assert PDF not in blob
    assert await row_of(pool, blob) == CellRow("document", "filedata", "5")
    assert await office.opened(blob, "manager") == PDF
    assert await office.opened(blob, "clerk") == PDF
    for role in ("sales", "owner", "some"):  # no right, not the owner, right over one kind of many
        with pytest.raises(Refusal) as refused:
            await office.opened(blob, role)
        assert refused.value.reason is ANSWER_NOT_RENDERABLE


async def test_an_owner_opens_the_files_of_own_records(office: Office) -> None:
    blob = await office.stored()
    await office.glue.records.note(TENANT, [("document", "5")], ANNA, office.glue.clock())
    assert await office.opened(blob, "owner") == PDF
    for user in ("8", None):
        with pytest.raises(Refusal):
            await office.opened(blob, "owner", user)


@pytest.mark.parametrize(("suite", "number"), [(None, 0x11), (SM4_GCM, 0x21), (TRIPLE_DES, 0x11)])
async def test_files_are_sealed_with_the_suite_of_the_tenant(office: Office, suite: Suite | None, number: int) -> None:
    office.suite = suite
    blob = await office.stored()
    assert blob[4] == number
    assert await office.opened(blob, "clerk") == PDF


async def test_a_file_whose_record_nobody_told_opens_for_rights_over_the_whole_tenant(
    office: Office, pool: Pool
) -> None:
    exchange, data = await office.sent(ADD, upload("contract.pdf", PDF, "application/pdf"))
    await office.glue.answer(exchange, b"<form></form>")  # the CRM did not take it
    blob = data[data.index(b"G1S1") : data.index(b"\r\n--crmgate-", data.index(b"G1S1"))]
    assert await row_of(pool, blob) == CellRow("document", "filedata", "")
    assert await office.opened(blob, "manager") == PDF
    with pytest.raises(Refusal):
        await office.opened(blob, "clerk")


async def test_who_chooses_the_redirect_does_not_choose_the_record(office: Office, pool: Pool) -> None:
    blob = await office.stored(callback_url="/documents/document/77", record="77")
    assert (await row_of(pool, blob)).record == ""
    assert (await row_of(pool, await office.stored(callback_url="", record="6"))).record == "6"


async def test_an_update_binds_the_record_it_names(office: Office, pool: Pool) -> None:
    blob = await office.stored(EDIT, record="5")
    assert await row_of(pool, blob) == CellRow("document", "filedata", "5")
    assert await office.opened(blob, "clerk") == PDF


async def test_tables_empty_parts_and_other_parts_are_not_sealed(office: Office) -> None:
    _, table = await office.sent(ADD, upload("people.csv", CSV.encode(), "text/csv"))
    assert b"G1S1" not in table
    assert b"13800138000" not in table
    _, empty = await office.sent(ADD, upload("", b"", "application/octet-stream"))
    assert b"G1S1" not in empty
    body = upload("photo.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "image/png").replace(b"filedata", b"image")
    _, other = await office.sent(ADD, body)
    assert b"G1S1" not in other


async def test_pictures_pass_because_pages_show_them_unless_the_profile_says_otherwise(office: Office) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(100)
    body = upload("face.png", picture, "image/png")
    assert picture in (await office.sent(ADD, body))[1]
    operation = office.glue.exchange("POST", ADD, body=body, content_type=MULTIPART).operation
    assert operation is not None
    marked = dataclasses.replace(operation, uploads=(dataclasses.replace(operation.uploads[0], images=True),))
    exchange = office.glue.exchange("POST", ADD, body=body, content_type=MULTIPART)
    exchange.operation = marked
    outgoing = await office.glue.inward.protect_request(exchange, office.glue.profile, MULTIPART, chunks(body))
    sent = await whole(outgoing)
    assert picture not in sent
    assert b"G1S1" in sent


async def test_text_and_tables_nobody_can_open_are_sealed(office: Office) -> None:
    for name, data, media in (
        ("note.txt", "打给 张伟 13912345678".encode(), "text/plain"),
        ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "application/vnd.ms-excel"),
        ("large.bin", secrets.token_bytes(3_000_000), "application/octet-stream"),
    ):
        _, sent = await office.sent(ADD, upload(name, data, media))
        assert b"G1S1" in sent
        assert data not in sent


async def test_what_only_looks_like_a_sealed_file_is_none(office: Office) -> None:
    blob = await office.stored()
    for other in (b"", b"G1S1", b"G1S1" + bytes(80), blob[:4] + b"\x31" + blob[5:], blob[:12] + bytes(8) + blob[20:]):
        assert await office.opened(other, "manager") is None
    assert await office.opened(blob[:12] + b"whatever" + blob[20:], "manager") is None


async def test_a_changed_head_or_file_does_not_open(office: Office) -> None:
    blob = await office.stored()
    for at in (5, 20, 52, HEAD_BYTES, len(blob) - 1):
        with pytest.raises(StreamInvalid):
            await office.opened(blob[:at] + bytes((blob[at] ^ 1,)) + blob[at + 1 :], "manager")
    with pytest.raises(StreamInvalid):
        await office.opened(blob[:-1], "manager")


async def test_without_keys_or_store_nothing_is_sealed_or_opened(office: Office, pool: Pool) -> None:
    blob = await office.stored()
    office.provider.broken = True
    office.keyring.forget()
    with pytest.raises(KeysUnavailable):
        await office.opened(blob, "manager")
    with pytest.raises(KeysUnavailable):
        await office.sent(ADD, upload("contract.pdf", PDF, "application/pdf"))
    office.provider.broken = False
    await office.opened(blob, "manager")
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await office.opened(blob, "manager")
    with pytest.raises(StoreUnavailable):
        await office.files.sealed(
            office.glue.exchange("POST", ADD, body=b"", content_type=MULTIPART),
            office.glue.profile.field_specs["document", "filedata"],
        )


async def test_a_file_under_a_destroyed_key_is_refused_for_good(office: Office, pool: Pool) -> None:
    blob = await office.stored()
    custody = LocalCustody(office.provider, [TENANT])
    steps = Destructions(DestructionStore(pool), custody, "local", wait=timedelta(0), clock=office.glue.clock)
    await steps.request(TENANT, "d1", "file/document/filedata", Person("u1", "ma"))
    await steps.approve(TENANT, "d1", Person("u2", "sun"))
    begun = await steps.begin(TENANT, "d1")
    await steps.execute(begun)
    await steps.finish(begun, "record")
    office.keyring.forget()
    with pytest.raises(Refusal) as refused:
        await office.opened(blob, "manager")
    assert refused.value.reason is ANSWER_NOT_RENDERABLE


async def test_a_marked_file_never_passes_when_nobody_can_seal_it(office: Office) -> None:
    glue = office.glue
    glue.inward = Inward(glue.tokeniser, glue.search, lambda _: glue.scanner, glue.limits)
    with pytest.raises(RuntimeError, match="nobody"):
        await office.sent(ADD, upload("contract.pdf", PDF, "application/pdf"))


# Value keys


async def erase(office: Office, pool: Pool, record: str) -> None:
    await Shredder(Store(pool), office.persons, office.glue.clock).erase(TENANT, [("document", record)])


async def test_after_an_erasure_a_file_opens_for_nobody_and_says_so(office: Office, pool: Pool) -> None:
    created, changed = await office.stored(), await office.stored(EDIT)
    other = await office.stored(record="6")
    assert [blob[9] & 0x08 for blob in (created, changed, other)] == [0x08] * 3
    await erase(office, pool, "5")
    for blob in (created, changed):
        with pytest.raises(Refusal) as refused:
            await office.opened(blob, "manager")
        assert refused.value.reason is FILE_ERASED
    with pytest.raises(Refusal) as refused:
        await office.opened(created, "sales")
    assert refused.value.reason is ANSWER_NOT_RENDERABLE  # whoever has no right learns nothing of it
    assert await office.opened(other, "manager") == PDF


async def test_a_value_key_that_is_missing_is_a_fault_and_no_erasure(office: Office, pool: Pool) -> None:
    blob = await office.stored()
    async with pool.connection() as connection:
        await connection.execute("DELETE FROM vault_cell_wrap")
    with pytest.raises(KeysUnavailable) as refused:
        await office.opened(blob, "manager")
    assert refused.value.problem == "value-key-missing"


async def test_a_file_of_before_value_keys_opens_and_neither_passes_for_the_other(office: Office) -> None:
    holding, office.files._holding = office.files._holding, None
    old = await office.stored(record="6")
    office.files._holding = holding
    new = await office.stored()
    assert [old[9] & 0x08, new[9] & 0x08] == [0, 0x08]
    assert [await office.opened(old, "manager"), await office.opened(new, "manager")] == [PDF, PDF]
    for blob in (old, new):
        changed = blob[:9] + bytes((blob[9] ^ 0x08,)) + blob[10:]
        with pytest.raises(StreamInvalid):
            await office.opened(changed, "manager")


async def test_a_large_file_with_a_value_key_passes_in_bounded_memory(office: Office) -> None:
    exchange = office.glue.exchange("POST", EDIT, body=b"x", content_type=MULTIPART)
    spec = next(one for one in office.glue.profile.field_specs.values() if one.name == "filedata")
    sealed = await office.files.sealed(exchange, spec)
    size, most = 0, 0

    async def source() -> AsyncIterator[bytes]:
        for _ in range(512):
            yield bytes(65536)

    tracemalloc.start()
    async for piece in sealed.flow(source()):
        size += len(piece)
        most = max(most, tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert size == sealed.size(512 * 65536)
    assert most < 2 * 2**20
