"""Facts of one installation: learnt once, from the pages that tell them, and never talked away."""

from gateway.installation import Installation
from policies.profile import load_profile

CONTACTS, COMPANIES = "/persons/contacts", "/persons/organisations"


def link(number: int) -> bytes:
    return b'<a href="/creme_core/mass_import/%d">' % number


def test_type_numbers_are_learnt_from_their_pages() -> None:
    creme = Installation(load_profile("creme"))
    creme.learn(CONTACTS, 200, link(98))
    creme.learn(COMPANIES, 200, link(99))
    creme.learn("/persons/contact/5", 200, link(7))
    assert dict(creme.current.types) == {"98": "contact", "99": "organisation"}


def test_what_is_known_is_never_changed_by_a_later_page() -> None:
    creme = Installation(load_profile("creme"))
    creme.learn(CONTACTS, 200, link(98))
    creme.learn(CONTACTS, 200, link(5))
    creme.learn(COMPANIES, 200, link(98))
    assert dict(creme.current.types) == {"98": "contact"}


def test_error_pages_tell_nothing_and_a_profile_without_facts_stays_the_same() -> None:
    creme, tryton = Installation(load_profile("creme")), Installation(load_profile("tryton"))
    before = tryton.current
    creme.learn(CONTACTS, 403, link(98))
    tryton.learn(CONTACTS, 200, link(98))
    assert dict(creme.current.types) == {}
    assert tryton.current is before


def test_one_request_sees_one_state() -> None:
    creme = Installation(load_profile("creme"))
    before = creme.current
    creme.learn(CONTACTS, 200, link(98))
    assert dict(before.types) == {}
    assert creme.session_cookies == before.session_cookies
    assert creme.needs_body("POST", "/persons/contact/add") == before.needs_body("POST", "/persons/contact/add")
    target = ("POST", "/creme_core/entity/edit/inner/98/5", "", None, "")
    assert (creme.classify(*target).id, before.classify(*target).entity) == ("contact.inner_update", "contact")
