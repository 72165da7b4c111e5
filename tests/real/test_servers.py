"""The CRM fixtures give what the other tests rely on."""

import pytest

from gateway.demo.browser import Browser
from tests.real.servers import CrmServer

pytestmark = pytest.mark.real


def test_creme_lets_staff_in_and_stores_a_contact(creme_server: CrmServer) -> None:
    browser = Browser(creme_server.url)
    page = browser.get("/creme_login/").expect(200)
    browser.submit(page, {"username": "lin.sales", "password": creme_server.passwords["lin.sales"]}).expect(200)
    assert "sessionid" in browser.cookies
    form = browser.get("/persons/contact/add").expect(200)
    made = browser.submit(form, {"last_name": "Muster", "first_name": "Mia"}, index=-1, follow=False).expect(302)
    assert made.header("location").startswith("/persons/contact/")
    assert "Muster" in browser.get(made.header("location")).expect(200).text
    browser.close()


def test_tryton_lets_staff_in_and_stores_a_party(tryton_server: CrmServer) -> None:
    browser = Browser(tryton_server.url)
    password = tryton_server.passwords["lin.sales"]
    call = {"id": 1, "method": "common.db.login", "params": ["lin.sales", {"password": password}, "en"]}
    uid, token = browser.post_json("/crm/rpc/", call).expect(200).json()["result"][:2]
    assert str(uid) == tryton_server.user_ids["lin.sales"]
    assert token
    browser.close()
