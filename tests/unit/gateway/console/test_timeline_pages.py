"""The auditor's console: asking, what stands in the answers, packs of them, saved questions; each of it on record."""

import io
import json
import re
import zipfile
from datetime import timedelta

import pytest

from audit import pack_check
from audit.entry import AuditEntry
from audit.index_follower import IndexFollower
from gateway.console.timeline import deed_of
from tests.conftest import unwalled
from tests.unit.gateway.console.stage import Browser, Stage

WHO = "/trail?by=customer&what=contact.email&record=42"


@pytest.fixture
async def auditor(stage: Stage) -> Browser:
    return await stage.signed_in(await stage.enrol("shen.ji", "auditor"))


@pytest.fixture
async def traffic(stage: Stage) -> None:
    """Li lists and opens customer 42, is refused once, Zhou changes it; signed."""
    shown = {"contact.email": {"42": {"masked": 1}, "43": {"masked": 1}}, "contact.last_name": {"42": {"clear": 1}}}
    for place, changes in enumerate(
        (
            {"operation": "contact.list", "fields": {"shown": shown}},
            {"operation": "contact.read", "record": "42", "fields": {"shown": {"contact.email": {"42": {"clear": 1}}}}},
            {"operation": "contact.read", "record": "42", "reason": "not-allowed", "status": 403, "fields": {}},
            {"operation": "contact.update", "record": "42", "actor": "u-zhou", "actor_login": "zhou.min",
             "fields": {"written": ["contact.email"]}},
            {"operation": "contact.read", "record": "43", "fields": {"shown": {"contact.email": {"43": {"clear": 1}}}}},
        )
    ):  # fmt: skip
        plain = {
            "actor": "u-li", "actor_login": "li.wei", "at": stage.clock() + timedelta(seconds=place),
            "client": "192.0.2.9", "entity": "contact", "id": f"e{place}", "kind": "outcome", "reason": "allowed",
            "status": 200, "tenant": "t1",
        }  # fmt: skip
        await stage.audit.append(AuditEntry(**{**plain, **changes}))
    stage.clock.advance(minutes=1)
    await stage.keeper.seal("t1")


def answers(page: str) -> list[tuple[str, str]]:
    """(login, badge) of each line."""
    table = page.split('id="answers"')[1].split("</table>")[0]
    found = []
    for row in table.split("<tr")[2:]:
        login = re.search(r"<strong>([^<]*)", row)
        badge = re.search(r'class="badge[^>]*>.*?</svg>\s*([^<]*)', row, re.S)
        found.append((login[1] if login else "", badge[1].strip() if badge else ""))
    return found


async def test_a_customers_field_is_found_in_lists_and_details_and_nobody_elses(stage, traffic, auditor) -> None:
    page = (await auditor.get(WHO)).text
    assert answers(page) == [("zhou.min", "Wrote"), ("li.wei", "Saw"), ("li.wei", "Saw")]
    assert 'href="/activity/0"' in page
    assert 'href="/activity/1"' in page
    assert "last_name" not in page.split('id="answers"')[1].split("</table>")[0]


async def test_every_field_of_the_customer_shows_refusals_and_who_asked(stage, traffic, auditor) -> None:
    address = "/trail?by=customer&what=contact&record=42"
    await auditor.get(address)
    page = (await auditor.get(address)).text
    found = answers(page)
    assert ("shen.ji", "Asked the trail") in found
    assert page.count('<span class="small">contact/42</span>') == len(found) - 1  # a list is about several
    assert ("li.wei", "Refused") in found
    assert len([one for one in found if one[0] == "li.wei"]) == 3


async def test_the_page_says_the_same_through_the_index(stage, traffic, auditor) -> None:
    before = answers((await auditor.get(WHO)).text)
    follower = IndexFollower(stage.pool, ["t1"])
    while await follower.step("t1"):
        pass
    assert answers((await auditor.get(WHO)).text) == before


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("by=person&person=zhou.nobody-knows", 422),
        ("by=person&person=u-zhou", 1),
        ("by=field&what=contact.email&period=7d", 4),
        ("by=field&what=contact.email&form=clear", 2),
        ("by=customer&what=contact&record=42&outcome=refused", 1),
        ("by=customer&what=contact&record=42&client=192.0.2.10", 0),
        ("by=customer&what=contact&record=42&reason=not-allowed", 1),
        ("by=customer&what=contact&record=42&person=u-zhou", 1),
        ("by=record&what=contact&record=43", 2),
        ("by=customer&what=contact&record=", 422),
        ("by=customer&what=&record=42", 422),
        ("by=field&what=contact", 422),
        ("by=field&what=contact.%23email", 422),
        ("by=customer&what=contact.%23email&record=42", 3),
        ("by=customer&what=contact.%23nothing&record=42", 422),
        ("by=customer&what=contact&record=42&since=yesterday", 422),
        ("by=customer&what=contact&record=42&until=2026-13-01", 422),
        ("by=customer&what=contact&record=42&since=2026-12-31&until=2026-01-01", 422),
        ("by=customer&what=contact&record=%27%3Cscript%3E", 0),
        ("by=nonsense&what=contact&record=43", 2),
    ],
)
async def test_each_way_to_ask(stage, traffic, auditor, query, found) -> None:
    answer = await auditor.get("/trail?" + query)
    if found == 422 and "nobody" not in query:
        assert answer.status == 422
        assert 'id="problem"' in answer.text
        assert 'aria-invalid="true"' in answer.text
    elif found != 422:
        assert answer.status == 200
        lines = [one for one in answers(answer.text) if one[1] != "Asked the trail"] if found else []
        assert len(lines) == found
        assert "<script>" not in answer.text


