"""A save that changes nothing passes for every role, also where the vault knows less than the CRM."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from gateway.database import Pool
from gateway.refusal import CRM_NOT_SHOWN, FIELD_NOT_WRITABLE, TEXT_PART_NOT_WRITABLE, Reason, Refusal
from tests.drills.edit_crm import POLICY, PROFILE
from tests.unit.gateway.glue import JSON, Glue, open_glue

PERSON = {
    "name": "张伟明",
    "email": "zhang.weiming@example.com",
    "phone": "138-0013-8000",
    "address": "1 rue de Rivoli\r\nBâtiment B",
    "note": "met 张伟明\r\nphone 138-0013-8000",
}
COPY = "/api/contacts/9"


class Shown:
    """What the CRM shows of a record."""

    def __init__(self, held: Mapping[str, str], *, silent: bool = False) -> None:
        self._held = held
        self.silent = silent

    async def text(self, path: tuple[str, ...]) -> str | None:
        return self._held.get(path[-1])


@pytest_asyncio.fixture
async def contacts(pool: Pool, keyring_path: Path) -> AsyncIterator[Glue]:
    async with open_glue(pool, keyring_path, str(PROFILE), POLICY) as glue:
        yield glue


async def sent(
    glue: Glue, role: str, method: str, target: str, value: object, shown: Mapping[str, str] | Shown | None = None
) -> dict[str, str]:
    """What the CRM gets of a write by this role while it shows this."""
    body = orjson.dumps(value)
    exchange = glue.exchange(method, target, role=role, body=body, content_type=JSON)
    exchange.showing = Shown(shown) if isinstance(shown, dict) else shown  # type: ignore[assignment]
    outgoing = await glue.protect(exchange, body, JSON)
    assert isinstance(outgoing.body, bytes)
    await glue.answer(exchange, b'{"id":5}' if method == "POST" else b"{}", JSON, status=201)
    return dict(orjson.loads(outgoing.body))


async def refused(glue: Glue, role: str, value: object, shown: Mapping[str, str] | Shown | None) -> Reason:
    with pytest.raises(Refusal) as caught:
        await sent(glue, role, "PUT", COPY, value, shown)
    return caught.value.reason


async def copied(glue: Glue) -> dict[str, str]:
    """A contact made by a manager; the CRM has copied what it holds to another record, of which nobody told us."""
    return await sent(glue, "manager", "POST", "/api/contacts", PERSON)


async def test_a_copy_that_the_crm_made_is_saved_as_it_is_by_who_may_write_nothing(contacts: Glue) -> None:
    held = await copied(contacts)
    assert await refused(contacts, "reader", PERSON, None) is FIELD_NOT_WRITABLE
    assert await sent(contacts, "reader", "PUT", COPY, PERSON, held) == held
    assert await sent(contacts, "clerk", "PUT", COPY, held, held) == held


async def test_white_space_and_line_breaks_that_forms_change_do_not_count(contacts: Glue) -> None:
    held = await copied(contacts)
    kept = {**held, "note": f"{held['note']}  ", "address": held["address"].replace("\r\n", "\n")}
    posted = {**PERSON, "note": f"\n{PERSON['note']}", "phone": f" {PERSON['phone']} "}
    assert await sent(contacts, "reader", "PUT", COPY, posted, kept) == kept


async def test_a_value_with_white_space_of_its_own_is_saved_as_it_is(contacts: Glue) -> None:
    made = {"phone": " 138-0013-8000 ", "name": "王芳 ", "note": "  call 13900139000 "}
    held = await sent(contacts, "manager", "POST", "/api/contacts", made)
    for posted in (made, {name: text.strip() for name, text in made.items()}):
        assert await sent(contacts, "reader", "PATCH", COPY, posted, held) == held


@pytest.mark.parametrize("name", PERSON)
async def test_whatever_else_is_posted_is_refused_whatever_the_crm_shows(contacts: Glue, name: str) -> None:
    held = await copied(contacts)
    reason = TEXT_PART_NOT_WRITABLE if name == "note" else FIELD_NOT_WRITABLE
    for text in ("", "x", f"{PERSON[name]}, 13900139000", PERSON[name][:-1]):
        changed = {**PERSON, name: text}
        assert await refused(contacts, "reader", changed, held) is reason, text


async def test_an_edit_that_the_crm_refused_keeps_nobody_from_saving(contacts: Glue) -> None:
    await sent(contacts, "manager", "POST", "/api/contacts", {"name": "王芳"})
    body = orjson.dumps({"phone": "13900139000", "note": "call 13900139000"})
    exchange = contacts.exchange("PATCH", "/api/contacts/5", body=body, content_type=JSON)
    await contacts.protect(exchange, body, JSON)
    await contacts.answer(exchange, b"{}", JSON, status=400)
    quiet = {"phone": "", "note": ""}
    assert await sent(contacts, "clerk", "PATCH", "/api/contacts/5", quiet, quiet) == quiet
    # From then on it is known what stands there.
    assert await sent(contacts, "reader", "PATCH", "/api/contacts/5", quiet) == quiet


async def test_the_words_of_a_note_change_around_the_parts_that_the_crm_shows(contacts: Glue) -> None:
    held = await copied(contacts)
    new = await sent(contacts, "reader", "PATCH", COPY, {"note": f"was {PERSON['note']}"}, held)
    assert new == {"note": f"was {held['note']}"}


async def test_what_stood_there_before_the_crm_changed_it_is_not_put_back(contacts: Glue) -> None:
    """The vault was not told, as after an import: the old value still seems to stand there."""
    held = await copied(contacts)
    other = await sent(contacts, "manager", "POST", "/api/contacts", {"phone": "13900139000"})
    target = "/api/contacts/5"
    for role, old in (("clerk", held["phone"]), ("reader", PERSON["phone"]), ("clerk", "")):
        with pytest.raises(Refusal) as caught:
            await sent(contacts, role, "PATCH", target, {"phone": old}, other)
        assert caught.value.reason is FIELD_NOT_WRITABLE


async def test_a_mask_of_what_the_crm_holds_stays_and_another_one_is_refused(contacts: Glue) -> None:
    held = await copied(contacts)
    seen = await contacts.see_json({"phone": held["phone"]}, role="clerk")
    assert isinstance(seen, dict)
    assert seen["phone"] != held["phone"]
    assert (await sent(contacts, "clerk", "PATCH", COPY, seen, held))["phone"] == held["phone"]
    other = await sent(contacts, "manager", "POST", "/api/contacts", {"phone": "13900139000"})
    assert await refused(contacts, "clerk", seen, {**held, **other}) is FIELD_NOT_WRITABLE


async def test_a_guess_is_never_confirmed_to_who_does_not_see_the_value(contacts: Glue) -> None:
    held = await copied(contacts)
    for guess in (PERSON["phone"], "138-0013-8001"):
        assert await refused(contacts, "clerk", {"phone": guess}, held) is FIELD_NOT_WRITABLE
        note = held["note"].replace(held["phone"], guess)
        assert await refused(contacts, "clerk", {"note": note}, held) is TEXT_PART_NOT_WRITABLE


async def test_a_value_still_in_clear_in_the_crm_confirms_no_guess_either(contacts: Glue) -> None:
    clear = {"phone": "138-0013-8000", "note": "phone 138-0013-8000"}
    assert await refused(contacts, "clerk", {"phone": clear["phone"]}, clear) is FIELD_NOT_WRITABLE
    assert await refused(contacts, "clerk", {"note": clear["note"]}, clear) is TEXT_PART_NOT_WRITABLE
    assert await sent(contacts, "reader", "PATCH", COPY, clear, clear) == clear  # who sees it changes nothing


async def test_a_crm_that_shows_nothing_leaves_the_refusal(contacts: Glue) -> None:
    held: Any = await copied(contacts)
    assert await refused(contacts, "reader", PERSON, {}) is FIELD_NOT_WRITABLE
    assert await refused(contacts, "clerk", {"note": held["note"]}, {}) is TEXT_PART_NOT_WRITABLE


async def test_a_crm_that_did_not_answer_in_time_is_named_as_the_reason_and_the_save_may_be_tried_again(
    contacts: Glue,
) -> None:
    held = await copied(contacts)
    for value in (PERSON, {"phone": "13900139000"}, {"note": held["note"]}):
        assert await refused(contacts, "reader", value, Shown({}, silent=True)) is CRM_NOT_SHOWN
    assert CRM_NOT_SHOWN.retry
    wrong = {"phone": "x" * 600}  # what is wrong whatever the CRM holds stays what it is
    assert await refused(contacts, "sales", wrong, Shown({}, silent=True)) is not CRM_NOT_SHOWN
