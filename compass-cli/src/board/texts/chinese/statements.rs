//! Words statements about pull requests in Chinese, and says what to do.
//!
//! Reasons that other programs give stay in their language.

use compass_manifest::image::ImageReference;
use compass_manifest::review::{Origin, RegistryRole, Statement, TargetOwners};

use super::TEXTS;

/// The maximum number of items that are worded one by one.
const MAX_ITEMS: usize = 20;

/// Words a statement; its items follow in lines of their own.
pub(super) fn statement(statement: &Statement) -> String {
    let items = items(statement);
    let mut lines = vec![body(statement)];
    lines.extend(items.iter().take(MAX_ITEMS).cloned());
    if items.len() > MAX_ITEMS {
        lines.push(format!("另有 {} 项未显示", items.len() - MAX_ITEMS));
    }
    lines.join("\n")
}

fn items(of: &Statement) -> Vec<String> {
    match of {
        Statement::ImagesMissing { images, .. } | Statement::ImagesNotKnown { images, .. } => {
            images
                .iter()
                .map(|(image, reason)| format!("`{image}`：{}", statement(reason)))
                .collect()
        }
        Statement::ListDiffers { missing, extra } => {
            let missing = missing.iter().map(|image| format!("未列出：`{image}`"));
            let extra = extra.iter().map(|image| format!("多余：`{image}`"));
            missing.chain(extra).collect()
        }
        _ => Vec::new(),
    }
}

/// Words statements about the description and the rules.
fn body(statement: &Statement) -> String {
    match statement {
        Statement::KindInBody(kind) => format!("描述中有 `/kind {kind}`"),
        Statement::NoKindInBody(kinds) => format!("描述中没有 {}", commands("kind", kinds)),
        Statement::RequestInBody(label) => format!("描述中有 `/queue {label}`"),
        Statement::NoRequestInBody(label) => format!("描述中没有 `/queue {label}`"),
        Statement::ReleaseNote => "描述中有发布说明".to_owned(),
        Statement::EmptyReleaseNote => "描述中的发布说明是空的".to_owned(),
        Statement::NoReleaseNote => "描述中没有发布说明".to_owned(),
        Statement::AllMentioned => "描述中已知会所有相关人员".to_owned(),
        Statement::NotMentioned { accounts, owners } => {
            let owners = owners.iter().map(|TargetOwners { target, accounts, .. }| {
                format!("`{target}` 的负责人（{}）", logins(accounts, " 或 "))
            });
            let accounts = accounts.iter().map(|login| format!("@{login}"));
            format!("描述中尚未知会 {}", accounts.chain(owners).collect::<Vec<_>>().join("、"))
        }
        Statement::CheckErrors(0) => "`compass check` 未发现错误".to_owned(),
        Statement::CheckErrors(count) => format!("`compass check` 发现 {count} 个错误"),
        Statement::CheckNotRun => "尚未运行 `compass check`".to_owned(),
        other => lists(other),
    }
}

/// Words statements about lists and images.
fn lists(statement: &Statement) -> String {
    match statement {
        Statement::ImagesUnknown => "无法确定发布文件用到哪些镜像".to_owned(),
        Statement::AllImagesIn(RegistryRole::Source, total) => {
            format!("{total} 个镜像均已推送到源镜像仓库")
        }
        Statement::AllImagesIn(_, total) => {
            format!("{total} 个镜像均已同步到发布镜像仓库，且与源镜像仓库一致")
        }
        Statement::ImagesMissing { registry, total, images } => {
            let place = match registry {
                RegistryRole::Source => "不在源镜像仓库中",
                _ => "尚未正确同步到发布镜像仓库",
            };
            format!("共 {total} 个镜像，其中 {} 个{place}", images.len())
        }
        Statement::ImagesNotKnown { registry: RegistryRole::Source, .. } => {
            "无法确认以下镜像是否已推送到源镜像仓库".to_owned()
        }
        Statement::ImagesNotKnown { .. } => "无法确认以下镜像是否已同步到发布镜像仓库".to_owned(),
        Statement::NoImagesNeeded => "发布文件没有用到镜像".to_owned(),
        Statement::NoImagesListed => "有权限的人员尚未列出镜像".to_owned(),
        Statement::ImagesListed(count) => format!("列出的 {count} 个镜像与发布文件一致"),
        Statement::ListDiffers { .. } => "列出的镜像与发布文件不一致".to_owned(),
        Statement::InvalidLine { line, text, .. } => {
            format!("列表第 {line} 行无法识别：{}", code(text))
        }
        Statement::NoPackagesListed => "有权限的人员尚未列出安装包".to_owned(),
        Statement::PackagesListed(count) => format!("已列出 {count} 个安装包"),
        other => facts(other),
    }
}