async def test_a_person_is_found_by_login(stage, auditor) -> None:
    page = (await auditor.get("/trail?by=person&person=Shen.Ji&period=7d")).text
    assert ("shen.ji", "Acted") in answers(page) or ("shen.ji", "Asked the trail") in answers(page)
    wrong = await auditor.get("/trail?by=person&person=nobody%20here")
    assert wrong.status == 422
    assert "Nobody here has this login or id." in wrong.text


async def test_who_asked_about_whom_is_on_record(stage, traffic, auditor) -> None:
    await auditor.get(WHO)
    row = (await stage.trail.recent("t1", 1, stage_filters()))[0]
    assert (row.content["actor_login"], row.content["reason"]) == ("shen.ji", "trail-asked")
    assert row.content["fields"]["records"] == ["contact.42"]
    assert row.content["fields"]["detail"] == ["contact.email"]
    assert set(row.content["fields"]["filters"]) == {"entity", "record", "field", "since"}


def stage_filters():
    from audit.store import Filters

    return Filters(operation="console.audit")


async def test_pages_go_on_where_the_one_before_ended(stage, auditor) -> None:
    for place in range(120):
        await stage.audit.append(
            AuditEntry(
                actor="u-li", actor_login=f"li.{place}", at=stage.clock() + timedelta(seconds=place), entity="contact",
                id=f"e{place}", kind="outcome", operation="contact.read", reason="allowed", record="42", status=200,
                tenant="t1", fields={"shown": {"contact.email": {"42": {"clear": 1}}}},
            )
        )  # fmt: skip
    seen, address, pages = [], WHO, 0
    while address:
        page = (await auditor.get(address)).text
        seen += [login for login, _ in answers(page)]
        more = re.search(r'<p class="more"><a href="([^"]*)"', page)
        address, pages = (more[1].replace("&amp;", "&") if more else ""), pages + 1
    assert seen == [f"li.{place}" for place in reversed(range(120))]
    assert pages == 3


async def test_charts_have_names_and_the_numbers_as_a_table(stage, traffic, auditor) -> None:
    page = (await auditor.get(WHO)).text
    assert 'role="img" aria-label="Bar chart: 3 answers from ' in page
    assert "The same as a table" in page
    assert "By person" in page
    assert "By form" in page


async def test_a_pack_of_the_answers_is_made_followed_fetched_and_proved(stage, traffic, auditor) -> None:
    form = {"by": "customer", "what": "contact.email", "record": "42", "period": "2y"}
    asked = await auditor.post("/trail/pack", form)
    assert asked.status == 303
    address = asked.header("location")
    while 'id="working"' in (page := (await auditor.get(address)).text):
        pass
    assert "3 entries, each proved" in page
    fetched = await auditor.get(address.replace("/trail/pack?", "/trail/pack/file?"))
    assert fetched.header("content-type") == "application/zip"
    assert fetched.header("content-disposition") == 'attachment; filename="evidence-0-3.zip"'
    told = pack_check.check(io.BytesIO(fetched.body), stage.trail.key("t1"))
    assert any("entries in the pack: 3" in line for line in told)
    with zipfile.ZipFile(io.BytesIO(fetched.body)) as pack:
        indexes = [json.loads(line)["index"] for line in pack.read("proofs.jsonl").splitlines()]
        filters = json.loads(pack.read("manifest.json"))["filters"]
    assert indexes == [0, 1, 3]
    assert (filters["entity"], filters["record"], filters["field"]) == ("contact", "42", "email")
    said = [reason for _, reason, _ in await stage.reasons()]
    assert said.count("trail-pack-made") == said.count("trail-pack-fetched") == 1


async def test_nothing_signed_too_much_or_changed_is_said_and_no_pack(
    stage, traffic, auditor, dsn, monkeypatch
) -> None:
    import psycopg

    from gateway.console import pack_pages

    async def page_of(form: dict[str, str]) -> str:
        address = (await auditor.post("/trail/pack", form)).header("location")
        while 'id="working"' in (page := (await auditor.get(address)).text):
            pass
        file = await auditor.get(address.replace("/trail/pack?", "/trail/pack/file?"))
        assert file.status == 404
        return page

    form = {"by": "customer", "what": "contact", "record": "42", "period": "2y"}
    assert "Nothing to pack" in await page_of(form | {"record": "999"})
    monkeypatch.setattr(pack_pages, "ENTRIES_LIMIT", 2)
    assert "More than 2 entries fit" in await page_of(form)
    monkeypatch.setattr(pack_pages, "ENTRIES_LIMIT", 100)
    async with await psycopg.AsyncConnection.connect(unwalled(dsn), autocommit=True) as db:
        await db.execute("ALTER TABLE audit_entry DISABLE TRIGGER audit_entry_append_only")
        await db.execute("UPDATE audit_entry SET leaf = decode(repeat('00', 32), 'hex') WHERE index = 1")
    assert "The trail was changed" in await page_of(form)
    assert "Not as it was written" in (await auditor.get(WHO)).text


