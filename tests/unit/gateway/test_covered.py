"""A form with masks of values that are not protected yet is saved: what was not touched stays as it is in the CRM."""

import re
from collections.abc import Mapping
from html import escape, unescape
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.answer import UpstreamSlow
from gateway.body.limits import Limits as BodyLimits
from gateway.covered import Covered
from gateway.inward import Inward
from gateway.network import Tenant
from gateway.origin import Origins
from gateway.outward import Outward
from gateway.refusal import CRM_NOT_SHOWN, MASK_RETURNED, Refusal
from gateway.showing import Showing
from gateway.tokenise import Tokeniser
from gateway.unprotected import Unprotected
from gateway.verdict import PLACEHOLDER
from policies.decision import FieldView, Form
from tests.unit.gateway.glue import FORM, TENANT, Glue

EDIT = "/persons/contact/edit/7"
CLEAR = {
    "last_name": "孔",
    "first_name": "倩浩",
    "birthday": "1990-02-03",
    "phone": "13800138000",
    "email": "kong@example.com",
    "billing_address-address": "12 rue Ostkel\n75001 Paris",
    "description": "孔倩浩 called from 13800138000",
}


class Crm:
    """A CRM that shows an edit form, and remembers how often it was asked."""

    def __init__(self, held: Mapping[str, str], fault: Exception | None = None, more: str = "") -> None:
        self.held, self.fault, self.more, self.asked = dict(held), fault, more, 0

    def page(self) -> str:
        areas = ("billing_address-address", "description")
        fields = "".join(
            f'<textarea name="{name}">\n{escape(text)}</textarea>'
            if name in areas
            else f'<input name="{name}" value="{escape(text)}">'
            for name, text in self.held.items()
        )
        return f'<form action="{EDIT}" method="post">{fields}</form>{self.more}'

    async def request(self, _method: bytes, _head: bytes) -> Any:
        self.asked += 1
        if self.fault is not None:
            raise self.fault

        async def read(_limit: int) -> bytes:
            return self.page().encode()

        return SimpleNamespace(status=200, fields=[(b"content-type", b"text/html; charset=utf-8")], read=read)


def watched(glue: Glue, *, migrated: bool = False) -> Glue:
    """The same gateway in front of a CRM that is not migrated yet."""
    look = Unprotected(lambda _: glue.scanner, lambda _: migrated, BodyLimits())
    glue.outward = Outward(glue.reveal, glue.binding, BodyLimits(), placed=glue.placed, unprotected=look)
    covered = Covered(look, glue.placed, lambda _: glue.scanner, lambda _: glue.profile)
    glue.tokeniser = Tokeniser(glue.vault, glue.records, lambda _: glue.scanner, lambda _: migrated, glue.kept, covered)
    glue.inward = Inward(glue.tokeniser, glue.search, lambda _: glue.scanner, glue.limits)
    return glue


async def form_of(glue: Glue, crm: Crm, role: str = "sales") -> dict[str, str]:
    """The fields of the form as this role sees them."""
    page = await glue.see(crm.page(), role, target=EDIT)
    found = re.findall(
        r'<input name="([^"]*)" value="([^"]*)">|<textarea name="([^"]*)">\n(.*?)</textarea>', page, re.S
    )
    return {one[0] or one[2]: unescape(one[1] or one[3]) for one in found}


async def posted(
    glue: Glue, crm: Crm, body: bytes, kind: str = FORM, role: str = "sales", *, quiet: bool = True
) -> bytes:
    """What the CRM gets of a write. quiet: nothing in it is new."""
    exchange = glue.exchange("POST", EDIT, role=role, body=body, content_type=kind)
    tenant = SimpleNamespace(
        name=TENANT,
        profile=glue.profile,
        pool=crm,
        origins=Origins("https://crm.localhost", "http://127.0.0.1:8000"),
        forward_client=False,
    )
    decide = lambda operation: glue.bundle.decide(TENANT, (role,), operation)  # noqa: E731
    exchange.showing = Showing(cast("Tenant", tenant), exchange, [], (), decide)
    outgoing = await glue.protect(exchange, body, kind)
    if quiet:
        assert exchange.typed == set()  # nothing of it may be shown as if it had been typed here
        assert exchange.written == []
    assert isinstance(outgoing.body, bytes)
    return outgoing.body


