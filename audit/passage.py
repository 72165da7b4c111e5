"""What passes between people and a CRM, as event classes: records and files, sign-ins, mail, calls and forms.

A passage has one entry when it is allowed (before a write is forwarded, before mail leaves), one when it is done or
has failed, or one when it is refused. What an operation of a CRM does, the entry names in `fields.detail` (the
vocabulary of policies.operation.Action, `account-read`, `account-change`); older ones tell by the
operation's id.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from audit.event_class import CLAUSE_ACCESS, CLAUSE_AUDIT, CLAUSE_PRIVACY, EventClass, Weight

ACCOUNT_READ, ACCOUNT_CHANGE = "account-read", "account-change"
"""In `fields.detail`: an operation about accounts, roles or teams of the CRM itself."""
SIGN_IN_FAILED = "crm-not-signed-in"
"""Reason of an outcome: the CRM answered a sign-in, and nobody is signed in."""

_KINDS = frozenset({"decision", "outcome", "refusal"})
_WAYS = {
    "egress.smtp": "egress:mail",
    "egress.http": "egress:call",
    "ingress.smtp": "ingress:mail",
}
_LEAD = "lead"
# What an operation does → source and subject, verb, words.
_ACTIONS: Mapping[str, tuple[str, str, str, str]] = {
    "read": ("crm:record", "read", "Reading a record of the CRM", "读取 CRM 记录"),
    "list": ("crm:record", "list", "Listing records of the CRM", "列出 CRM 记录"),
    "search": ("crm:record", "search", "Searching the CRM", "在 CRM 中搜索"),
    "create": ("crm:record", "create", "Making a record in the CRM", "在 CRM 中新建记录"),
    "update": ("crm:record", "update", "Changing a record of the CRM", "修改 CRM 记录"),
    "delete": ("crm:record", "delete", "Deleting a record of the CRM", "删除 CRM 记录"),
    "export": ("crm:data", "export", "Export from the CRM", "从 CRM 导出数据"),
    "import": ("crm:data", "import", "Import into the CRM", "向 CRM 导入数据"),
    "login": ("crm:session", "sign-in", "Sign-in at the CRM's own page", "在 CRM 自己的页面登录"),
    "login-page": ("crm:session", "ask", "The CRM's own sign-in page", "CRM 自己的登录页面"),
    "logout": ("crm:session", "sign-out", "Sign-out of the CRM", "退出 CRM"),
    "asset": ("crm:file", "fetch", "Fetching a file of the CRM's pages", "获取 CRM 页面文件"),
    "other": ("crm:page", "use", "Another page or call of the CRM", "使用 CRM 的其他页面或接口"),
    ACCOUNT_READ: ("crm:account", "read", "Looking at accounts or roles of the CRM", "查看 CRM 账号或角色"),
    ACCOUNT_CHANGE: ("crm:account", "change", "Change of accounts or permissions of the CRM", "变更 CRM 账号或权限"),
    "egress:mail": ("egress:mail", "send", "Mail from the CRM to somebody", "CRM 向外发送邮件"),
    "egress:call": ("egress:call", "send", "Call from the CRM to another system", "CRM 调用外部系统"),
    "ingress:mail": ("ingress:mail", "take", "Mail to the CRM", "CRM 接收邮件"),
    "ingress:form": ("ingress:form", "take", "Form filled in by a visitor", "访客提交的表单"),
}
_DONE, _ALLOWED, _FAILED, _REFUSED = "", "allowed", "failed", "refused"
_STATES: Mapping[str, tuple[Weight, str, str, str]] = {
    _DONE: (Weight.ROUTINE, "done", "完成", "before the first byte of the answer leaves"),
    _ALLOWED: (Weight.ROUTINE, "allowed", "已放行", "before it is forwarded"),
    _FAILED: (Weight.WARNING, "failed", "失败", "before the failure is answered"),
    _REFUSED: (Weight.WARNING, "refused", "被拒绝", "before the refusal is answered"),
}
_HEAVY = frozenset({"export", "import", "delete", ACCOUNT_CHANGE, "egress:call"})
_PRIVATE = frozenset({"egress:mail", "egress:call", "ingress:mail", "ingress:form", "export"})
_ACCESS = frozenset({"login", "login-page", "logout", ACCOUNT_READ, ACCOUNT_CHANGE})


def passage_tag(content: Mapping[str, Any]) -> str:
    """The tag of an entry about something that passes; "" for every other entry."""
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        return ""
    return _tag(_what(content), _state(content))


def passage_classes() -> Iterator[EventClass]:
    """A line for everything that passes, in every state."""
    for what, state in product(_ACTIONS, _STATES):
        _, _, english, chinese = _ACTIONS[what]
        weight, told, told_chinese, moment = _STATES[state]
        if weight is Weight.ROUTINE and what in _HEAVY:
            weight = Weight.NOTICE
        clause = CLAUSE_PRIVACY if what in _PRIVATE else CLAUSE_ACCESS if what in _ACCESS else CLAUSE_AUDIT
        yield EventClass(_tag(what, state), f"{english}: {told}", f"{chinese}：{told_chinese}", weight, clause, moment)


def _tag(what: str, state: str) -> str:
    subject, verb, _, _ = _ACTIONS[what]
    return f"{subject}:{verb}-{state}" if state else f"{subject}:{verb}"


def _state(content: Mapping[str, Any]) -> str:
    kind, status = content.get("kind"), content.get("status")
    failed = isinstance(status, int) and status >= 400
    if kind != "outcome":
        return _ALLOWED if kind == "decision" and not failed else _REFUSED
    return _FAILED if failed or content.get("reason") in ("outcome-unknown", SIGN_IN_FAILED) else _DONE


def _what(content: Mapping[str, Any]) -> str:
    operation = content.get("operation")
    name = operation if isinstance(operation, str) else ""
    if name in _WAYS:
        return _WAYS[name]
    if content.get("reason") == _LEAD:
        return "ingress:form"
    fields = content.get("fields")
    told = fields.get("detail") if isinstance(fields, Mapping) else None
    if told == "login" and content.get("method") == "GET":
        return "login-page"
    if isinstance(told, str) and told in _ACTIONS:
        return told
    # Entries of before the action was named: `contact.list`, `account.export_csv`.
    for word in reversed(name.replace("_", ".").split(".")):
        if word in _ACTIONS:
            return word
    return "other"
