"""From what was seen to a profile: the right kinds, the right operations, the safe defaults, a file that compiles."""

import json
from typing import Any

import pytest

from gateway.learn.document import Document, Told
from gateway.learn.evidence import Evidence
from gateway.learn.profile_text import problems_of, write_profile
from gateway.learn.proposal import MOST_DECISIONS, Proposal
from gateway.learn.propose import propose
from policies.operation import UNMATCHED_READ, UNMATCHED_WRITE, Action
from policies.profile import Profile, load_profile
from policies.profile_file import compile_profile
from policies.profile_source import validated
from policies.selector import Treatment, treatment
from tests.unit.gateway.learn.imagined import FORM, call, form_crm, rpc_crm, seen, watcher


def proposed(found: Any, **answers: str) -> Proposal:
    evidence = Evidence.of(json.loads(json.dumps(found.snapshot().plain())))
    return propose("imagined", evidence, Document(), {key.replace("__", "-"): value for key, value in answers.items()})


def compiled(made: Proposal) -> Profile:
    return compile_profile(validated(dict(made.source)))


class TestForms:
    def test_fields_have_their_kinds_with_reasons_and_masked_samples(self) -> None:
        fields = {one.id: one for one in proposed(form_crm()).fields}
        assert {name: one.kind for name, one in fields.items()} == {
            "contact.email": "email",
            "contact.first_name": "name",
            "contact.last_name": "name",
            "contact.phone": "phone",
            "contact.street": "address",
        }
        assert all(0.6 < one.confidence < 1 and one.reasons for one in fields.values())
        assert "138****8000" in fields["contact.phone"].samples
        assert fields["contact.last_name"].labels == ["Last name"]

    def test_operations_are_told_apart_by_what_they_do(self) -> None:
        profile = compiled(proposed(form_crm()))
        cases = {
            ("GET", "/people/contacts"): (Action.LIST, None),
            ("GET", "/people/contact/12"): (Action.READ, "12"),
            ("POST", "/people/contact/add"): (Action.CREATE, None),
            ("POST", "/people/contact/edit/12"): (Action.UPDATE, "12"),
            ("POST", "/login"): (Action.LOGIN, None),
        }
        for (method, path), (action, record) in cases.items():
            operation = profile.classify(method, path, "", b"", FORM)
            assert (operation.action, operation.record) == (action, record), path

    def test_writes_of_unknown_meaning_stay_refused_until_somebody_allows_them(self) -> None:
        made = proposed(form_crm())
        assert made.refused == ["POST /screen/blob"]
        assert compiled(made).classify("POST", "/screen/blob", "", b"", FORM) is UNMATCHED_WRITE
        allowed = compiled(proposed(form_crm(), unknown__writes="yes")).classify("POST", "/screen/blob", "", b"", FORM)
        assert (allowed.action, allowed.granted_write) == (Action.OTHER, True)

    def test_what_was_never_seen_is_unmatched(self) -> None:
        profile = compiled(proposed(form_crm()))
        assert profile.classify("POST", "/people/contact/delete/3", "", b"", FORM) is UNMATCHED_WRITE
        assert profile.classify("GET", "/secret", "", b"", "") is UNMATCHED_READ

    def test_writes_are_treated_by_field_and_notes_as_text(self) -> None:
        operation = compiled(proposed(form_crm())).classify("POST", "/people/contact/add", "", b"", FORM)
        told = {name: treatment(operation, (name,)) for name in ("last_name", "street", "notes", "csrf", "status")}
        assert told["last_name"][0] is Treatment.FIELD
        assert told["last_name"][1] is not None
        assert told["last_name"][1].name == "last_name"
        assert told["street"][0] is Treatment.FIELD
        assert told["notes"] == (Treatment.TEXT, None)
        assert told["csrf"][0] is told["status"][0] is Treatment.LEAVE

    def test_sign_in_is_left_alone_and_its_cookie_is_a_credential(self) -> None:
        profile = compiled(proposed(form_crm()))
        assert profile.classify("POST", "/login", "", b"", FORM).left_alone
        assert profile.session_cookies == {"crmsession"}

    def test_search_boxes_are_operands_and_other_parameters_are_not(self) -> None:
        operation = compiled(proposed(form_crm())).classify("GET", "/people/contacts", "search-last_name=x", b"", "")
        assert {rule.selector for rule in operation.searches} == {("search-*",)}

    def test_a_create_binds_by_address_only_if_somebody_says_that_no_request_can_choose_it(self) -> None:
        location = [("location", "/people/contact/77")]
        made = compiled(proposed(form_crm()))
        operation = made.classify("POST", "/people/contact/add", "", b"", FORM)
        assert made.record_from_answer(operation, 302, location, b"") == []
        sure = compiled(proposed(form_crm(), creates__by__address="no"))
        operation = sure.classify("POST", "/people/contact/add", "", b"", FORM)
        assert sure.record_from_answer(operation, 302, location, b"") == [("contact", "77")]

    def test_places_where_names_are_shown_are_found_by_copies(self) -> None:
        places = compiled(proposed(form_crm())).places
        assert ("td[name=cell_last_name]", "last_name") in {(cell.css, cell.field.name) for cell in places.cells}
        assert {entity: spec.name for entity, spec in places.links.fields.items()} == {"contact": "last_name"}

    def test_staff_is_left_alone(self) -> None:
        found = form_crm()
        found.note(seen("POST", "/admin/user/add", b"", "last_name=Admin&email=a%40example.com", 302,
                        (("location", "/admin/user/3"),), FORM))  # fmt: skip
        operation = compiled(proposed(found)).classify("POST", "/admin/user/add", "", b"", FORM)
        assert operation.left_alone


