"""Questions on the console whose answers left the database: the same page, and what the archive lacks is said."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.archive import NoArchive
from audit.cold import segment_store
from audit.cold.folder import FolderArchive
from audit.cold.pruning import Pruner
from audit.cold.reader import ArchiveReader
from audit.cold.retention import Retention
from audit.cold.sealing import Sealer
from audit.entry import AuditEntry
from audit.index_follower import IndexFollower
from tests.unit.audit.conftest import SIGNER
from tests.unit.gateway.console.stage import Browser, Stage
from tests.unit.gateway.console.test_people_in_trail import ADA, GONE, Book
from tests.unit.gateway.console.test_timeline_pages import WHO, answers
from tests.unit.gateway.console.test_timeline_pages import auditor as auditor
from tests.unit.gateway.console.test_timeline_pages import traffic as traffic

FORM = {"by": "customer", "what": "contact.email", "record": "42", "period": "2y"}


@pytest.fixture
def stored(tmp_path: Path, stage: Stage) -> FolderArchive:
    return FolderArchive(tmp_path / "archive", lambda: stage.clock() + timedelta(days=400))


async def seal(stage: Stage, stored: FolderArchive, folder: Path, entries: int = 3) -> None:
    """Everything that is signed is sealed and leaves the database, a year later."""

    async def rows(tenant: str) -> list[segment_store.StoredSegment]:
        async with stage.pool.of(tenant) as connection:
            return await segment_store.segments(connection, tenant)

    follower = IndexFollower(stage.pool, ["t1"])
    while await follower.step("t1"):
        pass
    scratch = folder / "scratch"
    sealer = Sealer(stage.pool, stored, SIGNER, scratch, Retention(), stored._now, entries)
    while await sealer.seal("t1"):
        pass
    pruner = Pruner(stage.pool, stored, SIGNER.verifier, scratch, Retention(), stored._now, hot_days=0)
    while (one := await pruner.prunable("t1")) is not None:
        await pruner.prune("t1", one)
    stage.trail.archive = ArchiveReader(rows, stored, SIGNER.verifier, folder / "cache")


def charts(page: str) -> str:
    return page.split('class="charts"')[1].split('id="answers"')[0]


async def test_a_page_is_the_same_when_its_answers_are_sealed(
    stage: Stage, traffic: Any, auditor: Browser, stored: FolderArchive, tmp_path: Path
) -> None:
    queries = (
        WHO,
        "/trail?by=field&what=contact.email&form=clear",
        "/trail?by=customer&what=contact&record=42&outcome=refused",
    )
    before = [(await auditor.get(one)).text for one in queries]
    await seal(stage, stored, tmp_path)
    for query, old in zip(queries, before, strict=True):
        page = (await auditor.get(query)).text
        assert answers(page) == answers(old)
        assert charts(page) == charts(old)
        assert page.count("From the archive") == len(answers(page)) > 0
        assert "its line tells why" not in page
    proof = await auditor.get("/activity/0")
    assert (proof.status, 'class="hashes"' in proof.text) == (200, True)


async def test_a_pack_of_sealed_answers_holds_them(
    stage: Stage, traffic: Any, auditor: Browser, stored: FolderArchive, tmp_path: Path
) -> None:
    await seal(stage, stored, tmp_path)

    async def page_of() -> str:
        address = (await auditor.post("/trail/pack", FORM)).header("location")
        while 'id="working"' in (page := (await auditor.get(address)).text):
            pass
        return page

    assert "3 entries, each proved" in await page_of()


@pytest.mark.parametrize(
    ("harm", "said", "pack"),
    [
        ("unlink", "The file that holds this entry is gone from the archive", "The trail was changed"),
        ("spoil", "other bytes than those that were sealed", "The trail was changed"),
        ("away", "The archive that holds this entry does not answer", "The archive does not answer"),
    ],
)
async def test_what_cannot_be_read_is_said_and_no_pack_is_made_without_it(
    stage: Stage, traffic: Any, auditor: Browser, stored: FolderArchive, tmp_path: Path, harm: str, said: str, pack: str
) -> None:
    await seal(stage, stored, tmp_path)
    path = stored.local(stored.names("t1/event/")[0])
    assert path is not None
    if harm == "unlink":
        path.unlink()
    elif harm == "spoil":
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    else:
        (tmp_path / "cache").write_text("in the way")
    page = (await auditor.get(WHO)).text
    lost = 3 if harm == "away" else 2
    assert f"{lost} answers stand here without what they say; their lines tell why." in page
    assert page.count(said) == lost + 1  # the lines, and the sum of them
    assert len(answers(page)) == 3
    assert '<a href="/activity/0"' in page
    entry = await auditor.get("/activity/0")
    assert entry.status == (503 if harm == "away" else 200)
    assert ("This entry cannot be read" in entry.text) == (harm != "away")
    address = (await auditor.post("/trail/pack", FORM)).header("location")
    while 'id="working"' in (page := (await auditor.get(address)).text):
        pass
    assert pack in page


async def test_a_sealed_entry_names_the_living_and_nobody_who_was_erased(
    stage: Stage, auditor: Browser, stored: FolderArchive, tmp_path: Path
) -> None:
    stage.trail._people = Book()
    for place, name in enumerate((ADA, GONE)):
        await stage.audit.append(
            AuditEntry(
                actor="u-li", actor_login="li.wei", at=stage.clock(), entity="contact", id=f"e{place}", kind="outcome",
                operation="contact.read", reason="allowed", record=name, status=200, tenant="t1",
                fields={"shown": {"contact.email": {name: {"clear": 1}}}},
            )
        )  # fmt: skip
    stage.clock.advance(minutes=1)
    await stage.keeper.seal("t1")
    await seal(stage, stored, tmp_path)
    lines = (await auditor.get("/trail?by=person&person=u-li")).text.split('id="answers"')[1].split("</table>")[0]
    assert lines.count("From the archive") == 2
    assert lines.count("Erased person") == 1
    assert "contact/4711" in lines
    assert "ds_" not in lines


async def test_live_activity_pages_back_into_the_archive(
    stage: Stage, traffic: Any, admin: Browser, stored: FolderArchive, tmp_path: Path
) -> None:
    await seal(stage, stored, tmp_path)
    page = (await admin.get("/activity?pause=1&kind=outcome&lang=en")).text
    assert "/activity/0" not in page
    older = re.search(r'<p class="more"><a href="([^"]*)"', page)
    assert older is not None
    page = (await admin.get(older[1].replace("&amp;", "&"))).text
    assert [f'href="/activity/{place}"' in page for place in range(5)] == [True] * 5
    assert 'class="more"' not in page
    refused = (await admin.get("/activity?outcome=refused&kind=outcome&before=5&lang=en")).text
    assert [f'href="/activity/{place}"' in refused for place in range(5)] == [False, False, True, False, False]
    path = stored.local(stored.names("t1/event/")[0])
    assert path is not None
    path.unlink()
    page = (await admin.get("/activity?kind=outcome&before=5&lang=en")).text
    assert "Entries 0 to 2:" in page
    assert "is gone from the archive" in page
    assert ('href="/activity/2"' in page, 'href="/activity/3"' in page) == (False, True)
    stage.trail.archive = NoArchive()
    page = (await admin.get("/activity?kind=outcome&before=5&lang=en")).text
    assert 'href="/activity/3"' not in page
