"""Numbers that stay digits on a real Creme: sealed under FF1 in its column, shown by place, role and record."""

import contextlib
import csv
import io
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from selectolax.lexbor import LexborHTMLParser

from gateway.demo.browser import Answer, Browser, forms
from gateway.demo.driver import Driver, make_driver
from kms.surrogate import luhn_digit
from tests.drills.fidelity_creme import job_manager
from tests.drills.mass_import import import_contacts
from tests.drills.protect_command import Commands
from tests.drills.stack import Stack, installed
from tests.e2e.database import sql
from tests.e2e.visitors import at_work, close_all, newcomer
from tests.real.numbered import numbered_policy, numbered_profile, siret
from tests.real.servers import creme

pytestmark = pytest.mark.real
BULLETS = "••••••"
MASK = "*" * 16
_numbers = count(4_100_000_000_001, 7_919)


def fresh() -> str:
    """A number that no other test uses."""
    return siret(next(_numbers))


@dataclass
class Office:
    """crmgate with that profile in front of a Creme, and people at work: manager sees all, registry masks, owner own
    records only, reader masks and writes nothing."""

    stack: Stack
    manager: Driver
    registry: Driver
    owner: Driver
    reader: Driver

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(next(self.stack.crm.folder.rglob("db.sqlite3")), timeout=30)

    def column(self) -> dict[str, str]:
        """Record → what the column holds in Creme."""
        with closing(self.database()) as connection:
            found = connection.execute("SELECT cremeentity_ptr_id, siret FROM persons_organisation").fetchall()
        return {str(record): str(held) for record, held in found}

    def held(self, record: str) -> str:
        """The column of one record as Creme has it."""
        return self.column()[record]

    def command(self, *words: str) -> str:
        """Run `crmgate …`; what it printed."""
        line = [sys.executable, "-m", "gateway.cli", *words, "--config", str(self.stack.settings.file)]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextlib.contextmanager
def opened(folder: Path, *settings: str, text: str = "") -> Iterator[Office]:
    """A Creme, crmgate with that profile (text: another one), and everybody at work."""
    profile, policy = folder / "creme.yaml", folder / "policy.csv"
    profile.write_text(text or numbered_profile(), encoding="utf-8")
    policy.write_text(numbered_policy(), encoding="utf-8")
    extra = "\n".join(["[tenant.main]", f'profile = "{profile}"', f'policy = "{policy}"', *settings])
    with creme() as server, job_manager(server), installed(server, extra) as stack:
        yield Office(
            stack,
            at_work(stack, "manager", "wang.manager"),
            at_work(stack, "registry", "wang.manager"),
            at_work(stack, "owner", "lin.sales"),
            at_work(stack, "reader", "wang.manager"),
        )
        close_all()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with opened(tmp_path_factory.mktemp("digits")) as made:
        yield made


def form_of(page: Answer, name: str = "siret") -> int:
    return next(at for at, one in enumerate(forms(page)) if any(key == name for key, _ in one.fields))


def save(browser: Browser, path: str, changes: dict[str, str | None], name: str = "siret") -> Answer:
    page = browser.get(path).expect(200)
    return browser.submit(page, changes, form_of(page, name), follow=False)


def added(driver: Driver, name: str, number: str) -> str:
    answer = save(driver.browser, "/persons/organisation/add", {"name": name, "siret": number}).expect(302)
    return answer.header("location").rstrip("/").rpartition("/")[2]


def boxed(driver: Driver, record: str) -> str:
    page = driver.browser.get(f"/persons/organisation/edit/{record}").expect(200)
    return dict(forms(page)[form_of(page)].fields)["siret"]


def edit(driver: Driver, record: str, **changes: str) -> Answer:
    return save(driver.browser, f"/persons/organisation/edit/{record}", dict(changes))


def tile(driver: Driver, record: str) -> str:
    page = LexborHTMLParser(driver.browser.get(f"/persons/organisation/{record}").expect(200).body)
    node = page.css_first("[data-key=regular_field-siret] .brick-tile-value")
    assert node is not None
    return node.text().strip()