async def saved(glue: Glue, crm: Crm, fields: Mapping[str, str], role: str = "sales") -> dict[str, str]:
    """What the CRM gets of a form."""
    body = await posted(glue, crm, urlencode(fields).encode(), role=role)
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


async def refused(glue: Glue, crm: Crm, fields: Mapping[str, str]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await saved(glue, crm, fields)
    return caught.value


async def test_a_form_saved_as_it_was_shown_leaves_every_clear_value_as_it_is(creme: Glue) -> None:
    glue, crm = watched(creme), Crm(CLEAR)
    shown = await form_of(glue, crm)
    assert shown.keys() == CLEAR.keys()
    assert all(shown[name] != CLEAR[name] for name in CLEAR)
    assert await saved(glue, crm, {name: text.replace("\n", "\r\n") for name, text in shown.items()}) == CLEAR
    assert crm.asked == 1


async def test_what_was_changed_beside_the_masks_is_changed(creme: Glue) -> None:
    glue, crm = watched(creme), Crm({**CLEAR, "description": ""})
    shown = await form_of(glue, crm)
    new = await saved(glue, crm, {**shown, "description": "wants an offer", "position": "buyer"})
    assert new == {**CLEAR, "description": "wants an offer", "position": "buyer"}


async def test_a_mask_of_a_role_that_sees_part_of_it_is_only_good_for_the_value_it_is_of(
    creme: Glue, monkeypatch: pytest.MonkeyPatch
) -> None:
    glue, held = watched(creme), {**CLEAR, "description": ""}
    crm = Crm(held)
    see_masks(monkeypatch)
    shown = await form_of(glue, crm)
    assert shown["first_name"] == "倩**"
    assert await saved(glue, crm, shown) == held
    for newer in ("倩", "王小明", ""):  # somebody else has changed it meanwhile
        assert (await refused(glue, Crm({**held, "first_name": newer}), shown)).reason is MASK_RETURNED, newer
    alike = {**held, "first_name": "倩如玉"}  # it reads the same: what stands there now stays
    assert await saved(glue, Crm(alike), shown) == alike
    other = await form_of(glue, Crm({**held, "first_name": "王小明"}))
    assert (await refused(glue, crm, {**shown, "first_name": other["first_name"]})).reason is MASK_RETURNED
    for name in ("last_name", "function"):
        assert (await refused(glue, crm, {**shown, name: shown["first_name"]})).reason is MASK_RETURNED
    for guess in ("倩***", "倩** x", "王**"):
        assert (await refused(glue, crm, {**shown, "first_name": guess})).reason is MASK_RETURNED, guess


async def test_nothing_in_another_place_of_the_body_takes_the_value_of_a_field(creme: Glue) -> None:
    """JSON inside a field, and a table in a file, have names of their own: a mask in them stands for nothing."""
    glue, crm = watched(creme), Crm(CLEAR)
    for name in ("description", "anything"):
        for text in (orjson.dumps({"phone": PLACEHOLDER}).decode(), orjson.dumps([PLACEHOLDER]).decode()):
            assert (await refused(glue, crm, {name: text})).reason is MASK_RETURNED
    assert (await refused(glue, crm, {"anything": PLACEHOLDER})).reason is MASK_RETURNED
    table = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n'
        b"phone\r\n" + PLACEHOLDER.encode() + b"\r\n--b--\r\n"
    )
    with pytest.raises(Refusal) as caught:
        await posted(glue, crm, table, "multipart/form-data; boundary=b")
    assert caught.value.reason is MASK_RETURNED


