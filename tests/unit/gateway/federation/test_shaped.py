"""WeCom, DingTalk and Feishu: small servers answer as the vendors document it; never the vendors themselves."""

from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.access.elsewhere import Elsewhere
from gateway.federation.config import ProviderKind, ProviderSettings
from gateway.federation.fetch import Fetcher
from gateway.federation.flow import Flow
from gateway.federation.shaped import ShapedProvider
from gateway.federation.shapes import SHAPES
from gateway.federation.vouched import ProviderDown, VouchRefused
from tests.unit.gateway.federation.made_provider import MadeProvider, hang

FLOW = Flow("s" * 43)
BACK = "https://crm.localhost:8443/.crmgate/sign-in/with/vendor/back"
SECRET = "the application's secret"
TOKEN = "token-of-the-vendor"


class Vendor:
    """One of the three, with the settings of a company and the answers of a server that knows one person."""

    def __init__(self, made: MadeProvider, kind: ProviderKind) -> None:
        self.made, self.kind = made, kind
        self.settings = ProviderSettings(
            name="vendor",
            label="Vendor",
            client_id="ww100" if kind is ProviderKind.WECOM else "app-1",
            kind=kind,
            organisation="ww100" if kind is ProviderKind.WECOM else "org-1",
            agent="1000002" if kind is ProviderKind.WECOM else "",
            api_url=made.issuer,
        )
        self.code = {SHAPES[kind].code: "c-1"}
        getattr(self, kind.value)()

    def provider(self, timeout_s: float = 20.0) -> ShapedProvider:
        return ShapedProvider(self.settings, SECRET, Fetcher(timeout_s))

    def wecom(self) -> None:
        self.paths = ("/cgi-bin/gettoken", "/cgi-bin/auth/getuserinfo")
        self.subject = "LiWei"

        def token(sent):
            assert sent == {"corpid": "ww100", "corpsecret": SECRET}
            return 200, {"errcode": 0, "errmsg": "ok", "access_token": TOKEN, "expires_in": 7200}

        def person(sent):
            assert sent == {"access_token": TOKEN, "code": "c-1"}
            return 200, {"errcode": 0, "errmsg": "ok", "userid": "LiWei", "user_ticket": "t"}

        self.made.answers = {self.paths[0]: token, self.paths[1]: person}

    def dingtalk(self) -> None:
        self.paths = ("/v1.0/oauth2/userAccessToken", "/v1.0/contact/users/me")
        self.subject = "union-1"

        def token(sent):
            assert sent == {
                "clientId": "app-1",
                "clientSecret": SECRET,
                "code": "c-1",
                "grantType": "authorization_code",
            }
            return 200, {"accessToken": TOKEN, "refreshToken": "r", "expireIn": 7200, "corpId": "org-1"}

        person = {"nick": "Li", "unionId": "union-1", "openId": "open-1", "mobile": "13800000000"}
        self.made.answers = {self.paths[0]: token, self.paths[1]: (200, person)}

    def feishu(self) -> None:
        self.paths = ("/open-apis/authen/v2/oauth/token", "/open-apis/authen/v1/user_info")
        self.subject = "on-1"

        def token(sent):
            assert sent == {
                "grant_type": "authorization_code",
                "client_id": "app-1",
                "client_secret": SECRET,
                "code": "c-1",
                "redirect_uri": BACK,
                "code_verifier": FLOW.verifier,
            }
            return 200, {"code": 0, "access_token": TOKEN, "expires_in": 7200, "token_type": "Bearer"}

        data = {"name": "Li", "open_id": "ou-1", "union_id": "on-1", "tenant_key": "org-1", "email": "li@example.org"}
        self.made.answers = {self.paths[0]: token, self.paths[1]: (200, {"code": 0, "msg": "success", "data": data})}


@pytest.fixture(params=[ProviderKind.WECOM, ProviderKind.DINGTALK, ProviderKind.FEISHU])
def vendor(made, request) -> Vendor:
    return Vendor(made, request.param)


async def test_a_member_of_the_company_is_known_by_the_vendors_stable_id(vendor) -> None:
    vouched = await vendor.provider().identify(vendor.code, FLOW, BACK)
    assert vouched.identity == Elsewhere(f"{vendor.kind}:{vendor.settings.organisation}", vendor.subject)
    assert not vouched.factor_proved
    headers = vendor.made.asked[-1][2]
    if vendor.kind is ProviderKind.DINGTALK:
        assert headers["x-acs-dingtalk-access-token"] == TOKEN
    if vendor.kind is ProviderKind.FEISHU:
        assert headers["authorization"] == f"Bearer {TOKEN}"


