"""Event classes about who somebody is: sign-in, factors, devices, sessions, reveals, and sign-in to the CRM."""

from audit.event_class import CLAUSE_ACCESS, CLAUSE_PRIVACY, EventClass, Weight

_R, _N, _W, _A = Weight.ROUTINE, Weight.NOTICE, Weight.WARNING, Weight.ALERT
_ANSWER = "before the answer leaves"
_FIRST = "before it is done"


def _signing_in(tag: str, reasons: str, english: str, chinese: str, weight: Weight = _R) -> EventClass:
    """At the sign-in pages. reasons: parted by spaces."""
    marks = tuple(f"sign-in access.sign_in {one}" for one in reasons.split())
    return EventClass(tag, english, chinese, weight, CLAUSE_ACCESS, _ANSWER, marks)


def _account(tag: str, reasons: str, english: str, chinese: str, weight: Weight = _N) -> EventClass:
    """On somebody's own account, or while it is set up."""
    marks = [f"sign-in access.{where} {one}" for one in reasons.split() for where in ("account", "set_up")]
    return EventClass(tag, english, chinese, weight, CLAUSE_ACCESS, _FIRST, tuple(marks))


def _identity(tag: str, marks: str, english: str, chinese: str, weight: Weight = _R) -> EventClass:
    """Towards the CRM, in somebody's name. marks: operation/reason, parted by spaces."""
    told = tuple("identity identity." + one.replace("/", " ") for one in marks.split())
    return EventClass(tag, english, chinese, weight, CLAUSE_ACCESS, _ANSWER, told)


def _reveal(tag: str, reasons: str, english: str, chinese: str, weight: Weight = _N) -> EventClass:
    """A masked value, shown for a reason."""
    marks = tuple(f"reveal access.reveal {one}" for one in reasons.split())
    return EventClass(tag, english, chinese, weight, CLAUSE_PRIVACY, "before the value is shown", marks)


def _emergency(step: str, english: str, chinese: str) -> EventClass:
    marks = (f"alarm access.emergency access:break-glass:{step}",)
    return EventClass(f"access:break-glass:{step}", english, chinese, _A, CLAUSE_ACCESS, _FIRST, marks)


