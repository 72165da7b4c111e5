"""What can be wrong with a body; one class for each thing a caller can act on.

`problem` is a stable id for logs and messages. No class ever carries a value, a file name or a part of the body.
"""

from typing import ClassVar


class BodyFault(Exception):  # noqa: N818 - the field's term: a body is at fault, not the gateway
    """Base of all body faults. permanent: the same bytes will fail again."""

    permanent: ClassVar[bool] = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class BodyMalformed(BodyFault):
    """The bytes are not what their format says, or two readers could read them differently."""


class BodyTooDeep(BodyFault):
    """Nested deeper than the limit."""


class BodyTooLarge(BodyFault):
    """More bytes, parts, entries or leaves than the limit."""


class DecompressionLimit(BodyFault):
    """Inflates beyond the absolute or the relative limit."""


class BodyUnreadable(BodyFault):
    """A coding, character set or container that cannot be looked into."""
