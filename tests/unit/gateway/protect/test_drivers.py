"""The two protocols fail closed: a CRM that refuses, is away, forgets the session or talks nonsense is not believed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast
from urllib.parse import parse_qs

import orjson
import pytest

from gateway.protect.client import CrmClient, Page
from gateway.protect.credential import Credential
from gateway.protect.html_forms import HtmlForms
from gateway.protect.json_rpc import JsonRpc
from gateway.protect.reading import CrmRefused, CrmSignInRefused, CrmUnreachable, RecordChanged
from policies.profile import load_profile

FORM = (
    '<form><input type=hidden name=csrfmiddlewaretoken value=t><input name=last_name maxlength=100 value="{}">'
    "<select name=user><option value=2 selected>x</select></form>"
)
LOGIN = "<form><input name=csrfmiddlewaretoken value=t><input name=username><input name=password></form>"


class Script:
    """A CrmClient that answers by a function and keeps what was sent."""

    def __init__(self, answer: Callable[[str, str, bytes], Page]) -> None:
        self._answer = answer
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.sent: list[tuple[str, str, bytes]] = []

    async def get(self, target: str) -> Page:
        self.sent.append(("GET", target, b""))
        return self._answer("GET", target, b"")

    async def post(self, target: str, body: bytes, content_type: str) -> Page:
        self.sent.append(("POST", target, body))
        return self._answer("POST", target, body)

    async def close(self) -> None:
        return None


def page(status: int, body: str = "", **headers: str) -> Page:
    return Page(status, headers, body.encode())


def creme(answer: Callable[[str, str, bytes], Page], uses: list[int]) -> tuple[HtmlForms, Script]:
    def all_pages(method: str, target: str, body: bytes) -> Page:
        if target == "/creme_login/":
            return page(200, LOGIN) if method == "GET" else page(302)
        return answer(method, target, body)

    async def used() -> None:
        uses.append(1)

    profile = load_profile("creme")
    assert profile.walk is not None
    script = Script(all_pages)
    return HtmlForms(cast(CrmClient, script), profile, profile.walk, Credential("root", "pw", {}, used)), script


async def test_a_form_goes_back_whole_with_one_value_changed() -> None:
    uses: list[int] = []
    driver, script = creme(lambda m, t, b: page(302) if m == "POST" else page(200, FORM.format("Luc")), uses)
    contact = load_profile("creme").walk.entity("contact")  # type: ignore[union-attr]
    reading = await driver.read(contact, "7")
    assert reading is not None
    assert reading.fields == {"last_name": "Luc"}
    assert reading.limits == {"last_name": 100}
    await driver.write(reading, {"last_name": "Zq1"})
    method, target, body = script.sent[-1]
    assert (method, target) == ("POST", "/persons/contact/edit/7")
    assert parse_qs(body.decode()) == {"csrfmiddlewaretoken": ["t"], "last_name": ["Zq1"], "user": ["2"]}
    assert uses == [1]


async def test_a_form_that_changed_since_is_not_posted() -> None:
    shown = iter(["Luc", "Lucie"])
    driver, script = creme(lambda m, t, b: page(200, FORM.format(next(shown))), [])
    contact = load_profile("creme").walk.entity("contact")  # type: ignore[union-attr]
    reading = await driver.read(contact, "7")
    assert reading is not None
    with pytest.raises(RecordChanged):
        await driver.write(reading, {"last_name": "Zq1"})
    assert all(target == "/creme_login/" for method, target, _ in script.sent if method == "POST")


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (page(200, FORM.format("") + "<p class=field-error><input name=last_name></p>"), CrmRefused),
        (page(403), CrmRefused),
        (page(500), CrmUnreachable),
        (page(302, location="/creme_login/?next=/x"), RecordChanged),
    ],
)
async def test_only_the_answer_that_means_stored_counts(answer: Page, fault: type[Exception]) -> None:
    driver, _ = creme(lambda m, t, b: answer if m == "POST" else page(200, FORM.format("Luc")), [])
    driver._profile = load_profile("creme")
    contact = load_profile("creme").walk.entity("contact")  # type: ignore[union-attr]
    reading = await driver.read(contact, "7")
    assert reading is not None
    if answer.status == 302:
        contact_accepts = reading.entity.accepted
        assert 302 in contact_accepts
    with pytest.raises(fault):
        await driver.write(reading, {"last_name": "Zq1"})


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (page(500), CrmUnreachable),
        (page(200, "<p>something else</p>"), CrmUnreachable),
        (page(403), CrmRefused),
        (page(302, location="/creme_login/"), CrmSignInRefused),
    ],
)
async def test_a_page_that_is_no_edit_form_is_never_read_as_an_empty_record(
    answer: Page, fault: type[Exception]
) -> None:
    driver, _ = creme(lambda m, t, b: answer, [])
    contact = load_profile("creme").walk.entity("contact")  # type: ignore[union-attr]
    with pytest.raises(fault):
        await driver.read(contact, "7")


async def test_a_list_ends_where_the_crm_repeats_its_last_page() -> None:
    full = "".join(f'<input name="entity_id" value="{n}">' for n in range(1, 101))
    driver, _ = creme(lambda m, t, b: page(200, full), [])
    contact = load_profile("creme").walk.entity("contact")  # type: ignore[union-attr]
    first = await driver.page(contact, "")
    assert len(first.ids) == 100
    assert (await driver.page(contact, first.following)).ids == []
    odd, _ = creme(lambda m, t, b: page(200, '<input name="entity_id" value="../1">'), [])
    with pytest.raises(CrmUnreachable):
        await odd.page(contact, "")


def tryton(answer: Callable[[str, list[Any]], Page]) -> JsonRpc:
    def rpc(_: str, target: str, body: bytes) -> Page:
        assert target == "/crm/rpc/"
        told = orjson.loads(body)
        if told["method"] == "common.db.login":
            return page(200, '{"id":1,"result":[1,"token"]}')
        return answer(told["method"], told["params"])

    walk = load_profile("tryton").walk
    assert walk is not None
    return JsonRpc(cast(CrmClient, Script(rpc)), walk, Credential("admin", "pw", {"db": "crm"}))


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (page(500), CrmUnreachable),
        (page(200, "<html>"), CrmUnreachable),
        (page(401), CrmSignInRefused),
        (page(200, '{"id":1,"error":["UserError",["a value"]]}'), CrmRefused),
    ],
)
async def test_an_rpc_that_fails_says_so_without_a_value(answer: Page, fault: type[Exception]) -> None:
    party = load_profile("tryton").walk.entity("party")  # type: ignore[union-attr]
    with pytest.raises(fault) as told:
        await tryton(lambda m, p: answer).read(party, "1")
    assert "a value" not in str(told.value)


async def test_tryton_is_told_which_state_of_the_record_is_written() -> None:
    seen: list[Any] = []

    def answer(method: str, params: list[Any]) -> Page:
        if method.endswith(".write"):
            seen.append(params)
            return page(200, '{"id":1,"error":["ConcurrencyException",""]}')
        return page(200, '{"id":1,"result":[{"name":"Luc","_timestamp":"17.5"}]}')

    party = load_profile("tryton").walk.entity("party")  # type: ignore[union-attr]
    driver = tryton(answer)
    reading = await driver.read(party, "4")
    assert reading is not None
    with pytest.raises(RecordChanged):
        await driver.write(reading, {"name": "Zq1"})
    assert seen[0][0] == [4]
    assert seen[0][2]["_timestamp"] == {"party.party,4": "17.5"}


@pytest.mark.parametrize(
    ("entity", "told", "owner"),
    [
        ("party", {"create_uid": 7}, "7"),
        ("party", {"create_uid": None}, ""),
        ("party", {}, ""),
        ("mechanism", {"party": 4, "party.": {"create_uid": 8, "id": 4}}, "8"),
        ("mechanism", {"party": 4, "party.": None}, ""),
        ("opportunity", {"create_uid": 7}, ""),
    ],
)
async def test_tryton_tells_who_made_a_record_or_the_one_it_hangs_on(
    entity: str, told: dict[str, Any], owner: str
) -> None:
    seen: list[Any] = []

    def answer(_: str, params: list[Any]) -> Page:
        seen.append(params[1])
        return page(200, orjson.dumps({"id": 1, "result": [{"name": "Luc", **told}]}).decode())

    kind = load_profile("tryton").walk.entity(entity)  # type: ignore[union-attr]
    reading = await tryton(answer).read(kind, "4")
    assert reading is not None
    assert reading.owner == owner
    assert {kind.owner} - {""} <= set(seen[0])


@pytest.mark.parametrize(("told", "context"), [({"company": 3}, {"company": 3}), ({"company": None}, {}), ([], {})])
async def test_a_scratch_record_is_made_for_the_company_of_the_account(told: object, context: dict[str, int]) -> None:
    seen: list[Any] = []

    def answer(method: str, params: list[Any]) -> Page:
        if method == "model.res.user.get_preferences":
            return page(200, orjson.dumps({"id": 1, "result": told}).decode())
        seen.append(params)
        return page(200, '{"id":1,"result":[9]}')

    kind = load_profile("tryton").walk.entity("party")  # type: ignore[union-attr]
    assert await tryton(answer).create(kind, {"name": "Probe"}) == "9"
    assert seen == [[[{"name": "Probe"}], context]]


async def test_a_record_is_deleted_by_the_calls_that_the_profile_names() -> None:
    seen: list[str] = []

    def answer(method: str, _: list[Any]) -> Page:
        seen.append(method)
        return page(200, '{"id":1,"result":null}')

    kind = load_profile("tryton").walk.entity("opportunity")  # type: ignore[union-attr]
    await tryton(answer).remove(kind, "9")
    await tryton(answer).remove(replace(kind, removed_by=("cancel", "delete")), "9")
    name = "model.sale.opportunity."
    assert seen == [f"{name}delete", f"{name}cancel", f"{name}delete"]
