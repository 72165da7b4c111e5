"""A Tryton whose people work for a company, so that they can keep sales opportunities."""

from typing import Any

from gateway.demo.browser import Browser
from gateway.demo.driver import TrytonDriver
from tests.real.servers import CrmServer


def with_company(server: CrmServer) -> None:
    """One company with one currency, which everybody works for and may sell for."""
    root = TrytonDriver(Browser(server.url))
    login = server.crm.admin_login
    root.log_in(login, server.passwords[login])

    def made(model: str, values: dict[str, Any]) -> int:
        return int(root.call(f"model.{model}.create", [[values], {}])[0])

    rate = ["create", [{"rate": {"__class__": "Decimal", "decimal": "1"}}]]
    currency = made("currency.currency", {"name": "Euro", "symbol": "€", "code": "EUR", "rates": [rate]})
    party = made("party.party", {"name": "Acme"})
    company = made("company.company", {"party": party, "currency": currency})
    groups = root.call("model.res.group.search", [[["name", "like", "Sale%"]], 0, None, None, {}])
    for user in server.user_ids.values():
        given = {"companies": [["add", [company]]], "groups": [["add", groups]]}
        root.call("model.res.user.write", [[int(user)], given, {}])
        root.call("model.res.user.write", [[int(user)], {"company": company}, {}])
    root.browser.close()