/// Words statements about registries and the store.
fn facts(of: &Statement) -> String {
    match of {
        Statement::BundlePublished => "安装包已上传，校验通过".to_owned(),
        Statement::BundleNotPublished(reason) => format!("安装包尚未上传：{}", statement(reason)),
        Statement::BundleNotKnown(reason) => {
            format!("无法确认安装包是否已上传：{}", statement(reason))
        }
        Statement::NoTag => "没有这个标签".to_owned(),
        Statement::OtherDigest { found, expected } => {
            format!("摘要是 {}，与源镜像仓库中的 {} 不同", code(found), code(expected))
        }
        Statement::NotInSource => "源镜像仓库中没有该镜像，无法比对".to_owned(),
        Statement::SourceNotKnown(reason) => format!("无法查询源镜像仓库：{reason}"),
        Statement::RegistryNotAsked => "尚未查询镜像仓库".to_owned(),
        Statement::StoreNotAsked => "尚未查询存储".to_owned(),
        Statement::NoPackage(url) => format!("`{url}` 不存在"),
        Statement::InvalidPackage { url, reason } => {
            format!("`{url}` 不是有效的安装包：{reason}")
        }
        Statement::OtherContent(url) => format!("`{url}` 的内容与本次发布不同"),
        Statement::DamagedPackage(url) => format!("`{url}` 已损坏"),
        Statement::NotSynced => "还有镜像未同步到发布镜像仓库".to_owned(),
        Statement::NotReleasable => "发布内容有问题，暂时无法发布".to_owned(),
        Statement::NoStore => "策略文件没有指定存储".to_owned(),
        Statement::ReleasesNothing | Statement::NoManifestChanged => {
            "本次改动不涉及任何发布文件".to_owned()
        }
        Statement::RemovedFile(path) => format!("本次改动删除了 {}", code(path)),
        other => requests(other),
    }
}

/// Words statements about requests.
fn requests(of: &Statement) -> String {
    match of {
        Statement::UnknownLabel { label, .. } => format!("队列中没有标签 {}", code(label)),
        Statement::SkippedSteps { state, .. } => {
            format!("{}，不能跳过中间的步骤", here(state.as_deref()))
        }
        Statement::NoWayBack { state, label, .. } => {
            format!("{}，不能回到“{}”", here(state.as_deref()), state_name(label))
        }
        Statement::MissingRole { account, roles, .. } => {
            let roles: Vec<_> = roles.iter().map(|role| (TEXTS.role)(role)).collect();
            format!("@{account} 不能执行这一步，须由{}执行", roles.join("或"))
        }
        Statement::GuardsFail(reasons) => {
            let first = |reason: &Statement| body(reason);
            reasons.iter().map(first).collect::<Vec<_>>().join("；")
        }
        Statement::IncompleteCommand { origin, line, command, .. } => {
            let place = match origin {
                Origin::Body => "描述".to_owned(),
                Origin::Comment(index) => format!("第 {} 条评论", index + 1),
                _ => "已删除的评论".to_owned(),
            };
            format!("{place}第 {line} 行的指令 `{command}` 不完整")
        }
        Statement::MoreIncompleteCommands(count) => format!("另有 {count} 条指令不完整"),
        Statement::EditedComment(login) => {
            format!("@{login} 的评论编辑过，其中的指令不再有效，请在新评论中重新给出")
        }
        Statement::OmittedRequests(count) => format!("更早的 {count} 条指令未显示"),
        Statement::UnjustifiedLabel(label) => format!("标签 `queue/{label}` 没有对应的指令"),
        other => other.to_string(),
    }
}

