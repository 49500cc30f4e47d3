//! The one place that prints. Data goes to stdout, everything else to stderr.

use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use compass_manifest::escape::{escape, escape_lines};
use compass_manifest::render::{Style, json_text};
use serde_json::Value;

use crate::cli::{Color, Format, Global};
use crate::error::CliError;
use crate::progress::{Bar, ProgressMode};

#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) format: Format,
    quiet: bool,
    progress: ProgressMode,
    /// Whether standard output carries something else than results.
    is_stdout_reserved: bool,
    pub(crate) style: Style,
    /// The warnings so far; JSON results repeat them.
    warnings: Arc<Mutex<Vec<String>>>,
    /// Fields that every JSON result has, beside its own.
    fields: Arc<Mutex<Vec<(&'static str, Value)>>>,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let is_wanted = global.format == Format::Human && !global.quiet && !global.no_progress;
        let progress = match is_wanted {
            true if is_dumb() || !std::io::stderr().is_terminal() => ProgressMode::Lines,
            // The log of `-v` and a bar would overwrite each other.
            true if global.verbose == 0 => ProgressMode::Bar,
            _ => ProgressMode::Hidden,
        };
        Self {
            format: global.format,
            quiet: global.quiet,
            progress,
            is_stdout_reserved: false,
            style: if use_color(global.color, &std::io::stdout()) {
                Style::Colour
            } else {
                Style::Plain
            },
            warnings: Arc::default(),
            fields: Arc::default(),
        }
    }

    /// Prints nothing on standard output, where that is taken.
    pub(crate) fn reserve_stdout(self, is_stdout_reserved: bool) -> Self {
        Self { is_stdout_reserved, ..self }
    }

    /// Prints a result, in the form that was asked for.
    pub(crate) fn result(&self, json: impl FnOnce() -> Value, human: impl FnOnce() -> String) {
        print(&self.formatted(json, human));
    }

    /// Prints what a human reads of a part of the result, which in JSON is printed whole.
    pub(crate) fn partial_result(&self, human: impl FnOnce() -> String) {
        if self.format != Format::Json {
            print(&escape_lines(&human()));
        }
    }

    /// Prints a result where standard output is taken.
    pub(crate) fn result_to_stderr(
        &self,
        json: impl FnOnce() -> Value,
        human: impl FnOnce() -> String,
    ) {
        let text = self.formatted(json, human);
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    fn formatted(&self, json: impl FnOnce() -> Value, human: impl FnOnce() -> String) -> String {
        match self.format {
            Format::Json => format!("{}\n", json_text(&self.with_warnings(json()))),
            // Names from outside may hold what a terminal obeys.
            Format::Human | Format::Sarif | Format::Github => escape_lines(&human()).into_owned(),
        }
    }

    /// A JSON result with the warnings so far.
    fn with_warnings(&self, mut result: Value) -> Value {
        if let Value::Object(fields) = &mut result {
            fields.insert("warnings".to_owned(), self.warnings().into());
            let more = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
            fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        result
    }

    /// Adds a field to every JSON result.
    pub(crate) fn add_field(&self, name: &'static str, value: Value) {
        self.fields.lock().unwrap_or_else(PoisonError::into_inner).push((name, value));
    }

    /// The warnings so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says something that is no result.
    pub(crate) fn status(&self, text: &str) {
        if !self.quiet && self.format == Format::Human {
            let _ = writeln!(std::io::stderr(), "{}", escape_lines(text));
        }
    }

    /// Warns of something that must not be missed: on standard error, and in JSON results.
    pub(crate) fn warn(&self, text: &str) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "warning: {}", escape_lines(text));
        }
    }

    /// Says what went wrong with one thing of several; in JSON, the result says it.
    pub(crate) fn error(&self, failure: &CliError) {
        if self.format != Format::Json {
            let _ = writeln!(std::io::stderr(), "error: {failure}");
        }
    }

    /// Says why the command ends badly.
    pub(crate) fn fail(&self, failure: &CliError) -> ExitCode {
        match self.format {
            Format::Json => {
                let print =
                    if self.is_stdout_reserved { Self::result_to_stderr } else { Self::result };
                print(self, || failure.to_json(), String::new);
                ExitCode::from(failure.exit)
            }
            Format::Human | Format::Sarif | Format::Github => {
                let _ = writeln!(std::io::stderr(), "error: {failure}");
                ExitCode::from(failure.exit)
            }
        }
    }

    /// Shows a transfer in bytes.
    pub(crate) fn bar(&self, title: &str) -> Bar {
        Bar::new(title, self.progress)
    }
}

/// Whether what goes there has colours.
pub(crate) fn use_color(color: Color, to: &impl IsTerminal) -> bool {
    let plain = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => to.is_terminal() && !plain() && !is_dumb(),
    }
}

/// Whether the terminal says that it knows no control sequences.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb")
}

/// A name from outside, escaped for a line of human output.
pub(crate) fn printable(text: &str) -> String {
    escape(text).into_owned()
}

/// A number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

pub(crate) fn print_json_failure(failure: &CliError) -> ExitCode {
    print(&format!("{}\n", json_text(&failure.to_json())));
    ExitCode::from(failure.exit)
}

/// Whether a result could not be printed.
static STDOUT_FAILED: AtomicBool = AtomicBool::new(false);

/// The code that the process ends with.
pub(crate) fn exit_code(of_command: ExitCode) -> ExitCode {
    if STDOUT_FAILED.load(Ordering::Relaxed) { CliError::EXTERNAL.into() } else { of_command }
}

/// Prints text on stdout. A reader that stops early (`| head`) is not a failure.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = writeln!(std::io::stderr(), "error: cannot write the result: {error}");
        STDOUT_FAILED.store(true, Ordering::Relaxed);
    }
}
