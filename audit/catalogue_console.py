"""Event classes about what administrators and auditors do: accounts, rights, settings, and reading the trail."""

from audit.event_class import CLAUSE_ACCESS, CLAUSE_AUDIT, CLAUSE_ENCRYPTION, CLAUSE_PRIVACY, EventClass, Weight

_R, _N, _W, _A = Weight.ROUTINE, Weight.NOTICE, Weight.WARNING, Weight.ALERT
_FIRST = "before it is done"
_SHOWN = "before it is shown"


def _page(tag: str, right: str, reasons: str, english: str, chinese: str, weight: Weight = _N) -> EventClass:
    """A page of the console. right: what the policy calls it; reasons: parted by spaces."""
    marks = tuple(f"console console.{right} {one}" for one in reasons.split())
    clause = CLAUSE_AUDIT if tag.startswith("audit:") else CLAUSE_ACCESS
    return EventClass(tag, english, chinese, weight, clause, _FIRST if weight is not _R else _SHOWN, marks)


def _command(tag: str, operations: str, english: str, chinese: str, weight: Weight = _N) -> EventClass:
    """A command at the machine, or the console doing the same. operations: parted by spaces."""
    marks = tuple(f"console {one} *" for one in operations.split())
    clause = CLAUSE_AUDIT if tag.startswith("audit:") else CLAUSE_ACCESS
    return EventClass(tag, english, chinese, weight, clause, _FIRST, marks)


def _both(tag: str, operation: str, reasons: str, english: str, chinese: str, weight: Weight = _N) -> EventClass:
    """As a command, and as a page of the accounts. operation: of the command, parted by spaces."""
    marks = (
        *(f"console {one} *" for one in operation.split()),
        *(f"console console.users {one}" for one in reasons.split()),
    )
    return EventClass(tag, english, chinese, weight, CLAUSE_ACCESS, _FIRST, marks)


