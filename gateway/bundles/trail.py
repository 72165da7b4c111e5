"""What the audit trail says of policy bundles: rows in one spelling, which name roles and fields and no person."""

from policies.difference import Difference


def changes(diff: Difference) -> list[str]:
    """`+row` for each that comes, `-row` for each that goes; the trail itself counts what is too long for one entry."""
    return [*(f"+{row}" for row in diff.added), *(f"-{row}" for row in diff.removed)]
