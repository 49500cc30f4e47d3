//! Random and hostile configuration of the repository, the user and the environment.

use std::path::Path;

use crate::choices::Choices;

/// A configuration variable and its value.
pub(crate) type Setting = (String, String);

/// Settings that affect a checkout without conversions.
const OF_CHECKOUT: [(&str, &[&str]); 16] = [
    ("core.fileMode", &["true", "false"]),
    ("core.symlinks", &["true", "false"]),
    ("core.ignoreCase", &["true", "false"]),
    ("core.precomposeUnicode", &["true", "false"]),
    ("core.checkStat", &["default", "minimal"]),
    ("core.trustctime", &["true", "false"]),
    ("core.splitIndex", &["true", "false"]),
    ("core.untrackedCache", &["true", "keep", "false"]),
    ("core.preloadIndex", &["true", "false"]),
    ("core.bigFileThreshold", &["1", "10", "512m"]),
    ("index.version", &["2", "3", "4"]),
    ("index.skipHash", &["true", "false"]),
    ("index.threads", &["true", "1"]),
    ("index.recordEndOfIndexEntries", &["true", "false"]),
    ("feature.manyFiles", &["true", "false"]),
    ("feature.experimental", &["true", "false"]),
];

const CONVERSIONS: [(&str, &[&str]); 4] = [
    ("core.autocrlf", &["true", "false", "input"]),
    ("core.eol", &["lf", "crlf", "native"]),
    ("core.safecrlf", &["true", "false", "warn"]),
    ("core.checkRoundtripEncoding", &["GBK", "UTF-16"]),
];

/// Settings that change the output or the paths of commands.
const OF_OUTPUT: [(&str, &[&str]); 56] = [
    ("advice.statusHints", &["false"]),
    ("alias.diff", &["!false"]),
    ("color.branch", &["always"]),
    ("color.diff", &["always"]),
    ("color.status", &["always"]),
    ("color.ui", &["always", "never"]),
    ("column.branch", &["always"]),
    ("column.status", &["always"]),
    ("column.ui", &["always", "never"]),
    ("core.abbrev", &["4", "no"]),
    ("core.commentChar", &["*"]),
    ("core.fsmonitor", &["true", "false"]),
    ("core.logAllRefUpdates", &["always"]),
    ("core.quotePath", &["true", "false"]),
    ("core.warnAmbiguousRefs", &["true"]),
    ("core.whitespace", &["cr-at-eol"]),
    ("diff.algorithm", &["patience", "histogram"]),
    ("diff.autoRefreshIndex", &["true", "false"]),
    ("diff.colorMoved", &["zebra"]),
    ("diff.dirstat", &["files"]),
    ("diff.dstPrefix", &["x/"]),
    ("diff.external", &["false"]),
    ("diff.ignoreSubmodules", &["all", "none", "dirty", "untracked"]),
    ("diff.indentHeuristic", &["false"]),
    ("diff.interHunkContext", &["3"]),
    ("diff.mnemonicPrefix", &["true"]),
    ("diff.noprefix", &["true"]),
    ("diff.orderFile", &["/nonexistent", "docs/guide.md"]),
    ("diff.relative", &["true", "false"]),
    ("diff.renameLimit", &["1"]),
    ("diff.renames", &["true", "false", "copies"]),
    ("diff.srcPrefix", &["y/"]),
    ("diff.statGraphWidth", &["3"]),
    ("diff.submodule", &["log", "diff", "short"]),
    ("diff.suppressBlankEmpty", &["true"]),
    ("diff.wordRegex", &["."]),
    ("diff.wsErrorHighlight", &["all"]),
    ("grep.lineNumber", &["true"]),
    ("i18n.logOutputEncoding", &["UTF-16"]),
    ("index.sparse", &["true", "false"]),
    ("log.date", &["relative"]),
    ("log.decorate", &["full"]),
    ("log.follow", &["true"]),
    ("log.mailmap", &["false"]),
    ("log.showRoot", &["false"]),
    ("log.showSignature", &["true"]),
    ("ls-files.x", &["y"]),
    ("status.branch", &["true"]),
    ("status.relativePaths", &["true"]),
    ("status.renames", &["copies"]),
    ("status.short", &["true"]),
    ("status.showStash", &["true"]),
    ("status.showUntrackedFiles", &["no", "all"]),
    ("status.submoduleSummary", &["true"]),
    ("submodule.nested.ignore", &["all", "none"]),
    ("submodule.recurse", &["true"]),
];

/// Settings that name a program.
const OF_PROGRAMS: [&str; 31] = [
    "alias.ls-files",
    "browser.x.cmd",
    "core.alternateRefsCommand",
    "core.askPass",
    "core.editor",
    "core.fsmonitor",
    "core.gitProxy",
    "core.pager",
    "core.sshCommand",
    "credential.helper",
    "diff.default.command",
    "diff.external",
    "diff.x.command",
    "diff.x.textconv",
    "gpg.program",
    "gpg.ssh.program",
    "gpg.x509.program",
    "interactive.diffFilter",
    "merge.union.driver",
    "merge.x.driver",
    "mergetool.x.cmd",
    "pager.cat-file",
    "pager.config",
    "pager.diff",
    "pager.ls-files",
    "pager.ls-tree",
    "pager.rev-parse",
    "remote.origin.receivepack",
    "remote.origin.uploadpack",
    "sequence.editor",
    "uploadpack.packObjectsHook",
];

