"""[egress.…]: plain-word errors, no leg without TLS to another machine, every setting documented."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gateway.egress.config import (
    DestinationSettings,
    InboundSettings,
    LeadSettings,
    LeadsSettings,
    Leg,
    ProxySettings,
    SmtpSettings,
)
from gateway.settings_file import build_settings
from gateway.toml_tree import SettingInvalid

FILE = Path("/etc/crmgate/crmgate.toml")
README = Path(__file__).parents[4] / "gateway" / "egress" / "README.md"
DOCUMENTED = {
    "egress.smtp": SmtpSettings,
    "egress.inbound": InboundSettings,
    "egress.proxy": ProxySettings,
    "egress.leads": LeadsSettings,
}
DOCUMENTED_LISTS = {"egress.http": DestinationSettings, "egress.lead": LeadSettings}
HOST = {"smart_host": "mail.example.org:587"}
WEB = {"allow_networks": ["10.0.0.0/8"]}
FORM = {"path": "/contact", "to": "/persons/contact/add"}
SMS = {"name": "sms", "url": "https://sms.example.org", "kinds": ["phone"]}
BOX = {"deliver_to": "127.0.0.1:25", "deliver_tls": "off", "own_domains": ["x.example"], "mailboxes": ["crm@x.example"]}


def built(*tenants: str, **egress: Any) -> Any:
    many = {name: {"upstream": "http://a", "public_url": f"https://{name}.localhost"} for name in tenants or ("main",)}
    return build_settings({"tenant": many, "egress": egress}, FILE).egress


def test_nothing_is_open_unless_it_is_configured() -> None:
    assert built() == built()
    assert built().smtp is None
    assert built().inbound is None


def test_the_defaults_verify_tls_and_listen_on_this_machine() -> None:
    smtp = built(smtp=HOST).smtp
    assert smtp.smart_host_tls is Leg.STARTTLS
    assert smtp.listen.host == "127.0.0.1"
    assert smtp.message == 10 * 1024 * 1024


@pytest.mark.parametrize(
    ("egress", "said"),
    [
        ({"smpt": {}}, "egress.smpt: there is no such section"),
        ({"smtp": {}}, "egress.smtp.smart_host: is missing"),
        ({"smtp": HOST | {"smart_host_tls": "off"}}, "egress.smtp.smart_host_tls: off is for this machine only"),
        ({"smtp": HOST | {"listen": "0.0.0.0:25"}}, "egress.smtp.tls: off is for this machine only"),
        ({"smtp": HOST | {"user": "crm"}}, "egress.smtp.password_file: a user and a password file go together"),
        ({"smtp": HOST | {"smart_host_user": "crm"}}, "egress.smtp.smart_host_password_file"),
        ({"smtp": HOST | {"allow_recipients": ["example.org"]}}, 'write "name@domain" or "@domain"'),
        ({"smtp": HOST | {"staff_domains": ["a@b.example"]}}, "must be a mail domain"),
        ({"smtp": HOST | {"tenant": "other"}}, "there is no [tenant.other]"),
        ({"smtp": HOST | {"tls_key": "a.pem"}}, "tls_certificate and tls_key go together"),
        ({"smtp": HOST | {"tls": "none"}}, "must be one of starttls, tls, off"),
        ({"proxy": {}}, "go together"),
        ({"http": [SMS]}, "go together"),
        ({"http": SMS}, "write one section for each service"),
        ({"proxy": {}, "http": [SMS | {"url": "http://sms.example.org"}]}, "http is for this machine only"),
        ({"proxy": {}, "http": [SMS | {"url": "https://sms.example.org/x"}]}, "must be an address such as"),
        ({"proxy": {}, "http": [SMS | {"kinds": ["secret"]}]}, "must be some of name, email"),
        ({"proxy": {}, "http": [SMS | {"kinds": []}]}, "must be some of name, email"),
        ({"proxy": {}, "http": [SMS | {"methods": ["TRACE"]}]}, "must be some of DELETE, GET"),
        ({"proxy": {}, "http": [SMS | {"paths": ["send"]}]}, "must begin with /"),
        ({"proxy": {}, "http": [SMS, SMS]}, "must be a short name of its own"),
        ({"proxy": {}, "http": [SMS, SMS | {"name": "b"}]}, "another [[egress.http]] has this host"),
        ({"proxy": {"listen": "10.0.0.1:3128"}, "http": [SMS]}, "off is for this machine only"),
        ({"leads": WEB}, "go together"),
        ({"leads": {}, "lead": [FORM]}, "egress.leads.allow_networks: is missing"),
        ({"leads": WEB, "lead": [FORM | {"to": "x"}]}, "must begin with /"),
        ({"leads": WEB, "lead": [FORM, FORM]}, "another [[egress.lead]] has this path"),
        ({"leads": WEB, "lead": [FORM | {"thanks": "/x"}]}, "must be an address such as"),
        ({"leads": WEB | {"listen": "0.0.0.0:80", "tls": False}, "lead": [FORM]}, "off is for this machine only"),
        ({"inbound": {}}, "egress.inbound.deliver_to: is missing"),
        ({"inbound": BOX | {"mailboxes": []}}, "name at least one address"),
        (
            {"inbound": BOX | {"deliver_to": "mail.example.org:25"}},
            "egress.inbound.deliver_tls: off is for this machine",
        ),
    ],
)
def test_errors_say_what_fits(egress: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingInvalid) as told:
        built(**egress)
    assert said in str(told.value)


def test_with_several_crms_one_has_to_be_named() -> None:
    with pytest.raises(SettingInvalid, match="there are several"):
        built("a", "b", smtp=HOST)
    assert built("a", "b", smtp=HOST | {"tenant": "b"}).smtp.tenant == "b"


def test_every_setting_is_documented() -> None:
    readme = README.read_text(encoding="utf-8")
    titles = {f"[{name}]": kind for name, kind in DOCUMENTED.items()}
    titles |= {f"[[{name}]]": kind for name, kind in DOCUMENTED_LISTS.items()}
    for section, kind in titles.items():
        part = readme.partition(f"### {section}\n")[2].partition("\n### ")[0]
        for item in dataclasses.fields(kind):
            line = f"| `{item.name}` |"
            assert line in part, f"{section}.{item.name} is not in gateway/egress/README.md"
            assert str(item.metadata["help"]) in part, f"{section}.{item.name} says something else in the README"


def test_the_default_rules_of_inbound_are_strict() -> None:
    inbound = built(inbound=BOX).inbound
    assert dataclasses.is_dataclass(InboundSettings)
    assert inbound.mailboxes == ("crm@x.example",)
