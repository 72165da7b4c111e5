"""What `crmgate check` says, in English and Chinese: what is wrong, and what to do about it."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.finding import Finding, Weight

LANGUAGES = ("en", "zh")

WEIGHTS: Mapping[str, Mapping[Weight, str]] = MappingProxyType(
    {
        "en": {Weight.FINE: "ok", Weight.WARNING: "warning", Weight.PROBLEM: "problem"},
        "zh": {Weight.FINE: "正常", Weight.WARNING: "警告", Weight.PROBLEM: "问题"},
    }
)

SENTENCES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "package-foreign": (
            'The installed package "{other}" uses the same name, so its code could run instead of crmgate\'s. '
            "Install crmgate into a virtual environment of its own.",
            "已安装的软件包“{other}”占用了同一名称，其代码可能会代替 crmgate 运行。请把 crmgate 装进单独的虚拟环境。",
        ),
        "front-end-missing": (
            "Style sheet and script of the console are not in {folder}. Fetch them: python -m gateway.console.vendor",
            "控制台的样式表和脚本不在 {folder} 中。请执行：python -m gateway.console.vendor",
        ),
        "profile-invalid": ("The CRM profile cannot be used: {problem}", "CRM 配置档无法使用：{problem}"),
        "profile-unknown": (
            'There is no CRM profile "{profile}". Name a shipped one or the path of your own.',
            "没有名为“{profile}”的 CRM 配置档。请写内置配置档的名称或您自己的文件路径。",
        ),
        "entry-role-unknown": (
            'The policy has no role "{role}", so this rule binds nobody. Is it spelled right?',
            "策略中没有名为“{role}”的角色，此规则不约束任何人。请检查拼写。",
        ),
        "entry-role-locked-out": (
            "Nobody of the role {role} can come in: its networks or hours and those of the CRM have nothing in common.",
            "角色 {role} 无人能够进入：其网络或时段与该 CRM 的网络或时段没有交集。",
        ),
        "entry-locks-out-all": (
            "Nobody can come in: networks or hours of every role and those of the CRM have nothing in common.",
            "所有人都无法进入：每个角色的网络或时段与该 CRM 的网络或时段都没有交集。",
        ),
        "duties-role": (
            "{role} joins duties of administrators that are kept apart ({duties}): the gateway does not start with "
            "this policy. Split it, or take separation out of [access].",
            "{role} 合并了必须分开的管理员职责（{duties}）：网关不会以此策略启动。"
            "请拆分它，或去掉 [access] 的 separation。",
        ),
        "duties-account": (
            "The account {login} joins duties of administrators that are kept apart ({duties}): none of these powers "
            "works for it. Take roles away: crmgate user roles {login}",
            "账号 {login} 合并了必须分开的管理员职责（{duties}），这些权限对其一概无效。"
            "请收回角色：crmgate user roles {login}",
        ),
        "provider-file": (
            "A file of this sign-in provider {problem}.",
            "该登录平台的文件无法使用：{problem}。",
        ),
        "provider-unreachable": (
            "The sign-in provider {name} does not answer at {issuer}; until it does, people need their password.",
            "登录平台 {name} 在 {issuer} 没有应答；在此之前用户需用密码登录。",
        ),
        "provider-document": (
            "The sign-in provider {name} describes itself in a way that is not accepted ({why}); compare the issuer.",
            "登录平台 {name} 的自我描述不被接受（{why}）；请核对 issuer。",
        ),
        "provider-fine": ("The sign-in provider {name} answers.", "登录平台 {name} 有应答。"),
        "provider-not-asked": (
            "The sign-in provider {name} is set up; it is not asked before somebody signs in.",
            "登录平台 {name} 已配置；有人登录时才会访问它。",
        ),
        "breached-unusable": (
            "{file} is not a file of SHA-1 digests in order, so no new password is accepted.",
            "{file} 不是按顺序排列的 SHA-1 摘要文件，因此不接受任何新密码。",
        ),
        "directory-fine": ("The directory at {url} answers as it should.", "目录服务器 {url} 应答正常。"),
        "directory-clear": (
            "Passwords go to this directory without TLS. This is for tests only: take clear_text_on_loopback away.",
            "密码未经 TLS 发送到此目录。这仅供测试：请删除 clear_text_on_loopback。",
        ),
        "directory-ca": ("{file} is no readable PEM file of a CA.", "{file} 不是可读取的 PEM 格式 CA 文件。"),
        "directory-unreachable": (
            "No directory answers at {url}. Is it running, and are host and port right?",
            "目录服务器 {url} 没有应答。它在运行吗？主机和端口对吗？",
        ),
        "directory-tls": (
            "TLS with {url} fails: its certificate is not from a known CA (ca), is for another host name, or it speaks"
            " no TLS of tls_minimum.",
            "与 {url} 的 TLS 连接失败：证书不是由已知 CA（ca）签发、主机名不符，或对方不支持 tls_minimum 要求的版本。",
        ),
        "directory-slow": (
            "The directory at {url} takes longer than connect_timeout_s or timeout_s.",
            "目录服务器 {url} 的应答超过 connect_timeout_s 或 timeout_s。",
        ),
        "directory-nonsense": (
            "What answers at {url} does not speak LDAP as it should. Is it the right port?",
            "{url} 的应答不符合 LDAP。端口对吗？",
        ),
        "directory-busy": ("The directory at {url} says it is too busy.", "目录服务器 {url} 表示过于繁忙。"),
        "directory-secret": (
            "The file in bind_secret_file cannot be read or is empty.",
            "bind_secret_file 所指文件无法读取或为空。",
        ),
        "directory-own-account": (
            "The directory at {url} does not take bind_dn with the secret in bind_secret_file.",
            "目录服务器 {url} 不接受 bind_dn 与 bind_secret_file 中的密码。",
        ),
        "directory-search": (
            "The directory at {url} cannot search: check base, and that bind_dn may read below it.",
            "目录服务器 {url} 无法搜索：请检查 base 以及 bind_dn 的读取权限。",
        ),
        "passwords-mlps": (
            "Passwords follow the preset for MLPS: composition costs ASVS 6.2.5, a change every {days} days 6.2.10.",
            "密码采用等保预设：字符组成规则不符合 ASVS 6.2.5，每 {days} 天强制更换不符合 ASVS 6.2.10。",
        ),
        "file-missing": ("The file {file} is not there.", "文件 {file} 不存在。"),
        "upstream-name": (
            "The name {host} of the CRM is not known to DNS on this machine.",
            "本机 DNS 无法解析 CRM 的主机名 {host}。",
        ),
        "upstream-unreachable": (
            "The CRM at {host} cannot be reached ({reason}). Is it running, and is the port right?",
            "无法连接 CRM {host}（{reason}）。它在运行吗？端口对吗？",
        ),
        "upstream-silent": (
            "The CRM at {host} takes connections but does not answer ({reason}).",
            "CRM {host} 接受连接但没有应答（{reason}）。",
        ),
        "upstream-not-tls": (
            "{host} does not speak TLS. If the CRM serves plain HTTP there, write http:// instead of https://.",
            "{host} 不支持 TLS。如果 CRM 在该端口提供 HTTP，请把 https:// 改成 http://。",
        ),
        "upstream-is-tls": (
            "{host} expects TLS. Write https:// instead of http://.",
            "{host} 要求 TLS。请把 http:// 改成 https://。",
        ),
        "upstream-not-http": ("What answers at {host} does not speak HTTP.", "{host} 上的服务不是 HTTP。"),
        "upstream-certificate": (
            "The certificate of the CRM at {host} is not trusted: {reason}. Name its CA in upstream_ca.",
            "CRM {host} 的证书不受信任：{reason}。请在 upstream_ca 中写明其 CA 文件。",
        ),
        "upstream-fine": ("The CRM at {host} answers.", "CRM {host} 有应答。"),
        "tls-off": (
            "TLS is off, but {listen} can be reached from other machines. Listen on 127.0.0.1 or turn TLS on.",
            "TLS 已关闭，但其他机器可以访问 {listen}。请改为监听 127.0.0.1 或启用 TLS。",
        ),
        "certificate-own": (
            "crmgate uses a certificate of its own from {folder}; browsers trust it once authority.pem is imported.",
            "crmgate 使用 {folder} 中的自签证书；导入 authority.pem 后浏览器即可信任。",
        ),
        "certificate-key": ("{file} and {key} do not belong together.", "{file} 与 {key} 不匹配。"),
        "certificate-unreadable": ("There is no readable certificate in {file}.", "{file} 中没有可读取的证书。"),
        "certificate-expired": ("The certificate ended on {until}.", "证书已于 {until} 过期。"),
        "certificate-ends": (
            "The certificate ends on {until}, in {days} days; renew it now.",
            "证书将于 {until} 到期（还有 {days} 天），请及时更新。",
        ),
        "certificate-urgent": (
            "The certificate ends on {until}, in {days} days: nobody gets through after that. Renew it today.",
            "证书将于 {until} 到期（仅剩 {days} 天），到期后将无法访问。请今天就更新。",
        ),
        "tls-weak": (
            "These ciphers lack forward secrecy or authenticated encryption: {ciphers}. Take them out.",
            "下列密码套件不具备前向保密或认证加密：{ciphers}。请将其移除。",
        ),
        "upstream-wants-certificate": (
            "The CRM at {host} asks for a client certificate, or does not take the one it is shown. Name one that it "
            "trusts in upstream_certificate and upstream_key.",
            "CRM {host} 要求客户端证书，或不接受当前证书。"
            "请在 upstream_certificate 和 upstream_key 中写明它信任的证书。",
        ),
        "upstream-tls-differs": (
            "The CRM at {host} speaks no TLS version or cipher that the settings allow "
            "(upstream_tls_minimum, upstream_ciphers).",
            "CRM {host} 不支持设置所允许的 TLS 版本或密码套件（upstream_tls_minimum、upstream_ciphers）。",
        ),
        "certificate-host": ("The certificate is not valid for {host}.", "证书不适用于 {host}。"),
        "port-busy": (
            "Something listens on {listen} already. If it is not crmgate itself, choose another port.",
            "{listen} 已被占用。如果不是 crmgate 本身，请换一个端口。",
        ),
        "port-forbidden": (
            "This account may not listen on {listen}: ports below 1024 need a right of their own.",
            "当前账号无权监听 {listen}：1024 以下的端口需要特殊权限。",
        ),
        "port-address": ("This machine has no address {listen}.", "本机没有地址 {listen}。"),
        "database-folder": (
            "The embedded database cannot be created: this account may not write to {folder}.",
            "无法创建内置数据库：当前账号没有 {folder} 的写权限。",
        ),
        "database-embedded": (
            "The embedded PostgreSQL keeps its data in {folder}.",
            "内置 PostgreSQL 的数据在 {folder}。",
        ),
        "database-unreachable": (
            "The database does not answer, or it refuses this user. Check host, user, password file and pg_hba.conf.",
            "数据库没有应答或拒绝该用户。请检查主机、用户、密码文件和 pg_hba.conf。",
        ),
        "database-old": (
            "PostgreSQL {version} is too old; crmgate needs 16 or newer.",
            "PostgreSQL {version} 版本过低，crmgate 需要 16 或更高版本。",
        ),
        "database-fine": ("PostgreSQL {version} answers.", "PostgreSQL {version} 有应答。"),
        "database-wall-off": (
            "Row-level security does not bind this account (superuser or BYPASSRLS), so only the code keeps tenants "
            "apart. Serve through an account without these rights: ALTER ROLE … NOSUPERUSER NOBYPASSRLS.",
            "行级安全策略对该账号不起作用（超级用户或 BYPASSRLS），租户之间仅由程序隔离。"
            "请改用没有这些权限的账号：ALTER ROLE … NOSUPERUSER NOBYPASSRLS。",
        ),
        "keyring-missing": (
            "There is no keyring at {file}. Restore it from your backup: without it nothing stored can be read. "
            "For a new installation: crmgate init",
            "{file} 处没有密钥环。请从备份恢复：没有它，已存储的数据无法读取。全新安装请执行 crmgate init。",
        ),
        "keyring-wrong-secret": (
            "The passphrase does not open the keyring {file}.",
            "口令无法打开密钥环 {file}。",
        ),
        "keyring-readable-by-others": (
            "Others may read the keyring {file}. Run: chmod 600 {file}",
            "其他用户可以读取密钥环 {file}。请执行：chmod 600 {file}",
        ),
        "keys-unavailable": ("The keys cannot be had: {problem}", "无法取得密钥：{problem}"),
        "keys-legacy": (
            "The switch for 3DES is on: values could be encrypted with a cipher that is retired. Old values are read "
            "without it; set legacy_3des = false.",
            "3DES 开关已打开：可能会用已淘汰的算法加密。读取旧数据不需要它，请设为 legacy_3des = false。",
        ),
        "keys-legacy-used": (
            "New values are encrypted with 3DES, which is retired (NIST SP 800-131A: not after 2023). "
            "Set suite to aes-256-gcm or sm4-gcm, and legacy_3des = false.",
            "新数据正在使用已淘汰的 3DES 加密（NIST SP 800-131A：2023 年后不得使用）。"
            "请把 suite 设为 aes-256-gcm 或 sm4-gcm，并设 legacy_3des = false。",
        ),
        "mail-name": (
            "The name {host} of the mail server is not known to DNS on this machine.",
            "本机 DNS 无法解析邮件服务器的主机名 {host}。",
        ),
        "mail-unreachable": (
            "The mail server at {host} cannot be reached ({reason}): mail waits in the queue until it can.",
            "无法连接邮件服务器 {host}（{reason}）：在恢复之前邮件会留在队列中。",
        ),
        "mail-not-smtp": (
            "What answers at {host} is no mail server, or it refuses this machine.",
            "{host} 上的服务不是邮件服务器，或拒绝本机连接。",
        ),
        "mail-no-tls": (
            "The mail server at {host} offers no TLS as the settings want it. No mail goes there until it does.",
            "邮件服务器 {host} 未按设置提供 TLS。在其提供之前不会向它发送任何邮件。",
        ),
        "mail-certificate": (
            "The certificate of the mail server at {host} is not trusted: {reason}. Name its CA in the settings.",
            "邮件服务器 {host} 的证书不受信任：{reason}。请在设置中写明其 CA 文件。",
        ),
        "mail-fine": ("The mail server at {host} answers as it should.", "邮件服务器 {host} 应答正常。"),
        "staff-missing": (
            "No mail domain of the company is named, so mail to staff is refused. List staff_domains.",
            "未填写公司的邮件域名，因此发往员工明文地址的邮件会被拒绝。请填写 staff_domains。",
        ),
        "service-name": (
            "The name {host} of this service is not known to DNS on this machine: calls of the CRM to it fail.",
            "本机 DNS 无法解析该服务的主机名 {host}：CRM 对它的调用会失败。",
        ),
        "service-unreachable": (
            "This service cannot be reached at {host} now ({reason}).",
            "目前无法连接该服务 {host}（{reason}）。",
        ),
        "egress-open": (
            "{listen} can be reached from other machines and lets {networks} in: anybody could use it. "
            "Name the networks that need it.",
            "其他机器可以访问 {listen}，且允许 {networks}：任何人都可能使用它。请只写需要它的网络。",
        ),
        "files-no-room": (
            "The profile seals files, which are held in {folder} on their way: {free} MB are free there, and "
            "one file may have {most} MB.",
            "配置档会加密文件，传输期间文件暂存于 {folder}：那里只剩 {free} MB，而单个文件最大可达 {most} MB。",
        ),
        "signing-fine": ("The key on the key server signs checkpoints.", "密钥服务器上的密钥可以为检查点签名。"),
        "signing-unusable": (
            "Checkpoints of the audit trail cannot be signed: {problem}",
            "无法为审计日志的检查点签名：{problem}",
        ),
        "signing-waits": (
            "The key server does not sign checkpoints ({problem}); they wait. Let the token use"
            " deploy/openbao/signing.hcl, and see that the server can be reached.",
            "密钥服务器未为检查点签名（{problem}），检查点正在等待。请让令牌使用策略 deploy/openbao/signing.hcl，"
            "并确认可以连接该服务器。",
        ),
        "tiles-open": (
            "Anybody may read the hashes of the audit trail over HTTP ({networks}). Name the auditors' networks.",
            "任何人都可经 HTTP 读取审计日志的哈希（{networks}）。请只写审计人员的网络。",
        ),
        "keys-fine": ("The keys can be opened ({provider}).", "密钥可以打开（{provider}）。"),
        "keys-too-much": (
            "The token that serves may do more to the keys than serving needs: {paths}. Give it the policy"
            " deploy/openbao/serving.hcl, and a token of their own (--token-file) to the commands that rotate, erase"
            " and destroy.",
            "日常服务所用令牌的权限超出所需：{paths}。请为其使用策略 deploy/openbao/serving.hcl，并为轮换、删除和销毁"
            "命令使用单独的令牌（--token-file）。",
        ),
        "keys-rights-unknown": (
            "The key server does not say what the token may do: {problem}. Let it use sys/capabilities-self.",
            "密钥服务器未说明该令牌的权限：{problem}。请允许其使用 sys/capabilities-self。",
        ),
        "persons-none": (
            "There are no keys of data subjects yet; the first value makes {file}.",
            "还没有数据主体的密钥；写入第一个值时会创建 {file}。",
        ),
        "persons-unavailable": (
            "The keys of data subjects cannot be used: {problem}.",
            "数据主体的密钥无法使用：{problem}。",
        ),
        "persons-not-shared": (
            "Several nodes use this database ({nodes}), but each keeps the keys of data subjects in a file of its own:"
            " what one writes no other can open. Set persons.store to postgresql.",
            "多个节点共用此数据库（{nodes}），但数据主体的密钥保存在各节点自己的文件中：一个节点写入的内容，其他节点"
            "无法打开。请将 persons.store 设为 postgresql。",
        ),
        "arrivals-no-credential": (
            "What comes into this CRM past crmgate is not looked for: no service credential is stored. Store one"
            " (crmgate protect credential --tenant {tenant}), or set arrivals_s to 0.",
            "未检查绕过 crmgate 进入此 CRM 的数据：尚未保存服务账户凭据。请保存凭据"
            "（crmgate protect credential --tenant {tenant}），或将 arrivals_s 设为 0。",
        ),
        "persons-fine": ("The keys of data subjects can be opened ({keys}).", "数据主体的密钥可以打开（{keys} 个）。"),
    }
)


def say(finding: Finding, language: str) -> str:
    """The sentence of a finding in `en` or `zh`."""
    english, chinese = SENTENCES[finding.id]
    return (chinese if language == "zh" else english).format_map(dict(finding.values))