def test_creme_holds_digits_that_fail_their_check_and_each_role_sees_its_own(office: Office) -> None:
    number = fresh()
    record = added(office.manager, "Alder Works", number)
    held = office.held(record)
    assert re.fullmatch("[0-9]{14}", held)
    assert held != number
    assert luhn_digit(held[:-1]) != held[-1]
    shown = {one: tile(getattr(office, one), record) for one in ("manager", "registry", "owner", "reader")}
    assert shown == {"manager": number, "registry": MASK, "owner": BULLETS, "reader": MASK}
    assert boxed(office.manager, record) == number
    assert [boxed(one, record) for one in (office.registry, office.owner, office.reader)] == [held] * 3


def test_one_sees_the_numbers_of_own_records_only(office: Office) -> None:
    number = fresh()
    record = added(office.owner, "Beech Works", number)
    assert tile(office.owner, record) == number
    assert boxed(office.owner, record) == number


def test_forms_saved_by_people_who_do_not_see_a_number_keep_it(office: Office) -> None:
    record = added(office.manager, "Cedar Works", fresh())
    held = office.held(record)
    for driver in (office.registry, office.owner, office.reader):
        edit(driver, record, capital="5000").expect(302)
        assert office.held(record) == held
    edit(office.registry, record, siret=MASK).expect(302)
    edit(office.reader, record, siret=BULLETS).expect(302)
    assert office.held(record) == held


def test_who_may_not_write_cannot_change_or_empty_a_number(office: Office) -> None:
    number = fresh()
    record = added(office.manager, "Dogwood Works", number)
    held = office.held(record)
    for given in ("", fresh(), number, "123"):
        edit(office.reader, record, siret=given).expect(403)
        assert office.held(record) == held


def test_sealed_digits_of_another_record_open_nowhere_by_pasting_them(office: Office) -> None:
    """What a form holds for those who may not see it is no key to it."""
    number = fresh()
    other = added(office.manager, "Elm Works", number)
    mine = added(office.owner, "Fir Works", fresh())
    before = office.held(mine)
    sealed = boxed(office.owner, other)
    edit(office.owner, mine, siret=sealed).expect(409)
    assert office.held(mine) == before
    path = "/persons/organisation/add"
    save(office.owner.browser, path, {"name": "Gum Works", "siret": sealed}).expect(409)
    edit(office.registry, mine, siret=sealed).expect(409)
    # Who sees every number learns nothing by it.
    edit(office.manager, mine, siret=sealed).expect(302)
    assert tile(office.manager, mine) == number


def test_a_copy_is_refused_to_whoever_would_see_more_in_it(office: Office) -> None:
    record = added(office.manager, "Hazel Works", fresh())
    for driver, wanted in ((office.owner, 403), (office.registry, 302), (office.manager, 302)):
        about = {"x-csrftoken": driver.browser.cookies["csrftoken"], "origin": driver.browser.base}
        about["referer"] = f"{driver.browser.base}/persons/organisation/{record}"
        made = driver.browser.post("/creme_core/entity/clone", {"id": record}, follow=False, headers=about)
        made.expect(wanted)
        if wanted == 302:
            copy = made.header("location").rstrip("/").rpartition("/")[2]
            assert office.held(copy) == office.held(record)
            assert tile(office.owner, copy) == BULLETS


def test_a_number_that_is_not_right_is_refused_in_words(office: Office) -> None:
    record = added(office.manager, "Ivy Works", fresh())
    held = office.held(record)
    wrong = fresh()
    wrong = wrong[:-1] + str((int(wrong[-1]) + 3) % 10)
    for given in (wrong, wrong[:9], "73 282 932 000 074"):
        assert "check digit" in edit(office.manager, record, siret=given).expect(422).text
    assert office.held(record) == held
    edit(office.manager, record, siret="").expect(302)
    assert office.held(record) == ""


def test_a_form_that_creme_refuses_comes_back_as_typed(office: Office) -> None:
    record, typed = added(office.manager, "Juniper Works", fresh()), fresh()
    held = office.held(record)
    refused = edit(office.owner, record, name="", siret=typed).expect(200)
    assert dict(forms(refused)[form_of(refused)].fields)["siret"] == typed
    assert office.held(record) == held


