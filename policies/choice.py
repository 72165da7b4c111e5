"""Operations that a field of the form decides: one address that exports, deletes or changes, as the body says.

The whole form has to say one thing: where the field comes twice with different values, or the body is no plain form, it
is an unmatched write, because nobody knows which of them the CRM reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import parse_qsl

T = TypeVar("T")
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """Which template counts. name: the form field; by_value: its value → template; other values leave the plain one."""

    name: str
    by_value: Mapping[str, T] = field(default_factory=dict)

    def pick(self, plain: T, body: bytes | None, content_type: str) -> T | None:
        """The template of this body; None where it does not say one thing."""
        if not body:
            return plain
        if content_type.partition(";")[0].strip().lower() != FORM:
            return None
        try:
            pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=5000)
        except ValueError:
            return None
        values = {value for name, value in pairs if name == self.name}
        if len(values) > 1:
            return None
        return self.by_value.get(values.pop(), plain) if values else plain
