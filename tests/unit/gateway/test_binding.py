"""What an accepted answer teaches, and what no answer can be made to teach."""

import pytest

from gateway.access.tokens import digest
from gateway.binding import signed_out
from gateway.exchange import Exchange
from kms.tokens import StoreUnavailable
from tests.unit.gateway.glue import ANNA, BORIS, FORM, JSON, PERSON, TENANT, Broken, Glue

ADD, EDIT = "/persons/contact/add", "/persons/contact/edit/5"


async def owner(glue: Glue, record: str, entity: str = "contact") -> str | None:
    await glue.records.load(TENANT, [(entity, record)], glue.clock())
    return glue.records.owner(TENANT, entity, record, glue.clock())


async def places(glue: Glue, surrogate: str) -> set[str | None]:
    return {origin.record for origin in (await glue.entry(surrogate)).origins}


async def test_a_create_is_bound_by_the_page_the_crm_redirects_to(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    for name, surrogate in held.items():
        if name != "user":
            assert await places(creme, surrogate) == {"5"}
    assert await owner(creme, "5") == BORIS


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (200, "/persons/contact/5"),
        (302, "/creme_login?next=/persons/contact/5"),
        (302, "/persons/organisation/5"),
        (302, "/persons/contact/5x"),
        (302, "/"),
        (403, "/persons/contact/5"),
        (500, "/persons/contact/5"),
    ],
)
async def test_a_create_the_crm_did_not_accept_binds_nothing(creme: Glue, status: int, location: str) -> None:
    exchange, held = await creme.send_form(ADD, PERSON, role="sales")
    await creme.answer(exchange, b"", status=status, location=location)
    assert await places(creme, held["phone"]) == {None}
    assert await owner(creme, "5") is None


async def test_a_create_that_chooses_its_own_redirect_binds_nothing(creme: Glue) -> None:
    """`callback_url` names the page the CRM redirects to: it would bind a value to a record of the caller's choice."""
    exchange, held = await creme.send_form(ADD, {**PERSON, "callback_url": "/persons/contact/99"}, role="sales")
    await creme.answer(exchange, b"", status=302, location="/persons/contact/99")
    assert await places(creme, held["phone"]) == {None}
    assert await owner(creme, "99") is None


@pytest.mark.parametrize(
    "target",
    [
        EDIT,
        "/creme_core/entity/edit/inner/98/5?cell=regular_field-phone",
        "/creme_core/entity/update/bulk/98/field/phone",
    ],
)
@pytest.mark.parametrize(("status", "media"), [(302, "text/html"), (200, "text/html"), (200, "application/json")])
async def test_nobody_becomes_owner_by_naming_oneself_in_an_update(
    creme: Glue, target: str, status: int, media: str
) -> None:
    """The CRM may ignore the field and still accept the rest; who owns the record is then open, not the caller."""
    held = await creme.create("5", owner=BORIS)
    fields = {"user": ANNA, "entities": "5", "phone": "13911112222"}
    exchange, _ = await creme.send_form(target, fields, role="sales")
    await creme.answer(exchange, b"<p>done</p>", media, status, location="/persons/contact/5")
    assert await owner(creme, "5") in (BORIS, None)
    assert PERSON["phone"] not in await creme.see(f"<p>{held['phone']}</p><p>{held['last_name']}</p>")
    assert "138****8000" not in await creme.see(f"<p>{held['phone']}</p>")


async def test_an_update_the_crm_sends_to_its_sign_in_page_changes_nothing(creme: Glue) -> None:
    await creme.create("5", owner=BORIS)
    exchange, _ = await creme.send_form(EDIT, {"user": ANNA}, role="sales")
    await creme.answer(exchange, b"", status=302, location="http://crm/creme_login?next=/x")
    assert await owner(creme, "5") == BORIS


async def test_an_update_that_names_the_known_owner_leaves_it_known(creme: Glue) -> None:
    await creme.create("5", owner=BORIS)
    exchange, _ = await creme.send_form(EDIT, {**PERSON, "user": BORIS})
    await creme.answer(exchange, b"", status=302, location="/persons/contact/5")
    assert await owner(creme, "5") == BORIS


async def test_reads_teach_nothing(creme: Glue) -> None:
    _, held = await creme.send_form(ADD, PERSON, role="sales")
    other = creme.exchange("GET", "/persons/contact/5", role="sales")
    await creme.answer(other, b'<select name="user"><option selected value="7">Anna</select>', location=ADD)
    assert await owner(creme, "5") is None
    assert await places(creme, held["phone"]) == {None}