/// What to do about a statement; `None` if nothing is to be done.
pub(super) fn help(statement: &Statement) -> Option<String> {
    Some(match statement {
        Statement::NoKindInBody(kinds) => {
            format!("在描述中单独一行写上 {}", commands("kind", kinds))
        }
        Statement::NoRequestInBody(label) => format!("在描述中单独一行写上 `/queue {label}`"),
        Statement::EmptyReleaseNote => {
            "在 `**Release note**:` 这一行下面写明本次发布的内容".to_owned()
        }
        Statement::NoReleaseNote => {
            "在描述中加上一行 `**Release note**:`，并在下面写明本次发布的内容".to_owned()
        }
        Statement::NotMentioned { accounts, owners } => {
            let first = owners.iter().filter_map(|owners| owners.accounts.first());
            let all: Vec<String> = accounts.iter().chain(first).cloned().collect();
            format!("在描述中加上 `/cc {}`", logins(&all, " "))
        }
        Statement::CheckErrors(1..) => "运行 `compass check`，按检查结果修正发布文件".to_owned(),
        Statement::CheckNotRun => "运行 `compass check`".to_owned(),
        Statement::ImagesUnknown => "先解决“发布内容”中列出的问题".to_owned(),
        Statement::ImagesMissing { registry: RegistryRole::Source, .. } => {
            "把缺少的镜像按发布文件中的版本号推送到源镜像仓库".to_owned()
        }
        Statement::ImagesMissing { images, .. } => sync_help(images).to_owned(),
        Statement::ImagesNotKnown { .. } => "检查镜像仓库能否访问、凭据是否有效".to_owned(),
        Statement::NoImagesListed | Statement::ListDiffers { .. } => {
            "发表评论，先写一行 `image(s) pushed to`，再逐行列出镜像".to_owned()
        }
        Statement::InvalidLine { .. } => "改正这一行，重新发表评论".to_owned(),
        Statement::NoPackagesListed => {
            "发表评论，先写一行 `packages uploaded to`，再逐行列出安装包的地址".to_owned()
        }
        Statement::BundleNotPublished(_) => {
            "运行 `compass package` 和 `compass publish`，打包并上传".to_owned()
        }
        Statement::BundleNotKnown(reason) if **reason == Statement::NotSynced => {
            "镜像同步之后再打包上传".to_owned()
        }
        Statement::BundleNotKnown(_) => "检查存储能否访问、凭据是否有效".to_owned(),
        other => return request_help(other),
    })
}

fn sync_help(missing: &[(ImageReference, Statement)]) -> &'static str {
    let is_any = |is_reason: fn(&Statement) -> bool| missing.iter().any(|(_, why)| is_reason(why));
    if is_any(|why| matches!(why, Statement::OtherDigest { .. })) {
        "提升版本号；如果还没有现场用过原来的镜像，也可以用 `compass sync --on-existing-tag move` 替换"
    } else if is_any(|why| matches!(why, Statement::NotInSource)) {
        "把这些镜像推送到源镜像仓库，以便比对"
    } else {
        "运行 `compass sync`，把这些镜像同步过去"
    }
}

fn request_help(statement: &Statement) -> Option<String> {
    Some(match statement {
        Statement::UnknownLabel { suggestion: Some(label), .. } => {
            format!("是不是想写 `/queue {label}`？")
        }
        Statement::UnknownLabel { labels, .. } => {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            format!("队列中的标签有：{}", labels.join("、"))
        }
        Statement::SkippedSteps { missing, .. } => {
            let missing: Vec<_> = missing.iter().map(|label| format!("`/queue {label}`")).collect();
            format!("先依次给出 {}", missing.join("、"))
        }
        Statement::NoWayBack { onward, .. } if onward.is_empty() => "流程已走完".to_owned(),
        Statement::NoWayBack { onward, .. } => {
            format!("下一步的指令是 {}", commands("queue", onward))
        }
        Statement::MissingRole { people, .. } if !people.is_empty() => {
            format!("请 {} 发表评论，给出这条指令", logins(people, " 或 "))
        }
        Statement::MissingRole { .. } => "请有权限的人员发表评论，给出这条指令".to_owned(),
        Statement::GuardsFail(reasons) => {
            reasons.iter().filter_map(help).collect::<Vec<_>>().join("；")
        }
        _ => return None,
    })
}

fn here(state: Option<&str>) -> String {
    match state {
        Some(state) => format!("目前处于“{}”", state_name(state)),
        None => "尚未进入队列".to_owned(),
    }
}

