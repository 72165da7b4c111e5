"""What `crmgate policy` and `crmgate review` say: the English sentences stand in the commands, the Chinese ones here.

`--language` before the name of the step (`crmgate policy --language zh list`) chooses, else the language of $LANG.
Logins, names of roles, fields and rows of a policy stay what they are in every language.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import Annotated

import typer

Language = Annotated[str, typer.Option("--language", envvar="LANG", help="zh or en; else the language of $LANG.")]

CHINESE: Mapping[str, str] = MappingProxyType(
    {
        # -- bundles ------------------------------------------------------------------------------------------------
        "draft": "草稿",
        "proposed": "已提交",
        "published": "生效中",
        "retired": "已被取代",
        "malformed": "格式有误",
        "drafted by {login} {at}": "{at} 由 {login} 起草",
        "proposed by {login} {at}": "{at} 由 {login} 提交",
        "published by {login} {at}": "{at} 由 {login} 发布",
        "says what bundle {number} said": "内容与策略包 {number} 相同",
        "No row differs.": "没有不同的行。",
        "Bundle {number} is a draft. Look at it with: crmgate policy diff {number}": (
            "策略包 {number} 已存为草稿。查看：crmgate policy diff {number}"
        ),
        "Then: crmgate policy check {number}; crmgate policy propose {number}": (
            "然后：crmgate policy check {number}；crmgate policy propose {number}"
        ),
        "Bundle {number} may come into force; its version is {version}.": (
            "策略包 {number} 可以生效，版本为 {version}。"
        ),
        "Bundle {number} is proposed. Somebody other than {login} publishes it:": (
            "策略包 {number} 已提交。须由 {login} 以外的人发布："
        ),
        "Bundle {number} (version {version}) is published.": "策略包 {number}（版本 {version}）已发布。",
        "Bundle {made} says what bundle {number} said and is proposed. Somebody else:": (
            "策略包 {made} 的内容与策略包 {number} 相同，已提交。须由他人执行："
        ),
        "{moment} is no day (2026-12-31) and no time with its zone (2026-12-31T18:00+08:00).": (
            "{moment} 既不是日期（2026-12-31），也不是带时区的时间（2026-12-31T18:00+08:00）。"
        ),
        "no role": "无角色",
        "yes": "是",
        "no": "否",
        "no row allows it": "没有允许它的行",
        "line {line}: {text}": "第 {line} 行：{text}",
        "by {through} (line {lines})": "经由 {through}（第 {lines} 行）",
        "replaying the last {days} days": "正在重放最近 {days} 天",
        "There is no bundle {number}.": "没有策略包 {number}。",
        "There is no login and no role {who}; roles: {names}": "没有名为 {who} 的账号或角色；现有角色：{names}",
        "There is no {asked} in the profile {profile} or the console.": "配置档 {profile} 与控制台中都没有 {asked}。",
        "{file} is not UTF-8.": "{file} 不是 UTF-8 编码。",
        "{file} cannot be read: {fault}.": "无法读取 {file}：{fault}。",
        "The policy cannot be used: {problems}": "策略无法使用：{problems}",
        "Not done: {why}.": "未执行：{why}。",
        # -- what a simulation tells ----------------------------------------------------------------------------------
        "{count} entries since {at}": "自 {at} 起共 {count} 条记录",
        "Not all of the period: more stands in the trail than was read or kept. Try --limit or fewer --days.": (
            "并非整个时段：审计记录多于所读取或保留的数量。请使用 --limit 或减少 --days。"
        ),
        "{count} entries could not be read. Look at the trail with: crmgate audit verify": (
            "有 {count} 条记录无法读取。请核查：crmgate audit verify"
        ),
        "left out: {gone} kinds of work by closed accounts, {unknown} about what the profile does not describe": (
            "未计入：已停用账号的 {gone} 类操作，配置档未描述的 {unknown} 类操作"
        ),
        "would lose": "将失去",
        "would gain": "将获得",
        "{people} and {more} more": "{people} 以及另外 {more} 人",
        "{people}; last {at}": "{people}；最近一次 {at}",
        "Nothing that was done would be different. What nobody did is not tried: look at `diff`, too.": (
            "已发生的操作都不会有变化。无人做过的操作未经检验，请同时查看 `diff`。"
        ),
        " of {scope} records": "（{scope} 记录）",
        " ({kind} in it)": "（其中的 {kind}）",
        # -- reviews -----------------------------------------------------------------------------------------------
        "Not all of the period was read: `unused` may be wrong. Try --limit.": (
            "未读取整个时段：“未使用”可能不准确。请使用 --limit。"
        ),
        "{number}  started by {login} {at}, open": "{number}  {at} 由 {login} 发起，进行中",
        "{number}  started by {login} {at}, closed by {closer} {closed}": (
            "{number}  {at} 由 {login} 发起，{closed} 由 {closer} 结束"
        ),
        "Round {number} is open. Look at it with: crmgate review show {number}": (
            "第 {number} 轮复核已开始。查看：crmgate review show {number}"
        ),
        "There is no round {number}.": "没有第 {number} 轮复核。",
        "kept {keep}, to be removed {remove} ({done} done), not decided {undecided}": (
            "保留 {keep} 项，待移除 {remove} 项（已完成 {done} 项），未决定 {undecided} 项"
        ),
        "Draft without the rows: crmgate policy diff {number}": "不含这些行的草稿：crmgate policy diff {number}",
        "Say --keep or --remove with numbers of items, and no item twice.": (
            "请用 --keep 或 --remove 指定条目编号，同一条目不得重复。"
        ),
        "{count} decisions kept.": "已保存 {count} 项决定。",
        "{count} roles taken; {left} removals are left.": "已收回 {count} 个角色；尚有 {left} 项待移除。",
        "Bundle {number} is a draft: crmgate policy diff {number}": (
            "策略包 {number} 为草稿：crmgate policy diff {number}"
        ),
        "Then: crmgate policy propose {number}; somebody else publishes it.": (
            "然后：crmgate policy propose {number}；须由他人发布。"
        ),
        "Round {number} is closed. Its report: crmgate review show {number} --csv FILE": (
            "第 {number} 轮复核已结束。报告：crmgate review show {number} --csv FILE"
        ),
        "reading the last {days} days": "正在读取最近 {days} 天",
        "{row}: not used in {days} days by any of the {holders} who have it": (
            "{row}：拥有它的 {holders} 人在 {days} 天内均未使用"
        ),
        "{login} {role}: since {since}, {last}": "{login} {role}：始于 {since}，{last}",
        "{at} or later": "{at} 或更晚",
        "last used {at}": "最近使用于 {at}",
        "not used in {days} days": "{days} 天内未使用",
        ", UNUSED": "，未使用",
        "keep by {login} {at}": "{at} 由 {login} 决定保留",
        "remove by {login} {at}": "{at} 由 {login} 决定移除",
        ", done": "，已完成",
        "{file} is there already.": "{file} 已存在。",
        "{file} cannot be written: {fault}.": "无法写入 {file}：{fault}。",
        "Written to {file}": "已写入 {file}",
        # -- who takes a step -----------------------------------------------------------------------------------------
        "Password": "密码",
        "Code of the authenticator app": "验证器应用中的验证码",
        "Too many attempts; wait {wait} s.": "尝试次数过多，请等待 {wait} 秒。",
        "This password has expired. Sign in with a browser and choose a new one.": (
            "该密码已过期。请用浏览器登录并设置新密码。"
        ),
        "The company directory, which checks this password, cannot be asked: crmgate check says why.": (
            "无法查询校验该密码的企业目录，原因见 crmgate check。"
        ),
        "Login, password or code is not right, or no authenticator app is set up.": (
            "账号、密码或验证码有误，或尚未设置验证器应用。"
        ),
    }
)

# Why a step was not done: id of the reason → Chinese; the English sentence is the fault's own.
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "policy-text": "文本过长或含有不允许的字符",
        "policy-state": "该策略包不在此步骤的起点，或期间另有策略包生效，请重新查看",
        "four-eyes": "任何人不得发布自己起草的策略包，须由他人发布",
        "review-open": "已有一轮复核在进行，请先结束它",
        "review-state": "该轮复核不存在、已结束，或此项已处理，请重新查看",
        "own-item": "任何人不得决定自己的角色",
        "not-allowed": "该账号没有执行此步骤的权限",
    }
)


_SPOKEN: ContextVar[str] = ContextVar("spoken", default="en")


def speak(context: typer.Context, language: Language = "en") -> None:
    """Choose the language of the step that follows, until it ends."""
    before = _SPOKEN.set("zh" if language.casefold().startswith("zh") else "en")
    context.call_on_close(partial(_SPOKEN.reset, before))


def chinese() -> bool:
    """Whether the command that runs speaks Chinese."""
    return _SPOKEN.get() == "zh"


def say(english: str, **values: object) -> str:
    """A sentence in the language of the command; raises KeyError for one without words."""
    return (CHINESE[english] if chinese() else english).format(**values)


def why(fault: Exception) -> str:
    """Why a step was not done; a fault without a reason id is one of a right that is missing."""
    return REASONS[getattr(fault, "reason", "not-allowed")] if chinese() else str(fault)
