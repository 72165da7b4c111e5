"""Event classes about keeping the trail for years, the key that signs it, and auditors' questions to it."""

from audit.event_class import CLAUSE_AUDIT, EventClass, Weight

_R, _N, _W, _A = Weight.ROUTINE, Weight.NOTICE, Weight.WARNING, Weight.ALERT
_FIRST = "before it is done"
_SHOWN = "before it is shown"
_DONE = "once it is done"


def _class(tag: str, when: str, marks: str, english: str, chinese: str, weight: Weight = _N) -> EventClass:
    """marks: kind/operation/reason, parted by spaces."""
    told = tuple(one.replace("/", " ") for one in marks.split())
    return EventClass(tag, english, chinese, weight, CLAUSE_AUDIT, when, told)


TRAIL = (
    # five years
    _class("audit:segment:sealed", _DONE, "console/audit.seal/*", "Part of the trail sealed", "封存部分审计日志"),
    _class(
        "audit:segment:pruned",
        _FIRST,
        "console/audit.prune/*",
        "Sealed entries taken out of the database",
        "将已封存的记录移出数据库",
    ),
    _class(
        "audit:segment:dropped",
        _FIRST,
        "console/audit.drop/*",
        "Segment deleted: its retention is over",
        "删除保存期满的审计分段",
        _W,
    ),
    _class("audit:segment:restored", _DONE, "console/audit.restore/*", "Segment brought back", "取回审计分段"),
    _class("audit:hold:set", _FIRST, "console/audit.hold.set/*", "Legal hold set", "设置法律保全", _W),
    _class(
        "audit:hold:lifted",
        _FIRST,
        "console/audit.hold.lift/*",
        "Legal hold lifted, or asked to be",
        "解除（或申请解除）法律保全",
        _W,
    ),
    # the key and the checkpoints
    _class(
        "audit:key:made",
        _DONE,
        "keys/audit.key/audit-key-made",
        "Signing key of the trail made on the key server",
        "在密钥服务器上创建审计签名密钥",
        _W,
    ),
    _class(
        "audit:key:changed",
        _FIRST,
        "keys/audit.key/audit-key-changed",
        "Another key signs the trail from now on",
        "更换审计日志签名密钥",
        _W,
    ),
    _class(
        "audit:anchor:contradicts",
        "when it is found",
        "alarm/audit.anchor/anchor-contradicts",
        "Outside anchor holds what the trail does not lead to",
        "外部锚点与审计日志不一致",
        _A,
    ),
    _class(
        "audit:tiles:read",
        "with the first reading of an hour and address",
        "console/audit.tiles/tiles-read",
        "Signed log read over HTTP",
        "通过 HTTP 读取签名日志",
        _R,
    ),
    # questions
    _class(
        "audit:question:asked",
        _SHOWN,
        "console/console.audit/trail-asked console/audit.who/*",
        "Trail asked who saw what",
        "查询谁看过什么",
    ),
    _class(
        "audit:question:kept",
        _DONE,
        "console/console.audit/question-saved console/console.audit/question-changed"
        " console/console.audit/question-deleted",
        "Saved question to the trail kept, changed or deleted",
        "保存、修改或删除审计查询",
        _R,
    ),
    _class(
        "audit:question:used",
        _SHOWN,
        "console/console.audit/question-used",
        "Saved question to the trail used",
        "使用已保存的审计查询",
        _R,
    ),
    _class(
        "audit:question:packed",
        _FIRST,
        "console/console.audit/trail-pack-made console/console.audit/trail-pack-fetched",
        "Evidence pack of answers made or fetched",
        "制作或下载查询结果的证据包",
    ),
    _class(
        "audit:query:asked",
        _FIRST,
        "console/console.audit/query-asked console/audit.query/query-asked",
        "SQL asked of the trail",
        "用 SQL 查询审计日志",
    ),
    _class(
        "audit:query:answered",
        _SHOWN,
        "console/console.audit/query-answered console/audit.query/query-answered",
        "SQL of the trail answered",
        "SQL 查询已返回结果",
        _R,
    ),
    _class(
        "audit:query:without-answer",
        _DONE,
        "console/console.audit/query-refused console/audit.query/query-refused console/console.audit/query-failed"
        " console/audit.query/query-failed console/console.audit/query-cancelled console/audit.query/query-cancelled",
        "SQL of the trail refused, failed or stopped",
        "SQL 查询被拒绝、失败或停止",
    ),
    _class(
        "audit:query:exported",
        _FIRST,
        "console/console.audit/query-exported",
        "Result of SQL fetched as a file",
        "下载 SQL 查询结果",
    ),
)
