"""How 企业微信 (WeCom), 钉钉 (DingTalk) and 飞书 (Feishu) sign somebody in, as data.

All three are OAuth 2.0 without an ID token: who it is comes from a call with the access token. Written from the
vendors' public documentation; `{name}` in a value is replaced.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from gateway.federation.config import ProviderKind


class Style(StrEnum):
    """How a call is made."""

    GET = "get"
    POST_JSON = "post-json"


@dataclass(frozen=True, slots=True)
class Call:
    """One call below the vendor's API address. given: query of a GET, body of a POST; headers: besides."""

    style: Style
    path: str
    given: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Shape:
    """A vendor. code: name of the code in the answer to the browser; ok: name of the field that is 0 where a call went
    well, "" where there is none. bearer_at, subject_at, organisation_at: where the token for the second call, the
    stable id and the organisation stand in the answers, dots between levels; organisation_in: "token", "person" or ""
    where the credential belongs to one organisation only.
    """

    authorize_url: str
    authorize: Mapping[str, str]
    code: str
    api_url: str
    token_call: Call
    bearer_at: str
    person_call: Call
    subject_at: str
    ok: str = ""
    organisation_at: str = ""
    organisation_in: str = ""


SHAPES: Mapping[ProviderKind, Shape] = MappingProxyType(
    {
        # developer.work.weixin.qq.com: 企业微信Web登录, 获取access_token, 获取用户登录身份. The secret belongs to one
        # company's application, and `userid` is told of that company's members only (guests get an `openid`).
        ProviderKind.WECOM: Shape(
            authorize_url="https://login.work.weixin.qq.com/wwlogin/sso/login",
            authorize={
                "login_type": "CorpApp",
                "appid": "{organisation}",
                "agentid": "{agent}",
                "redirect_uri": "{redirect_uri}",
                "state": "{state}",
            },
            code="code",
            api_url="https://qyapi.weixin.qq.com",
            token_call=Call(Style.GET, "/cgi-bin/gettoken", {"corpid": "{organisation}", "corpsecret": "{secret}"}),
            bearer_at="access_token",
            person_call=Call(Style.GET, "/cgi-bin/auth/getuserinfo", {"access_token": "{token}", "code": "{code}"}),
            subject_at="userid",
            ok="errcode",
        ),
        # open.dingtalk.com: 实现登录第三方网站, 获取用户token, 获取用户通讯录个人信息. Scope corpid makes the person
        # choose a company, which the token's answer names.
        ProviderKind.DINGTALK: Shape(
            authorize_url="https://login.dingtalk.com/oauth2/auth",
            authorize={
                "response_type": "code",
                "client_id": "{client_id}",
                "redirect_uri": "{redirect_uri}",
                "scope": "openid corpid",
                "state": "{state}",
                "prompt": "consent",
                "corpId": "{organisation}",
            },
            code="authCode",
            api_url="https://api.dingtalk.com",
            token_call=Call(
                Style.POST_JSON,
                "/v1.0/oauth2/userAccessToken",
                {
                    "clientId": "{client_id}",
                    "clientSecret": "{secret}",
                    "code": "{code}",
                    "grantType": "authorization_code",
                },
            ),
            bearer_at="accessToken",
            person_call=Call(Style.GET, "/v1.0/contact/users/me", headers={"x-acs-dingtalk-access-token": "{token}"}),
            subject_at="unionId",
            organisation_at="corpId",
            organisation_in="token",
        ),
        # open.feishu.cn: 获取授权码, 获取 user_access_token (v2), 获取用户信息. `union_id` is the person for all
        # applications of one developer; `tenant_key` is the company.
        ProviderKind.FEISHU: Shape(
            authorize_url="https://accounts.feishu.cn/open-apis/authen/v1/authorize",
            authorize={
                "response_type": "code",
                "client_id": "{client_id}",
                "redirect_uri": "{redirect_uri}",
                "state": "{state}",
                "code_challenge": "{challenge}",
                "code_challenge_method": "S256",
            },
            code="code",
            api_url="https://open.feishu.cn",
            token_call=Call(
                Style.POST_JSON,
                "/open-apis/authen/v2/oauth/token",
                {
                    "grant_type": "authorization_code",
                    "client_id": "{client_id}",
                    "client_secret": "{secret}",
                    "code": "{code}",
                    "redirect_uri": "{redirect_uri}",
                    "code_verifier": "{verifier}",
                },
            ),
            bearer_at="access_token",
            person_call=Call(Style.GET, "/open-apis/authen/v1/user_info", headers={"authorization": "Bearer {token}"}),
            subject_at="data.union_id",
            ok="code",
            organisation_at="data.tenant_key",
            organisation_in="person",
        ),
    }
)