fn state_name(label: &str) -> &str {
    (TEXTS.state_name)(label).unwrap_or(label)
}

fn commands(command: &str, arguments: &[String]) -> String {
    let commands = arguments.iter().map(|argument| format!("`/{command} {argument}`"));
    commands.collect::<Vec<_>>().join(" 或 ")
}

fn logins(logins: &[String], separator: &str) -> String {
    logins.iter().map(|login| format!("@{login}")).collect::<Vec<_>>().join(separator)
}

/// A text of others as code. A backquote would end it.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word in Latin letters that is not in code.
    fn latin_word(text: &str) -> Option<&str> {
        let words = text.split('`').step_by(2).flat_map(|part| part.split([' ', '@', '，', '：']));
        words.into_iter().find(|word| word.len() > 2 && word.is_ascii())
    }

    fn samples() -> Vec<Statement> {
        let owners = TargetOwners::new("plugin gpu", vec!["a".to_owned()]).unwrap();
        let image = || "h.example/release/gpu:v1".parse().unwrap();
        let images = || vec![(image(), Statement::NoTag), (image(), Statement::NotInSource)];
        let text = |text: &str| text.to_owned();
        let other =
            || Statement::OtherDigest { found: text("sha256:1"), expected: text("sha256:2") };
        let missing = |registry| Statement::ImagesMissing { registry, total: 3, images: images() };
        let only = |why| Statement::ImagesMissing {
            registry: RegistryRole::Release,
            total: 3,
            images: vec![(image(), why)],
        };
        let url = || text("oss://b/p.tar.gz");
        let state = || Some(text("need-queue"));
        vec![
            Statement::NoKindInBody(vec![text("release")]),
            Statement::NoRequestInBody(text("need-queue")),
            Statement::EmptyReleaseNote,
            Statement::NoReleaseNote,
            Statement::NotMentioned { accounts: vec![text("b")], owners: vec![owners] },
            Statement::CheckErrors(2),
            Statement::CheckNotRun,
            Statement::ImagesUnknown,
            missing(RegistryRole::Source),
            missing(RegistryRole::Release),
            only(Statement::NoTag),
            only(other()),
            Statement::ImagesNotKnown { registry: RegistryRole::Source, images: images() },
            Statement::ImagesNotKnown { registry: RegistryRole::Release, images: images() },
            Statement::NoImagesListed,
            Statement::ListDiffers { missing: vec![text("m")], extra: vec![text("e")] },
            Statement::InvalidLine { line: 2, text: text("x y"), reason: text("why") },
            Statement::NoPackagesListed,
            Statement::BundleNotPublished(Box::new(Statement::NoPackage(url()))),
            Statement::BundleNotPublished(Box::new(Statement::OtherContent(url()))),
            Statement::BundleNotPublished(Box::new(Statement::DamagedPackage(url()))),
            Statement::BundleNotKnown(Box::new(Statement::NotSynced)),
            Statement::BundleNotKnown(Box::new(Statement::NoStore)),
            Statement::UnknownLabel { label: text("x"), suggestion: None, labels: vec![text("y")] },
            Statement::SkippedSteps { state: None, missing: vec![text("need-queue")] },
            Statement::NoWayBack { state: state(), label: text("need-queue"), onward: Vec::new() },
            Statement::MissingRole {
                account: text("m"),
                roles: vec![text("owner")],
                people: Vec::new(),
            },
            Statement::GuardsFail(vec![Statement::NoReleaseNote, missing(RegistryRole::Source)]),
        ]
    }

    #[test]
    fn statements_and_help_are_chinese() {
        for sample in samples() {
            let help = help(&sample).unwrap_or_else(|| panic!("no help: {sample}"));
            for words in [statement(&sample), help] {
                assert_eq!(latin_word(&words), None, "{words}");
                assert!(!words.is_ascii(), "{words}");
            }
        }
    }

    #[test]
    fn statement_has_items_in_lines() {
        let image = "h.example/gpu:v1".parse().unwrap();
        let images = vec![(image, Statement::NoTag)];
        let sample = Statement::ImagesMissing { registry: RegistryRole::Source, total: 2, images };
        let expected = "共 2 个镜像，其中 1 个不在源镜像仓库中\n`h.example/gpu:v1`：没有这个标签";
        assert_eq!(statement(&sample), expected);
    }
}