ACCESS = (
    _signing_in("access:session:started", "signed-in", "Signed in", "登录成功"),
    _signing_in("access:session:ended", "signed-out", "Signed out", "退出登录"),
    _signing_in(
        "access:session:ended-elsewhere",
        "elsewhere-ended",
        "Session ended by the identity provider",
        "会话被身份提供方终止",
        _N,
    ),
    _signing_in(
        "access:sign-in:half-open",
        "password-accepted elsewhere-accepted",
        "First factor accepted, second asked for",
        "第一因子通过，等待第二因子",
    ),
    _signing_in("access:sign-in:refused", "!", "Sign-in refused", "登录被拒绝", _W),
    _signing_in(
        "access:sign-in:password-wrong",
        "password-wrong",
        "Sign-in with a wrong login or password",
        "登录名或密码错误",
        _W,
    ),
    _signing_in(
        "access:sign-in:factor-wrong",
        "code-wrong code-replayed recovery-code-wrong passkey-wrong",
        "Sign-in with a wrong second factor",
        "第二因子错误",
        _W,
    ),
    _signing_in(
        "access:sign-in:locked", "locked", "Sign-in paused after too many attempts", "尝试次数过多，登录被暂停", _W
    ),
    _signing_in(
        "access:sign-in:passkey-copied",
        "passkey-counter-back",
        "Passkey that may have been copied",
        "通行密钥可能被复制",
        _A,
    ),
    _signing_in(
        "access:sign-in:unavailable",
        "directory-unavailable elsewhere-down",
        "Sign-in while the directory or provider was away",
        "目录或身份提供方不可用",
        _W,
    ),
    _signing_in(
        "access:factor:recovery-code-used", "recovery-code-used", "Signed in with a recovery code", "使用恢复码登录", _N
    ),
    _signing_in("access:password:renewed", "password-changed", "Expired password replaced", "更换已过期密码", _N),
    _account("access:account:set-up", "invitation-used", "Account set up by invitation", "通过邀请完成账号设置"),
    _account("access:account:refused", "!", "Step on one's own account refused", "本人账号操作被拒绝", _W),
    _account("access:account:language-changed", "language-changed", "Own language changed", "修改本人语言", _R),
    _account("access:account:linked", "elsewhere-linked", "Own identity elsewhere linked", "关联本人外部身份"),
    _account(
        "access:account:unlinked", "elsewhere-unlinked", "Own identity elsewhere unlinked", "取消关联本人外部身份"
    ),
    _account("access:password:changed", "password-changed", "Own password changed", "修改本人密码"),
    _account("access:session:others-ended", "other-sessions-ended", "Own other sessions ended", "终止本人其他会话"),
    _account("access:session:locked", "session-locked-by-owner", "Own session locked", "锁定本人会话", _R),
    _account("access:session:unlocked", "session-unlocked", "Own session unlocked", "解锁本人会话", _R),
    _account("access:factor:proved", "factor-proved recovery-code-used", "Factor proved anew", "重新验证因子", _R),
    _account("access:factor:codes-made", "recovery-codes-made", "Own recovery codes made anew", "重新生成本人恢复码"),
    _account("access:factor:passkey-added", "passkey-added", "Passkey added", "添加通行密钥"),
    _account("access:factor:passkey-removed", "passkey-removed", "Passkey removed", "移除通行密钥"),
    _account("access:device:found", "device-new", "New browser noted", "发现新浏览器"),
    _account("access:device:waits", "device-waits", "New browser waits to be let in", "新浏览器等待批准"),
    _account("access:device:bound", "device-bound", "Session bound to a browser", "会话绑定到浏览器", _R),
    _account("access:device:approved", "device-approved", "Own browser let in", "批准本人浏览器"),
    _account("access:device:shut-out", "device-shut-out", "Own browser shut out", "停用本人浏览器"),
    EventClass(
        "access:entry:refused",
        "Open session from a place, at an hour or in a browser that may not enter",
        "会话的来源网络、时间或浏览器不被允许",
        _W,
        CLAUSE_ACCESS,
        "before the refusal is answered",
        ("sign-in access.entry !", "sign-in access.entry *"),
    ),
    EventClass(
        "access:refusals:counted",
        "Refusals of nobody known, counted by address and reason each minute",
        "按地址和原因每分钟汇总的未知来源拒绝",
        _W,
        CLAUSE_ACCESS,
        "a minute after the first of them",
        ("refusal-count * *",),
    ),
    _identity(
        "crm:session:carried-begun",
        "sign_in/crm-signing-in",
        "Sign-in to the CRM in somebody's name begun",
        "开始代为登录 CRM",
    ),
    _identity(
        "crm:session:carried-started",
        "sign_in/crm-signed-in oidc/oidc-signed-in",
        "Signed in to the CRM in somebody's name",
        "已代为登录 CRM",
    ),
    _identity(
        "crm:session:carried-refused",
        "sign_in/! oidc/!",
        "Sign-in to the CRM in somebody's name failed",
        "代为登录 CRM 失败",
        _W,
    ),
    _identity(
        "crm:session:carried-ended",
        "sign_out/crm-signed-out",
        "Signed out of the CRM in somebody's name",
        "已代为退出 CRM",
    ),
    _identity(
        "crm:session:carried-kept",
        "sign_out/crm-sign-out-failed",
        "CRM did not take the sign-out",
        "CRM 未接受退出",
        _W,
    ),
    _identity(
        "crm:session:code-given", "oidc/oidc-code-given", "OpenID code given to the CRM", "已向 CRM 发放 OpenID 授权码"
    ),
    _identity(
        "crm:credential:stored",
        "credential/crm-login-stored",
        "CRM login of a person stored",
        "保存个人 CRM 登录信息",
        _N,
    ),
    _identity(
        "crm:credential:forgotten",
        "credential/crm-login-forgotten",
        "CRM login of a person deleted",
        "删除个人 CRM 登录信息",
        _N,
    ),
    _reveal("privacy:value:reveal-asked", "reveal-asked", "Reveal of a masked value asked for", "申请查看脱敏值"),
    _reveal("privacy:value:revealed", "reveal-shown", "Masked value revealed", "已查看脱敏值"),
    _reveal("privacy:value:reveal-refused", "!", "Reveal of a masked value refused", "查看脱敏值被拒绝", _W),
    EventClass(
        "privacy:value:reveal-budget",
        "Budget of reveals used up",
        "查看脱敏值额度用尽",
        _A,
        CLAUSE_PRIVACY,
        "before the last value is shown",
        ("alarm access.reveal reveal-budget",),
    ),
    EventClass(
        "privacy:value:guessed",
        "Told by the CRM that a hidden value exists",
        "CRM 的答复透露隐藏值已存在",
        _N,
        CLAUSE_PRIVACY,
        _ANSWER,
        ("guess * uniqueness-told",),
    ),
    EventClass(
        "privacy:value:search-budget",
        "Budget of searches for masked values used up",
        "搜索脱敏值额度用尽",
        _A,
        CLAUSE_PRIVACY,
        "within seconds",
        ("alarm * search-budget",),
    ),
    EventClass(
        "privacy:value:guess-budget",
        "Budget of answers that a value is taken used up",
        "值已存在类答复额度用尽",
        _A,
        CLAUSE_PRIVACY,
        _ANSWER,
        ("alarm * uniqueness-budget",),
    ),
    _emergency("asked", "EMERGENCY: role asked for", "紧急：申请紧急角色"),
    _emergency("approved", "EMERGENCY: agreed to by a second person", "紧急：第二人已同意"),
    _emergency("opened", "EMERGENCY: role opened", "紧急：紧急角色已生效"),
    _emergency("ended", "EMERGENCY: role ended before its time", "紧急：紧急角色提前终止"),
    _emergency("over", "EMERGENCY: role over", "紧急：紧急角色到期"),
    _emergency("refused", "EMERGENCY: own agreement refused", "紧急：不得自行同意"),
)
"""Every event about access and about reveals."""
