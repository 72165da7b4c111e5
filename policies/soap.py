"""SOAP calls: what the one element in the body of an envelope asks for, and whether SOAPAction says the same.

What two servers could dispatch differently (two calls in a body, a body of a foreign namespace, an action that names
another call) is read by nobody.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from policies.xml_document import XmlDocument, XmlInvalid, element_selector, read_xml, texts_at

ENVELOPES = frozenset({"http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"})
XML_TYPES = frozenset({"text/xml", "application/xml", "application/soap+xml"})
FAULT = element_selector("Envelope/Body/Fault/**")
_ACTION = re.compile(r""";\s*action\s*=\s*(?:"([^"]*)"|([^\s;"]+))""", re.I)
_LAST_WORD = re.compile(r"[^/#:?]*\Z")


@dataclass(frozen=True, slots=True)
class Called:
    """One call. name, namespace: of the element in the body. at: (place below it, what every text there has to be)."""

    name: str
    namespace: str
    at: tuple[tuple[tuple[str, ...], frozenset[str]], ...] = ()

    def fits(self, document: XmlDocument) -> bool:
        """Whether a document calls it; raises XmlInvalid where it can be read in two ways."""
        if (self.namespace, self.name) != called_in(document):
            return False
        for place, wanted in self.at:
            kind = any(step.startswith("@type") for step in place)
            texts = texts_at(document, place)
            if not texts or not all((one.rpartition(":")[2] if kind else one) in wanted for one in texts):
                return False
        return True


def called_in(document: XmlDocument) -> tuple[str, str]:
    """(namespace, name) of the one call in an envelope; raises XmlInvalid."""
    space, name = document.root
    if name != "Envelope" or space not in ENVELOPES:
        raise XmlInvalid("soap")
    outer = {(space, "Header"), (space, "Body")}
    calls = [call for parent, call in document.inner if parent == (space, "Body")]
    if len(calls) != 1 or any(parent not in outer for parent, _ in document.inner):
        raise XmlInvalid("soap")
    return calls[0]


def compile_called(source: Mapping[str, Any]) -> Called:
    """The `soap` of a condition."""
    root = f"Envelope/Body/{source['call']}/"
    places = tuple(
        (element_selector(root + place), frozenset([wanted] if isinstance(wanted, str) else wanted))
        for place, wanted in source.get("at", {}).items()
    )
    return Called(source["call"], source.get("namespace", ""), places)


def extra_of(entry: Mapping[str, Any]) -> dict[str, str]:
    """What an operation keeps of its condition, for `agrees`."""
    source = entry.get("when", {}).get("soap")
    return {"soap": source["call"], "soap_action": " ".join(source.get("actions", ()))} if source else {}


def agrees(extra: Mapping[str, str], content_type: str, actions: Iterable[str]) -> bool:
    """Whether every SOAPAction of a request, header or parameter, names the call of its body, or none.

    extra: of the operation that was found.
    """
    call = extra.get("soap")
    if call is None:
        return True
    patterns = extra["soap_action"].split()
    given = [*actions, *(one[1] or one[2] or "" for one in _ACTION.finditer(content_type))]
    for one in given:
        text = one.strip().strip('"')
        word = _LAST_WORD.search(text)
        if text and not any(fnmatchcase(text, pattern) for pattern in patterns) and (not word or word[0] != call):
            return False
    return True


def declares_xml(content_type: str) -> bool:
    """Whether a content type is XML."""
    media = content_type.partition(";")[0].strip().lower()
    return media in XML_TYPES or media.endswith("+xml")


def first_text(body: bytes, place: str) -> str | None:
    """The first text at a place of an answer; None where it is no XML or has none there."""
    document = document_of(body)
    found = texts_at(document, element_selector(place)) if document is not None else []
    return next((one for one in found if one), None)


def document_of(body: bytes) -> XmlDocument | None:
    """An answer as XML, None for what is none."""
    try:
        return read_xml(body)
    except (XmlInvalid, UnicodeError):
        return None


def is_fault(document: XmlDocument) -> bool:
    """Whether an answer is a SOAP fault, whatever its status."""
    return bool(texts_at(document, FAULT))