def kind_of(driver: Driver) -> str:
    listed = driver.browser.get("/persons/organisations").expect(200).text
    found = re.search(r"/creme_core/mass_import/(\d+)", listed)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def view(office: Office) -> str:
    """A view of organisations with their numbers."""
    path = f"/creme_core/header_filter/add/{kind_of(office.manager)}"
    cells = "regular_field-name,regular_field-siret"
    save(office.manager.browser, path, {"name": "Numbers", "cells": cells}, "cells").expect(302)
    listed = office.manager.browser.get("/persons/organisations").expect(200)
    found = re.search(r'value="(creme_core-userhf_[^"]+)"', listed.text)
    assert found
    return found[1]


def rows(driver: Driver, target: str) -> dict[str, str]:
    """Record → what its row shows as the number."""
    shown = {}
    for row in LexborHTMLParser(driver.browser.get(target).expect(200).body).css("tr.lv-row"):
        number = row.css_first("input[name=entity_id]").attributes["value"]
        shown[str(number)] = row.css_first("td[name=regular_field-siret] .lv-cell-value").text().strip()
    return shown


def test_a_list_and_its_search_show_each_row_its_own_number(office: Office, view: str) -> None:
    numbers = {added(office.manager, f"Larch {at}", one): one for at, one in enumerate((fresh(), fresh()))}
    target = f"/persons/organisations?hfilter={view}&rows=100"
    assert numbers.items() <= rows(office.manager, target).items()
    assert {rows(office.registry, target)[one] for one in numbers} == {MASK}
    assert {rows(office.owner, target)[one] for one in numbers} == {BULLETS}
    first = next(iter(numbers))
    for driver in (office.manager, office.registry):
        assert set(rows(driver, f"{target}&search-regular_field-siret={numbers[first]}")) == {first}
        assert rows(driver, f"{target}&search-regular_field-siret={fresh()}") == {}
    office.owner.browser.get(f"{target}&search-regular_field-siret={numbers[first]}").expect(403)
    office.manager.browser.get(f"{target}&search-regular_field-siret={numbers[first][:6]}").expect(403)


def exported(driver: Driver, view: str) -> list[dict[str, str]]:
    target = (
        f"/creme_core/mass_export?ct_id={kind_of(driver)}&type=csv&hfilter={view}"
        '&sort_key=regular_field-name&sort_order=ASC&efilter=&extra_q={"op":"AND","val":[]}'
    )
    text = driver.browser.get(quote(target, safe="/?&=")).expect(200).text
    return list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))


def test_an_exported_table_shows_numbers_to_those_who_see_them_all(office: Office, view: str) -> None:
    number = fresh()
    held = office.held(added(office.manager, "Maple Works", number))
    (column,) = [name for name in exported(office.manager, view)[0] if "SIRET" in name]
    assert number in [row[column] for row in exported(office.manager, view)]
    for driver in (office.registry, office.reader):
        cells = {row[column] for row in exported(driver, view)}
        assert held not in cells
        assert number not in cells
        assert not any(re.search("[0-9]{14}", one) for one in cells)


def test_an_imported_table_becomes_digits_without_knowing_its_records(office: Office) -> None:
    number = fresh()
    table = f"Name,SIRET\nPoplar Works,{number}\n"
    import_contacts(office.manager.browser, table, "/persons/organisations", "name_colselect")
    held = office.column()
    newest = max(held, key=int)
    assert tile(office.manager, newest) == number
    assert number not in held.values()


def test_a_new_key_leaves_numbers_readable_and_their_digits_as_they_are(office: Office) -> None:
    number, later = fresh(), fresh()
    record = added(office.manager, "Quince Works", number)
    held = office.held(record)
    done = office.command("keys", "rotate", "--scope", "ff1/organisation/siret", "--purpose", "ff1")
    assert "live" in done
    second = added(office.manager, "Rowan Works", number)
    assert office.held(second) == held
    third = added(office.manager, "Spruce Works", later)
    assert [tile(office.manager, one) for one in (record, second, third)] == [number, number, later]
    (keys,) = sql(office.stack.settings, "SELECT count(DISTINCT ff1_key) FROM vault_digits")[0]
    assert keys == 2


