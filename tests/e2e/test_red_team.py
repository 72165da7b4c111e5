"""Attacks that once worked, or were tried, against the whole gateway in front of real CRMs.

One installation a CRM serves all its attacks. Judged by what the attacker's answer shows and by what the CRM stores.
"""

import base64
import json
import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote

import pytest

from gateway.demo.browser import Answer, Browser, forms
from gateway.demo.driver import Driver, TrytonDriver
from gateway.demo.people import Person, make_people
from tests.drills.leak import stored
from tests.drills.seek import Seeker, Sought
from tests.drills.stack import Stack, installed
from tests.real.servers import creme, tryton

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
EVERYTHING = quote('{"op":"AND","val":[]}')


@dataclass(slots=True)
class Scene:
    """A customer of the manager, one of the attacker in sales, and the attacker's and the manager's browsers."""

    stack: Stack
    manager: Driver
    sales: Driver
    victim: Person
    own: Person
    victim_id: str
    own_id: str

    def seen(self, answer: Answer) -> set[str]:
        """Values in an answer that sales must not see: all of the victim's, numbers and addresses of their own."""
        victim, own = self.victim, self.own
        sought = [
            Sought(victim.full_name, "name"),
            Sought(victim.phone, "phone"),
            Sought(victim.email, "e-mail"),
            Sought(victim.id_card, "ID"),
            Sought(victim.address, "address"),
            Sought(own.phone, "phone"),
            Sought(own.email, "e-mail"),
        ]
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers).encode()
        return {one.value for one in Seeker([s for s in sought if s.value]).find(head + b"\n" + answer.body)}

    def at_rest(self, values: list[str]) -> set[str]:
        """Which of these values the CRM keeps in clear, in its database or its files."""
        seeker = Seeker([Sought(value, "text") for value in values])
        folder = self.stack.crm.folder
        return {one.value for _, body in stored(folder, self.stack.crm.child.log) for one in seeker.find(body)}

    def row(self, query: str, record: str) -> tuple[object, ...]:
        """One row of the CRM's own database."""
        database = next(path for path in self.stack.crm.folder.rglob("*") if path.suffix in (".sqlite", ".sqlite3"))
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return tuple(connection.execute(query, (int(record),)).fetchone())


@contextmanager
def scene(stack: Stack, seed: int) -> Iterator[Scene]:
    """Two people entered through the gateway."""
    victim, own = [one for one in make_people(random.Random(seed), 40) if one.id_card and one.phone.startswith("1")][:2]
    victim = replace(victim, notes=f"身份证{victim.id_card}，电话{victim.phone}")
    own = replace(own, notes="")
    manager, sales = stack.at_work("manager"), stack.at_work("sales")
    with closing(manager.browser), closing(sales.browser):
        yield Scene(stack, manager, sales, victim, own, manager.add_person(victim), sales.add_person(own))


@pytest.fixture(scope="module")
def at_creme() -> Iterator[Scene]:
    with creme() as server, installed(server) as stack, scene(stack, 15) as made:
        yield made


@pytest.fixture(scope="module")
def at_tryton() -> Iterator[Scene]:
    with tryton() as server, installed(server) as stack, scene(stack, 16) as made:
        yield made


# -- Creme -------------------------------------------------------------------------------------------------------------

CONTACT = "SELECT last_name, first_name, phone, mobile, email, skype FROM persons_contact WHERE cremeentity_ptr_id = ?"


def form_of(browser: Browser, record: str) -> tuple[str, list[tuple[str, str]]]:
    """Path and fields of the form that edits a contact."""
    path = f"/persons/contact/edit/{record}"
    page = browser.get(path).expect(200)
    return path, next(list(form.fields) for form in forms(page) if "last_name" in dict(form.fields))


def send(browser: Browser, path: str, body: bytes, content_type: str) -> Answer:
    about = {"content-type": content_type, "origin": browser.base, "referer": browser.base + path}
    return browser.send("POST", path, body, about)


def parts(fields: list[tuple[str, str]]) -> bytes:
    """A multipart body; a name with a semicolon is a whole list of parameters."""
    out = ""
    for name, value in fields:
        named = name if ";" in name else f'; name="{name}"'
        out += f"--edge\r\nContent-Disposition: form-data{named}\r\n\r\n{value}\r\n"
    return f"{out}--edge--\r\n".encode()


