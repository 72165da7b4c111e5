"""The profile as the gateway uses it: classification, owners, uploads' labels, what one installation teaches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.operation import Operation, UploadRule
from policies.profile import Profile, ProfileInvalid, label_key, load_profile
from policies.taxonomy import Kind

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module", params=["creme", "tryton", "bottle"])
def profile(request: pytest.FixtureRequest) -> Profile:
    return load_profile(request.param)


@pytest.fixture(scope="module")
def creme() -> Profile:
    return load_profile("creme")


@pytest.fixture(scope="module")
def tryton() -> Profile:
    return load_profile("tryton")


def test_unknown_read_is_scanned_and_unknown_write_is_not_granted(profile: Profile) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        assert profile.classify(method, "/no/such/page", "", None, "").id == "unmatched.read"
    for method in ("POST", "PUT", "PATCH", "DELETE", "PROPFIND"):
        operation = profile.classify(method, "/no/such/page", "", b"", FORM)
        assert (operation.id, operation.granted_write) == ("unmatched.write", False)


@pytest.mark.parametrize(
    "path", ["//persons/contacts", "/persons//contacts", "/persons/%2Fcontacts", "/persons/%2f/contacts"]
)
def test_a_described_address_written_with_more_slashes_is_refused(creme: Profile, path: str) -> None:
    """A front server of the CRM that merges slashes would serve it, past the rules for its searches and orders."""
    assert not creme.classify("GET", path, "search-regular_field-phone=1", None, "").granted_write
    assert creme.classify("POST", path, "", b"", FORM).id == "unmatched.write"
    assert creme.classify("GET", "/no//such/page", "", None, "").granted_write


@pytest.mark.parametrize("name", ["salesforce", "dynamics", "zoho"])
def test_a_profile_with_query_languages_lets_no_other_spelling_of_an_address_by(name: str) -> None:
    profile = load_profile(name)
    for path in ("/no/such/page", "/Services/data/v60.0/query", "/services/data/v60.0//query", "/api/../api/data", "/"):
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            assert not profile.classify(method, path, "", b"", "").granted_write


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "", "get"]),
    path=st.text(max_size=60)
    | st.sampled_from(
        ["/creme_core/entity/merge", "/crm/rpc/", "/creme_core/quickforms/98/add", "/persons/contact/add"]
    ),
    query=st.text(max_size=60),
    body=st.binary(max_size=60) | st.none(),
    media=st.sampled_from([FORM, "application/json", "", "multipart/form-data; boundary=x"]),
)
def test_no_request_raises_or_puts_its_own_text_into_an_id(
    profile: Profile, method: str, path: str, query: str, body: bytes | None, media: str
) -> None:
    operation = profile.classify(method, path, query, body, media)
    assert operation.id in profile.operation_ids
    assert operation.record is None or operation.record.isdecimal()
    profile.needs_body(method, path)


def test_head_is_a_read_of_the_same_page(creme: Profile) -> None:
    assert creme.classify("HEAD", "/persons/contact/3", "", None, "").id == "contact.read"


def test_unlearnt_type_counts_as_personal_and_other_types_do_not_once_all_are_learnt(creme: Profile) -> None:
    path = "/creme_core/entity/edit/inner/98/15"
    unknown = creme.classify("POST", path, "", None, FORM)
    assert unknown.id == "contact.inner_update"
    assert any(rule.field is not None and rule.field.name == "name" for rule in unknown.rules)
    half = creme.with_facts({"99": "organisation"})
    assert half.classify("POST", path, "", None, FORM).id == "contact.inner_update"
    full = half.with_facts({"98": "contact"})
    assert full.classify("POST", path, "", None, FORM).id == "contact.inner_update"
    assert full.classify("POST", path.replace("98", "55"), "", None, FORM).id == "record.inner_update"
    assert full.classify("POST", path.replace("98", "99"), "", None, FORM).id == "organisation.inner_update"


def test_learning_nothing_new_changes_nothing(creme: Profile) -> None:
    known = creme.with_facts({"98": "contact"})
    assert known.with_facts({"98": "contact"}) is known
    assert creme.types == {}


def test_type_numbers_are_learnt_from_list_pages(creme: Profile) -> None:
    page = b'<a href="/creme_core/mass_import/98">'
    assert creme.facts_from_answer("/persons/contacts", 200, page) == {"98": "contact"}
    assert creme.facts_from_answer("/persons/organisations", 200, page) == {"98": "organisation"}
    assert creme.facts_from_answer("/persons/contact/3", 200, page) == {}


def test_owner_is_believed_for_a_create_only(creme: Profile) -> None:
    """An in-place edit of a phone with `user=me` added is accepted by the CRM, which ignores the extra field."""
    create = creme.classify("POST", "/persons/contact/add", "", b"user=3", FORM)
    edit = creme.classify("POST", "/creme_core/entity/edit/inner/98/15", "cell=regular_field-phone", None, FORM)
    assert creme.owner_from_body(create, {"user": "3"}) == "3"
    assert creme.owner_from_body(create, {"user": ""}) is None
    assert creme.owner_from_body(edit, {"user": "3"}) is None
    assert creme.owner_in_doubt(edit, {"user": "3"}, "9")
    assert not creme.owner_in_doubt(edit, {"user": "3"}, "3")
    assert not creme.owner_in_doubt(edit, {"phone": "1"}, "9")
    assert not creme.owner_in_doubt(create, {"user": "3"}, None)


def test_owner_in_tryton_is_never_what_a_request_says(tryton: Profile) -> None:
    create = tryton.classify(
        "POST", "/crm/rpc/", "", b'{"method":"model.party.party.create","params":[[{}]]}', "application/json"
    )
    assert create.id == "party.create"
    assert tryton.owner_from_body(create, {"user": "3", "create_uid": "3"}) is None
    assert tryton.owner_source == "actor"


def test_read_back_asks_with_a_plain_id_and_tells_owner_parent_and_type(creme: Profile, tryton: Profile) -> None:
    assert creme.read_backs["contact"].request("15", "/x") == ("GET", "/persons/contact/edit/15", b"")
    back = tryton.read_backs["mechanism"]
    method, path, body = back.request("8", "/crm/rpc/")
    assert (method, path) == ("POST", "/crm/rpc/")
    assert b"[[8]," in body
    answer = b'{"result":[{"type":"mobile","party":1,"id":8,"party.":{"create_uid":4}}]}'
    assert back.read(200, answer) == ("4", "1", {"type": "mobile"})
    assert back.read(200, b"{}") == (None, None, {})
    with pytest.raises(ValueError, match="shape number"):
        back.request("8]}", "/crm/rpc/")


def test_owner_is_read_back_from_the_edit_page(creme: Profile) -> None:
    page = b'<select name=user><option value="1">A<option value="2" selected>B</select>'
    assert creme.read_backs["contact"].read(200, page) == ("2", None, {})


def test_whoami_tells_the_key_that_forms_use(creme: Profile, tryton: Profile) -> None:
    page = b'<select name=user><option value="1" selected>A</select>'
    assert creme.crm_user_from_whoami(200, page) == "1"
    assert creme.crm_user_from_whoami(302, b"") is None
    assert tryton.crm_user_from_whoami(200, page) is None


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("Last name", Kind.NAME),
        ("姓名", Kind.NAME),
        ("手机号", Kind.PHONE),
        ("Téléphone portable", Kind.PHONE),
        ("\ufeffE-mail", Kind.EMAIL),
        (" 电子邮箱： ", Kind.EMAIL),
        ('"身份证号码"', Kind.ID_CARD),
        ("银行卡号", Kind.BANK_CARD),
        ("billing  ADDRESS - address", Kind.ADDRESS),
        ("Mobile *", Kind.PHONE),
    ],
)
def test_column_labels_in_three_languages_name_fields(creme: Profile, label: str, kind: Kind) -> None:
    found = creme.field_for_label(label)
    assert found is not None
    assert found.kind is kind


def test_unknown_label_names_no_field(creme: Profile) -> None:
    assert creme.field_for_label("Favourite colour") is None


def test_signs_between_the_words_of_a_label_do_not_count() -> None:
    for label in ("First name", "first_name", "First-Name*", "FIRST.NAME:", '" first  name "', "First (name)"):
        assert label_key(label) == "first name"


@given(st.text(max_size=40))
def test_label_key_is_stable(label: str) -> None:
    assert label_key(label_key(label)) == label_key(label)


def test_own_columns_of_the_export_are_known_to_the_import(creme: Profile) -> None:
    """Headers of Creme's English CSV export of contacts: accepting our own exports back needs every protected one."""
    for label in ("Last name", "First name", "Phone", "Mobile", "Fax", "Email address", "Description"):
        assert creme.field_for_label(label) is not None, label


