"""An identity that another provider vouches for, and why nobody comes in with it; pure.

It is known by issuer and subject alone. E-mail addresses and logins are no identity: providers let people choose them
and hand them on to somebody else (OpenID Connect Core 1.0, section 5.7).
"""

from dataclasses import dataclass

from gateway.access.user import printable

ISSUER_MAX_CHARS = 300
# OpenID Connect Core 1.0, section 2, says 255 for `sub`.
SUBJECT_MAX_CHARS = 255
# Issuer of an identity in a directory that checks passwords: this and the directory's name in the settings.
DIRECTORY_ISSUER = "ldap:"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Who the provider says it is. issuer: who says so; subject: the stable id there; session: the provider's own id of
    the session there ("" when it told none), for its word that it ended.
    """

    issuer: str
    subject: str
    session: str = ""

    @property
    def usable(self) -> bool:
        """Whether this can be an identity at all."""
        return (
            0 < len(self.issuer) <= ISSUER_MAX_CHARS
            and 0 < len(self.subject) <= SUBJECT_MAX_CHARS
            and printable(self.issuer)
            and printable(self.subject)
            and len(self.session) <= SUBJECT_MAX_CHARS
            and printable(self.session)
        )

    @property
    def brake_key(self) -> str:
        """What attempts of nobody's identity are counted under; never a login, for it has line breaks."""
        return f"elsewhere\n{self.issuer[:ISSUER_MAX_CHARS]}\n{self.subject[:SUBJECT_MAX_CHARS]}"


class NotLinked(Exception):  # noqa: N818 - an outcome the page explains
    """Nobody here has this identity, or the account is closed: one outcome for both."""

    permanent = True


class LinkTaken(Exception):  # noqa: N818 - an outcome the page explains
    """This identity is somebody's already, or this account has another identity of the same issuer."""

    permanent = True
