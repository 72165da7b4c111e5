"""Verdicts are remembered as long as they hold: for this entry, this view, this person and these owners."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from gateway.exchange import Exchange, Head
from gateway.records import ANY_ENTITY, RecordKey, Records
from gateway.verdict import Verdicts, Viewer
from kms.tokens import Origin, StoreUnavailable, VaultEntry
from policies.decision import FieldRule, FieldView, Form
from policies.profile import Action, Operation
from tests.unit.gateway.glue import ANNA, BORIS, NOW, TENANT, Clock

NAME = ("contact", "last_name")
HIDDEN, MASKED, CLEAR = Form.HIDDEN, Form.MASKED, Form.CLEAR
VIEW = FieldView("p", {NAME: FieldRule(CLEAR, HIDDEN)}, {})


class Owners:
    """Owners of another process, counted when they are asked for."""

    def __init__(self) -> None:
        self.rows: dict[RecordKey, tuple[str, datetime]] = {("contact", "5"): (ANNA, NOW)}
        self.asked = 0
        self.down = False

    async def upsert(self, tenant: str, keys: Sequence[RecordKey], owner: str, seen_at: datetime) -> None:
        self.rows |= dict.fromkeys(keys, (owner, seen_at))

    async def select(self, tenant: str, keys: Sequence[RecordKey]) -> dict[RecordKey, tuple[str, datetime]]:
        self.asked += 1
        if self.down:
            raise StoreUnavailable("down")
        return {key: self.rows[key] for key in keys if key in self.rows}


class Setting:
    """Verdicts over owners that a test changes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.owners = Owners()
        self.records = Records(self.owners, max_age=timedelta(days=30))
        self.verdicts = Verdicts(self.records, self.clock)

    async def form(
        self, one: VaultEntry, user: str | None = ANNA, view: FieldView = VIEW, tenant: str = TENANT
    ) -> Form:
        return (await self.verdicts.of(Viewer(view, tenant, user, "*"), {one.surrogate: one}))[one.surrogate].form


@pytest.fixture
def setting() -> Setting:
    return Setting()


def entry(record: str | None = "5", surrogate: str = "s", **spelled: str) -> VaultEntry:
    spellings = {("contact", "last_name", number): text for number, text in spelled.items()}
    return VaultEntry(surrogate, "name", "Zhang", (Origin(*NAME, record),), spellings)


def exchange(record: str) -> Exchange:
    head = Head("GET", "/", "/", "", "x", (), False, None)
    operation = Operation("contact.read", "contact", Action.READ, record=record)
    return Exchange("x", NOW, head, tenant=TENANT, operation=operation)


async def test_owners_are_asked_for_once_and_again_after_their_time(setting: Setting) -> None:
    one = entry()
    for _ in range(3):
        assert await setting.form(one) is CLEAR
    assert setting.owners.asked == 1
    setting.owners.rows[("contact", "5")] = (BORIS, NOW)
    setting.clock.now += timedelta(seconds=4.9)
    assert await setting.form(one) is CLEAR
    setting.clock.now += timedelta(seconds=0.2)
    assert await setting.form(one) is HIDDEN
    assert setting.owners.asked == 2


async def test_a_change_of_owner_here_counts_at_once(setting: Setting) -> None:
    one = entry()
    assert await setting.form(one) is CLEAR
    await setting.records.note(TENANT, [("contact", "5")], BORIS, setting.clock())
    assert await setting.form(one) is HIDDEN
    assert await setting.form(one, BORIS) is CLEAR


async def test_knowledge_past_its_age_ends_a_verdict(setting: Setting) -> None:
    setting.owners.rows[("contact", "5")] = (ANNA, NOW - timedelta(days=30) + timedelta(seconds=2))
    assert await setting.form(entry()) is CLEAR
    setting.clock.now += timedelta(seconds=2.5)
    assert await setting.form(entry()) is HIDDEN


async def test_verdicts_are_of_one_person_one_view_and_one_tenant(setting: Setting) -> None:
    one = entry()
    assert await setting.form(one) is CLEAR
    assert await setting.form(one, BORIS) is HIDDEN
    assert await setting.form(one, None) is HIDDEN
    assert await setting.form(one, view=FieldView("p", {NAME: FieldRule(MASKED, HIDDEN)}, {})) is MASKED
    assert await setting.form(one, view=FieldView("q", {}, {}, sees_everything=True)) is CLEAR
    setting.owners.rows.clear()
    assert await setting.form(one, tenant="other") is HIDDEN
    assert await setting.form(one) is CLEAR


