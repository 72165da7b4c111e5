"""FieldView: the most specific rule counts, and an unbound origin opens by kind alone."""

import pytest

from policies.decision import Decision, FieldRule, FieldView, Form

CLEAR = FieldRule(Form.CLEAR, Form.MASKED)
TEXT = FieldRule(Form.MASKED, Form.HIDDEN)
ANY = FieldRule(Form.HIDDEN, Form.HIDDEN)
VIEW = FieldView(
    policy_version="v",
    rules={("contact", "phone"): CLEAR},
    by_kind={"phone": FieldRule(Form.CLEAR, Form.MASKED), "email": ANY},
    in_text={("contact", "note", "phone"): TEXT, ("contact", "*", "email"): TEXT},
)


def test_declared_field_has_its_own_rule() -> None:
    assert VIEW.rule("contact", "phone", "phone") is CLEAR


def test_value_in_text_has_the_rule_of_its_kind_there() -> None:
    assert VIEW.rule("contact", "note", "phone") is TEXT


def test_undeclared_field_of_an_entity_has_the_rule_of_the_kind_there() -> None:
    assert VIEW.rule("contact", "custom", "email") is TEXT


def test_everything_else_falls_to_the_kind_then_to_hidden() -> None:
    assert VIEW.rule("other", "x", "email") is ANY
    assert VIEW.rule("other", "x", "id_card") == FieldRule()


@pytest.mark.parametrize(
    ("bound", "owned", "form"), [(True, True, Form.CLEAR), (True, False, Form.MASKED), (False, True, Form.MASKED)]
)
def test_form_follows_binding_and_ownership(bound: bool, owned: bool, form: Form) -> None:
    assert VIEW.form("contact", "phone", "phone", bound=bound, owned=owned) is form


def test_unbound_origin_of_a_kind_without_rights_is_hidden() -> None:
    assert VIEW.form("contact", "phone", "id_card", bound=False, owned=True) is Form.HIDDEN


def test_decision_has_no_truth_value() -> None:
    with pytest.raises(TypeError):
        bool(Decision(True, "allowed", VIEW))
