"""What the settings of a provider must be, and what a wrong one is told."""

import dataclasses
from pathlib import Path

import pytest

from gateway.federation import config
from gateway.federation.config import Host, ProviderKind, ProviderSettings, SignInSettings, read_sign_in
from gateway.toml_tree import SettingInvalid

FOLDER = Path("/etc/crmgate")
OPENID = {"name": "corp", "label": "Company account", "issuer": "https://id.example.org", "client_id": "crmgate"}
WECOM = {
    "name": "wecom",
    "label": "WeCom",
    "label_zh": "企业微信",
    "kind": "wecom",
    "organisation": "ww100000a5f2191",
    "agent": "1000002",
    "client_secret_file": "wecom.secret",
}


def read(*tables) -> SignInSettings:
    return read_sign_in({"provider": list(tables)}, FOLDER, ["main"])


def test_without_the_section_there_is_no_provider() -> None:
    assert read_sign_in({}, FOLDER, ["main"]).providers == ()


def test_a_provider_with_what_it_needs() -> None:
    (one,) = read(OPENID | {"client_secret_file": "corp.secret", "tenants": ["main"]}).providers
    assert one.kind is ProviderKind.OPENID
    assert one.hosts == (Host.CRM, Host.CONSOLE)
    assert one.client_secret_file == FOLDER / "corp.secret"
    assert one.second_factor == "own"


def test_issuers_of_all_providers_have_names() -> None:
    issuers = read(OPENID, WECOM).issuers
    assert issuers == {"corp": "https://id.example.org", "wecom": "wecom:ww100000a5f2191"}


def test_wecom_is_known_by_its_corp_id() -> None:
    assert read(WECOM).providers[0].client_id == "ww100000a5f2191"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"issuer": "http://id.example.org"}, "issuer"),
        ({"issuer": "https://id.example.org?x=1"}, "issuer"),
        ({"issuer": "https://u:p@id.example.org"}, "issuer"),
        ({"issuer": ""}, "issuer"),
        ({"issuer": "https://id.example.org:99999999"}, "issuer"),
        ({"name": "Corp One"}, "name"),
        ({"label": " "}, "label"),
        ({"label": "x" * 41}, "label"),
        ({"label_zh": "a\nb"}, "label_zh"),
        ({"client_id": ""}, "client_id"),
        ({"hosts": []}, "hosts"),
        ({"hosts": ["portal"]}, "hosts"),
        ({"tenants": ["other"]}, "tenants"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": []}, "algorithms"),
        ({"scopes": ["a b"]}, "scopes"),
        ({"second_factor": "provider", "amr": []}, "second_factor"),
        ({"organisation": "x"}, "organisation"),
        ({"secret": "x"}, "secret"),
        ({"timeout_s": 0}, "timeout_s"),
    ],
)
def test_what_an_openid_provider_cannot_be(change, named) -> None:
    with pytest.raises(SettingInvalid) as caught:
        read(OPENID | change)
    assert caught.value.name == f"sign_in.provider.1.{named}"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"organisation": ""}, "client_id"),
        ({"organisation": "a b"}, "client_id"),
        ({"agent": ""}, "agent"),
        ({"issuer": "https://id.example.org"}, "issuer"),
        ({"second_factor": "provider"}, "second_factor"),
        ({"api_url": "http://api.example.org"}, "api_url"),
        ({"kind": "feishu", "client_id": "cli_1"}, "agent"),
    ],
)
def test_what_a_ready_made_provider_cannot_be(change, named) -> None:
    with pytest.raises(SettingInvalid) as caught:
        read(WECOM | change)
    assert caught.value.name == f"sign_in.provider.1.{named}"


def test_its_secret_is_needed_there() -> None:
    with pytest.raises(SettingInvalid, match="client_secret_file"):
        read({key: value for key, value in WECOM.items() if key != "client_secret_file"})


@pytest.mark.parametrize("change", [{}, {"name": "two"}, {"issuer": "https://two.example.org"}])
def test_two_providers_share_neither_name_nor_issuer(change) -> None:
    with pytest.raises(SettingInvalid, match="same"):
        read(OPENID, OPENID | change)


def test_loopback_may_be_plain() -> None:
    assert read(OPENID | {"issuer": "http://127.0.0.1:9000"}).providers


def test_every_setting_is_described_in_the_readme() -> None:
    text = (Path(config.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    part = text.split("### [[sign_in.provider]]", 1)[1].split("\n### ", 1)[0]
    for item in dataclasses.fields(ProviderSettings):
        assert f"| `{item.name}` |" in part
        assert item.metadata["help"] in part, item.name