def test_undeclared_places_neither_open_nor_seal_sealed_digits(office: Office) -> None:
    record = added(office.manager, "Nutmeg Works", fresh())
    held = office.held(record)
    edit(office.manager, record, description=f"see {held} again").expect(302)
    page = office.manager.browser.get(f"/persons/organisation/{record}").expect(200).text
    assert f"see {held} again" in page


def test_no_number_is_anywhere_in_the_crm_or_in_the_gateway(office: Office) -> None:
    numbers = [fresh(), fresh()]
    record = added(office.manager, "Oak Works", numbers[0])
    edit(office.manager, record, siret=numbers[1]).expect(302)
    for file in office.stack.crm.folder.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert not any(one.encode() in data for one in numbers), file.name
    for (table,) in sql(office.stack.settings, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        kept = sql(office.stack.settings, f'SELECT to_jsonb(t)::text FROM "{table}" t')
        assert not any(one in row[0] for row in kept for one in numbers), table
    (kept_marks,) = sql(office.stack.settings, "SELECT count(*) FROM vault_digits")[0]
    assert kept_marks > 0
    assert newcomer(office.stack, "reader").get("/creme_login/").status in (200, 302)


def narrow_walk() -> str:
    """That profile with a walk over names and numbers of organisations only: the others are proved elsewhere."""
    source = yaml.safe_load(numbered_profile())
    (entity,) = [one for one in source["walk"]["entities"] if one["entity"] == "organisation"]
    entity["fields"] = {name: entity["fields"][name] for name in ("name", "siret")}
    source["walk"]["entities"] = [entity]
    return str(yaml.safe_dump(source, allow_unicode=True, sort_keys=False))


@pytest.mark.timeout(1800)
def test_what_creme_held_before_is_protected_proved_and_put_back(tmp_path: Path) -> None:
    """Mixed state shows nobody too much; numbers with a wrong check digit stay and are named; the way back is whole."""
    with opened(tmp_path, "migrated = false", text=narrow_walk()) as house:
        number, other = fresh(), fresh()
        wrong = other[:-1] + str((int(other[-1]) + 3) % 10)
        login = "wang.manager"
        direct = make_driver("creme", Browser(house.stack.crm.url))
        direct.log_in(login, house.stack.crm.passwords[login])
        before = {added(direct, name, one): one for name, one in (("Alder", number), ("Beech", wrong))}
        sealed = added(house.manager, "Cedar", other)
        for record, one in before.items():
            shown = [tile(driver, record) for driver in (house.manager, house.registry, house.reader, house.owner)]
            assert shown == [one, MASK, MASK, BULLETS]
            for driver in (house.reader, house.owner):  # the mask of a clear value comes back
                edit(driver, record, capital="7000").expect(302)
                assert house.held(record) == one
        password = tmp_path / "password"
        password.write_text(house.stack.crm.passwords[login] + "\n")
        password.chmod(0o600)
        commands = Commands(settings=house.stack.settings)
        commands.protect("credential", "--login", login, "--password-file", str(password))
        plan = commands.protect("plan")
        assert re.search(r"organisation\.siret\s+1\s+1\s+\d+\s+0\s+1\s+check-digit 1", plan), plan
        dump, right = house.column(), next(iter(before))
        commands.protect("run", "--rate", "0", code=None)
        assert house.held(right) != number
        assert house.column() == {**dump, right: house.held(right)}
        assert [tile(house.manager, one) for one in (right, sealed)] == [number, other]
        assert tile(house.registry, right) == MASK
        commands.protect("verify", code=1)  # the wrong number is named
        proved = commands.protect("probe", code=None)
        assert "organisation.siret (id_card (ff1)): holds" in proved
        assert "FF1 over 10^13 values" in proved
        commands.protect("undo", "--rate", "0", code=None)
        assert house.held(right) == number
        assert house.held(sealed) == dump[sealed]
        assert number not in "".join(commands.said)
        direct.browser.close()