class TestUnsure:
    def test_a_name_of_something_is_asked_about_and_taken_as_somebodys_meanwhile(self) -> None:
        found = watcher()
        for number in range(3):
            found.note(
                seen(
                    "POST",
                    "/x/thing/add",
                    b"",
                    f"name=Some+Thing+{'abc'[number]}",
                    302,
                    (("location", "/x/thing/4"),),
                    FORM,
                )
            )
        made = proposed(found)
        asked = {one.id: one for one in made.decisions}
        assert asked["kind.thing.name"].default == "name"
        assert compiled(made).field_specs[("thing", "name")].kind == "name"
        told = propose("imagined", found.snapshot(), Document(), {"kind.thing.name": "plain"})
        assert ("thing", "name") not in compiled(told).field_specs

    def test_no_more_than_fifteen_decisions_are_asked_the_weightiest_first(self) -> None:
        found = form_crm()
        for letter in "abcdefghijklmnopqrstuvwxyz":
            found.note(
                seen("POST", f"/x/thing{letter}/add", b"", "name=Some+Thing", 302, (("location", "/x/y/4"),), FORM)
            )
        made = proposed(found)
        assert len(made.decisions) == MOST_DECISIONS
        assert [one.weight for one in made.decisions] == sorted((one.weight for one in made.decisions), reverse=True)
        assert compiled(made).field_specs[("thingz", "name")].kind == "name"

    def test_an_answer_that_there_is_not_changes_nothing(self) -> None:
        assert proposed(form_crm(), unknown__writes="perhaps").refused == ["POST /screen/blob"]


class TestCalls:
    def test_objects_get_their_fields_and_the_shape_decides_where_several_kinds_stand(self) -> None:
        made = proposed(rpc_crm())
        assert problems_of(made.source) == []
        profile = compiled(made)
        assert profile.field_specs[("party", "name")].kind == "name"
        assert profile.field_specs[("party", "street")].kind == "address"
        body = b'{"method":"model.party.party.create","params":[[{"name":"x"}],{}]}'
        operation = profile.classify("POST", "/db/rpc/", "", body, "application/json")
        assert operation.action is Action.CREATE
        path = ("params", "0", "0", "ways", "0", "1", "0", "value")
        assert treatment(operation, path, text="zhang@example.com")[1].name == "value_email"  # type: ignore[union-attr]
        assert treatment(operation, path, text="13800138000")[1].name == "value_phone"  # type: ignore[union-attr]
        assert treatment(operation, path, text="hello there") == (Treatment.TEXT, None)

    def test_an_update_never_binds_the_values_of_a_second_record_to_the_first(self) -> None:
        body = b'{"method":"model.party.party.write","params":[[5],{"name":"a"},[6],{"name":"b"},{}]}'
        operation = compiled(proposed(rpc_crm())).classify("POST", "/db/rpc/", "", body, "application/json")
        assert operation.record is None
        assert operation.touched == ("5", "6")

    def test_verbs_nobody_knows_are_refused(self) -> None:
        made = proposed(rpc_crm())
        assert made.refused == ["model: frobnicate"]
        body = b'{"method":"model.party.party.frobnicate","params":[[5],{}]}'
        assert compiled(made).classify("POST", "/db/rpc/", "", body, "application/json") is UNMATCHED_WRITE

    def test_staff_and_sign_in_are_left_alone(self) -> None:
        profile = compiled(proposed(rpc_crm()))
        for method in ("model.res.user.read", "common.db.login"):
            body = json.dumps({"method": method, "params": [[1], ["name"], {}]}).encode()
            assert profile.classify("POST", "/db/rpc/", "", body, "application/json").left_alone

    def test_search_conditions_over_fields_are_answered(self) -> None:
        body = b'{"method":"model.party.party.search_read","params":[[["rec_name","ilike","%x%"]],0,10]}'
        operation = compiled(proposed(rpc_crm())).classify("POST", "/db/rpc/", "", body, "application/json")
        assert operation.searches[0].columns is not None
        assert set(operation.searches[0].columns) >= {"rec_name", "name", "street"}

    def test_a_call_that_always_failed_declares_nothing(self) -> None:
        found = rpc_crm()
        body = '{"id":1,"method":"model.party.party.erase_all","params":[[5]]}'
        found.note(seen("POST", "/db/rpc/", '{"id":1,"error":["UserError",["no","",null]]}', body, 200,
                        (("content-type", "application/json"),), "application/json"))  # fmt: skip
        assert "model: erase_all" not in proposed(found).refused


