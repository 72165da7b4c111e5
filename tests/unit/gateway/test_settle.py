"""Who sees what: decided by where a value belongs, never by where it stands."""

from datetime import timedelta
from pathlib import Path

import pytest

from gateway.database import Pool
from gateway.records import ANY_ENTITY
from gateway.settle import NOWHERE, records_of, settle
from kms.tokens import NewValue, Origin, VaultEntry
from policies.decision import Form
from tests.unit.gateway.glue import ANNA, BORIS, TENANT, Glue, open_glue

HIDDEN, MASKED, CLEAR = Form.HIDDEN, Form.MASKED, Form.CLEAR


async def form(glue: Glue, entry: VaultEntry, role: str = "sales", user: str | None = ANNA) -> Form:
    await glue.records.load(TENANT, records_of([entry]), glue.clock())
    view = glue.bundle.view(TENANT, (role,))
    return settle(entry, view, glue.records, TENANT, user, glue.clock())[0]


def entry(kind: str, *origins: Origin) -> VaultEntry:
    return VaultEntry("s", kind, "clear", origins, {})


@pytest.mark.parametrize(
    ("kind", "field", "own"),
    [
        ("name", "last_name", CLEAR),
        ("address", "billing_address", CLEAR),
        ("phone", "phone", MASKED),
        ("email", "email", MASKED),
        ("id_card", "id_card", HIDDEN),
        ("bank_card", "bank_card", HIDDEN),
    ],
)
async def test_sales_see_own_customers_by_field_and_others_not_at_all(
    creme: Glue, kind: str, field: str, own: Form
) -> None:
    await creme.records.note(TENANT, [("contact", "5")], ANNA, creme.clock())
    value = entry(kind, Origin("contact", field, "5"))
    assert await form(creme, value) is own
    assert await form(creme, value, user=BORIS) is HIDDEN
    assert await form(creme, value, user=None) is HIDDEN
    assert await form(creme, value, user="") is HIDDEN
    assert await form(creme, value, role="manager", user=BORIS) is CLEAR
    assert await form(creme, value, role="nobody") is HIDDEN


async def test_values_that_belong_to_no_known_record_open_by_rights_over_the_kind_only(creme: Glue) -> None:
    for value in (entry("name"), entry("name", Origin("contact", "last_name", None))):
        assert await form(creme, value) is HIDDEN
        assert await form(creme, value, role="manager") is CLEAR


async def test_any_origin_that_permits_opens(creme: Glue) -> None:
    await creme.records.note(TENANT, [("contact", "5")], ANNA, creme.clock())
    shared = entry("phone", Origin("contact", "phone", "9"), Origin("contact", "phone", "5"))
    assert await form(creme, shared) is MASKED
    assert await form(creme, shared, user=BORIS) is HIDDEN


async def test_stale_knowledge_of_the_owner_means_not_owned(creme: Glue) -> None:
    await creme.records.note(TENANT, [("contact", "5")], ANNA, creme.clock())
    value = entry("name", Origin("contact", "last_name", "5"))
    creme.clock.now += timedelta(days=30)
    assert await form(creme, value) is CLEAR
    creme.clock.now += timedelta(seconds=1)
    assert await form(creme, value) is HIDDEN


async def test_the_number_alone_tells_the_owner_where_all_records_share_one_number_range(creme: Glue) -> None:
    await creme.records.note(TENANT, [("contact", "5"), (ANY_ENTITY, "5")], ANNA, creme.clock())
    assert await form(creme, entry("address", Origin("address", "address", "5"))) is CLEAR
    assert await form(creme, entry("address", Origin("address", "address", "6"))) is HIDDEN


async def test_the_origin_that_decided_is_told_for_the_trail(creme: Glue) -> None:
    await creme.records.note(TENANT, [("contact", "5")], ANNA, creme.clock())
    value = entry("name", Origin("contact", "last_name", "9"), Origin("contact", "last_name", "5"))
    await form(creme, value)
    view = creme.bundle.view(TENANT, ("sales",))
    assert settle(value, view, creme.records, TENANT, ANNA, creme.clock())[1].record == "5"
    assert settle(entry("name"), view, creme.records, TENANT, ANNA, creme.clock())[1] is NOWHERE


async def test_owners_of_another_tenant_do_not_count(creme: Glue) -> None:
    await creme.records.note("other", [("contact", "5")], ANNA, creme.clock())
    await creme.vault.tokenise(TENANT, [NewValue("name", "张伟", Origin("contact", "last_name", "5"))], "c")
    assert await form(creme, entry("name", Origin("contact", "last_name", "5"))) is HIDDEN


async def test_a_value_of_another_kind_than_its_field_shows_no_more_than_the_field(creme: Glue) -> None:
    await creme.records.note(TENANT, [("contact", "5")], ANNA, creme.clock())
    for field, own in (("phone", MASKED), ("id_card", HIDDEN), ("last_name", CLEAR), ("description", CLEAR)):
        assert await form(creme, entry("name", Origin("contact", field, "5"))) is own
    assert await form(creme, entry("phone", Origin("contact", "last_name", "5"))) is MASKED


async def test_a_field_that_is_denied_stays_denied_though_its_kind_is_open(pool: Pool, keyring_path: Path) -> None:
    policy = """
p, sales, *, op:*, *, any
p, sales, *, kind:*, clear, any
p, sales, *, field:contact.phone, masked, any, deny
"""
    async with open_glue(pool, keyring_path, policy=policy) as glue:
        assert await form(glue, entry("phone", Origin("contact", "phone", "5"))) is HIDDEN
        assert await form(glue, entry("phone", Origin("contact", "phone", None))) is HIDDEN
        assert await form(glue, entry("phone", Origin("contact", "fax", "5"))) is CLEAR
        assert await form(glue, entry("phone")) is CLEAR