CONSOLE = (
    EventClass(
        "console:page:refused",
        "Page of the console that the role does not allow",
        "角色无权打开控制台页面",
        _W,
        CLAUSE_ACCESS,
        "before the refusal is answered",
        ("console * console-refused",),
    ),
    EventClass(
        "console:step:refused",
        "Step at the console refused",
        "控制台操作被拒绝",
        _W,
        CLAUSE_ACCESS,
        "before the refusal is answered",
        ("console * !",),
    ),
    EventClass(
        "console:page:viewed",
        "Page of the console opened",
        "打开控制台页面",
        _R,
        CLAUSE_AUDIT,
        _SHOWN,
        ("console * page-viewed",),
    ),
    # accounts and rights
    _both("access:account:added", "user.add user.add_alone", "user-created", "Account added", "添加账号"),
    _both("access:account:changed", "", "user-changed", "Account changed", "修改账号"),
    _both("access:account:closed", "user.disable", "user-disabled", "Account closed", "停用账号"),
    _both("access:account:reopened", "user.enable", "user-enabled", "Account reopened", "重新启用账号"),
    _both("access:account:invited", "", "user-invited", "Invitation issued", "发出邀请"),
    _both(
        "access:account:networks-changed",
        "user.networks",
        "user-networks-changed",
        "Networks of an account changed",
        "修改账号允许的网络",
    ),
    _both(
        "access:account:linked-by-administrator",
        "user.link",
        "",
        "Identity elsewhere linked to an account",
        "为账号关联外部身份",
    ),
    _both(
        "access:account:unlinked-by-administrator",
        "user.unlink",
        "",
        "Identity elsewhere unlinked from an account",
        "为账号取消关联外部身份",
    ),
    _both(
        "access:role:changed",
        "user.roles user.roles_alone user.place user.place_alone",
        "",
        "Roles, departments or positions of an account set",
        "设置账号的角色、部门或职位",
        _W,
    ),
    _both("access:role:asked", "user.rights_asked", "rights-asked", "Rights asked for", "申请权限"),
    _both(
        "access:role:agreed",
        "user.rights_agreed",
        "rights-agreed",
        "Rights agreed to by a second person",
        "第二人同意授权",
    ),
    _both(
        "access:role:withdrawn",
        "user.rights_withdrawn",
        "rights-withdrawn",
        "Rights asked for withdrawn",
        "撤回权限申请",
    ),
    _both(
        "access:reset:started",
        "user.reset_started",
        "reset-started",
        "Reset of factors started",
        "开始重置登录因子",
        _W,
    ),
    _both("access:reset:withdrawn", "", "reset-withdrawn", "Reset of factors withdrawn", "撤回重置登录因子"),
    _both(
        "access:reset:done",
        "user.reset",
        "user-reset",
        "Password and second factor reset by two people",
        "两人共同重置密码和第二因子",
        _W,
    ),
    _both(
        "access:reset:alone",
        "user.reset_alone",
        "",
        "Password and second factor reset at the machine, by one person",
        "在本机由一人重置密码和第二因子",
        _A,
    ),
    _both(
        "access:factor:codes-given", "user.recovery_codes", "", "Recovery codes made at the machine", "在本机生成恢复码"
    ),
    _both(
        "crm:credential:set",
        "user.crm_login",
        "",
        "CRM login of a person set by an administrator",
        "管理员设置个人 CRM 登录信息",
    ),
    _both(
        "crm:credential:removed",
        "user.crm_login_forgotten",
        "",
        "CRM login of a person deleted by an administrator",
        "管理员删除个人 CRM 登录信息",
    ),
    _both(
        "access:device:approved-by-administrator",
        "",
        "device-approved",
        "Browser let in by an administrator",
        "管理员批准浏览器",
    ),
    _both(
        "access:device:shut-out-by-administrator",
        "",
        "device-shut-out",
        "Browser shut out by an administrator",
        "管理员停用浏览器",
    ),
    _page(
        "access:session:ended-by-administrator",
        "sessions",
        "session-ended-by-administrator",
        "Session ended by an administrator",
        "管理员终止会话",
    ),
    _command("access:program:added", "client.add", "Credential of a program issued", "签发程序凭据"),
    _command(
        "access:program:changed",
        "client.set",
        "Roles, networks, certificate or end of a program changed",
        "修改程序的角色、网络、证书或期限",
    ),
    _command("access:program:revoked", "client.revoke", "Credential of a program ended", "吊销程序凭据"),
    _command(
        "console:login:refused",
        "user.reset_refused user.rights_refused emergency.refused",
        "Step at the machine refused",
        "本机操作被拒绝",
        _W,
    ),
    _page("access:review:exported", "users", "reviews-exported", "Review of rights exported", "导出权限复核"),
    # settings and policy
    _page("policy:bundle:simulated", "policy", "policy-simulated", "Policy bundle simulated", "模拟策略"),
    _page("settings:learning:started", "settings", "learning-started", "Learning of the CRM begun", "开始学习 CRM"),
    _page("settings:learning:stopped", "settings", "learning-stopped", "Learning of the CRM stopped", "停止学习 CRM"),
    _page(
        "settings:profile:decided",
        "settings",
        "learning-decided",
        "Decisions about the learnt profile",
        "对学习到的配置作出决定",
    ),
    _page("settings:profile:accepted", "settings", "learning-accepted", "Learnt profile taken", "采用学习到的配置", _W),
    EventClass(
        "settings:file:changed",
        "Settings changed since the gateway last ran",
        "网关上次运行后设置有变更",
        _W,
        CLAUSE_ACCESS,
        "while a node starts, before it serves anybody",
        ("console settings.load settings-changed",),
    ),
    # reading the trail
    _page(
        "audit:trail:viewed",
        "live",
        "activity-viewed",
        "Trail viewed or searched at the console",
        "在控制台查看或搜索审计日志",
        _R,
    ),
    _page(
        "audit:entry:viewed",
        "live",
        "entry-viewed",
        "Entry of the trail viewed with its proof",
        "查看审计条目及其证明",
        _R,
    ),
    _page("audit:trail:verified", "health", "trail-verified", "Trail verified", "验证审计日志", _R),
    _page(
        "audit:trail:found-changed",
        "health",
        "trail-tampered",
        "Trail found changed when somebody verified it",
        "验证时发现审计日志被篡改",
        _A,
    ),
    _page("audit:reveals:viewed", "audit", "reveals-viewed", "Ledger of reveals viewed", "查看脱敏值查看台账", _R),
    _command("audit:trail:listed", "audit.list", "Trail listed or searched at the machine", "在本机列出或搜索审计日志"),
    _command("audit:trail:followed", "audit.tail", "Trail followed at the machine", "在本机实时查看审计日志"),
    _command("audit:entry:proved", "audit.prove", "Proof of an entry taken out", "导出审计条目证明"),
    _command("audit:trail:tiles-written", "audit.tiles", "Trail written as tiles", "将审计日志写成 tiles"),
    _command("audit:pack:made", "audit.pack", "Evidence pack made", "生成证据包"),
    # keys, at the console
    EventClass(
        "keys:rotation:steered",
        "Rotation of keys asked for, paused, resumed or cancelled",
        "要求、暂停、恢复或取消密钥轮换",
        _N,
        CLAUSE_ENCRYPTION,
        _FIRST,
        (
            *(f"console keys.rotate.{one} *" for one in ("ask", "resume", "pause", "cancel", "run")),
            *(f"console console.keys {one}" for one in ("rotation-paused", "rotation-resumed")),
        ),
    ),
    EventClass(
        "keys:rotation:begun",
        "Rotation of a key begun",
        "开始轮换密钥",
        _N,
        CLAUSE_ENCRYPTION,
        _FIRST,
        ("console keys.rotate.begin *",),
    ),
    EventClass(
        "keys:rotation:ended",
        "Rotation of a key ended",
        "密钥轮换结束",
        _N,
        CLAUSE_ENCRYPTION,
        "when it is done",
        ("console keys.rotate.end *",),
    ),
    EventClass(
        "keys:certificate:viewed",
        "Certificate of a destruction fetched",
        "获取密钥销毁证明",
        _R,
        CLAUSE_PRIVACY,
        _SHOWN,
        ("console console.keys key-certificate-viewed",),
    ),
)
"""Every event of the console and of commands."""