@pytest.mark.parametrize(
    ("field", "content_type"),
    [
        # Django ends a part at the boundary wherever it stands, also inside a field that nobody looks into.
        (("callback_url", 'x--edge\r\nContent-Disposition: form-data; name="skype"\r\n\r\n13800138061'), ""),
        # ... lets `name*` replace `name`,
        (("; name=\"callback_url\"; name*=utf-8''skype", "13800138061"), ""),
        (('; name="callback_url\\"; name=\\"skype"', "13800138061"), ""),
        # ... and reads fields in the charset that the client names.
        (("skype", "+ADEAMwA4ADAAMAAxADMAOAAwADYAMQ-"), "; charset=utf-7"),
    ],
)
def test_an_upload_has_no_part_that_the_gateway_did_not_see(
    at_creme: Scene, field: tuple[str, str], content_type: str
) -> None:
    browser = at_creme.sales.browser
    path, fields = form_of(browser, at_creme.own_id)
    body = parts([pair for pair in fields if pair[0] != "skype"] + [field])
    send(browser, path, body, f"multipart/form-data; boundary=edge{content_type}")
    assert "13800138061" not in str(at_creme.row(CONTACT, at_creme.own_id))


def test_nothing_of_anothers_customer_is_read_by_any_way(at_creme: Scene) -> None:
    browser, victim, own = at_creme.sales.browser, at_creme.victim_id, at_creme.own_id
    types = re.search(r"/creme_core/mass_import/(\d+)", at_creme.manager.browser.get("/persons/contacts").text)
    assert types is not None
    export = f"/creme_core/mass_export?ct_id={types[1]}&hfilter=persons-hf_contact&sort_key=regular_field-last_name"
    person = at_creme.victim
    paths = [
        f"/persons/contact/{victim}",
        f"/persons/contact/edit/{victim}",
        f"/vcfs/{victim}/generate_vcf",
        f"/creme_core/entity/merge?id1={own}&id2={victim}",
        f"/creme_core/relation/entity/{victim}/json?fields=unicode&fields=summary",
        f"/creme_core/entity/get_repr/{victim}",
        f"/creme_core/entity/edit/inner/{types[1]}/{victim}?cell=regular_field-mobile",
        "/persons/contacts?rows=abc",
        "/persons/contacts?sort_key=regular_field-mobile&sort_order=DESC",
        "/creme_core/entity/trash",
        *(f"{export}&sort_order=ASC&efilter=&extra_q={EVERYTHING}&type={kind}" for kind in ("csv", "scsv", "xls")),
        *(f"/creme_core/search/light?value={quote(value)}" for value in (person.phone, person.full_name, person.email)),
        *(f"/persons/contacts?search-regular_field-mobile={quote(value)}" for value in (person.phone, person.id_card)),
    ]
    for path in paths:
        answer = browser.get(path, headers={"range": "bytes=0-99", "x-forwarded-host": "x", "x-user": "root"})
        asked = {one for one in (person.phone, person.email, person.id_card, person.full_name) if quote(one) in path}
        assert at_creme.seen(answer) <= asked, path


def test_taking_over_copying_and_pasting_open_nothing(at_creme: Scene) -> None:
    browser, victim, own = at_creme.sales.browser, at_creme.victim_id, at_creme.own_id
    held = at_creme.row(CONTACT, victim)
    path, fields = form_of(browser, own)
    token = dict(fields)["csrfmiddlewaretoken"]
    about = {"origin": browser.base, "referer": browser.base + path}
    types = re.search(r"/creme_core/mass_import/(\d+)", at_creme.manager.browser.get("/persons/contacts").text)
    assert types is not None
    me = at_creme.stack.crm.user_ids["lin.sales"]
    posts = {
        "/creme_core/entity/clone": {"id": victim, "user": me},
        f"/creme_core/entity/edit/inner/{types[1]}/{victim}?cell=regular_field-user": {"user": me},
        f"/creme_core/entity/update/bulk/{types[1]}/field/regular_field-user": {"entities": victim, "user": me},
        path: {"skype": f"{held[0]} {held[3]} {str(held[4]).upper()}", "description": f"{held[3]}{held[4]}"},
        "/persons/contact/add": {"user": me, "last_name": str(held[0]), "mobile": str(held[3]), "callback_url": "/"},
    }
    copies = [victim, own]
    for target, given in posts.items():
        base = dict(fields) if target == path else {"csrfmiddlewaretoken": token}
        answer = browser.post(target, {**base, **given}, follow=False, headers=about)
        assert at_creme.seen(answer) == set(), target
        copies += re.findall(r"/persons/contact/(\d+)", answer.header("location"))
    for record in dict.fromkeys(copies):
        for page in (f"/persons/contact/{record}", f"/persons/contact/edit/{record}", f"/vcfs/{record}/generate_vcf"):
            assert at_creme.seen(browser.get(page, follow=False)) == set(), page


