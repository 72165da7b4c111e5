"""Files on a real Creme: sealed on their way in, ciphertext in its storage, opened by role, whole and by range.

The shipped profile leaves files as they are (what Creme itself does with a document, such as attaching it to a mail,
would get ciphertext); the one used here marks them in the way policies/README.md describes.
"""

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import IncompleteRead
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from gateway.demo.browser import Answer, Browser, Upload, forms
from gateway.demo.driver import CremeDriver, Driver
from gateway.opening import open_database
from gateway.shredding_desk import open_shredding
from kms.destruction import Person
from policies.enforcer import DEFAULT_POLICY
from tests.conftest import unwalled
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import at_work, close_all
from tests.real.marked import marked_profile
from tests.real.servers import creme

POLICY = """
p, clerk, *, field:document.filedata, clear, any
p, clerk, *, op:*, *, any
"""
CONTENT = b"%PDF-1.7 " + secrets.token_bytes(300_000) + b"end of the contract with Zhang Wei"


@dataclass
class Office:
    """crmgate with that profile in front of a Creme, and people at work."""

    stack: Stack
    manager: Browser
    clerk: Browser
    sales: Browser


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("sealed")
    profile, policy = folder / "creme.yaml", folder / "policy.csv"
    profile.write_text(marked_profile(), encoding="utf-8")
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    extra = f'[tenant.main]\nprofile = "{profile}"\npolicy = "{policy}"\n'
    with creme() as server, installed(server, extra) as stack:
        login = stack.members["manager"].login
        yield Office(stack, *(browser_of(at_work(stack, role, login)) for role in ("manager", "clerk", "sales")))
        close_all()


def browser_of(driver: Driver) -> Browser:
    assert isinstance(driver, CremeDriver)
    return driver.browser


def add(browser: Browser, name: str, content: bytes, media: str = "application/pdf") -> str:
    """A new document; its record."""
    page = browser.get("/documents/document/add").expect(200)
    form = next(one for one in forms(page) if any(key == "linked_folder" for key, _ in one.fields))
    browser.extra_headers.update({"referer": page.url, "origin": browser.base})
    changes = {"title": name, "filedata": None}
    answer = browser.post_files(
        "/documents/document/add", form.filled(changes), [("filedata", Upload(name, content, media))], follow=False
    )
    assert answer.status == 302, answer.text[:2000]
    return urlsplit(answer.header("location")).path.rstrip("/").rpartition("/")[2]


def address(browser: Browser, record: str) -> str:
    """Where the page of a document says that its file is."""
    page = browser.get(f"/documents/document/{record}").expect(200).text
    start = page.index("/creme_core/download/")
    return page[start : page.index('"', start)]


def stored(office: Office, size: int) -> list[bytes]:
    """Files of that size that Creme keeps."""
    files = [
        path for path in Path(office.stack.crm.folder).rglob("*") if path.is_file() and path.stat().st_size == size
    ]
    return [path.read_bytes() for path in files]


def sealed_size(size: int) -> int:
    return 84 + size + 16 * -(-size // 65536)


def whole(answer: Answer, content: bytes) -> None:
    assert answer.status == 200
    assert answer.header("content-length") == str(len(content))
    assert answer.header("accept-ranges") == "bytes"
    assert "no-store" in answer.header("cache-control")
    assert "attachment" in answer.header("content-disposition")
    assert answer.body == content


@pytest.mark.real
def test_a_file_is_ciphertext_in_the_crm_and_clear_by_role(office: Office) -> None:
    record = add(office.manager, "contract.pdf", CONTENT)
    where = address(office.manager, record)
    (kept,) = stored(office, sealed_size(len(CONTENT)))
    assert kept.startswith(b"G1S1\x11")
    assert stored(office, len(CONTENT)) == []
    assert b"Zhang Wei" not in kept
    whole(office.manager.get(where), CONTENT)
    whole(office.clerk.get(where), CONTENT)
    refused = office.sales.get(where)
    assert refused.status == 403
    assert b"G1S1" not in refused.body
    direct = browser_of(office.stack.direct("manager"))
    assert direct.get(where).body == kept
    direct.close()


@pytest.mark.real
def test_ranges_of_a_sealed_file(office: Office) -> None:
    where = address(office.manager, add(office.manager, "long.pdf", CONTENT))
    size = len(CONTENT)
    for asked, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=65530-65545", 65530, 65546),
        ("bytes=100000-", 100000, size),
        ("bytes=-34", size - 34, size),
        (f"bytes=10-{size * 2}", 10, size),
    ):
        answer = office.clerk.get(where, headers={"range": asked})
        assert (answer.status, answer.header("content-range")) == (206, f"bytes {start}-{stop - 1}/{size}")
        assert answer.header("content-length") == str(stop - start)
        assert answer.body == CONTENT[start:stop]
    answer = office.clerk.get(where, headers={"range": f"bytes={size}-"})
    assert (answer.status, answer.header("content-range"), answer.body) == (416, f"bytes */{size}", b"")
    whole(office.clerk.get(where, headers={"range": "bytes=5-2"}), CONTENT)
    whole(office.clerk.get(where, headers={"range": "bytes=0-1,5-6"}), CONTENT)
    whole(office.clerk.get(where, headers={"range": "bytes=0-1", "if-range": '"x"'}), CONTENT)
    assert office.sales.get(where, headers={"range": "bytes=0-0"}).status == 403


