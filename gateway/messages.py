"""What people read when an exchange ends here: title, what happened, what to do; for every reason, in two languages.

Keyed by reason id, so that a new reason without words fails a test. No sentence ever holds a value; names of fields
are listed beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Message:
    """title: a few words; text: what happened; action: what to do now."""

    title: str
    text: str
    action: str


@dataclass(frozen=True, slots=True)
class Frame:
    """The words around every message of one language."""

    html_lang: str
    quote: str
    fields: str
    nothing_kept: str
    home: str
    sign_in: str
    account: str
    unlock: str
    prove: str


FRAMES: Mapping[str, Frame] = MappingProxyType(
    {
        "en": Frame(
            "en",
            "If you ask for help, quote this number",
            "Fields concerned",
            "Nothing was changed and nothing you sent was kept.",
            "To the start page",
            "Sign in",
            "Your account and signing out",
            "Unlock",
            "Show that it is you",
        ),
        "zh": Frame(
            "zh-Hans",
            "如需帮助，请提供此编号",
            "涉及的字段",
            "未作任何更改，也未保留您提交的内容。",
            "返回首页",
            "登录",
            "您的账户与退出登录",
            "解锁",
            "验证身份",
        ),
    }
)

# Reasons after which the CRM may have acted: the page must not promise that nothing changed.
UNCERTAIN = frozenset(
    {"crm-slow", "crm-cut-off", "crm-answer-unreadable", "answer-too-large", "answer-not-renderable", "crm-down"}
    | {"audit-unavailable", "keys-unavailable", "store-unavailable", "internal-fault", "decompression-limit"}
)

_ADMIN_EN = "Please tell your administrator."
_ADMIN_ZH = "请联系管理员。"
_AGAIN_EN = "Please try again in a minute. If it stays this way, tell your administrator."
_AGAIN_ZH = "请稍后重试；如果问题持续，请联系管理员。"
_PROGRAM_EN = "Go back and try again. If a program sent this, its maker has to correct it."
_PROGRAM_ZH = "请返回重试。如果该请求由程序发出，需由其开发者修正。"
_CHECK_EN = "Look at the record before you save again: the CRM may have carried the change out."
_CHECK_ZH = "再次保存前请先查看该记录：CRM 可能已经执行了更改。"

_TEXTS: dict[str, tuple[tuple[str, str, str], tuple[str, str, str]]] = {
    "malformed-request": (
        ("This request cannot be read", "Its address or headers are not written as the web's rules ask.", _PROGRAM_EN),
        ("无法读取该请求", "请求的地址或标头不符合网络协议规范。", _PROGRAM_ZH),
    ),
    "ambiguous-framing": (
        (
            "This request has two meanings",
            "Two servers could read it differently, so it was stopped before the CRM.",
            _PROGRAM_EN,
        ),
        ("该请求含义不明", "不同服务器可能对它有不同理解，因此在到达 CRM 之前已被拦截。", _PROGRAM_ZH),
    ),
    "ambiguous-path": (
        (
            "This address has two meanings",
            "It holds hidden path steps or escapes that servers read differently.",
            "Open the page from the CRM's menu instead of this link.",
        ),
        (
            "该地址含义不明",
            "地址中含有隐藏的路径或转义字符，不同服务器会有不同理解。",
            "请从 CRM 菜单打开该页面，不要使用此链接。",
        ),
    ),
    "host-unknown": (
        (
            "Nothing is served under this name",
            "The address you typed does not belong to a CRM here.",
            "Check the address.",
        ),
        ("此域名下没有服务", "您输入的地址不属于此处的任何 CRM。", "请检查地址是否正确。"),
    ),
    "upgrade-refused": (
        (
            "Live connections are not allowed",
            "The page asked for a WebSocket connection, which is switched off.",
            _ADMIN_EN,
        ),
        ("不允许实时连接", "该页面请求建立 WebSocket 连接，此功能已关闭。", _ADMIN_ZH),
    ),
    "method-refused": (
        ("This kind of request is not allowed", "Its method is not one that is passed on to the CRM.", _PROGRAM_EN),
        ("不允许此类请求", "该请求方法不会转发给 CRM。", _PROGRAM_ZH),
    ),
    "headers-too-large": (
        (
            "The request headers are too large",
            "Most often too many cookies have gathered for this site.",
            "Delete the cookies of this site and sign in again.",
        ),
        ("请求标头过大", "通常是此网站的 Cookie 过多所致。", "请清除此网站的 Cookie 后重新登录。"),
    ),
    "client-slow": (
        (
            "The request did not arrive in time",
            "Your connection paused for too long while sending.",
            "Please send it again.",
        ),
        ("请求未能及时送达", "发送过程中连接中断时间过长。", "请重新发送。"),
    ),
    "client-gone": (
        (
            "The connection was closed",
            "Your side ended the connection before the answer was complete.",
            "Open it again.",
        ),
        ("连接已关闭", "在响应完成之前，您的一端关闭了连接。", "请重新打开。"),
    ),
    "proxy-header-invalid": (
        (
            "The load balancer did not say who you are",
            "A connection from a load balancer did not begin with a PROXY header that can be read.",
            _ADMIN_EN,
        ),
        ("负载均衡未说明来源", "来自负载均衡的连接未以可读取的 PROXY 头开始。", _ADMIN_ZH),
    ),
    "overloaded": (
        ("Too busy at the moment", "More people are connected than the gateway can serve.", _AGAIN_EN),
        ("系统繁忙", "当前连接数已超过网关的处理能力。", _AGAIN_ZH),
    ),
    "address-not-allowed": (
        (
            "Not from this network",
            "The CRM may not be used from the network you are in.",
            "Connect through your company's network or VPN.",
        ),
        ("不允许从此网络访问", "您所在的网络不允许使用 CRM。", "请通过公司网络或 VPN 连接。"),
    ),
    "place-not-allowed": (
        (
            "Not from this place",
            "You or your role may use this only from certain networks, and you are not in one of them.",
            "Connect from one of those networks (the office, the VPN). Your administrator can add this one.",
        ),
        (
            "不允许从此处访问",
            "您本人或您的角色只能从指定网络使用本系统，您当前不在其中。",
            "请从指定网络（如办公室或 VPN）连接；如需开通此网络，请联系管理员。",
        ),
    ),
    "hour-not-allowed": (
        (
            "Not at this hour",
            "The CRM or your role is closed at this time of the week.",
            "Come back within the hours; your administrator knows them and can change them.",
        ),
        ("当前时段不允许访问", "该 CRM 或您的角色在当前时段关闭。", "请在允许的时段内访问；时段由管理员设定。"),
    ),
    "sign-in-required": (
        ("Please sign in", "This page is only for people who are signed in.", "Sign in and open it again."),
        ("请先登录", "此页面仅供已登录用户使用。", "请登录后重新打开。"),
    ),
    "session-ended": (
        (
            "Your session has ended",
            "You were signed out after a time without use, or by an administrator.",
            "Sign in again to go on.",
        ),
        ("会话已结束", "由于长时间未操作或管理员操作，您已退出登录。", "请重新登录后继续。"),
    ),
    "session-locked": (
        (
            "Your session is locked",
            "What you sent did not reach the CRM: the session had been locked.",
            "Unlock it, go back, and send it again.",
        ),
        ("会话已锁定", "会话已被锁定，您提交的内容未送达 CRM。", "请解锁后返回并重新提交。"),
    ),
    "device-needed": (
        (
            "This browser has to prove itself first",
            "Your session belongs to one browser, which has not proved itself lately. The CRM got nothing of this.",
            "Go on, then send it again.",
        ),
        (
            "请先验证此浏览器",
            "您的会话绑定于一个浏览器，该浏览器近期未完成验证。您提交的内容未送达 CRM。",
            "请继续验证，然后重新提交。",
        ),
    ),
    "device-proof-needed": (
        (
            "This needs a fresh proof of your browser",
            "It was not started: this export needs a proof that it comes from the browser you signed in with.",
            "Go on, then ask for it again.",
        ),
        (
            "此操作需要重新验证浏览器",
            "操作尚未开始：此导出须证明来自您登录时使用的浏览器。",
            "请继续验证，然后重新操作。",
        ),
    ),
    "step-up-needed": (
        (
            "Show that it is you first",
            "This export needs a fresh code of your app or a passkey. It has not been started.",
            "Show that it is you, then ask for the export again.",
        ),
        ("请先验证身份", "此导出需要重新输入动态验证码或使用通行密钥。导出尚未开始。", "请验证身份后重新导出。"),
    ),
    "cross-site-refused": (
        (
            "This came from another site",
            "Another website tried to act in the CRM in your name, so it was stopped.",
            "If you meant to do this, open the CRM itself and do it there.",
        ),
        (
            "请求来自其他网站",
            "另一个网站试图以您的名义操作 CRM，已被拦截。",
            "如果这是您本人的操作，请直接打开 CRM 进行。",
        ),
    ),
    "crm-token-ended": (
        (
            "Your CRM sign-in has ended",
            "The sign-in your program holds for the CRM was ended or belongs to somebody else.",
            "Sign in to the CRM again.",
        ),
        ("CRM 登录已失效", "程序所持的 CRM 登录凭证已失效或属于他人。", "请重新登录 CRM。"),
    ),
    "client-unknown": (
        (
            "This program is not known here",
            "Its credential is not one of this CRM, has expired, or was taken back.",
            "Give the program a credential that is good: crmgate client add.",
        ),
        ("未知的程序", "该凭证不属于此 CRM、已过期或已被吊销。", "请为该程序签发有效凭证：crmgate client add。"),
    ),
    "client-not-here": (
        (
            "This program may not come from here",
            "Its credential is good for other networks only, or asks for a certificate that was not shown.",
            _ADMIN_EN,
        ),
        ("该程序不得从此处访问", "该凭证仅限其他网络使用，或要求出示客户端证书。", _ADMIN_ZH),
    ),
    "crm-login-unknown": (
        (
            "The CRM does not know you yet",
            "You are signed in here, but nobody has said which account in the CRM is yours.",
            "Ask your administrator to enter your CRM login.",
        ),
        ("CRM 尚不认识您", "您已在此登录，但尚未登记您在 CRM 中的账户。", "请让管理员登记您的 CRM 登录名。"),
    ),
    "crm-login-missing": (
        (
            "Your CRM login is missing",
            "You are signed in here. To sign you in to the CRM, its login and password have to be entered once.",
            "Enter them on your account page.",
        ),
        (
            "缺少您的 CRM 登录信息",
            "您已在此登录。为代您登录 CRM，需要输入一次 CRM 的登录名和密码。",
            "请在您的账户页面输入。",
        ),
    ),
    "crm-login-refused": (
        (
            "The CRM does not accept your login",
            "The CRM refused the login and password that are stored for you. They are not tried again for a while.",
            "Enter them anew on your account page.",
        ),
        (
            "CRM 不接受您的登录信息",
            "CRM 拒绝了为您保存的登录名和密码，一段时间内不会再次尝试。",
            "请在您的账户页面重新输入。",
        ),
    ),
    "crm-sign-in-here": (
        (
            "You need no sign-in at the CRM",
            "You are signed in to the CRM from here, so its own sign-in and password pages are closed.",
            "Go to the start page. If you are sent back to this page, tell your administrator.",
        ),
        (
            "无需在 CRM 中登录",
            "系统已代您登录 CRM，因此 CRM 自身的登录与密码页面已关闭。",
            "请返回首页；如果又回到本页，请联系管理员。",
        ),
    ),
    "crm-sign-in-unreadable": (
        (
            "The CRM could not be signed in to",
            "Its answer to the sign-in was neither yes nor no, or it ended the new sign-in at once.",
            _AGAIN_EN,
        ),
        ("无法登录 CRM", "CRM 对登录的答复无法识别，或登录后立即失效。", _AGAIN_ZH),
    ),
    "crm-session-lost": (
        (
            "The CRM had signed you out",
            "You are signed in again, but what you sent did not reach the CRM.",
            "Please send it once more.",
        ),
        ("CRM 已将您登出", "系统已重新代您登录，但您提交的内容未到达 CRM。", "请再提交一次。"),
    ),
    "not-allowed": (
        (
            "You may not open this",
            "Your role does not include it.",
            "If you need it for your work, ask your administrator.",
        ),
        ("无权访问", "您的角色没有此权限。", "如工作需要，请向管理员申请。"),
    ),
    "write-not-granted": (
        (
            "This change is not released yet",
            "The gateway does not know this kind of change, and unknown changes are stopped.",
            "Ask your administrator to release it for your role.",
        ),
        ("此类更改尚未开放", "网关无法识别此类更改，未知的更改会被拦截。", "请联系管理员为您的角色开放。"),
    ),
    "export-in-background": (
        (
            "This export is made in the background",
            "Its file is fetched later and elsewhere, where nobody could tie it to you or decide what you see in it.",
            "Ask for the same rows with a list or a query, page by page.",
        ),
        (
            "此导出在后台生成",
            "文件稍后在别处下载，无法确认下载的人就是您，也无法决定您能看到哪些内容。",
            "请改用列表或查询逐页获取相同的数据。",
        ),
    ),
    "job-in-background": (
        (
            "This job is worked off in the background",
            "Its rows come in other calls than what they are and what happens to them, so they cannot be checked.",
            "Send the records one by one, or several in one batch.",
        ),
        (
            "此任务在后台执行",
            "数据行与其含义、处理方式分开提交，因此无法检查。",
            "请逐条提交记录，或在一个批次中提交多条。",
        ),
    ),
    "search-language-closed": (
        (
            "This kind of search is closed",
            "It cannot be checked to its last word, so it could tell what is hidden from you.",
            "Use the CRM's query language for records, or its lists.",
        ),
        (
            "此类搜索已关闭",
            "此类搜索无法完整检查，可能泄露对您隐藏的内容。",
            "请改用 CRM 的记录查询语言或列表。",
        ),
    ),
    "field-not-writable": (
        (
            "You may not change these fields",
            "Your role may not write at least one of the fields you filled in.",
            "Leave those fields as they were and save again.",
        ),
        ("无权修改这些字段", "您填写的字段中至少有一个是您的角色无权修改的。", "请保持这些字段不变后重新保存。"),
    ),
    "text-part-not-writable": (
        (
            "You may not change personal details in this text",
            "The text names people, numbers or addresses, and your role may neither add, change nor remove those. "
            "An import of such texts takes the right to all of them.",
            "Leave the names, numbers and addresses as they were and change only the words around them.",
        ),
        (
            "无权修改文本中的个人信息",
            "该文本中含有姓名、号码或地址，您的角色无权添加、修改或删除这些内容；导入此类文本需要对其全部拥有写入权限。",
            "请保持其中的姓名、号码和地址不变，只修改其余文字。",
        ),
    ),
    "copy-shows-more": (
        (
            "You may not copy or merge this record",
            "It holds a number that is hidden from you and that your own copy would show you.",
            "Ask somebody who sees the whole record to do it.",
        ),
        ("无权复制或合并此记录", "该记录含有对您隐藏的号码，复制后您将能看到它。", "请由可查看完整记录的人员操作。"),
    ),
    "field-not-searchable": (
        (
            "You may not search for this",
            "Your role may not look people up by this kind of value.",
            "Search by something you can see, such as the company.",
        ),
        ("无权按此内容搜索", "您的角色不能按此类信息查找客户。", "请改用您可见的信息搜索，例如公司名称。"),
    ),
    "field-not-ordered": (
        (
            "Values of this field have no order here",
            "They are protected, so the CRM can neither sort by them nor tell which is greater or fits a pattern.",
            "Sort or filter by another column, or search for the whole value.",
        ),
        (
            "此字段的值不能排序或比较",
            "该字段的值受保护，CRM 无法据此排序、比较大小或匹配模式。",
            "请按其他列排序或筛选，或搜索完整的值。",
        ),
    ),
    "search-while-clear": (
        (
            "Not before everything is protected",
            "Some values in the CRM still stand in clear, and parts of them could tell you what is hidden from you.",
            "Search for a whole phone number or e-mail address, or ask your administrator how far protecting is.",
        ),
        (
            "保护完成之前不可用",
            "CRM 中仍有未受保护的明文，按部分内容搜索可能泄露对您隐藏的信息。",
            "请按完整的电话号码或电子邮箱搜索，或向管理员了解保护何时完成。",
        ),
    ),
    "search-ambiguous": (
        (
            "Several values fit your search",
            "What you typed stands for more than one stored value.",
            "Search by a phone number or an e-mail address instead.",
        ),
        ("搜索结果不唯一", "您输入的内容对应多个已存储的值。", "请改用电话号码或电子邮箱搜索。"),
    ),
    "search-budget": (
        (
            "You have searched very often",
            "Searches for details that you do not see in full are limited; yours for this hour are used up.",
            "Wait until the next hour, or ask somebody who may see these details.",
        ),
        (
            "搜索次数过多",
            "对您无权完整查看的信息，每人每小时的搜索次数有限，您本小时的次数已用完。",
            "请下一个小时再试，或请有权查看这些信息的同事协助。",
        ),
    ),
    "uniqueness-budget": (
        (
            "Too many details were taken already",
            "The CRM has told you very often in this hour that a detail belongs to somebody else; nothing was sent.",
            "Wait until the next hour, or ask your administrator.",
        ),
        (
            "重复信息提示次数过多",
            "CRM 已多次提示您所填信息属于其他客户。此类提示每人每小时次数有限，本次内容未提交。",
            "请下一个小时再试，或联系管理员。",
        ),
    ),
    "reveal-off": (
        (
            "Revealing is switched off",
            "Masked details cannot be revealed in this CRM.",
            "If you need it for your work, ask your administrator.",
        ),
        ("未启用查看功能", "此 CRM 未启用查看已遮盖信息的功能。", "如工作需要，请联系管理员。"),
    ),
    "reveal-not-allowed": (
        (
            "You may not reveal this detail",
            "Your role does not let you reveal this detail of this record. The attempt is on record.",
            "If you need it for your work, ask your administrator.",
        ),
        (
            "您不能查看此信息",
            "您的角色无权查看该记录的此项信息。此次尝试已记录。",
            "如工作需要，请联系管理员。",
        ),
    ),
    "reveal-not-shown": (
        (
            "This record was not shown to you",
            "A detail is revealed only after the CRM has shown its record in your present session.",
            "Open the record first, then ask again.",
        ),
        (
            "尚未打开该记录",
            "只有在本次登录期间 CRM 向您显示过该记录后，才能查看其中的信息。",
            "请先打开该记录，再重试。",
        ),
    ),
    "reveal-nothing": (
        (
            "This detail is not there any more",
            "It was changed or deleted since the page was shown.",
            "Reload the page of the CRM and look again.",
        ),
        ("此信息已不存在", "页面显示之后，该信息已被更改或删除。", "请刷新 CRM 页面后再查看。"),
    ),
    "reveal-reason": (
        (
            "A reason is missing",
            "Pick a reason. Where it is another one, write it in a few words of your own.",
            "Give the reason and try again.",
        ),
        ("请填写原因", "请选择原因；选择“其他”时，请用自己的话简要说明。", "填写原因后再试。"),
    ),
    "reveal-code-wrong": (
        (
            "The code is not right",
            "The code does not fit, or it was used before: each code works once, also the one you signed in with.",
            "Wait for the next code of your app and enter that one.",
        ),
        (
            "验证码不正确",
            "验证码有误或已使用过。每个验证码只能使用一次，包括登录时用过的。",
            "请等应用显示下一个验证码后再输入。",
        ),
    ),
    "reveal-locked": (
        (
            "Too many wrong codes",
            "For a while no code of yours is looked at.",
            "Please wait some minutes and try again.",
        ),
        ("错误次数过多", "系统暂时不再受理您的验证码。", "请几分钟后再试。"),
    ),
    "reveal-budget": (
        (
            "You have revealed very many details",
            "How many details one person can reveal in an hour is limited; yours are used up.",
            "Wait until the next hour, or ask your administrator.",
        ),
        (
            "查看次数已用完",
            "每人每小时可查看的信息数量有限，您本小时的次数已用完。",
            "请下一个小时再试，或联系管理员。",
        ),
    ),
    "reveal-expired": (
        (
            "This page has been open too long",
            "What it can reveal was used already, or is no longer on offer.",
            "Reload the page of the CRM and open this again.",
        ),
        ("页面打开时间过长", "此处的查看机会已使用或已过期。", "请刷新 CRM 页面后重新打开。"),
    ),
    "reveal-by-program": (
        (
            "Not from a web page",
            "This address is for programs. Pages of a browser cannot use it, so that no script reveals anything.",
            "Use the button on the page of the CRM.",
        ),
        ("不能从网页调用", "此地址仅供程序使用。浏览器页面不能调用，以防脚本查看信息。", "请使用 CRM 页面上的按钮。"),
    ),
    "search-not-merged": (
        (
            "This search cannot be answered as asked",
            "What you typed stands for several stored values, and their answers cannot be put into this order or page.",
            "Search without your own sorting or filter, or by a whole phone number or e-mail address.",
        ),
        (
            "无法按要求完成此次搜索",
            "您输入的内容对应多个已存储的值，其结果无法按所要求的排序或分页合并。",
            "请去掉排序或筛选条件后再搜索，或改用完整的电话号码或电子邮箱。",
        ),
    ),
    "search-leg-failed": (
        (
            "The CRM answered only part of your search",
            "What you typed stands for several stored values, and the CRM did not answer for all of them.",
            "Search again; nothing is shown rather than a part of it.",
        ),
        (
            "CRM 仅答复了部分搜索",
            "您输入的内容对应多个已存储的值，CRM 未能全部答复。",
            "请重新搜索；为避免结果不完整，未显示任何内容。",
        ),
    ),
    "search-too-short": (
        (
            "Type a little more",
            "What you typed is too short to search for.",
            "Type more of it, or the whole value.",
        ),
        ("请多输入一些", "您输入的内容过短，无法搜索。", "请输入更多字符，或完整的值。"),
    ),
    "search-too-wide": (
        (
            "Too many values fit your search",
            "What you typed is part of more values than one search may look through.",
            "Type more of what you are looking for.",
        ),
        ("符合条件的内容过多", "您输入的内容对应的值超过单次搜索的上限。", "请输入更完整的内容。"),
    ),
    "search-whole-only": (
        (
            "Search for the whole value",
            "You see this kind of value partly masked, so it can be searched for only as a whole.",
            "Type the complete number or address.",
        ),
        ("请按完整内容搜索", "此类信息对您部分掩码显示，只能按完整内容搜索。", "请输入完整的号码或地址。"),
    ),
    "search-not-ready": (
        (
            "This search is not ready yet",
            "Values of before are still being prepared for searching by a part of them.",
            "Search for a whole value, or try again in a few minutes.",
        ),
        ("此搜索尚未就绪", "系统正在为按部分内容搜索准备原有数据。", "请按完整内容搜索，或几分钟后重试。"),
    ),
    "body-too-large": (
        (
            "What you sent is too large",
            "It is over the limit for one request.",
            "Send less at once, or a smaller file.",
        ),
        ("提交内容过大", "超过了单次请求的大小限制。", "请减少提交的内容或使用较小的文件。"),
    ),
    "body-malformed": (
        ("What you sent is damaged", "It does not have the form it says it has, or did not arrive whole.", _PROGRAM_EN),
        ("提交内容已损坏", "内容与其声明的格式不符，或未完整送达。", _PROGRAM_ZH),
    ),
    "body-unreadable": (
        (
            "This kind of content cannot be checked",
            "The gateway must be able to look into what goes to the CRM and cannot read this.",
            "Save the file in another format, such as CSV or XLSX, and try again.",
        ),
        (
            "无法检查此类内容",
            "网关必须能够检查发往 CRM 的内容，但无法读取此格式。",
            "请将文件另存为 CSV 或 XLSX 等格式后重试。",
        ),
    ),
    "file-not-passed": (
        (
            "This file is not let through",
            "Nobody can check what is inside files of this kind, such as PDF and pictures, so they do not pass here.",
            "Use text, CSV or XLSX instead, or ask IT.",
        ),
        (
            "此文件未予放行",
            "PDF、图片等文件的内容无法检查，因此不能通过此处。",
            "请改用文本、CSV 或 XLSX，或联系 IT。",
        ),
    ),
    "archive-unreadable": (
        (
            "This archive cannot be checked",
            "It is too large, damaged or protected by a password, or one of the files in it cannot be read.",
            "Unpack it and upload the files one by one.",
        ),
        (
            "无法检查此压缩包",
            "压缩包过大、已损坏或设有密码，或其中某个文件无法读取。",
            "请解压后逐个上传其中的文件。",
        ),
    ),
    "decompression-limit": (
        (
            "It unpacks to far too much",
            "The compressed content grows beyond the limit.",
            "Send or ask for less at once.",
        ),
        ("解压后内容过大", "压缩内容解压后超出限制。", "请减少单次发送或请求的内容。"),
    ),
    "value-invalid": (
        (
            "A field holds something it cannot hold",
            "At least one value does not have the form its field needs.",
            "Go back, correct the fields and save again.",
        ),
        ("字段内容无效", "至少有一个值不符合该字段的格式要求。", "请返回修改后重新保存。"),
    ),
    "digits-invalid": (
        (
            "A number is not complete or not right",
            "The field takes digits only, without spaces, of a fixed length and with the right check digit.",
            "Go back, compare the number with its source and save again, or leave the field empty.",
        ),
        (
            "号码不完整或不正确",
            "该字段只接受固定长度的数字，不含空格，且校验位必须正确。",
            "请返回核对号码后重新保存，或将该字段留空。",
        ),
    ),
    "value-too-long": (
        (
            "A field is too long",
            "At least one value has more characters than its field can hold.",
            "Go back, shorten it and save again.",
        ),
        ("字段内容过长", "至少有一个值超出了该字段的长度限制。", "请返回，缩短后重新保存。"),
    ),
    "mask-returned": (
        (
            "A masked value came back changed",
            "A value that is hidden from you was edited, and it cannot be told what it should become.",
            "Leave the masked text as it was, or replace it completely.",
        ),
        ("掩码值被修改", "对您隐藏的值被编辑，系统无法判断应改为何值。", "请保持掩码内容不变，或完整输入新值。"),
    ),
    "crm-not-shown": (
        (
            "Not saved: the CRM did not say in time what stands there",
            "Your role does not see or may not write every field, so crmgate compares what you save with what the CRM "
            "holds now. The CRM did not answer in time.",
            "Save once more in a moment; there is no need to fill in anything anew. If it stays this way, tell your "
            "administrator.",
        ),
        (
            "未保存：CRM 未能及时告知现有内容",
            "您的角色无法查看或修改全部字段，因此系统需要将您提交的内容与 CRM 中的现有内容比对，而 CRM 未能及时响应。",
            "请稍后再次保存，无需重新填写；如果问题持续，请联系管理员。",
        ),
    ),
    "needs-record": (
        (
            "This value needs a record of its own",
            "A date of birth, or a text that is sealed whole, is kept for one record and cannot come in a file or for"
            " several records.",
            "Leave it out here, and enter it in the form of the record itself.",
        ),
        (
            "该内容需要单独的记录",
            "出生日期或整段加密的文本只能保存在单个记录上，不能通过文件导入，也不能一次写入多条记录。",
            "请在此处留空，并在该记录自己的表单中填写。",
        ),
    ),
    "record-unknown": (
        (
            "Saved, but a value is missing",
            "The CRM made the record and did not say which one, so a value that is kept outside the CRM has no place"
            " yet.",
            "Open the new record in the CRM and enter the value there again.",
        ),
        (
            "记录已保存，但缺少一项内容",
            "CRM 已创建记录，但没有告知是哪一条，因此保存在 CRM 之外的内容尚无归属。",
            "请在 CRM 中打开新记录，重新填写该内容。",
        ),
    ),
    "query-unreadable": (
        (
            "This search cannot be read",
            "The gateway must understand a search before it passes it on.",
            "Search in a simpler way.",
        ),
        ("无法识别该搜索", "网关必须理解搜索条件后才能转发。", "请使用更简单的搜索条件。"),
    ),
    "field-respelled": (
        (
            "A field is written in other letters",
            "This CRM takes names of fields in any case; protection goes by the name as it is declared.",
            "Write the field below exactly as it stands there, capital letters included. Nothing was changed.",
        ),
        (
            "字段名大小写不一致",
            "该 CRM 不区分字段名大小写，而保护按登记的名称生效。",
            "请按下方所示（包括大小写）书写该字段名。未作任何更改。",
        ),
    ),
    "query-renames": (
        (
            "A protected field cannot be given another name",
            "Fields keep their names in answers so that their protection follows them.",
            "Ask for the field by its own name, or choose a name that no field has.",
        ),
        (
            "不能为受保护字段另取名称",
            "字段在结果中保留原名，保护才能随之生效。",
            "请使用字段原名，或选用与任何字段都不同的名称。",
        ),
    ),
    "graphql-unreadable": (
        (
            "This GraphQL request cannot be read",
            "The gateway must understand all of a request before it passes it on.",
            "Send one document as JSON, with every fragment and variable declared and used once.",
        ),
        (
            "无法识别该 GraphQL 请求",
            "网关必须完整理解请求后才能转发。",
            "请以 JSON 发送单个文档，并声明和使用每个片段与变量。",
        ),
    ),
    "graphql-too-complex": (
        (
            "This GraphQL request asks for too much at once",
            "It is longer, deeper or has more aliases than the gateway looks into.",
            "Ask for fewer fields, or in several requests.",
        ),
        ("该 GraphQL 请求过于复杂", "请求的长度、层级或别名数量超出网关检查的范围。", "请减少字段，或分多次请求。"),
    ),
    "graphql-persisted": (
        (
            "A stored GraphQL query cannot be checked",
            "The request names a query by its hash, so the gateway cannot see what it asks for.",
            "Send the text of the query with it.",
        ),
        ("无法检查已存储的 GraphQL 查询", "请求只给出查询的哈希值，网关无法得知其内容。", "请同时发送查询文本。"),
    ),
    "graphql-subscription": (
        (
            "GraphQL subscriptions are not possible here",
            "Their answers come later and past the protection of fields.",
            "Ask again from time to time with a query.",
        ),
        ("此处不支持 GraphQL 订阅", "订阅结果会在之后陆续到达，无法按字段保护。", "请改用查询，按需再次请求。"),
    ),
    "graphql-unmapped": (
        (
            "Part of this GraphQL request is not described",
            "The gateway does not know what a field, an argument or a directive of it holds.",
            "Leave that part out, or ask IT to describe it in the profile.",
        ),
        (
            "该 GraphQL 请求中有未说明的部分",
            "网关不了解其中某个字段、参数或指令的内容。",
            "请去掉该部分，或联系 IT 在配置中说明。",
        ),
    ),
    "graphql-introspection": (
        (
            "The GraphQL schema is not shown to your role",
            "It names every field of the CRM, also those that you may not see.",
            "Ask IT for the names that you need.",
        ),
        (
            "您的角色无法查看 GraphQL 架构",
            "架构会列出 CRM 的所有字段，包括您无权查看的字段。",
            "请向 IT 询问所需的字段名称。",
        ),
    ),
    "crm-down": (
        ("The CRM does not answer", "The gateway is working, but the CRM behind it cannot be reached.", _AGAIN_EN),
        ("CRM 没有响应", "网关工作正常，但无法连接其后的 CRM。", _AGAIN_ZH),
    ),
    "crm-slow": (
        ("The CRM takes too long", "No complete answer came within the time allowed.", _CHECK_EN),
        ("CRM 响应超时", "在规定时间内未收到完整的响应。", _CHECK_ZH),
    ),
    "crm-cut-off": (
        ("The CRM broke off its answer", "The connection ended in the middle; half an answer is not shown.", _CHECK_EN),
        ("CRM 的响应中断", "连接中途断开；不完整的响应不会显示。", _CHECK_ZH),
    ),
    "crm-answer-unreadable": (
        ("The CRM's answer cannot be read", "It is damaged or ambiguous and is therefore not shown.", _ADMIN_EN),
        ("无法读取 CRM 的响应", "响应已损坏或含义不明，因此不予显示。", _ADMIN_ZH),
    ),
    "answer-too-large": (
        (
            "The CRM's answer is too large",
            "It is larger than the gateway can look through.",
            "Ask for less at once, for example with a filter or fewer columns.",
        ),
        ("CRM 的响应过大", "响应超出网关可检查的大小。", "请减少单次请求的内容，例如使用筛选或减少列数。"),
    ),
    "file-erased": (
        (
            "This file cannot be opened any more",
            "The person it belonged to was erased, and the key of the file was destroyed with that.",
            "It may be deleted in the CRM.",
        ),
        ("此文件已无法打开", "文件所属人员的数据已被删除，文件的密钥也随之销毁。", "可以在 CRM 中删除此文件。"),
    ),
    "answer-not-renderable": (
        (
            "This file cannot be shown to you",
            "Your role sees some data masked, and nothing can be masked inside this kind of file.",
            "Ask for a CSV or XLSX export, or somebody whose role sees everything.",
        ),
        (
            "无法向您显示此文件",
            "您的角色只能查看部分数据的掩码，而此类文件无法进行掩码处理。",
            "请改为导出 CSV 或 XLSX，或请有完整权限的同事协助。",
        ),
    ),
    "audit-unavailable": (
        ("Not possible right now", "The audit trail cannot be written, and nothing is done without it.", _AGAIN_EN),
        ("暂时无法操作", "审计日志无法写入，未记录的操作不会执行。", _AGAIN_ZH),
    ),
    "store-unavailable": (
        ("Not possible right now", "The gateway's own database does not answer.", _AGAIN_EN),
        ("暂时无法操作", "网关自身的数据库没有响应。", _AGAIN_ZH),
    ),
    "keys-unavailable": (
        ("Protected data cannot be opened now", "The keys that protect personal data are not available.", _AGAIN_EN),
        ("暂时无法打开受保护的数据", "用于保护个人信息的密钥暂不可用。", _AGAIN_ZH),
    ),
    "internal-fault": (
        ("Something went wrong here", "The gateway met a fault of its own and stopped to be safe.", _ADMIN_EN),
        ("系统发生故障", "网关遇到内部故障，为安全起见已停止处理。", _ADMIN_ZH),
    ),
}

MESSAGES: Mapping[tuple[str, str], Message] = MappingProxyType(
    {
        (language, reason): Message(*words)
        for reason, pair in _TEXTS.items()
        for language, words in zip(LANGUAGES, pair, strict=True)
    }
)


def message(reason: str, language: str) -> Message:
    """The words for a reason; languages without words of their own get English."""
    return MESSAGES.get((language, reason)) or MESSAGES["en", reason]
