"""What a watcher keeps: places and counts, and not one value of anybody."""

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.learn.evidence import CELL, FORM, RPC_IN, SHOWN, Evidence
from gateway.learn.watcher import Watcher
from tests.unit.gateway.learn.imagined import CLEAR, HTML, JSON, form_crm, rpc_crm, seen, watcher
from tests.unit.gateway.learn.imagined import FORM as FORM_TYPE


def kept(found: Watcher) -> str:
    """Everything that would be stored."""
    return json.dumps(found.snapshot().plain(), ensure_ascii=False)


class TestValues:
    def test_no_clear_value_is_in_what_is_kept_of_a_session(self) -> None:
        for found in (form_crm(), rpc_crm()):
            text = kept(found)
            assert [value for value in CLEAR if value.casefold() in text.casefold()] == []

    def test_no_password_leaves_any_trace(self) -> None:
        for found in (form_crm(), rpc_crm()):
            assert "hunter2" not in kept(found)
            assert not any(place[2] == "password" for place in found.snapshot().places)

    def test_words_of_a_path_that_are_somebodys_name_are_gone_once_the_name_is_known(self) -> None:
        found = watcher()
        found.note(seen("GET", "/people/Dupont", "<html></html>"))
        found.note(seen("POST", "/add", b"", "last_name=Dupont", 302, (("location", "/x"),), FORM_TYPE))
        found.note(seen("GET", "/people/Dupont/notes", "<html></html>"))
        text = kept(found)
        assert "Dupont" not in text
        assert "GET /people/{word}" in text
        assert "GET /people/{word}/notes" in text

    def test_keys_columns_labels_and_names_of_elements_that_are_somebodys_name_are_gone_as_well(self) -> None:
        found = watcher()
        found.note(seen("GET", "/api/x", json.dumps({"Dupont": {"note": "Some Words"}}), fields=JSON))
        found.note(seen("GET", "/board", '<html><body><p data-name="Dupont">Some Words</p></body></html>'))
        found.note(
            seen("GET", "/a.csv", "Dupont,Zork\nSome Words,Other Words\n", fields=(("content-type", "text/csv"),))
        )
        form = '<form action="/a"><label for="a">Dupont</label><input id="a" name="Dupont"></form>'
        found.note(seen("GET", "/form", form))
        assert "Dupont" in kept(found)  # nobody knows yet that it is a name
        found.note(seen("POST", "/add", b"", "last_name=Dupont", 302, (("location", "/x"),), FORM_TYPE))
        assert "Dupont" not in kept(found)

    def test_keys_that_are_values_are_not_kept(self) -> None:
        found = watcher()
        answer = json.dumps({"zhang.wei@example.com": {"note": "Some Words"}, "13800138000": "Other Words"})
        found.note(seen("GET", "/api/x", answer, fields=JSON))
        text = kept(found)
        assert "zhang.wei" not in text
        assert "13800138000" not in text

    @given(st.text(min_size=8, max_size=40).filter(lambda text: text.strip() == text and any(map(str.isalnum, text))))
    def test_whatever_a_field_holds_its_text_is_not_kept(self, text: str) -> None:
        found = watcher()
        marked = f"Qj{text}jQ"
        body = json.dumps({"nickname": marked, "whatever": marked, "note": [marked]})
        found.note(seen("POST", "/api/x", body, body, 200, JSON, "application/json"))
        found.note(seen("GET", f"/api/x?q={marked.encode().hex()}", body, fields=JSON))
        plain = found.snapshot().plain()
        samples = [sample for *_, stat in plain["places"] for sample in stat["samples"]]
        assert marked not in json.dumps(plain, ensure_ascii=False)
        assert all(marked[2:-2] != sample for sample in samples)

    @given(st.binary(max_size=400), st.sampled_from(["text/html", "application/json", "text/csv", ""]))
    def test_no_body_breaks_it(self, body: bytes, content_type: str) -> None:
        found = watcher()
        found.note(seen("POST", "/a", body, body, 200, (("content-type", content_type),), content_type))
        assert found.evidence.exchanges == 1


class TestPlaces:
    def test_forms_are_known_with_types_labels_and_lengths(self) -> None:
        controls = form_crm().snapshot().forms["POST /people/contact/add"]
        assert (controls["last_name"].label, controls["last_name"].longest) == ("Last name", 100)
        assert controls["notes"].type == "textarea"
        assert controls["csrf"].type == "hidden"

    def test_recognised_values_are_counted_by_kind(self) -> None:
        places = form_crm().snapshot().places
        stat = places[(FORM, "POST /people/contact/add", "phone")]
        assert dict(stat.kinds) == {"phone": 3}
        assert stat.samples == ["138****8000", "+33****5678"]

    def test_surrogates_count_as_what_they_stand_for(self) -> None:
        found = watcher()
        found.note(seen("POST", "/add", b"", "phone=%2B88872345678901", 302, (("location", "/x"),), FORM_TYPE))
        assert dict(found.snapshot().places[(FORM, "POST /add", "phone")].kinds) == {"phone": 1}

    def test_copies_of_the_same_value_are_found(self) -> None:
        copies = form_crm().snapshot().copies
        written = (FORM, "POST /people/contact/add", "last_name")
        twins = {b if a == written else a for a, b in copies if written in (a, b)}
        assert (CELL, "GET /people/contacts", "td[name=cell_last_name]") in twins
        assert (SHOWN, "POST /people/contact/edit/{n}", "last_name") in twins

    def test_ids_that_come_back_in_paths_are_noticed(self) -> None:
        assert form_crm().snapshot().routes["GET /people/contact/{n}"].known_ids == 3

    def test_calls_are_taken_apart(self) -> None:
        evidence = rpc_crm().snapshot()
        assert evidence.calls["common.db.login"].secret == 1
        assert evidence.calls["model.party.party.create"].results == {"ids": 3}
        assert evidence.calls["model.party.party.write"].ids == {"0": 3}
        assert dict(evidence.places[(RPC_IN, "model.party.party.create", "value")].kinds) == {"phone": 3, "email": 3}

    def test_what_is_too_much_is_counted_as_dropped(self) -> None:
        found = watcher()
        body = "<html><body>" + "".join(f'<i itemprop="p{n}">Some Words</i>' for n in range(8000)) + "</body></html>"
        found.note(seen("GET", "/a", body, fields=HTML))
        found.note(seen("GET", "/b", body, fields=HTML))
        assert found.evidence.dropped > 0
        assert len(found.evidence.places) <= 6000


class TestStored:
    def test_evidence_comes_back_from_json_as_it_was(self) -> None:
        for found in (form_crm(), rpc_crm()):
            evidence = found.snapshot()
            plain = json.loads(json.dumps(evidence.plain()))
            assert Evidence.of(plain).plain() == plain

    def test_what_two_processes_saw_is_added_up(self) -> None:
        whole = Evidence()
        for found in (form_crm(), form_crm()):
            whole.add(Evidence.of(json.loads(json.dumps(found.snapshot().plain()))))
        assert whole.exchanges == 2 * form_crm().evidence.exchanges
        assert whole.places[(FORM, "POST /people/contact/add", "phone")].kinds["phone"] == 6