@pytest.mark.real
def test_a_sealed_file_moved_or_changed_in_the_crm(office: Office) -> None:
    record = add(office.manager, "moved.pdf", CONTENT[:70_000])
    where = address(office.manager, record)
    (path,) = [
        path
        for path in Path(office.stack.crm.folder).rglob("*")
        if path.is_file() and path.stat().st_size == sealed_size(70_000)
    ]
    kept = path.read_bytes()
    for at in (60, 100):  # in the head, in the first chunk
        path.write_bytes(kept[:at] + bytes((kept[at] ^ 1,)) + kept[at + 1 :])
        assert office.manager.get(where).status == 502  # nothing has left yet
    path.write_bytes(kept[:-1] + bytes((kept[-1] ^ 1,)))
    with pytest.raises(IncompleteRead) as cut_off:
        office.manager.get(where)
    assert cut_off.value.partial == CONTENT[:65_536]  # authentic until there, and plainly not the end
    path.write_bytes(kept[:12] + secrets.token_bytes(8) + kept[20:])
    assert office.clerk.get(where).body != CONTENT[:70_000]  # a cell nobody knows is no file of ours
    path.write_bytes(kept)
    whole(office.manager.get(where), CONTENT[:70_000])


@pytest.mark.real
def test_tables_stay_tables_and_the_trail_says_who_saw_which_file(office: Office) -> None:
    table = "姓名,手机\n张伟,13800138000\n".encode()
    add(office.manager, "people.csv", table, "text/csv")
    record = add(office.manager, "seen.pdf", b"%PDF-1.7 \x00\x01 a short file")
    office.clerk.get(address(office.clerk, record)).expect(200)
    database = open_database(office.stack.settings)
    try:
        with psycopg.connect(unwalled(database.dsn)) as connection:
            cells = connection.execute("SELECT entity, field, record FROM vault_cell WHERE record = %s", (record,))
            assert cells.fetchall() == [("document", "filedata", record)]
            rows = connection.execute("SELECT * FROM audit_entry").fetchall()
    finally:
        database.close()
    assert any("document.filedata" in str(row) and record in str(row) for row in rows)
    assert not any("a short file" in str(row) for row in rows)


@pytest.mark.real
def test_a_file_of_an_erased_record_is_ciphertext_for_everybody(office: Office) -> None:
    """Creme still has every byte of it, and its backups, too; the key is gone for whoever asks."""
    content = CONTENT[:80_000]
    record, other = (add(office.manager, f"{name}.pdf", content) for name in ("erased", "stays"))
    where, elsewhere = address(office.manager, record), address(office.manager, other)
    whole(office.clerk.get(where), content)
    before = stored(office, sealed_size(len(content)))
    assert [blob[9] for blob in before] == [0x78, 0x78]  # with a cell id and a value key
    database = open_database(office.stack.settings)
    try:
        counts = asyncio.run(erase(office, database.dsn, record))
    finally:
        database.close()
    assert (counts["sealed"], counts["cells"]) == (1, 0)
    until = time.monotonic() + 60
    while (answer := office.clerk.get(where)).status == 200 and time.monotonic() < until:
        time.sleep(0.1)  # the server hears of it by a notice
    for browser in (office.clerk, office.manager):
        answer = browser.get(where)
        assert answer.status == 410
        assert b"G1S1" not in answer.body
    assert office.sales.get(where).status == 403
    assert sorted(stored(office, sealed_size(len(content)))) == sorted(before)
    whole(office.clerk.get(elsewhere), content)
    part = office.clerk.get(elsewhere, headers={"range": "bytes=65530-65545"})
    assert (part.status, part.body) == (206, content[65530:65546])


async def erase(office: Office, dsn: str, record: str) -> Mapping[str, int]:
    async with open_shredding(office.stack.settings, "main", dsn) as desk:
        return (await desk.shredding.erase([("document", record)], "CASE-1", Person("u-test", "test"))).counts
