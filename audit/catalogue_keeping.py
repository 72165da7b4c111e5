"""Event classes about policy, reviews, keys, protecting what a CRM holds, and the trail itself."""

from audit.event_class import (
    CLAUSE_ACCESS,
    CLAUSE_AUDIT,
    CLAUSE_ENCRYPTION,
    CLAUSE_PRIVACY,
    EventClass,
    Weight,
)

_R, _N, _W, _A = Weight.ROUTINE, Weight.NOTICE, Weight.WARNING, Weight.ALERT
_FIRST = "before it is done"


def _policy(tag: str, marks: str, english: str, chinese: str, weight: Weight = _N) -> EventClass:
    """marks: operation/reason, parted by spaces."""
    told = tuple("policy policy." + one.replace("/", " ") for one in marks.split())
    return EventClass(tag, english, chinese, weight, CLAUSE_ACCESS, _FIRST, told)


def _review(tag: str, marks: str, english: str, chinese: str, weight: Weight = _N) -> EventClass:
    told = tuple("review review." + one.replace("/", " ") for one in marks.split())
    return EventClass(tag, english, chinese, weight, CLAUSE_ACCESS, _FIRST, told)


def _keys(tag: str, marks: str, english: str, chinese: str, weight: Weight = _N) -> EventClass:
    told = tuple("keys keys." + one.replace("/", " ") for one in marks.split())
    clause = CLAUSE_PRIVACY if tag.startswith("privacy:") else CLAUSE_ENCRYPTION
    return EventClass(tag, english, chinese, weight, clause, _FIRST, told)


def _protect(tag: str, operations: str, english: str, chinese: str, weight: Weight = _R) -> EventClass:
    """Work of the gateway in the CRM with the service credential."""
    marks = tuple(f"protect {one} *" for one in operations.split())
    return EventClass(tag, english, chinese, weight, CLAUSE_ENCRYPTION, _FIRST, marks)


