"""Words for the ids of policy bundles: where one is in its life, why a step was not done, what a question asks."""

from collections.abc import Mapping

from gateway.console.words import N_

STATES: Mapping[str, tuple[str, str]] = {
    "draft": ("quiet", N_("Draft")),
    "proposed": ("warning", N_("Proposed")),
    "published": ("good", N_("In force")),
    "retired": ("quiet", N_("Replaced")),
}
"""State of a bundle → tone of its sign and words."""

PROBLEMS: Mapping[str, str] = {
    "policy-text": N_(
        "The text is too long or holds characters that no text has. Shorten it, or use crmgate policy draft."
    ),
    "policy-state": N_(
        "This bundle is not where this step begins, or another came into force meanwhile. Look at it again."
    ),
    "policy-invalid": N_(
        "This bundle may not come into force. Every reason stands below; an edited bundle is a new draft."
    ),
    "four-eyes": N_("Nobody publishes what they drafted. Ask a colleague who may publish."),
    "policy-empty": N_("There are no rows. Write at least one, or begin with a bundle that is there."),
    "explain-who": N_("There is no such login, and not every name is a role of this bundle."),
    "explain-what": N_("There is no such field, kind of data or operation."),
    "explain-bundle": N_("There is no bundle with this number."),
}

RIGHTS: Mapping[str, str] = {
    "clear own": N_("See it clear in own records"),
    "masked own": N_("See it masked in own records"),
    "clear other": N_("See it clear in others' records"),
    "masked other": N_("See it masked in others' records"),
    "write": N_("Write it"),
    "search": N_("Search for it"),
}
"""Right and scope of a question over data → words."""

ACTIONS: Mapping[str, str] = {
    "read": N_("read"),
    "list": N_("list"),
    "search": N_("search"),
    "create": N_("create"),
    "update": N_("change"),
    "delete": N_("delete"),
    "import": N_("import"),
    "export": N_("export"),
    "other": N_("other"),
}
"""Action of an operation → words."""

CHANGES: Mapping[str, str] = {"allowed": N_("Allowed"), "refused": N_("Refused")}
"""What becomes of an operation or of writing → words; forms of values have their own."""
