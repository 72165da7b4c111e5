"""What REST interfaces and forms of admin pages taught: rows of a form, numbered words, accounts, documents."""

import json
from typing import Any

import pytest

from gateway.learn.document import Document, describes
from gateway.learn.evidence import Control, Evidence
from gateway.learn.fields import from_forms
from gateway.learn.guess import guess
from gateway.learn.naming import entity_of
from gateway.learn.pages import parse, shown_in
from gateway.learn.propose import propose
from gateway.learn.route import template_of
from gateway.learn.shown import is_record_page
from gateway.learn.value import Stat
from tests.unit.gateway.learn.imagined import FORM, JSON, PEOPLE, seen, watcher


def posted(path: str, values: dict[str, Any], answer: dict[str, Any], status: int = 200) -> Any:
    return seen("POST", path, json.dumps(answer), json.dumps(values), status, JSON, "application/json")


def proposed(found: Any, document: Document | None = None, **answers: str) -> Any:
    return propose("imagined", Evidence.of(found.snapshot().plain()), document or Document(), answers)


def firms(**more: str) -> Any:
    found = watcher()
    for number, (last, _, phone, email, street) in enumerate(PEOPLE):
        values = {"name": f"{last} Limited", "phone": phone, "email": email, "street": street, **more}
        found.note(posted("/api/accounts", values, {"id": f"0000000{number}-1111-4222-8333-444444444444"}, 201))
    return found


class TestStaffOrCustomers:
    def test_accounts_are_customers_until_somebody_says_otherwise(self) -> None:
        made = proposed(firms())
        assert {one.id for one in made.decisions} >= {"staff.account"}
        assert {one.id: one.kind for one in made.fields}["account.name"] == "name"
        assert not next(one for one in made.operations if one.id == "account.create").left_alone
        staff = proposed(firms(), **{"staff.account": "staff"})
        assert staff.fields == []
        assert next(one for one in staff.operations if one.id == "account.create").left_alone

    def test_accounts_with_a_password_are_staff_without_a_question(self) -> None:
        made = proposed(firms(password="hunter2-hunter2"))
        assert "staff.account" not in {one.id for one in made.decisions}
        assert made.fields == []


class TestPaths:
    def test_a_word_behind_an_installation_s_number_stays_a_word_and_anything_else_does_not(self) -> None:
        assert template_of("/en/123/789-login") == "/en/{n}/789-login"
        assert template_of("/456-admin/contact/7") == "/456-admin/contact/{n}"
        assert template_of("/12-zhangwei") == "/{word}"
        assert entity_of("/en/123") == "en"
        assert entity_of("/en/456-contacts") == "contact"

    @pytest.mark.parametrize(
        ("template", "about"),
        [("/c/{n}", True), ("/c/{uuid}", True), ("/c/{n}/change", True), ("/c/{n}/delete", False), ("/c/add", False)],
    )
    def test_a_page_about_a_record_ends_in_its_id_or_in_a_word_for_looking_or_editing(
        self, template: str, *, about: bool
    ) -> None:
        assert is_record_page(template) is about


class TestFields:
    def test_rows_of_a_form_are_one_field_whatever_their_number(self) -> None:
        found = Evidence(
            forms={"POST /firm": {f"people-{row}-email": Control("email") for row in (0, 12, "__prefix__")}}
        )
        assert [one.path for one in from_forms(found, ["POST /firm"], {})] == [("people-*-email",)]

    def test_a_field_with_nothing_but_numbers_of_records_is_no_name_but_may_be_a_phone(self) -> None:
        stat = Stat()
        for number in ("7", "12", "6f1c1d2e-1111-4222-8333-944445555666"):
            stat.note(number, None, "")
        assert guess("company", [], stat).kind == "plain"
        assert guess("phone", [], stat).kind == "phone"
        assert guess("company", [], Stat()).kind == "name"

    def test_what_is_called_a_note_is_one_even_if_only_numbers_stood_there(self) -> None:
        stat = Stat()
        for _ in range(6):
            stat.note("13800138000", None, "")
        assert guess("subject", [], stat).kind == "text"

    def test_a_column_that_a_page_marks_by_a_class_is_found_again(self) -> None:
        page = parse(
            b'<table><tr><td class="field-the_full_name nowrap">Zhang Wei</td><td class="x">y</td></tr></table>'
        )
        assert [(one.selector, one.text) for one in shown_in(page)] == [("td.field-the_full_name", "Zhang Wei")]

    def test_what_a_page_marks_with_the_name_of_a_field_is_its_place_for_who_may_only_read_it(self) -> None:
        found = watcher()
        row = '<div class="form-row field-street"><div><label for="s">Street:</label>{}</div></div>'
        controls = row.format("<input id=s name=street>") + "<input name=phone type=tel>"
        form = f'<form method="post" action="/firm/add">{controls}</form>'
        found.note(seen("GET", "/firm/add", form))
        for _ in range(2):
            moved = (("location", "/firm/4"),)
            found.note(seen("POST", "/firm/add", b"", "street=Long+Road+4&phone=13800138000", 302, moved, FORM))
        (group,) = proposed(found).source["places"]["cells"]
        ((selector, field),) = group["fields"].items()
        assert field == "firm.street"
        page = parse(row.format('<div class="readonly">Long Road 4</div>').encode())
        assert [node.text() for node in page.css(selector)] == ["Long Road 4"]


class TestDocuments:
    def test_what_a_path_and_an_answer_say_comes_before_a_document_that_calls_every_post_a_creation(self) -> None:
        found = watcher()
        found.note(posted("/api/auth/logout", {"refresh": "x"}, {}))
        found.note(seen("GET", "/api/contacts/export", "a,b\n1,2\n", fields=(("content-type", "text/csv"),)))
        told = Document("openapi", [], {"POST /api/auth/logout": "create", "GET /api/contacts/export": "read"})
        made = {one.id: one.action for one in proposed(found, told).operations}
        assert made == {"auth.logout": "logout", "contact.export": "export"}

    def test_a_document_that_passes_by_takes_no_place_of_what_is_seen(self) -> None:
        document = {"openapi": "3.1.0", "paths": {"/a": {}}, "info": {f"k{n}": "some words here" for n in range(50)}}
        assert describes(document)
        assert not describes({"paths": {}})
        found = watcher()
        found.note(seen("GET", "/schema", json.dumps(document), fields=JSON))
        assert found.snapshot().places == {}

    def test_a_new_record_inside_an_answer_is_named_where_it_stands_under_its_own_name(self) -> None:
        found = watcher()
        for _ in range(2):
            answer = {"invoice": {"id": "00000001-1111-4222-8333-444444444444"}, "contact": {"id": "7"}}
            found.note(posted("/api/invoices", {"phone": "13800138000"}, answer, 201))
        (made,) = [one for one in proposed(found).operations if one.action == "create"]
        assert made.answer == {"json": [["invoice", "id"]]}