async def test_another_view_never_gets_the_verdicts_of_one_that_is_gone(setting: Setting) -> None:
    one = entry()
    for _ in range(50):
        assert await setting.form(one, view=FieldView("p", {NAME: FieldRule(CLEAR, HIDDEN)}, {})) is CLEAR
        assert await setting.form(one, view=FieldView("p", {}, {})) is HIDDEN


async def test_an_entry_whose_origins_changed_is_decided_anew(setting: Setting) -> None:
    assert await setting.form(entry("5")) is CLEAR
    assert await setting.form(entry("6")) is HIDDEN
    assert await setting.form(entry(None)) is HIDDEN


async def test_what_was_decided_does_not_outlive_a_change_that_comes_with_other_owners(setting: Setting) -> None:
    first, second = entry("5", "one"), entry("6", "two")
    viewer = Viewer(VIEW, TENANT, ANNA, "*")
    assert (await setting.verdicts.of(viewer, {"one": first}))["one"].form is CLEAR

    async def select(tenant: str, keys: Sequence[RecordKey]) -> dict[RecordKey, tuple[str, datetime]]:
        if ("contact", "5") not in setting.owners.rows:
            return {}
        del setting.owners.rows[("contact", "5")]
        await setting.records.note(TENANT, [("contact", "5")], BORIS, setting.clock())
        return {("contact", "6"): (ANNA, NOW)}

    setting.owners.select = select  # type: ignore[method-assign]
    table = await setting.verdicts.of(viewer, {"one": first, "two": second})
    assert table["one"].form is HIDDEN


async def test_owners_that_cannot_be_asked_for_leave_no_verdict(setting: Setting) -> None:
    setting.owners.down = True
    with pytest.raises(StoreUnavailable):
        await setting.form(entry())
    setting.owners.down = False
    assert await setting.form(entry()) is CLEAR


async def test_nobody_is_asked_for_owners_where_they_do_not_matter(setting: Setting) -> None:
    await setting.form(entry(), None)
    await setting.form(entry(), view=FieldView("q", {}, {}, sees_everything=True))
    assert setting.owners.asked == 0


async def test_a_spelling_of_the_record_at_hand_is_no_part_of_a_verdict(setting: Setting) -> None:
    one = entry("5", **{"5": "ZHANG"})
    viewer = Viewer(VIEW, TENANT, ANNA, "*")
    verdict = (await setting.verdicts.of(viewer, {"s": one}))["s"]
    assert verdict.shown is None
    assert setting.verdicts.shown(one, CLEAR, exchange("5"), "*").text == "ZHANG"
    other = VaultEntry(one.surrogate, one.kind, one.clear, (*one.origins, Origin(*NAME, "7")), one.spellings)
    assert setting.verdicts.shown(other, CLEAR, exchange("6"), "*").text == "Zhang"


async def test_where_no_record_is_at_hand_a_value_is_spelled_as_everywhere_it_stands(setting: Setting) -> None:
    assert setting.verdicts.shown(entry("5", **{"5": "ZHANG"}), CLEAR, exchange("6"), "*").text == "ZHANG"
    assert setting.verdicts.shown(entry(None, **{"5": "ZHANG"}), CLEAR, exchange("6"), "*").text == "Zhang"


async def test_memory_is_bounded(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.verdict._MOST", 5)
    for number in range(40):
        assert await setting.form(entry("5", f"s{number}")) is CLEAR
        assert setting.verdicts._size <= 6
        assert len(setting.verdicts._shown) <= 6
    assert setting.records.owner(TENANT, ANY_ENTITY, "5", NOW) is None


async def test_whoever_sees_a_value_sees_every_field_of_the_record_that_holds_it(setting: Setting) -> None:
    """A number in the notes is the phone number, too; another customer's, the same, is not said to be seen."""
    places = (Origin("contact", "notes", "5"), Origin("contact", "mobile", "5"), Origin("contact", "mobile", "6"))
    one = VaultEntry("s", "phone", "13800138000", places, {})
    everything = FieldView("p", {}, {}, sees_everything=True)
    verdict = (await setting.verdicts.of(Viewer(everything, TENANT, ANNA, "*"), {"s": one}))["s"]
    assert verdict.counted == ("contact", "notes", "5", "CLEAR")
    assert verdict.beside == (("contact", "mobile", "5", "CLEAR"),)
    loose = VaultEntry("s", "phone", "13800138000", (Origin("contact", "mobile", None), places[2]), {})
    assert (await setting.verdicts.of(Viewer(everything, TENANT, BORIS, "*"), {"s": loose}))["s"].beside == ()