async def test_an_answer_that_is_ambiguous_or_does_not_come_puts_nothing_back(creme: Glue) -> None:
    glue = watched(creme)
    twice = Crm(CLEAR, more=f'<form><input name="phone" value="{CLEAR["phone"]}"></form>')
    assert (await refused(glue, twice, {"phone": PLACEHOLDER})).reason is MASK_RETURNED
    assert await saved(glue, twice, {"email": PLACEHOLDER}) == {"email": CLEAR["email"]}
    assert (await refused(glue, Crm(CLEAR, UpstreamSlow("slow")), {"phone": PLACEHOLDER})).reason is CRM_NOT_SHOWN


async def test_a_migrated_crm_is_not_asked_and_gets_no_clear_value(creme: Glue) -> None:
    glue, crm = watched(creme, migrated=True), Crm(CLEAR)
    assert (await refused(glue, crm, {"phone": PLACEHOLDER})).reason is MASK_RETURNED
    assert crm.asked == 0


async def test_a_field_that_is_protected_already_is_for_the_vault(creme: Glue) -> None:
    glue = watched(creme)
    held = await glue.create("7", owner="8")
    crm = Crm({**CLEAR, "phone": held["phone"], "description": f"call {held['phone']} or 13911112222"})
    shown = await form_of(glue, crm)
    assert shown["phone"] == held["phone"]
    new = await saved(glue, crm, {name: text for name, text in shown.items() if name != "description"})
    assert new == {name: text for name, text in crm.held.items() if name != "description"}
    assert (await refused(glue, crm, {"description": shown["description"]})).reason is MASK_RETURNED


async def test_nobody_gains_a_right_or_an_origin_by_saving(creme: Glue) -> None:
    glue, crm = watched(creme), Crm(CLEAR)
    await saved(glue, crm, await form_of(glue, crm))
    for kind, name in (("phone", "phone"), ("email", "email")):
        assert not await glue.vault.find(TENANT, kind, CLEAR[name])
    assert await glue.vault.at_origin(TENANT, "contact", "phone", "7") == []


async def test_a_save_without_masks_asks_the_crm_for_nothing(creme: Glue) -> None:
    glue, crm = watched(creme), Crm(CLEAR)
    exchange = urlencode({"description": "wants an offer"}).encode()
    assert await posted(glue, crm, exchange) == exchange
    assert crm.asked == 0


def see_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let salespeople see parts of everybody's values."""
    monkeypatch.setattr(FieldView, "form", lambda *_, **__: Form.MASKED)


SIGNS = st.text(st.sampled_from("138*• 孔Ana@.x\n+"), max_size=12)
TEXT = st.sampled_from([*CLEAR.values(), "王芳", "13911112222", "138 0013 8000", "a@b.example", "buyer", ""]) | SIGNS


@given(st.fixed_dictionaries(dict.fromkeys(("last_name", "phone", "email", "description"), TEXT)), st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_reaches_the_crm_is_never_a_mask_nor_the_clear_value_of_another_field(
    creme: Glue, held: dict[str, str], data: st.DataObject
) -> None:
    """Whatever is put where: a mask ends as what stands in its own field now, or the save is refused."""
    glue, crm = watched(creme), Crm(held)
    shown = await form_of(glue, crm)
    name = data.draw(st.sampled_from(sorted(held)))
    text = data.draw(st.sampled_from(sorted(shown.values())) | TEXT)
    hidden = {one for one in held if shown[one].strip() != held[one].strip()}
    quiet = name in hidden and text.strip() == shown[name].strip()
    try:
        body = await posted(glue, crm, urlencode({name: text}).encode(), quiet=False)
    except Refusal:
        assert not quiet  # who changes nothing can save
        return
    new = dict(parse_qsl(body.decode(), keep_blank_values=True))[name]
    if quiet or PLACEHOLDER in text:
        assert new == held[name]
    for other in hidden - {name}:
        assert new != held[other] or held[other] in (text, held[name])
