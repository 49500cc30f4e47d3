//! A random git repository on disk, with content and configuration that could mislead a check.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::choices::Choices;
use crate::configuration::{self, HOOKS, Setting};
use crate::history::History;
use crate::tree::{random_attributes, random_ignored};
use crate::work_tree;

pub(crate) struct World {
    pub(crate) directory: TempDir,
    /// The root of the work tree.
    pub(crate) top: PathBuf,
    /// The path of the release repository in the work tree: empty, or ends with `/`.
    pub(crate) prefix: &'static str,
    /// The common directory, which linked work trees share.
    pub(crate) common: PathBuf,
    pub(crate) history: History,
    /// Whether attributes or configuration convert contents.
    pub(crate) converts: bool,
    /// Whether `git add --all` would stage exactly the work tree.
    pub(crate) is_plain: bool,
    pub(crate) is_explicit: bool,
    pub(crate) environment: Vec<Setting>,
}

impl World {
    pub(crate) fn random(choices: &mut Choices) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let prefix = choices.pick(&["", "", "deploy/", "sp ace/[r]*/", "-é/release/"]);
        let converts = choices.percent(40);
        let history = History::random(choices, prefix, converts);
        let top = directory.path().join("work");
        let is_linked = choices.percent(15);
        let main = if is_linked { directory.path().join("main") } else { top.clone() };
        let mut world = Self {
            common: main.join(".git"),
            directory,
            top,
            prefix,
            history,
            converts,
            is_plain: !converts,
            is_explicit: true,
            environment: Vec::new(),
        };
        world.import(choices, &main);
        world.check_out(choices, is_linked);
        fs::create_dir_all(world.root()).unwrap();
        if choices.percent(70) {
            work_tree::change(&mut world, choices);
        }
        world.mislead(choices, is_linked);
        world.choose_environment(choices, is_linked);
        world
    }

    /// The release repository.
    pub(crate) fn root(&self) -> PathBuf {
        self.top.join(self.prefix)
    }

    /// Converts a path that git printed to a path of the release repository.
    pub(crate) fn relative(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = path.strip_prefix(self.prefix.as_bytes())?;
        // Git lists a nested repository as a directory.
        let path = path.strip_suffix(b"/").unwrap_or(path);
        (!path.is_empty()).then(|| path.to_vec())
    }

    /// The marker file of the programs that must not run.
    pub(crate) fn marks(&self) -> PathBuf {
        self.directory.path().join("marks")
    }

    /// The directory for temporary files, which must be removed.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.directory.path().join("temporary")
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    fn program(&self) -> String {
        self.directory.path().join("program").display().to_string()
    }

    /// A git command that ignores the hostile configuration.
    pub(crate) fn git(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.env_clear().env("HOME", self.home()).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "T").env(format!("GIT_{role}_EMAIL"), "t@x");
            command.env(format!("GIT_{role}_DATE"), "1700000000 +0000");
        }
        command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_NO_LAZY_FETCH", "1");
        for setting in [
            "core.fsmonitor=false",
            "core.hooksPath=/dev/null",
            "diff.autoRefreshIndex=true",
            "diff.orderFile=/dev/null",
            "filter.x.clean=",
            "filter.x.smudge=",
            "filter.x.process=",
            "filter.x.required=false",
            "index.sparse=false",
            "submodule.recurse=false",
        ] {
            command.args(["-c", setting]);
        }
        command.arg("--literal-pathspecs").args(arguments).current_dir(&self.top);
        command
    }

    /// Runs a git command; returns its output for any exit status.
    pub(crate) fn try_git(&self, arguments: &[&str], paths: &[&[u8]]) -> Output {
        let mut command = self.git(arguments);
        command.args(paths.iter().map(|path| OsStr::from_bytes(path))).output().unwrap()
    }

    /// Runs a git command that must succeed.
    pub(crate) fn run_git(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        feed(&mut self.git(arguments), input)
    }

    pub(crate) fn compass(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        command.args(arguments).env("HOME", self.home()).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("TMPDIR", self.temporary()).env_remove("XDG_CONFIG_HOME").stdin(Stdio::null());
        command
    }

    fn import(&mut self, choices: &mut Choices, main: &Path) {
        fs::create_dir_all(self.home()).unwrap();
        fs::create_dir_all(self.temporary()).unwrap();
        fs::create_dir_all(main).unwrap();
        fs::create_dir_all(&self.top).unwrap();
        let script = format!("#!/bin/sh\necho \"$@\" >> {}\ncat\n", self.marks().display());
        write_program(Path::new(&self.program()), &script);
        let path = main.display().to_string();
        let format = if self.history.sha256 { "sha256" } else { "sha1" };
        let format = format!("--object-format={format}");
        self.run_git(&["init", "-q", "--template=", "-b", "start", &format, &path], b"");
        let settings = configuration::of_checkout(choices, self.converts);
        let is_odd = |(key, value): &Setting| {
            let odd = [("core.symlinks", "false"), ("core.ignoreCase", "true")];
            odd.contains(&(key, value))
        };
        self.is_plain &= !settings.iter().any(is_odd);
        append(&self.common.join("config"), &configuration::file(&settings));
        self.add_local_files(choices);
        let stream = self.history.stream();
        feed(self.git(&["fast-import", "--quiet", "--done"]).current_dir(main), &stream);
    }

    /// Attributes and ignored files that only this repository has.
    fn add_local_files(&self, choices: &mut Choices) {
        fs::create_dir_all(self.common.join("info")).unwrap();
        if choices.percent(20) {
            let attributes = random_attributes(choices, self.converts);
            fs::write(self.common.join("info/attributes"), attributes).unwrap();
        }
        if choices.percent(20) {
            fs::write(self.common.join("info/exclude"), random_ignored(choices)).unwrap();
        }
    }

    fn check_out(&mut self, choices: &mut Choices, is_linked: bool) {
        if is_linked {
            let top = self.top.display().to_string();
            fs::remove_dir(&self.top).unwrap();
            let add = ["worktree", "add", "-q", &top, "topic"];
            feed(self.git(&add).current_dir(self.directory.path().join("main")), b"");
        } else {
            self.run_git(&["symbolic-ref", "HEAD", "refs/heads/topic"], b"");
            self.run_git(&["reset", "-q", "--hard"], b"");
        }
        if choices.percent(12) {
            self.is_plain = false;
            let form = choices.pick(&["--cone", "--no-cone"]);
            let index = choices.pick(&["--sparse-index", "--no-sparse-index"]);
            let directory = choices.pick(&["docs", "release-plugins", "released"]);
            let directory = format!("{}{directory}", self.prefix);
            self.try_git(&["sparse-checkout", "set", form, index, &directory], &[]);
        }
    }

    /// Adds configuration, hooks and attributes; afterwards, no git command of the test writes here.
    fn mislead(&mut self, choices: &mut Choices, is_linked: bool) {
        let program = self.program();
        let own = match is_linked {
            true => self.common.join("worktrees/work/config.worktree"),
            false => self.common.join("config.worktree"),
        };
        let included = self.directory.path().join("included");
        append(
            &self.common.join("config"),
            &configuration::file(&[
                ("include.path".to_owned(), included.display().to_string()),
                ("extensions.worktreeConfig".to_owned(), "true".to_owned()),
            ]),
        );
        let files = [self.common.join("config"), own, self.home().join(".gitconfig"), included];
        for setting in configuration::hostile(choices, &program, self.converts) {
            append(&files[choices.below(files.len())], &configuration::file(&[setting]));
        }
        if self.converts && choices.percent(30) {
            self.add_local_files(choices);
        }
        if choices.percent(30) {
            let hooks = self.common.join("hooks");
            fs::create_dir_all(&hooks).unwrap();
            for hook in HOOKS {
                let script = format!("#!/bin/sh\nexec {program} hook {hook}\n");
                write_program(&hooks.join(hook), &script);
            }
        }
        // The setup may have run programs; from now on, that is an error.
        let _ = fs::remove_file(self.marks());
    }

    fn choose_environment(&mut self, choices: &mut Choices, is_linked: bool) {
        let marks = [".compass.yaml", "release-plugins", "release-hotfixes", "release-products"];
        let is_found = marks.iter().any(|mark| self.root().join(mark).exists());
        self.is_explicit = !is_found || choices.percent(60);
        self.environment = configuration::of_user(choices, &self.program());
        if self.is_explicit {
            let elsewhere = self.directory.path().join("elsewhere");
            self.environment.extend(configuration::of_repository(choices, &elsewhere));
        } else if choices.percent(20) {
            // As in a hook of the repository.
            let own = self.common.join(if is_linked { "worktrees/work" } else { "" });
            let directories = [("GIT_DIR", own), ("GIT_WORK_TREE", self.top.clone())];
            let directories =
                directories.map(|(name, path)| (name.to_owned(), path.display().to_string()));
            self.environment.extend(directories);
        }
        if choices.percent(20) {
            symlink(self.root(), self.directory.path().join("link")).unwrap();
        }
    }
}

/// Runs a command that must succeed, with `input`; returns its standard output.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Vec<u8> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A failing command may not read all of its input; its exit status shows that.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    output.stdout
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
