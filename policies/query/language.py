"""One door to all query languages: a text and the rule that covers it become a `Query`."""

from policies.query.fetch import parse_fetch
from policies.query.odata import parse_odata
from policies.query.parsed import Query, QueryInvalid
from policies.query.select import DIALECTS, parse_select
from policies.query.zoho import parse_zoho

LANGUAGES = (*DIALECTS, "odata", "zoho")


def parse(language: str, text: str, *, option: str = "", table: str = "") -> Query:
    """A query in one of the languages.

    option: the name of the parameter it stands in; table: the object that is asked for, where the query does not say.
    Raises: QueryInvalid when it is not understood to its last sign.
    """
    if language in DIALECTS:
        return parse_select(text, language)
    if language == "odata" and option.lower() == "fetchxml":
        return parse_fetch(text)
    if language == "odata":
        return parse_odata(text, option, (table,))
    if language == "zoho":
        return parse_zoho(text, option, (table,))
    raise QueryInvalid("language")
