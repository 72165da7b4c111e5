"""The profile of Creme with the description of a contact sealed whole, as policies/README.md describes it."""

from policies.enforcer import DEFAULT_POLICY


def celled_profile() -> str:
    """The shipped profile with that field as a cell, and the places where pages show it."""
    text = (DEFAULT_POLICY.parent / "profiles" / "creme.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("    description: {kind: text, labels: [Desc", "    description: {kind: text, form: cell, labels: [Desc"),
        (
            "\nshown:\n",
            """
shown:
  - {field: contact.description, pages: [contact.read], css: "[data-key=regular_field-description] .brick-tile-value"}
  - {field: contact.description, pages: ["contact.*"], css: "textarea[name=description]"}
  - field: contact.description
    pages: [contact.list]
    row: {css: tr.lv-row, id: "input[name=entity_id]", attribute: value}
    css: "td[name=regular_field-description] .lv-cell-value"
""",
        ),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text
