"""The profile of Tryton with the comment of an opportunity sealed whole, as policies/README.md describes it."""

from policies.enforcer import DEFAULT_POLICY


def celled_tryton() -> str:
    """The shipped profile with that field as a cell, the places where answers show it, and a scratch record."""
    text = (DEFAULT_POLICY.parent / "profiles" / "tryton.yaml").read_text(encoding="utf-8")
    for old, new in (
        (
            "  attachment:\n    data: {kind: text}\n",
            "  attachment:\n    data: {kind: text}\n  opportunity:\n    comment: {kind: text, form: cell}\n",
        ),
        (
            "\nrule_sets:\n",
            """
shown:
  - {field: opportunity.comment, pages: ["opportunity.*"], path: [result, "*", comment], key: id}

rule_sets:
  # One record in one call: what stands deeper, or second, is refused.
  opportunity:
    - {select: [params, "0", "0", comment], field: opportunity.comment}
    - {select: [params, "1", comment], field: opportunity.comment}
    - {select: [params, "**", comment], field: opportunity.comment}
  opportunity_import:
    - select: [params, "1", "*", "*"]
      column: {header: [params, "0"], fields: {comment: opportunity.comment}}
      field: text
""",
        ),
        (
            "      entity: opportunity\n      rules: [notes]\n",
            "      entity: opportunity\n      rules: [opportunity, notes]\n      import_rules: [opportunity_import]\n",
        ),
        (
            "      fields: {description: text, comment: text, lost_reason: text, reference: text}\n",
            "      probe: {description: Probe}\n"
            "      removed_by: [cancel, delete]\n"
            "      fields: {description: text, comment: opportunity.comment, lost_reason: text, reference: text}\n",
        ),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
