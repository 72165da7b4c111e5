"""Names in five languages, paths as templates, and guesses from several sources."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.learn.guess import guess
from gateway.learn.naming import entity_of, name_of, path_of, singular, verb_of
from gateway.learn.route import folded, template_of
from gateway.learn.value import Stat, outline
from gateway.learn.vocabulary import vocabulary


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("last_name", "name"),
        ("lastName", "name"),
        ("billing_address-po_box", "address"),
        ("FirstName__c", "name"),
        ("EMAIL2", "email"),
        ("手机号", "phone"),
        ("客户姓名", "name"),
        ("Nom de famille", "name"),
        ("Téléphone portable", "phone"),
        ("Straße", "address"),
        ("Nachname", "name"),
        ("Geburtsdatum", "birth_date"),
        ("correo electrónico", "email"),
        ("apellidos", "name"),
        ("remarque", "text"),
        ("billing_city", "place"),
        ("user_password", "secret"),
        ("csrfmiddlewaretoken", "token"),
        ("name", "unsure"),
        ("username", "plain"),
    ],
)
def test_names_mean_what_people_mean_by_them(name: str, kind: str) -> None:
    found = vocabulary().meaning(name)
    assert found is not None
    assert found.kind == kind


def test_a_name_nobody_knows_means_nothing() -> None:
    assert vocabulary().meaning("zorkmid_42") is None


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/persons/contact/17", "/persons/contact/{n}"),
        ("/api/v1/contacts/9f1c2d3e-0000-4000-8000-00000000abcd/", "/api/v1/contacts/{uuid}"),
        ("/x/507f1f77bcf86cd799439011", "/x/{hex24}"),
        ("/sobjects/Contact/003xx000004TmiQAAS", "/sobjects/Contact/{salesforce}"),
        ("/contacts/zhang.wei%40example.com", "/contacts/{any}"),
        ("/c/%E5%BC%A0%E4%BC%9F", "/c/{any}"),
        ("/a/b7x9_k2", "/a/{word}"),
    ],
)
def test_what_names_one_record_becomes_a_parameter(path: str, template: str) -> None:
    assert template_of(path) == template


def test_many_words_at_one_place_become_one_parameter() -> None:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEF"
    whole = folded([f"/filter/edit/word{one}" for one in letters])
    assert set(whole.values()) == {"/filter/edit/{word}"}


@given(st.text(max_size=60))
def test_no_path_breaks_a_template(path: str) -> None:
    assert template_of("/" + path).startswith("/")


def test_entities_and_paths_are_named_as_profiles_name_them() -> None:
    assert [entity_of(one) for one in ("/persons/contact/add", "/persons/contacts", "/api/companies/{n}", "/")] == [
        "contact",
        "contact",
        "company",
        "page",
    ]
    assert path_of("/a/{n}/b/{n}", names_record=True) == "/a/{outer}/b/{record}"
    assert path_of("/a/{n}/add", names_record=False) == "/a/{outer}/add"
    assert path_of("/a/~b", names_record=False) is None
    assert (singular("addresses"), singular("status"), singular("companies")) == ("address", "status", "company")
    assert name_of("Ärger 42!") == "rger_42"
    assert verb_of("/persons/address/{n}") is None
    assert verb_of("/persons/contact/add_related/{n}") == "create"


@given(st.text(max_size=40))
def test_an_outline_has_no_letter_or_digit_of_the_text(text: str) -> None:
    assert not set(outline(text)) & {sign for sign in text if sign.isalnum()} - set("xX0□")


def _stat(*values: str, named: str = "") -> Stat:
    stat = Stat()
    for value in values:
        stat.note(value, None, named)
    return stat


def test_sources_that_agree_add_up_and_never_reach_certainty() -> None:
    alone = guess("tel", [], Stat())
    both = guess("tel", [], _stat(*["13800138000"] * 20))
    assert alone.kind == both.kind == "phone"
    assert alone.confidence < both.confidence < 1
    assert len(both.reasons) == 2


def test_what_is_recognised_outweighs_a_name_that_says_nothing_personal() -> None:
    assert guess("code", [], _stat("zhang@example.com", "li@example.com", "wang@example.com")).kind == "email"


def test_several_recognised_kinds_are_told_as_such() -> None:
    assert guess("value", [], _stat("zhang@example.com", "13800138000")).kind == "mixed"


def test_a_label_helps_where_the_name_says_nothing() -> None:
    found = guess("x_studio_1", ["Nachname"], Stat())
    assert found.kind == "name"
    assert "Nachname" in found.reasons[0]


def test_words_under_a_name_nobody_knows_are_unknown_and_numbers_are_nothing() -> None:
    assert guess("zork", [], _stat("Some Thing")).kind == "unknown"
    assert guess("zork", [], _stat("42", "43")).kind == "plain"
