"""What the second factors beside the app's codes have in common: how one is refused."""


class FactorWrong(Exception):  # noqa: N818 - an outcome of verification, named as the audit trail names it
    """What was offered as a second factor does not count; `reason` is the id for the audit trail."""

    permanent = True
    reason = "factor-wrong"