/// The hooks that a reading command could run.
pub(crate) const HOOKS: [&str; 6] = [
    "fsmonitor-watchman",
    "post-checkout",
    "post-index-change",
    "pre-auto-gc",
    "query-watchman",
    "reference-transaction",
];

pub(crate) fn of_checkout(choices: &mut Choices, converts: bool) -> Vec<Setting> {
    let mut settings = some(choices, &OF_CHECKOUT, 15);
    // Git 2.47 corrupts a split index without a hash.
    if settings.contains(&("core.splitIndex".to_owned(), "true".to_owned())) {
        settings
            .retain(|(key, _)| !["index.skipHash", "feature.manyFiles"].contains(&key.as_str()));
    }
    if converts {
        settings.extend(some(choices, &CONVERSIONS, 35));
    }
    settings
}

/// Settings that must have no effect; the programs that they name are `program`.
pub(crate) fn hostile(choices: &mut Choices, program: &str, converts: bool) -> Vec<Setting> {
    let mut settings = some(choices, &OF_OUTPUT, 12);
    for key in OF_PROGRAMS {
        if choices.percent(20) {
            let is_shell = key.starts_with("alias.");
            let value = format!("{}{program} {key}", if is_shell { "!" } else { "" });
            settings.push((key.to_owned(), value));
        }
    }
    if choices.percent(30) {
        let url = format!("ext::{program} %S");
        let promisor = [("url", &*url), ("promisor", "true"), ("partialclonefilter", "blob:none")];
        let promisor = promisor.map(|(key, value)| (format!("remote.origin.{key}"), value.into()));
        settings.extend(promisor);
    }
    if converts {
        settings.extend(some(choices, &CONVERSIONS, 15));
        for key in ["clean", "smudge", "process"] {
            if choices.percent(50) {
                settings.push((format!("filter.x.{key}"), format!("{program} filter")));
            }
        }
        let more = [
            "filter.x.required",
            "filter.Y.z.required",
            "filter.required",
            "filter.sp ace.required",
        ];
        settings
            .push((choices.pick(&more).to_owned(), choices.pick(&["true", "false"]).to_owned()));
    }
    settings
}

/// Environment variables that must have no effect with `--repo`.
pub(crate) fn of_repository(choices: &mut Choices, elsewhere: &Path) -> Vec<Setting> {
    let elsewhere = elsewhere.display().to_string();
    let variables = [
        ("GIT_DIR", elsewhere.clone()),
        ("GIT_WORK_TREE", elsewhere.clone()),
        ("GIT_COMMON_DIR", elsewhere.clone()),
        ("GIT_INDEX_FILE", format!("{elsewhere}/index")),
        ("GIT_OBJECT_DIRECTORY", format!("{elsewhere}/objects")),
        ("GIT_NAMESPACE", "x".to_owned()),
        ("GIT_GRAFT_FILE", format!("{elsewhere}/grafts")),
        ("GIT_SHALLOW_FILE", format!("{elsewhere}/shallow")),
        ("GIT_CEILING_DIRECTORIES", "/".to_owned()),
    ];
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value));
    variables.filter(|_| choices.percent(25)).collect()
}

/// Environment variables that must never have an effect.
pub(crate) fn of_user(choices: &mut Choices, program: &str) -> Vec<Setting> {
    let setting = format!("'diff.external'='{program}' 'core.fsmonitor'='{program}'");
    let variables = [
        ("GIT_ATTR_SOURCE", "HEAD"),
        ("GIT_ATTR_SOURCE", "nowhere"),
        ("GIT_CONFIG", "/dev/null"),
        ("GIT_CONFIG_PARAMETERS", setting.as_str()),
        ("GIT_DIFF_OPTS", "--unified=0"),
        ("GIT_EDITOR", program),
        ("GIT_EXTERNAL_DIFF", program),
        ("GIT_GLOB_PATHSPECS", "1"),
        ("GIT_ICASE_PATHSPECS", "1"),
        ("GIT_NOGLOB_PATHSPECS", "1"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_OPTIONAL_LOCKS", "1"),
        ("GIT_PAGER", program),
        ("GIT_PAGER_IN_USE", "1"),
        ("GIT_PREFIX", "docs/"),
        ("GIT_SSH_COMMAND", program),
        ("GIT_TRACE", "1"),
        ("GIT_TRACE_SETUP", "1"),
        ("LC_ALL", "tr_TR.UTF-8"),
        ("PAGER", program),
    ];
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    variables.filter(|_| choices.percent(12)).collect()
}

fn some(choices: &mut Choices, table: &[(&str, &[&str])], percent: usize) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (key, values) in table {
        if choices.percent(percent) {
            settings.push(((*key).to_owned(), choices.pick(values).to_owned()));
        }
    }
    settings
}

/// Formats settings as a configuration file.
pub(crate) fn file(settings: &[Setting]) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let line = |(key, value): &Setting| {
        let (section, name) = key.rsplit_once('.').unwrap_or(("core", key));
        let section = match section.split_once('.') {
            Some((section, subsection)) => format!("{section} \"{}\"", escaped(subsection)),
            None => section.to_owned(),
        };
        format!("[{section}]\n\t{name} = \"{}\"\n", escaped(value))
    };
    settings.iter().map(line).collect()
}
