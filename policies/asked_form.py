"""Which form, and which rule over a field, the answers to single questions make."""

from collections.abc import Callable
from dataclasses import replace

from policies.decision import FieldRule, Form

Ask = Callable[[str, str, str], bool]
"""Whether an object, right and scope are granted."""


def rule_of(ask: Ask, obj: str) -> FieldRule:
    """The rule over a field or kind on pages."""
    own, other = form_of(ask, obj, "own"), form_of(ask, obj, "other")
    return FieldRule(
        own=own,
        other=other,
        writable=ask(obj, "write", "any"),
        searchable=ask(obj, "search", "any"),
        revealable_own=own is Form.MASKED and ask(obj, "reveal", "own"),
        revealable_other=other is Form.MASKED and ask(obj, "reveal", "other"),
    )


def export_rule_of(ask: Ask, obj: str) -> FieldRule:
    """The same in exports: what pages show clear and may not be exported is masked."""
    return replace(rule_of(ask, obj), own=export_form_of(ask, obj, "own"), other=export_form_of(ask, obj, "other"))


def form_of(ask: Ask, obj: str, scope: str) -> Form:
    """The form in which a field or kind is seen. ask: whether an object, right and scope are granted."""
    if ask(obj, "clear", scope):
        return Form.CLEAR
    return Form.MASKED if ask(obj, "masked", scope) else Form.HIDDEN


def export_form_of(ask: Ask, obj: str, scope: str) -> Form:
    """The form in which exports show a field or kind: never more than pages do."""
    form = form_of(ask, obj, scope)
    return form if form is not Form.CLEAR or ask(obj, "export", scope) else Form.MASKED
