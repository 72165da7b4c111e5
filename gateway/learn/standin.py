"""What a text that stands in for a protected value stands for, by its shape alone.

Learning counts kinds; it proves nothing and opens nothing. So the shape is enough, and the scanner, which
belongs to the thread that serves, is left alone.
"""

import re
from collections.abc import Callable

from kms.surrogate import SHORT_TEXT, Shapes


def standin_of(shapes: Shapes) -> Callable[[str], str | None]:
    """A function from a text to the kind that its surrogate has, None for anything else."""
    known = [
        ("email", re.compile(r"e\.[a-z2-7]{32}@" + re.escape(shapes.email_domain), re.IGNORECASE)),
        ("phone", re.compile(rf"\+{shapes.phone_country}{shapes.phone_lead}\d{{10}}")),
        ("id_card", re.compile(rf"{shapes.id_region}\d{{11}}[0-9X]", re.IGNORECASE)),
        ("bank_card", re.compile(rf"{shapes.card_prefix}\d{{15}}")),
        *((str(kind), re.compile(rf"{mark}[a-z2-7]{{14}}", re.IGNORECASE)) for kind, mark in SHORT_TEXT.items()),
    ]

    def kind_of(text: str) -> str | None:
        return next((kind for kind, shape in known if shape.fullmatch(text)), None)

    return kind_of
