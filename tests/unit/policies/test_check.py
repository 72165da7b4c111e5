"""Lint and explain: plain sentences, names only, nothing found in what is shipped."""

from dataclasses import replace

import pytest

from policies.check import check_policy, check_profile, explain
from policies.enforcer import DEFAULT_POLICY, Enforcer
from policies.operation import FieldSpec
from policies.profile import Profile, load_profile
from policies.taxonomy import Kind


@pytest.fixture(scope="module")
def creme() -> Profile:
    return load_profile("creme").with_facts({"98": "contact", "99": "organisation"})


@pytest.fixture(scope="module")
def tryton() -> Profile:
    return load_profile("tryton")


def test_shipped_profiles_and_policy_have_no_problem(creme: Profile, tryton: Profile) -> None:
    assert check_profile(creme) == []
    assert check_profile(tryton) == []
    assert check_profile(load_profile("bottle")) == []
    assert check_policy(DEFAULT_POLICY.read_text(encoding="utf-8"), [creme, tryton]) == []


def test_column_too_short_for_a_surrogate_is_told(creme: Profile) -> None:
    short = {("contact", "email"): FieldSpec("contact", "email", Kind.EMAIL, 30)}
    assert "field contact.email holds 30 characters, a surrogate needs 46" in check_profile(
        replace(creme, field_specs=short)
    )


def test_gaps_of_a_profile_are_told(creme: Profile) -> None:
    bare = replace(
        creme,
        sign_in={"auth.other": {}},
        session_cookies=frozenset(),
        credential_rules=(),
        read_backs={},
        known_limits=(),
        discoveries=({"entity": "contact", "path": "/nowhere", "pattern": "x"},),
        source={"rule_sets": {"lost": []}, "search_sets": {"gone": []}},
    )
    told = " ".join(check_profile(bare))
    for part in ("auth.other", "lost", "gone", "credential", "read one back", "known_limits", "/nowhere"):
        assert part in told
    assert any("login is recognised" in problem for problem in check_profile(replace(bare, sign_in={})))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("p, a, *, op:x", "needs role"),
        ("", "nobody may do anything"),
        ("p, a, *, op:spaceship.*, read, any", "has an operation spaceship.*"),
        ("p, a, *, field:spaceship.name, clear, any\np, a, *, op:*, read, any", "has an entity spaceship"),
        ("p, a, *, field:contact.hull, clear, any\np, a, *, op:*, read, any", "has a field contact.hull"),
        ("p, a, *, kind:*, clear, any", "no operation at all"),
        (
            "\n".join(
                f"p, a, *, {row}, any"
                for row in ("kind:*, clear", "kind:*, write", "kind:*, search", "op:*, *", "op:console.*, *")
            ),
            "separate the two",
        ),
    ],
)
def test_doubtful_policy_is_told(creme: Profile, text: str, told: str) -> None:
    problems = check_policy(text, [creme])
    assert any(told in problem for problem in problems), problems


def test_explanation_names_fields_and_outcome_but_no_value(creme: Profile) -> None:
    bundle = Enforcer(creme.field_specs, creme.operation_ids).load()
    told = explain(
        creme,
        "post",
        "/persons/contact/edit/15",
        b"last_name=Zhang&phone=13800138000&csrfmiddlewaretoken=secret",
        bundle=bundle,
        roles=["sales"],
    )
    assert (told.operation, told.record, told.outcome) == ("contact.update", "15", "would be forwarded")
    assert {(leaf.path, leaf.treatment, leaf.field) for leaf in told.leaves} == {
        ("last_name", "field", "contact.last_name"),
        ("phone", "field", "contact.phone"),
    }
    assert "13800138000" not in repr(told)
    assert "secret" not in repr(told)


def test_explanation_of_a_search(creme: Profile) -> None:
    told = explain(creme, "GET", "/persons/contacts?search-regular_field-phone=13800138000")
    assert [(leaf.path, leaf.field) for leaf in told.searches] == [("search-regular_field-phone", "contact.phone")]
    assert told.outcome == "depends on the roles"


def test_explanation_of_a_call(tryton: Profile) -> None:
    body = b'{"method":"model.party.contact_mechanism.create","params":[[{"type":"email","value":"a@b.example"}]]}'
    told = explain(tryton, "POST", "/crm/rpc/", body, "application/json")
    assert [(leaf.path, leaf.kind) for leaf in told.leaves if leaf.field == "party.email"] == [
        ("params.0.0.value", "email")
    ]


@pytest.mark.parametrize(
    ("method", "target", "note"),
    [
        ("GET", "/nowhere", "scanned"),
        ("POST", "/nowhere", "needs an entry"),
        ("POST", "/creme_login/", "forwarded as it is"),
        ("POST", "/documents/document/add", "tables and vCards"),
        ("POST", "/persons/contact/add", "owner is told by a field"),
    ],
)
def test_notes_say_what_is_special(creme: Profile, method: str, target: str, note: str) -> None:
    assert any(note in text for text in explain(creme, method, target).notes)


def test_explanation_warns_when_the_request_chooses_the_redirect(creme: Profile) -> None:
    told = explain(creme, "POST", "/persons/contact/add", b"last_name=x&callback_url=/persons/contact/1")
    assert any("not be trusted" in text for text in told.notes)


def test_refusal_of_an_ungranted_write_needs_no_roles(creme: Profile) -> None:
    assert explain(creme, "DELETE", "/x").outcome == "would be refused: write-not-granted"


def test_unreadable_bodies_explain_as_nothing(tryton: Profile) -> None:
    assert explain(tryton, "POST", "/crm/rpc/", b"{", "application/json").operation == "unmatched.write"
    assert explain(tryton, "POST", "/crm/rpc/", b"&".join([b"a"] * 6000)).leaves == ()


def test_one_refused_part_of_a_batch_is_told() -> None:
    hubspot = load_profile("hubspot")
    bundle = Enforcer(hubspot.field_specs, hubspot.operation_ids).load(DEFAULT_POLICY)

    def told(*inputs: str) -> tuple[str, tuple[str, ...]]:
        parts = ",".join(f'{{"id":"{one}","properties":{{}}}}' for one in inputs)
        body = f'{{"inputs":[{parts}]}}'.encode()
        path = "/crm/v3/objects/contacts/batch/update"
        found = explain(hubspot, "POST", path, body, "application/json", bundle=bundle, roles=["manager"])
        return found.outcome, tuple(note for note in found.notes if note.startswith("part "))

    assert told("1", "2") == ("would be forwarded", ("part 1: contact.update", "part 2: contact.update"))
    assert told("1", "x")[0] == "would be refused: write-not-granted"
    assert told()[0] == "depends on the requests in it, which cannot be told here"