async def test_reading_the_trail_is_not_taking_it_away(stage, traffic) -> None:
    dpo = await stage.signed_in(await stage.enrol("sun.dpo", "dpo"))
    page = await dpo.get(WHO)
    assert page.status == 200
    assert "/trail/pack" not in page.text
    assert (await dpo.post("/trail/pack", {"by": "customer", "what": "contact", "record": "42"})).status == 403
    assert (await dpo.get("/trail/pack/file?by=customer&what=contact&record=42")).status == 403


async def test_a_pack_is_its_makers_only(stage, traffic, auditor) -> None:
    form = {"by": "customer", "what": "contact.email", "record": "42", "period": "2y"}
    address = (await auditor.post("/trail/pack", form)).header("location")
    other = await stage.signed_in(await stage.enrol("other.auditor", "auditor"))
    assert "There is no pack here" in (await other.get(address)).text
    assert (await other.get(address.replace("/trail/pack?", "/trail/pack/file?"))).status == 404


async def test_saved_questions_are_used_shared_changed_and_deleted_by_their_maker(stage, traffic, auditor) -> None:
    form = {"by": "customer", "what": "contact.email", "record": "42", "period": "2y", "name": "Mail of 42"}
    assert (await auditor.post("/trail/saved", form)).status == 303
    other = await stage.signed_in(await stage.enrol("other.auditor", "auditor"))
    assert "Mail of 42" not in (await other.get("/trail/saved")).text
    page = (await auditor.get("/trail/saved")).text
    one = re.search(r'href="(/trail/saved/q-[0-9a-f]+)"', page)[1]
    assert (await other.get(one)).status == 404
    used = await auditor.get(one)
    assert used.header("location") == "/trail?by=customer&what=contact.email&record=42&period=2y"
    assert (await auditor.post("/trail/saved", form)).status == 422
    assert (await auditor.post("/trail/saved", form | {"name": " "})).status == 422
    assert (await auditor.post(one, {"name": "Mail", "shared": "1"})).status == 303
    assert "shen.ji" in (await other.get("/trail/saved")).text
    assert (await other.get(one)).status == 303
    assert (await other.post(one, {"name": "Mine"})).status == 404
    assert (await other.post(one + "/delete")).status == 404
    assert (await auditor.post(one + "/delete")).status == 303
    assert (await auditor.get(one)).status == 404
    said = [reason for _, reason, _ in await stage.reasons()]
    for reason, times in (
        ("question-saved", 2),
        ("question-used", 2),
        ("question-changed", 1),
        ("question-deleted", 1),
    ):
        assert said.count(reason) == times


async def test_a_person_keeps_no_more_than_so_many(stage, auditor, monkeypatch) -> None:
    from gateway.console import saved_store

    monkeypatch.setattr(saved_store, "LIMIT_EACH", 1)
    form = {"by": "person", "person": "u-li"}
    assert (await auditor.post("/trail/saved", form | {"name": "one"})).status == 303
    assert (await auditor.post("/trail/saved", form | {"name": "two"})).status == 422


async def test_without_the_trail_nothing_is_asked(stage, traffic, auditor) -> None:
    await stage.audit.close()
    assert (await auditor.get(WHO)).status == 503
    assert (await auditor.post("/trail/pack", {"by": "customer", "what": "contact", "record": "42"})).status == 503


@pytest.mark.parametrize(
    ("changes", "forms", "deed"),
    [
        ({}, {"clear"}, "saw"),
        ({}, {"hidden", "masked"}, "saw"),
        ({}, {"hidden"}, "hidden"),
        ({}, (), "acted"),
        ({"fields": {"written": ["contact.email"]}}, {"written"}, "wrote"),
        ({"operation": "contact.export_vcard"}, {"clear"}, "exported"),
        ({"kind": "reveal", "reason": "reveal-shown"}, {"clear"}, "revealed"),
        ({"kind": "reveal", "reason": "reveal-asked"}, (), "acted"),
        ({"kind": "reveal", "reason": "reveal-code-wrong", "status": 403}, (), "tried"),
        ({"reason": "not-allowed", "status": 403}, (), "tried"),
        ({"kind": "console", "operation": "console.audit", "reason": "trail-asked"}, (), "looked"),
        ({"kind": "console", "operation": "audit.who", "reason": ""}, (), "looked"),
    ],
)
def test_what_somebody_did_is_one_word(changes, forms, deed) -> None:
    plain = {"kind": "outcome", "reason": "allowed", "status": 200, "operation": "contact.read", "fields": {}}
    assert deed_of({**plain, **changes}, forms) == deed