KEEPING = (
    _policy(
        "policy:bundle:installed", "install/published", "Policy of the installation put into force", "安装策略生效"
    ),
    _policy("policy:bundle:drafted", "draft/drafted", "Policy bundle drafted", "起草策略"),
    _policy("policy:bundle:proposed", "propose/proposed", "Policy bundle proposed", "提交策略"),
    _policy(
        "policy:bundle:published",
        "publish/published",
        "Policy bundle put into force, with its difference",
        "发布策略（含差异）",
        _W,
    ),
    _policy(
        "policy:bundle:rolled-back", "rollback/proposed", "Earlier policy bundle proposed anew", "重新提交早期策略", _W
    ),
    EventClass(
        "policy:bundle:refused",
        "Step on a policy bundle refused",
        "策略操作被拒绝",
        _W,
        CLAUSE_ACCESS,
        _FIRST,
        tuple(f"policy * {one}" for one in ("refused", "four-eyes", "policy-state", "policy-invalid")),
    ),
    _review("access:review:started", "start/started", "Review of rights started", "开始权限复核"),
    _review("access:review:decided", "decide/keep decide/remove", "Item of a review decided", "复核项已决定"),
    _review("access:review:closed", "close/closed", "Review of rights closed", "权限复核结束"),
    _review("access:role:removed", "remove/role-removed", "Role taken away after a review", "复核后收回角色", _W),
    _review(
        "access:role:kept",
        "remove/role-kept",
        "Role kept: the last of its kind, or one's own",
        "保留角色：最后一个或本人",
    ),
    EventClass(
        "access:review:refused",
        "Step of a review refused",
        "复核操作被拒绝",
        _W,
        CLAUSE_ACCESS,
        _FIRST,
        tuple(
            f"review * {one}"
            for one in (
                "refused",
                "own-item",
                "login-invalid",
                "changed-meanwhile",
                "placement-invalid",
                "language-unknown",
                "role-unknown",
                "name-invalid",
                "crm-user-invalid",
                "duties-joined",
                "two-people",
            )
        ),
    ),
    _keys("keys:destruction:asked", "destroy/requested", "Destruction of keys asked for", "申请销毁密钥", _W),
    _keys("keys:destruction:approved", "destroy/approved", "Destruction of keys approved", "批准销毁密钥", _W),
    _keys("keys:destruction:cancelled", "destroy/cancelled", "Destruction of keys cancelled", "取消销毁密钥"),
    _keys("keys:destruction:begun", "destroy/executing", "Destruction of keys begun", "开始销毁密钥", _A),
    _keys("keys:destruction:done", "destroy/destroyed", "Keys destroyed", "密钥已销毁", _A),
    _keys("keys:destruction:failed", "destroy/failed", "Destruction of keys failed", "销毁密钥失败", _A),
    _keys(
        "keys:destruction:refused", "destroy/refused", "Step of a destruction of keys refused", "销毁密钥操作被拒绝", _W
    ),
    _keys("privacy:person:erasure-asked", "person/requested", "Erasure of a person asked for", "申请删除个人数据", _W),
    _keys("privacy:person:erased", "person/destroyed", "Keys of a person destroyed", "个人密钥已销毁", _W),
    _keys("privacy:person:erasure-failed", "person/failed", "Erasure of a person failed", "删除个人数据失败", _A),
    _keys("privacy:person:erasure-refused", "person/refused", "Erasure of a person refused", "删除个人数据被拒绝", _W),
    _keys("privacy:person:certified", "person/certified", "Certificate of an erasure made", "生成删除证明"),
    _keys("privacy:epoch:turning", "person/turning", "Next epoch of person keys begun", "开始切换个人密钥周期"),
    _keys("privacy:epoch:turned", "person/turned", "Next epoch of person keys in force", "个人密钥周期已切换"),
    _keys(
        "privacy:person:unnamed",
        "person/unnamed",
        "Keys that no record names any more destroyed",
        "销毁已无记录对应的密钥",
    ),
    _protect(
        "protect:credential:stored",
        "protect.credential",
        "Service credential of the CRM stored",
        "保存 CRM 服务凭据",
        _N,
    ),
    _protect(
        "protect:session:started",
        "protect.sign_in arrivals.sign_in",
        "Gateway signed in to the CRM with the service credential",
        "网关用服务凭据登录 CRM",
    ),
    _protect("protect:record:listed", "protect.list", "Gateway listed records of the CRM", "网关列出 CRM 记录"),
    _protect(
        "protect:record:read", "protect.read arrivals.read", "Gateway read records of the CRM", "网关读取 CRM 记录"
    ),
    _protect(
        "protect:record:written",
        "protect.write protect.put_back protect.undo",
        "Gateway wrote a record of the CRM",
        "网关写入 CRM 记录",
        _N,
    ),
    _protect(
        "protect:field:probed",
        "protect.probe",
        "Gateway tried on a scratch record how the CRM keeps values",
        "网关用临时记录试验 CRM 存储",
        _N,
    ),
    _protect(
        "protect:part:proved",
        "protect.proved",
        "Part of the CRM found to hold nothing in clear",
        "确认 CRM 某部分无明文",
        _N,
    ),
    _protect(
        "protect:part:unproved",
        "protect.unproved",
        "Part of the CRM may hold clear values again",
        "CRM 某部分可能再有明文",
        _W,
    ),
    EventClass(
        "audit:trail:tampered",
        "Trail found changed by the watch",
        "巡检发现审计日志被篡改",
        _A,
        CLAUSE_AUDIT,
        "when it is found",
        ("alarm audit.watch trail-tampered",),
    ),
    EventClass(
        "database:server:restarted",
        "Embedded database ended by itself and was started again",
        "内置数据库意外终止，已重新启动",
        _A,
        CLAUSE_AUDIT,
        "as soon as the trail can be written again",
        ("alarm database.restart database-restarted",),
    ),
    EventClass(
        "audit:siem:gap",
        "Entries missing when the trail was forwarded",
        "转发时发现审计条目缺失",
        _A,
        CLAUSE_AUDIT,
        "to the collector only, in place of what is missing",
        ("alarm siem-gap *",),
    ),
    EventClass(
        "audit:siem:altered",
        "Entry found changed when the trail was forwarded",
        "转发时发现审计条目被改动",
        _A,
        CLAUSE_AUDIT,
        "to the collector only, in place of what was changed",
        ("alarm siem-altered *",),
    ),
)
"""Every event of policy, reviews, keys, protecting and the trail."""