def test_shipped_profiles_state_their_limits(profile: Profile) -> None:
    assert len(profile.known_limits) >= 5
    assert profile.origin_mode == "C"
    assert profile.websocket is False


def test_missing_profile_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        load_profile("no-such-crm")


def test_login_answers_only_count_for_login_operations(creme: Profile) -> None:
    other = Operation("auth.logout", "auth", creme.classify("POST", "/creme_logout/", "", None, "").action)
    headers = [("set-cookie", "sessionid=abc")]
    assert creme.crm_user_from_login(other, b"username=x", 302, headers, b"")[:3] == (None, None, None)


def test_invalid_profile_says_every_problem() -> None:
    assert ProfileInvalid(["a", "b"]).problems == ("a", "b")
    assert ProfileInvalid(["a"]).permanent


def test_the_place_of_files_in_a_call_is_found_by_its_keys() -> None:
    rule = UploadRule("attachments.data", header=("params", "0"))
    assert rule.names(("params", "1", "attachments", "0", "1", "0", "data"))
    assert rule.names(["sales", "attachments", "data"])
    for keys in (("data",), ("data", "attachments"), ("params", "0", "0", "data"), ("attachments", "data", "x"), ()):
        assert not rule.names(keys)
    assert rule.covers(("attachments", "0", "data", "3"))
    assert not rule.covers(("data", "attachments", "x"))
