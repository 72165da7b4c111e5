"""What kinds of personal data there are and how sensitive each is.

The names here are the words every other package uses on the wire, in the vault and in the audit trail.
A kind says what a value *is*; the field it stands in is said by a profile.
"""

from enum import StrEnum


class Kind(StrEnum):
    """Kind of a personal value; the string is stored, so it never changes meaning."""

    NAME = "name"
    EMAIL = "email"
    PHONE = "phone"
    ID_CARD = "id_card"
    BANK_CARD = "bank_card"
    ADDRESS = "address"
    BIRTH_DATE = "birth_date"


# Kinds whose surrogate is the same for the same value everywhere in a tenant (DESIGN, storage forms):
# equality search, uniqueness and duplicate detection inside the CRM rest on it.
DETERMINISTIC_KINDS = frozenset({Kind.EMAIL, Kind.PHONE, Kind.ID_CARD, Kind.BANK_CARD})
