"""Owners are proposed where a field named who was at work each time; they count only once somebody confirms them."""

import json
from typing import Any
from urllib.parse import urlencode

from gateway.learn.document import Document
from gateway.learn.evidence import Evidence
from gateway.learn.proposal import Proposal
from gateway.learn.propose import propose
from gateway.learn.watcher import Seen, Watcher
from policies.profile_file import compile_profile
from policies.profile_source import validated
from tests.unit.gateway.learn.imagined import FORM, HTML, JSON, PEOPLE, watcher

ME, SOMEBODY = "7f0c1d2e-1111-4222-8333-944445555666", "0a0b0c0d-1111-4222-8333-944445555666"
RECORDS = [f"11111111-2222-4333-8444-00000000000{number}" for number in range(1, 4)]


def sent(method: str, target: str, answer: Any, body: Any = None, status: int = 200, header: str = "") -> Seen:
    given = json.dumps(body).encode() if body is not None else b""
    kind = "application/json" if body is not None else ""
    return Seen(method, target, kind, given, status, JSON, json.dumps(answer).encode(), header, ME)


def rest_crm(*, makers: tuple[str, ...] = (ME, ME, ME)) -> Watcher:
    """A REST interface: sign-in by a token, three contacts made and read, the token renewed, the session ended."""
    found = watcher()
    token, again, refresh = "a" * 80, "b" * 80, "r" * 80
    user = {"id": ME, "email": "anna@staff.example.com"}
    found.note(sent("POST", "/api/auth/verify", {"access_token": token, "refresh_token": refresh, "user": user}, {}))
    for record, maker, (last, first, phone, email, _) in zip(RECORDS, makers, PEOPLE, strict=True):
        written = {"last_name": last, "first_name": first, "phone": phone, "email": email, "company": SOMEBODY}
        found.note(sent("POST", "/api/contacts", {"id": record}, written, 201, f"Bearer {token}"))
        shown = {"contact": {**written, "phone_e164": phone, "created_by": {"id": maker}}}
        found.note(sent("GET", f"/api/contacts/{record}", shown, header=f"Bearer {token}"))
    found.note(sent("POST", "/api/auth/renew", {"access": again}, {"refresh": refresh}))
    found.note(sent("GET", "/api/contacts", {"results": []}, header=f"Bearer {again}"))
    found.note(sent("POST", "/api/auth/logout", {}, {"refresh": refresh}))
    return found


def form_crm() -> Watcher:
    """Forms: companies have an owner, people belong to whom their company belongs."""
    found = watcher()
    page = (
        '<form action="/company/add" method="post"><input name="full_name"><input name="phone" type="tel">'
        f'<select name="owner"><option value="{SOMEBODY}">B</option>'
        f'<option value="{ME}" selected>A</option></select></form>'
    )
    for number, (last, first, phone, email, _) in enumerate(PEOPLE, 11):
        found.note(Seen("GET", "/company/add", "", b"", 200, HTML, page.encode(), "", ME))
        firm = urlencode({"full_name": f"{last} Limited", "phone": phone, "owner": ME}).encode()
        person = urlencode({"last_name": last, "first_name": first, "email": email, "company": number}).encode()
        for kind, body in (("company", firm), ("contact", person)):
            moved = (("location", f"/{kind}/{number}/change"),)
            found.note(Seen("POST", f"/{kind}/add", FORM, body, 302, moved, b"", "", ME))
            link = f'<a href="/{kind}/{number}/change">{last}</a>'
            found.note(Seen("GET", f"/{kind}/{number}/change", "", b"", 200, HTML, link.encode(), "", ME))
    return found


def proposed(found: Watcher, **answers: str) -> Proposal:
    evidence = Evidence.of(json.loads(json.dumps(found.snapshot().plain())))
    made = propose("imagined", evidence, Document(), {key.replace("__", "-"): value for key, value in answers.items()})
    compile_profile(validated(dict(made.source)))
    return made


class TestInterfaces:
    def test_whoever_the_server_names_as_maker_owns_once_somebody_confirms_it(self) -> None:
        asked = proposed(rest_crm())
        assert "owner" not in asked.source
        assert {one.id: one.default for one in asked.decisions}["owners"] == "no"
        told = proposed(rest_crm(), owners="yes").source
        assert told["owner"] == {"source": "actor", "entities": ["contact"]}
        assert told["global_record_ids"] is True
        path = ["contact", "created_by", "id"]
        back = {"entity": "contact", "method": "GET", "path": "/api/contacts/{record}", "owner_path": path}
        assert told["read_back"] == [back]

    def test_a_field_that_named_others_too_is_no_owner(self) -> None:
        made = proposed(rest_crm(makers=(ME, SOMEBODY, SOMEBODY)), owners="yes")
        assert "owner" not in made.source
        assert "owners" not in {one.id for one in made.decisions}

    def test_what_later_requests_carry_was_a_sign_in_and_what_they_present_is_ended(self) -> None:
        told = proposed(rest_crm()).source
        entry = told["sign_in"]["auth.login"]
        assert entry["token"] == {"json": [["access"], ["access_token"]]}
        assert entry["others"] == {"json": [["refresh_token"]]}
        assert (entry["login"], entry["user"]) == ({"answer": [["user", "email"]]}, {"json": [["user", "id"]]})
        assert {"header": "authorization", "scheme": "bearer"} in told["credentials"]
        presented = [one for one in told["credentials"] if "body" in one]
        assert {operation for one in presented for operation in one["operations"]} >= {"auth.logout"}
        alone = {one["id"] for one in told["operations"] if one.get("left_alone")}
        assert {one.partition(".")[0] for one in alone} == {"auth"}

    def test_an_id_of_another_record_is_no_name_and_a_derived_number_is_derived_again(self) -> None:
        made = proposed(rest_crm())
        assert "contact.company" not in {one.id for one in made.fields}
        assert made.source["derived"] == [{"key": "phone_e164", "as": "e164", "region": "CN"}]

    def test_no_value_no_token_and_no_key_of_a_person_is_kept(self) -> None:
        kept = json.dumps(rest_crm().snapshot().plain())
        clear = [text for person in PEOPLE for text in person if len(text) > 4]
        for text in (ME, SOMEBODY, *RECORDS, "a" * 80, "r" * 80, "anna@", *clear):
            assert text not in kept


class TestForms:
    def test_a_field_of_the_form_names_the_owner_and_people_belong_to_whom_their_company_belongs(self) -> None:
        told = proposed(form_crm(), owners="yes", owners__through="yes", creates__by__address="no").source
        assert told["owner"] == {
            "source": "form",
            "fields": ["owner"],
            "entities": ["company", "contact"],
            "through": {"contact": {"field": "company", "entity": "company"}},
        }

    def test_without_the_second_answer_only_what_has_an_owner_of_its_own_is_owned(self) -> None:
        told = proposed(form_crm(), owners="yes", creates__by__address="no").source
        assert told["owner"] == {"source": "form", "fields": ["owner"], "entities": ["company"]}

    def test_records_that_no_answer_names_have_no_owner(self) -> None:
        assert "owner" not in proposed(form_crm(), owners="yes").source
