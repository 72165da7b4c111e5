"""A CRM profile as it applies to one installation: the shipped data plus what this CRM's pages told of its own ids.

Some CRMs number their types differently in each installation (Creme's content types). The facts are read from answers
the CRM gave to the pages the profile names, and only ever add to the profile.
"""

from collections.abc import Mapping

from policies.polling import Polling
from policies.profile import Operation, Profile

PLAIN_LIMIT, PLAIN_CHARS = 4096, 256


class Installation:
    """One profile in use; `current` is swapped whole when facts are learnt, so a request sees one state of it."""

    def __init__(self, profile: Profile) -> None:
        self.current = profile
        self._plain: dict[tuple[str, str], Operation] = {}  # of requests whose method and path say everything

    @property
    def session_cookies(self) -> frozenset[str]:
        """Names of the CRM's own session cookies."""
        return self.current.session_cookies

    @property
    def blank_record(self) -> str:
        """Text of the shape of a record id that belongs to no record."""
        return self.current.record_ids.blank

    def body_credentials(self, content_type: str, body: bytes) -> tuple[str, ...]:
        """CRM credentials that a body carries, each in one text."""
        return self.current.body_credentials(content_type, body)

    @property
    def credential_headers(self) -> frozenset[str]:
        """Header fields beside Authorization that hold a credential of the CRM."""
        return self.current.credential_headers

    @property
    def polling(self) -> Polling | None:
        """Addresses that are asked again and again by themselves."""
        return self.current.polling

    @property
    def credential_bodies(self) -> Mapping[str, tuple[str, ...]]:
        """Operation id → members of its body that hold one."""
        return self.current.credential_bodies

    def needs_body(self, method: str, path: str) -> bool:
        """Whether `classify` needs the body."""
        return (method, path) not in self._plain and self.current.needs_body(method, path)

    def classify(self, method: str, path: str, query: str, body: bytes | None, content_type: str) -> Operation:
        """The operation of a request."""
        operation = self._plain.get((method, path))
        if operation is None:
            operation = self.current.classify(method, path, query, body, content_type)
            if len(path) <= PLAIN_CHARS and self.current.is_plain(method, path):
                if len(self._plain) >= PLAIN_LIMIT:
                    self._plain.clear()
                self._plain[(method, path)] = operation
        return operation

    def learn(self, path: str, status: int, body: bytes) -> None:
        """Take the facts a page of the CRM tells; most pages tell none.

        What is known is never changed: pages also hold what people typed.
        """
        if not self.current.discoveries:
            return
        if status != 200:
            return
        known = self.current.types
        facts = {
            number: entity
            for number, entity in self.current.facts_from_answer(path, status, body).items()
            if number not in known and entity not in known.values()
        }
        if facts:
            self.current = self.current.with_facts(facts)
            self._plain.clear()
