"""The words of the summary of an evidence pack, in English and Chinese."""

from collections.abc import Mapping
from types import MappingProxyType

LANGUAGES = ("en", "zh")

_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "title": ("Evidence pack of the audit trail: summary", "审计日志证据包摘要"),
        "lead": (
            "This page is for reading. What counts are the entries in events.jsonl and the program verify.py that "
            "proves them; both are in the same zip file.",
            "本摘要仅供阅读。作为证据的是同一压缩包内的记录原文 events.jsonl，以及用于验证的程序 verify.py。",
        ),
        "about": ("What it is about", "内容概况"),
        "log": ("Log", "日志"),
        "made": ("Made", "生成时间"),
        "made-by": ("Made by", "生成人"),
        "asked": ("Asked for", "筛选条件"),
        "everything": ("every entry", "全部记录"),
        "entries": ("Entries", "记录数"),
        "entries-value": ("{entries}, numbers {first} to {last}", "{entries} 条，编号 {first} 至 {last}"),
        "time": ("Time of the entries", "记录时间"),
        "time-value": ("{first} to {last} (UTC)", "{first} 至 {last}（UTC）"),
        "waiting": ("Not in it yet", "尚未包含"),
        "waiting-value": (
            "{count} newer matching entries that no checkpoint had signed yet",
            "{count} 条符合条件的较新记录，当时尚未被检查点签名",
        ),
        "day": ("By time", "按时间"),
        "person": ("By person", "按人员"),
        "operation": ("By operation", "按操作"),
        "form": ("Fields, by the form that went out (written: were saved)", "字段，按输出形式（written 为写入）"),
        "outcome": ("By outcome", "按结果"),
        "reason": ("By reason", "按原因"),
        "answered": ("answered", "已放行"),
        "refused": ("refused or failed", "已拒绝或失败"),
        "none": ("no status", "无状态码"),
        "others": ("others", "其他"),
        "nobody": ("nobody known", "身份未知"),
        "nothing": ("none", "无"),
        "policies": ("Policies in force", "当时生效的策略"),
        "policies-lead": (
            "The entries name these versions; their rules are in policies/.",
            "记录中引用了以下版本，其规则见 policies/ 目录。",
        ),
        "no-policies": ("The entries name no version of a policy.", "记录未引用任何策略版本。"),
        "version": ("Version", "版本"),
        "since": ("In force since", "生效时间"),
        "from-start": ("the beginning", "最初"),
        "signature": ("Signature", "签名"),
        "size": ("Checkpoint covers", "检查点覆盖"),
        "size-value": ("{size} entries", "{size} 条记录"),
        "root": ("Root hash", "根哈希"),
        "key": ("Public key", "公钥"),
        "fingerprint": ("SHA-256 of the key", "公钥 SHA-256 指纹"),
        "earlier": ("Grown from", "由其增长而来"),
        "earlier-value": (
            "the checkpoint at {size} entries, signed before the first entry of this pack",
            "{size} 条记录时的检查点，签名早于本包第一条记录",
        ),
        "anchors": ("Kept outside the database", "数据库之外的留存"),
        "anchors-lead": (
            "As the files of this machine said when the pack was made. A mailbox and an S3 bucket have to be looked at "
            "where they are.",
            "以生成时本机文件为准。邮箱和 S3 存储桶中的留存须在其所在处查看。",
        ),
        "no-anchors": (
            "Nothing is kept outside the database: only the signature stands against its owner.",
            "数据库之外没有留存：能约束数据库所有者的只有签名。",
        ),
        "place": ("Place", "位置"),
        "state": ("State", "状态"),
        "covers-all": ("{size} entries: covers all of this pack", "{size} 条：覆盖本包全部记录"),
        "covers-part": ("{size} entries: does not cover entry {last} yet", "{size} 条：尚未覆盖编号 {last}"),
        "folder": ("folder", "文件夹"),
        "time-stamp": ("time-stamp (RFC 3161)", "时间戳（RFC 3161）"),
        "proved": ("What is proved", "可以证明的内容"),
        "proved-each": (
            "Each entry in the pack stands in the signed log at its number, unchanged to the byte.",
            "包内每条记录都以其编号存在于已签名的日志中，一个字节也未改动。",
        ),
        "proved-growth": (
            "The log grew from the earlier checkpoint: nothing before it was changed or removed.",
            "日志由更早的检查点增长而来：此前的记录未被改动或删除。",
        ),
        "proved-consecutive": (
            "The entries are consecutive: none between the first and the last was left out.",
            "记录编号连续：首尾之间没有遗漏。",
        ),
        "proved-range": (
            "Of {count} entries in the range {first} to {last}, {shown} are shown and {withheld} withheld; the hashes "
            "of all {count} are proved, so none of the range can be hidden, added or exchanged.",
            "编号 {first} 至 {last} 共 {count} 条记录，其中出示 {shown} 条，未出示 {withheld} 条；全部 {count} "
            "条的哈希均已证明，区间内的记录无法隐瞒、增添或替换。",
        ),
        "not-proved": ("What is not proved", "不能证明的内容"),
        "not-withheld": (
            "What the withheld entries say. Ask for any of them by number: what you are given has to fit its hash in "
            "range.bin.",
            "未出示的记录写了什么。可按编号索取任意一条，其哈希必须与 range.bin 中的一致。",
        ),
        "not-range": (
            "That the numbers of the range are all entries of the time asked for: times stand inside the entries. Ask "
            "for the entries beside the range.",
            "区间编号是否包含所要求时间内的全部记录：时间写在记录之内。可索取区间前后相邻的记录核对。",
        ),
        "not-complete": (
            "That nothing else in the log matches what was asked for. A pack made with --complete shows how many "
            "entries were withheld.",
            "日志中是否还有其他符合条件的记录。以 --complete 生成的证据包会列明未出示的条数。",
        ),
        "not-key": (
            "With the key inside the pack alone, anything from before it was made: use the key you were given earlier.",
            "若只用包内公钥，则无法证明生成之前的情况：请使用事先交给您的公钥。",
        ),
        "not-truth": (
            "That something was recorded at all, and that it was true when it was written.",
            "事情当时是否被记录，以及写入时是否属实。",
        ),
        "not-tables": (
            "The Parquet tables and this page: verify.py checks their SHA-256 only. crmgate compared them with the "
            "entries when it made the pack.",
            "Parquet 表和本摘要：verify.py 只核对其 SHA-256，生成时已由 crmgate 与记录核对。",
        ),
        "steps": ("How to verify", "验证步骤"),
        "step-1": (
            "On a machine of your own, install Python 3.9 or newer and: pip install cryptography",
            "在您自己的电脑上安装 Python 3.9 以上版本，并执行：pip install cryptography",
        ),
        "step-2": (
            "Take verify.py out of the zip file, or better from an earlier pack.",
            "从压缩包中取出 verify.py，最好取自更早的证据包。",
        ),
        "step-3": ("Run, with the key you were given before:", "使用事先交给您的公钥执行："),
        "step-4": (
            "It prints PROVED and what that means, or NOT PROVED and where. It needs no network.",
            "程序输出 PROVED 及其含义，或 NOT PROVED 及出错位置，无需联网。",
        ),
        "step-5": (
            "Compare the fingerprint above with the one on record at the time you were given the key.",
            "将上文指纹与您当初收到公钥时登记的指纹核对。",
        ),
        "page": ("page {page}", "第 {page} 页"),
    }
)  # fmt: skip


def word(name: str, language: str, **values: object) -> str:
    """The text in one of `LANGUAGES`."""
    return _WORDS[name][LANGUAGES.index(language)].format(**values)