class TestFile:
    @pytest.mark.parametrize("session", [form_crm, rpc_crm])
    def test_the_file_that_is_written_loads_and_is_the_proposal(self, session: Any, tmp_path: Any) -> None:
        made = proposed(session())
        file = tmp_path / "imagined.yaml"
        file.write_text(write_profile(made.source, "2026-11-26"), encoding="utf-8")
        loaded = load_profile(file)
        assert loaded.field_specs == compiled(made).field_specs
        assert loaded.operation_ids == compiled(made).operation_ids

    def test_the_same_evidence_gives_the_same_file(self) -> None:
        texts = {write_profile(proposed(form_crm()).source, "2026-11-26") for _ in range(3)}
        assert len(texts) == 1

    def test_rest_creates_bind_by_the_id_in_the_answer(self) -> None:
        found = watcher()
        for number in (3, 4):
            sent = json.dumps({"email": f"a{number}@example.com", "first_name": "Some Body"})
            found.note(seen("POST", "/api/contacts/", json.dumps({"id": number}), sent, 201,
                            (("content-type", "application/json"),), "application/json"))  # fmt: skip
        profile = compiled(proposed(found))
        operation = profile.classify("POST", "/api/contacts/", "", b"{}", "application/json")
        assert profile.record_from_answer(operation, 201, [], b'{"id": 9}') == [("contact", "9")]

    def test_one_call_more_changes_the_proposal(self) -> None:
        found = rpc_crm()
        call(found, "model.crm.lead.create", [[{"contact_name": "Some Body", "email": "x@example.com"}]], [4])
        assert ("lead", "contact_name") in compiled(proposed(found)).field_specs


class TestDocuments:
    def test_a_format_that_a_document_tells_counts_with_its_reason(self) -> None:
        found = watcher()
        found.note(seen("POST", "/x/thing/add", b"", "zork=Some+Words", 302, (("location", "/x/thing/4"),), FORM))
        told = Document("openapi", [Told("thing", "zork", "email")])
        fields = {one.id: one for one in propose("imagined", found.snapshot(), told, {}).fields}
        assert fields["thing.zork"].kind == "email"
        assert "the document says so" in fields["thing.zork"].reasons

    def test_what_a_document_says_a_request_does_is_not_asked(self) -> None:
        told = Document("openapi", [], {"POST /screen/blob": "update"})
        made = propose("imagined", form_crm().snapshot(), told, {})
        assert made.refused == []
        operation = compiled(made).classify("POST", "/screen/blob", "", b"", FORM)
        assert operation.action is Action.UPDATE

    def test_an_operation_that_only_a_document_knows_is_not_allowed(self) -> None:
        told = Document("openapi", [], {"POST /people/contact/merge": "update"})
        made = propose("imagined", form_crm().snapshot(), told, {})
        assert compiled(made).classify("POST", "/people/contact/merge", "", b"", FORM) is UNMATCHED_WRITE