async def test_a_party_is_bound_by_the_result_and_owned_by_who_made_it(tryton: Glue) -> None:
    party = {"name": "张伟明", "contact_mechanisms": [["create", [{"type": "email", "value": "z@example.com"}]]]}
    exchange, sent = await tryton.call("model.party.party.create", [party], role="sales", user="3")
    await tryton.answer(exchange, b'{"id":1,"result":[5]}', JSON)
    held = sent[0][0]
    assert await places(tryton, held["name"]) == {"5"}
    assert await places(tryton, held["contact_mechanisms"][0][1][0]["value"]) == {"5"}
    assert await owner(tryton, "5", "party") == "3"


async def test_several_created_records_stay_unbound(tryton: Glue) -> None:
    exchange, sent = await tryton.call("model.party.party.create", [{"name": "张伟"}, {"name": "李娜"}], role="sales")
    await tryton.answer(exchange, b'{"id":1,"result":[5,6]}', JSON)
    for row in sent[0]:
        assert await places(tryton, row["name"]) == {None}
    shown = await tryton.see_tryton(sent[0], "sales")
    assert shown == sent[0]


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":1,"error":["UserError","no"]}',
        b'{"id":"' + b"x" * 200 + b'","error":["UserError","no"],"result":[5]}',
        b'{"id":1,"result":["5x"]}',
        b'{"id":1,"result":null}',
        b"not json",
    ],
)
async def test_a_call_the_crm_refused_binds_nothing(tryton: Glue, body: bytes) -> None:
    exchange, sent = await tryton.call("model.party.party.create", [{"name": "张伟"}], role="sales")
    await tryton.answer(exchange, body, JSON)
    assert await places(tryton, sent[0][0]["name"]) == {None}
    assert await owner(tryton, "5", "party") is None


async def test_a_new_contact_mechanism_belongs_to_the_party_it_names(tryton: Glue) -> None:
    row = {"party": 5, "type": "phone", "value": "13800138000"}
    _, sent = await tryton.call("model.party.contact_mechanism.create", [row])
    assert {(o.entity, o.record) for o in (await tryton.entry(sent[0][0]["value"])).origins} == {("party", "5")}


async def test_an_edited_contact_mechanism_does_not_belong_to_the_party_with_its_number(tryton: Glue) -> None:
    _, sent = await tryton.call("model.party.contact_mechanism.write", [17], {"type": "phone", "value": "13800138000"})
    assert await places(tryton, sent[1]["value"]) == {None}


async def test_records_of_types_that_share_a_name_have_no_owner(tryton: Glue) -> None:
    """Sale 5 and project 5 are both "record" 5: who made the one must not own the other."""
    exchange, _ = await tryton.call("model.project.work.create", [{"name": "roof"}], role="sales", user="3")
    await tryton.answer(exchange, b'{"id":1,"result":[5]}', JSON)
    assert await owner(tryton, "5", "record") is None


async def test_a_login_tells_the_credential_as_a_hash_and_the_person(creme: Glue, tryton: Glue) -> None:
    body = b"username=anna&password=secret"
    exchange = creme.exchange("POST", "/creme_login", body=body)
    await creme.protect(exchange, body, FORM)
    await creme.answer(exchange, b"", status=302, set_cookie="sessionid=abc123; Path=/")
    assert creme.sessions.tokens == [("session-1", digest("abc123").hex())]
    assert creme.sessions.identities == [("session-1", "anna", "")]
    assert exchange.body == b""
    exchange, _ = await tryton.call("common.db.login", "anna", {"password": "secret"})
    await tryton.answer(exchange, b'{"id":1,"result":[3,"abcdef",null]}', JSON)
    assert tryton.sessions.identities == [("session-1", "anna", "3")]
    assert "abcdef" not in repr(tryton.sessions)


async def test_a_failed_login_tells_nothing(creme: Glue) -> None:
    body = b"username=anna&password=wrong"
    exchange = creme.exchange("POST", "/creme_login", body=body)
    await creme.protect(exchange, body, FORM)
    await creme.answer(exchange, b"<form>again</form>", status=200, set_cookie="sessionid=abc123; Path=/")
    assert creme.sessions.tokens == []
    assert creme.sessions.identities == []


async def test_a_store_that_fails_after_a_create_ends_the_answer(creme: Glue) -> None:
    exchange: Exchange
    exchange, _ = await creme.send_form(ADD, PERSON)
    creme.binding._vault = Broken("raise", StoreUnavailable("down"))  # type: ignore[assignment]
    with pytest.raises(StoreUnavailable):
        await creme.answer(exchange, b"", status=302, location="/persons/contact/5")


@pytest.mark.parametrize(
    ("status", "location", "out"),
    [(302, "/creme_login", True), (302, "/creme_login/?next=/", True), (302, "/", False), (200, "", False)],
)
def test_being_sent_to_the_sign_in_page_means_signed_out(creme: Glue, status: int, location: str, out: bool) -> None:
    assert signed_out(creme.profile, status, [("location", location)]) is out