def test_masks_and_surrogates_that_were_edited_are_refused(at_creme: Scene) -> None:
    browser = at_creme.sales.browser
    path, fields = form_of(browser, at_creme.own_id)
    phone, email = (str(one) for one in at_creme.row(CONTACT, at_creme.victim_id)[3:5])
    person, before = at_creme.victim, at_creme.row(CONTACT, at_creme.own_id)
    guesses = [
        {"mobile": phone[:-1] + str((int(phone[-1]) + 1) % 10)},
        {"mobile": f"+8889{phone[5:12]}{person.phone[-4:]}"},
        {"mobile": f"+8889{phone[5:12]}0000"},
        {"email": f"{person.email[0]}.{email[2:34]}@{person.email.partition('@')[2]}.masked.invalid"},
    ]
    for changes in guesses:
        answer = browser.post(path, {**dict(fields), **changes}, follow=False, headers={"origin": browser.base})
        assert answer.status == 409
    assert at_creme.row(CONTACT, at_creme.own_id) == before


def test_json_that_two_readers_read_differently_does_not_pass(at_creme: Scene) -> None:
    browser = at_creme.sales.browser
    _, fields = form_of(browser, at_creme.own_id)
    given = {
        "csrfmiddlewaretoken": dict(fields)["csrfmiddlewaretoken"],
        "regularfieldcondition": '[{"field":{"name":"phone"},"value":"a","value":"13800138062"}]',
    }
    answer = browser.post("/creme_core/entity_filter/add/1", given, follow=False, headers={"origin": browser.base})
    assert answer.status == 400
    assert at_creme.at_rest(["13800138062"]) == set()


def test_credentials_of_somebody_else_are_worth_nothing(at_creme: Scene) -> None:
    path = f"/persons/contact/{at_creme.victim_id}"
    stolen = at_creme.manager.browser.cookies["sessionid"]
    own = dict(at_creme.sales.browser.cookies)
    auditor = at_creme.stack.signed_in("auditor")
    auditor.close()
    for cookies, status in ((own, 302), (auditor.cookies, 403), ({}, 401)):
        with closing(at_creme.stack.browser()) as thief:
            thief.cookies = {**cookies, "sessionid": stolen}
            answer = thief.get(path, follow=False)
        assert answer.status == status
        assert at_creme.seen(answer) == set()


# -- Tryton ------------------------------------------------------------------------------------------------------------


def rpc(scene: Scene, who: Driver, method: str, *params: object, context: dict[str, object] | None = None) -> Answer:
    body = {"id": 1, "method": method, "params": [*params, context or {}]}
    return who.browser.post_json("/crm/rpc/", body)


def test_a_guess_in_the_context_of_a_read_is_not_confirmed(at_tryton: Scene) -> None:
    person, victim = at_tryton.victim, int(at_tryton.victim_id)
    guess: dict[str, object] = {
        "name": person.full_name,
        "mobile": person.phone,
        "email": person.email,
        "code": person.id_card,
        "comment": f"{person.phone} {person.email} {person.full_name}",
    }
    fields = ["rec_name", "contact_mechanisms.value", "identifiers.code"]
    reads = (
        ("model.party.party.read", [victim], fields),
        ("model.party.party.search_read", [["id", "=", victim]], 0, 5, None, fields),
        ("model.party.party.export_data", [victim], ["name", "contact_mechanisms/value"]),
    )
    for method, *params in reads:
        answer = rpc(at_tryton, at_tryton.sales, method, *params, context=guess)
        assert "result" in answer.json(), method
        assert at_tryton.seen(answer) == set(), method


def test_an_error_does_not_confirm_what_was_written(at_tryton: Scene) -> None:
    found = rpc(
        at_tryton,
        at_tryton.manager,
        "model.party.contact_mechanism.search",
        [["party", "=", int(at_tryton.victim_id)]],
        0,
        5,
        None,
    )
    change = {"party": int(at_tryton.own_id), "comment": f"{at_tryton.victim.phone} {at_tryton.victim.email}"}
    answer = rpc(at_tryton, at_tryton.sales, "model.party.contact_mechanism.write", found.json()["result"], change)
    assert "error" in answer.json()
    assert at_tryton.seen(answer) == set()