async def test_the_browser_is_sent_to_the_vendor_over_https_with_the_state(vendor) -> None:
    address = urlsplit(await vendor.provider().address(FLOW, BACK))
    asked = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert address.scheme == "https"
    assert (asked["state"], asked["redirect_uri"]) == (FLOW.state, BACK)
    assert SECRET not in address.query
    expected = {
        ProviderKind.WECOM: ("login.work.weixin.qq.com", {"appid": "ww100", "agentid": "1000002"}),
        ProviderKind.DINGTALK: ("login.dingtalk.com", {"client_id": "app-1", "scope": "openid corpid"}),
        ProviderKind.FEISHU: ("accounts.feishu.cn", {"client_id": "app-1", "code_challenge": FLOW.challenge}),
    }
    host, parameters = expected[vendor.kind]
    assert address.netloc == host
    assert asked.items() >= parameters.items()
    assert SHAPES[vendor.kind].api_url.startswith("https://")


async def test_people_of_another_company_are_refused(vendor) -> None:
    if vendor.kind is ProviderKind.WECOM:  # a guest has no userid, and the credential is of one company
        vendor.made.answers[vendor.paths[1]] = (200, {"errcode": 0, "openid": "o-1", "external_userid": "x"})
    elif vendor.kind is ProviderKind.DINGTALK:
        vendor.made.answers[vendor.paths[0]] = (200, {"accessToken": TOKEN, "corpId": "org-2"})
    else:
        said = {"code": 0, "data": {"union_id": "on-1", "tenant_key": "org-2"}}
        vendor.made.answers[vendor.paths[1]] = (200, said)
    with pytest.raises(VouchRefused) as caught:
        await vendor.provider().identify(vendor.code, FLOW, BACK)
    assert caught.value.why in ("organisation-other", "person-unknown")


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    "answer",
    [
        (200, {"errcode": 40029, "code": 20003, "errmsg": "invalid code"}),
        (200, {}),
        (200, {"errcode": False, "code": False, "access_token": TOKEN, "userid": "LiWei"}),
        (200, {"errcode": "0", "code": "0", "access_token": TOKEN, "userid": "LiWei"}),
        (200, b"<html>"),
        (200, []),
        (400, {"code": "invalidParameter"}),
        (302, {}),
    ],
)
async def test_an_answer_that_is_no_yes_lets_nobody_in(vendor, step, answer) -> None:
    vendor.made.answers[vendor.paths[step]] = answer
    with pytest.raises(VouchRefused):
        await vendor.provider().identify(vendor.code, FLOW, BACK)


@pytest.mark.parametrize("subject", [None, "", 7, ["x"], "a\nb", "x" * 300])
async def test_an_id_that_can_be_none_lets_nobody_in(vendor, subject) -> None:
    said = {
        ProviderKind.WECOM: {"errcode": 0, "userid": subject},
        ProviderKind.DINGTALK: {"unionId": subject},
        ProviderKind.FEISHU: {"code": 0, "data": {"union_id": subject, "tenant_key": "org-1"}},
    }
    vendor.made.answers[vendor.paths[1]] = (200, said[vendor.kind])
    with pytest.raises(VouchRefused, match="person-unknown"):
        await vendor.provider().identify(vendor.code, FLOW, BACK)


@pytest.mark.parametrize("token", [None, "", 7, "a b", "a\r\nx-evil: 1"])
async def test_a_token_that_can_be_none_is_sent_nowhere(vendor, token) -> None:
    said = {"errcode": 0, "code": 0, "access_token": token, "accessToken": token, "corpId": "org-1"}
    vendor.made.answers[vendor.paths[0]] = (200, said)
    with pytest.raises(VouchRefused, match="code-refused"):
        await vendor.provider().identify(vendor.code, FLOW, BACK)
    assert vendor.made.count(vendor.paths[1]) == 0


@pytest.mark.parametrize("step", [0, 1])
async def test_a_vendor_in_trouble_lets_nobody_in(vendor, step) -> None:
    vendor.made.answers[vendor.paths[step]] = (500, {})
    with pytest.raises(ProviderDown):
        await vendor.provider().identify(vendor.code, FLOW, BACK)


async def test_a_vendor_that_hangs_lets_nobody_in(vendor) -> None:
    vendor.made.answers[vendor.paths[0]] = hang(vendor.made)
    with pytest.raises(ProviderDown):
        await vendor.provider(0.5).identify(vendor.code, FLOW, BACK)


@pytest.mark.parametrize("told", [{}, {"error": "access_denied"}, {"code": "", "authCode": ""}])
async def test_an_answer_without_a_code_asks_nobody(vendor, told) -> None:
    with pytest.raises(VouchRefused, match="cancelled"):
        await vendor.provider().identify(told, FLOW, BACK)
    assert vendor.made.asked == []


async def test_none_of_them_ends_sessions(vendor) -> None:
    with pytest.raises(VouchRefused):
        await vendor.provider().ended("x.y.z")
