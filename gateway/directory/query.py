"""The filter that finds a person by login: a template of RFC 4515 in the settings, filled in as a structure.

The template is parsed once, without the login. The login then becomes a value inside the parsed filter, which goes over
the wire with its length in front of it (RFC 4511, 4.5.1.7): whatever is typed, `*`, `)` and `(` included, is a value
and never syntax. That is what escaping after RFC 4515, section 3, is for, with nothing to forget.
"""

from dataclasses import replace

from sansldap import FilterAnd, FilterEquality, FilterExtensibleMatch, FilterNot, FilterOr, LDAPFilter

LOGIN = "{login}"
_MARK = LOGIN.encode()


class TemplateInvalid(ValueError):  # noqa: N818 - told as what it is
    """The template is no filter, does not ask for the login, or asks for it where it would not be compared."""

    permanent = True


class Template:
    """One template; raises TemplateInvalid."""

    def __init__(self, text: str) -> None:
        try:
            self._filter = LDAPFilter.from_string(text)
        except (ValueError, IndexError, RecursionError) as fault:
            raise TemplateInvalid("is no LDAP filter (RFC 4515)") from fault
        if not _asks(self._filter):
            raise TemplateInvalid(f"must compare an attribute with {LOGIN}, for example (uid={LOGIN})")
        if text.count(LOGIN) != _uses(self._filter):
            raise TemplateInvalid(f"may have {LOGIN} only where it is compared as a whole, as in (uid={LOGIN})")

    def for_login(self, login: str) -> LDAPFilter:
        """The filter that finds this login; raises UnicodeEncodeError for what is no text."""
        return _filled(self._filter, login.encode("utf-8"))


def _asks(one: LDAPFilter) -> bool:
    """Whether every way to fulfil this filter compares with the login."""
    if isinstance(one, FilterAnd):
        return any(map(_asks, one.filters))
    if isinstance(one, FilterOr):
        return bool(one.filters) and all(map(_asks, one.filters))
    return _uses(one) > 0 and not isinstance(one, FilterNot)


def _uses(one: LDAPFilter) -> int:
    if isinstance(one, FilterAnd | FilterOr):
        return sum(map(_uses, one.filters))
    if isinstance(one, FilterEquality | FilterExtensibleMatch):
        return one.value.count(_MARK)
    return 0


def _filled(one: LDAPFilter, login: bytes) -> LDAPFilter:
    if isinstance(one, FilterAnd | FilterOr):
        return replace(one, filters=[_filled(part, login) for part in one.filters])
    if isinstance(one, FilterEquality | FilterExtensibleMatch):
        return replace(one, value=one.value.replace(_MARK, login))
    return one