def test_attached_files_are_protected_like_uploads(at_tryton: Scene) -> None:
    person, resource = at_tryton.victim, f"party.party,{at_tryton.victim_id}"
    table = f"Name,Phone,Email\n{person.full_name},{person.phone},{person.email}\n".encode()
    note = f"{person.full_name} {person.phone} {person.id_card}".encode()
    files = {"people.csv": table, "note.txt": note, "scan.pdf": b"%PDF-1.7 scan"}
    ids = {}
    for name, data in files.items():
        values = {
            "name": name,
            "resource": resource,
            "data": {"__class__": "bytes", "base64": base64.b64encode(data).decode()},
        }
        made = rpc(at_tryton, at_tryton.manager, "model.ir.attachment.create", [values])
        ids[name] = made.json()["result"][0]
    assert at_tryton.at_rest([person.full_name, person.phone, person.email, person.id_card]) == set()
    read = "model.ir.attachment.read"
    for name, data in files.items():
        back = rpc(at_tryton, at_tryton.manager, read, [ids[name]], ["data"]).json()["result"][0]["data"]
        assert base64.b64decode(back["base64"]) == data
        answer = rpc(at_tryton, at_tryton.sales, read, [ids[name]], ["name", "data"])
        assert at_tryton.seen(answer) == set()
        assert answer.status == (200 if name.endswith(".csv") else 403)


def test_searches_answer_alike_for_values_that_exist_and_that_do_not(at_tryton: Scene) -> None:
    person = at_tryton.victim
    domains: list[list[object]] = [
        ["contact_mechanisms.value", "=", person.phone],
        ["contact_mechanisms.value", "ilike", f"%{person.phone[-6:]}%"],
        ["contact_mechanisms", "where", [["value_compact", "=", person.email]]],
        ["contact_mechanisms.value", "in", ["a", "b", person.phone]],
        ["rec_name", "ilike", f"%{person.full_name}%"],
        ["name", "=", person.full_name],
    ]
    for domain in domains:
        answer = rpc(at_tryton, at_tryton.sales, "model.party.party.search_count", [domain])
        assert answer.json().get("result") == 0, domain[0]
    hidden = ["identifiers.code", "=", person.id_card]
    assert rpc(at_tryton, at_tryton.sales, "model.party.party.search_count", [hidden]).status == 403


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"id":1,"method":"M","params":[[{"name":"A","name":"Klarname Offen"}],{}]}', "application/json"),
        ('{"id":1,"method":"M","params":[[{"name":"Klarname Offen","x":NaN}],{}]}', "application/json"),
        ('\ufeff{"id":1,"method":"M","params":[[{"name":"Klarname Offen"}],{}]}', "application/json"),
        ('[{"id":1,"method":"M","params":[[{"name":"Klarname Offen"}],{}]}]', "application/json"),
        ('{"id":1,"method":"M","params":[[{"name":"Klarname Offen"}],{}]}', "text/plain"),
        ('{"id":1,"method":"M","params":[[{"name":"Klarname Offen"}],{}]}', "application/json; charset=utf-16"),
    ],
)
def test_calls_that_could_be_read_otherwise_are_refused(at_tryton: Scene, body: str, content_type: str) -> None:
    sent = body.replace('"M"', json.dumps("model.party.party.create")).encode()
    answer = at_tryton.sales.browser.send("POST", "/crm/rpc/", sent, {"content-type": content_type})
    assert answer.status in (400, 403)


def test_parts_of_another_customer_cannot_be_moved_or_copied_open(at_tryton: Scene) -> None:
    driver = at_tryton.sales
    assert isinstance(driver, TrytonDriver)
    victim = int(at_tryton.victim_id)
    copy = rpc(at_tryton, driver, "model.party.party.copy", [victim], {"code": "copy-1"}).json().get("result", [])
    made = rpc(
        at_tryton,
        driver,
        "model.party.party.create",
        [{"name": "Ann One"}, {"name": "Ben Two", "contact_mechanisms": [["add", [1, 2]]]}],
    )
    assert at_tryton.seen(made) == set()
    answer = rpc(
        at_tryton,
        driver,
        "model.party.party.read",
        [victim, *copy],
        ["rec_name", "contact_mechanisms.rec_name", "addresses.full_address", "identifiers.code"],
    )
    assert "result" in answer.json()
    assert at_tryton.seen(answer) == set()
