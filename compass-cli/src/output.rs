//! Prints results to stdout, and messages to stderr.

use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use compass_manifest::escape::escape_lines;
use compass_manifest::render::{Style, json_text};
use serde_json::Value;

use crate::error::CliError;
use crate::global_args::{Color, Format, GlobalArgs};
use crate::progress::{ProgressMode, TransferProgress};

#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) style: Style,
    quiet: bool,
    progress: ProgressMode,
    /// Whether the command writes data other than its result to stdout.
    is_stdout_reserved: bool,
    /// The warnings so far, which JSON results repeat.
    warnings: Arc<Mutex<Vec<String>>>,
    /// Fields that are added to every JSON result.
    fields: Arc<Mutex<Vec<(&'static str, Value)>>>,
}

impl Output {
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        let shows_progress = global.format == Format::Human && !global.quiet && !global.no_progress;
        let progress = match shows_progress {
            true if is_dumb_terminal() || !std::io::stderr().is_terminal() => ProgressMode::Lines,
            // The log of `-v` and a bar would overwrite each other.
            true if global.verbose == 0 => ProgressMode::Bar,
            _ => ProgressMode::Hidden,
        };
        let style = match use_color(global.color, &std::io::stdout()) {
            true => Style::Colour,
            false => Style::Plain,
        };
        Self {
            format: global.format,
            style,
            quiet: global.quiet,
            progress,
            is_stdout_reserved: false,
            warnings: Arc::default(),
            fields: Arc::default(),
        }
    }

    /// Keeps errors in JSON off stdout if the command writes other data there.
    pub(crate) fn reserve_stdout(self, is_stdout_reserved: bool) -> Self {
        Self { is_stdout_reserved, ..self }
    }

    /// An output that prints nothing, and keeps its warnings apart.
    pub(crate) fn silenced(&self) -> Self {
        Self {
            quiet: true,
            progress: ProgressMode::Hidden,
            warnings: Arc::default(),
            fields: Arc::default(),
            ..self.clone()
        }
    }

    /// Prints the result in the format of `--format`.
    pub(crate) fn result(&self, json: impl FnOnce() -> Value, human: impl FnOnce() -> String) {
        print(&self.formatted(json, human));
    }

    /// Prints a part of the result as human output; JSON is printed as a whole by [`Self::result`].
    pub(crate) fn partial_result(&self, human: impl FnOnce() -> String) {
        if self.format != Format::Json {
            print(&escape_lines(&human()));
        }
    }

    /// Prints the result to stderr, for commands that reserve stdout.
    pub(crate) fn result_to_stderr(
        &self,
        json: impl FnOnce() -> Value,
        human: impl FnOnce() -> String,
    ) {
        let text = self.formatted(json, human);
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Adds a field to every JSON result.
    pub(crate) fn add_field(&self, name: &'static str, value: Value) {
        self.fields.lock().unwrap_or_else(PoisonError::into_inner).push((name, value));
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Prints a message about the progress of the command; `--quiet` and JSON omit it.
    pub(crate) fn status(&self, text: &str) {
        if !self.quiet && self.format == Format::Human {
            let _ = writeln!(std::io::stderr(), "{}", escape_lines(text));
        }
    }

    /// Prints a warning, and adds it to JSON results.
    pub(crate) fn warn(&self, text: &str) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "warning: {}", escape_lines(text));
        }
    }

    /// Prints an error that does not end the command; a JSON result contains it.
    pub(crate) fn error(&self, error: &CliError) {
        if self.format != Format::Json {
            let _ = writeln!(std::io::stderr(), "error: {error}");
        }
    }

    /// Prints the error that ends the command; returns its exit code.
    pub(crate) fn fail(&self, error: &CliError) -> ExitCode {
        match self.format {
            Format::Json if self.is_stdout_reserved => {
                self.result_to_stderr(|| error.to_json(), String::new);
            }
            Format::Json => self.result(|| error.to_json(), String::new),
            Format::Human | Format::Sarif | Format::Github | Format::Markdown => self.error(error),
        }
        ExitCode::from(error.exit)
    }

    /// Shows the progress of a transfer.
    pub(crate) fn progress(&self, title: &str) -> TransferProgress {
        TransferProgress::new(title, self.progress)
    }

    fn formatted(&self, json: impl FnOnce() -> Value, human: impl FnOnce() -> String) -> String {
        match self.format {
            Format::Json => format!("{}\n", json_text(&self.with_warnings(json()))),
            // Untrusted names may contain control sequences.
            Format::Human | Format::Sarif | Format::Github | Format::Markdown => {
                escape_lines(&human()).into_owned()
            }
        }
    }

    /// Adds the warnings and fields so far to a JSON result.
    fn with_warnings(&self, mut result: Value) -> Value {
        if let Value::Object(fields) = &mut result {
            fields.insert("warnings".to_owned(), self.warnings().into());
            let more = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
            fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        result
    }
}

/// Whether text to a stream is colored.
pub(crate) fn use_color(color: Color, stream: &impl IsTerminal) -> bool {
    let no_color = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => stream.is_terminal() && !no_color() && !is_dumb_terminal(),
    }
}

/// Whether the terminal supports no control sequences.
fn is_dumb_terminal() -> bool {
    std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb")
}

/// Prints an error of the command line as JSON.
pub(crate) fn print_json_error(error: &CliError) -> ExitCode {
    print(&format!("{}\n", json_text(&error.to_json())));
    ExitCode::from(error.exit)
}

/// Whether a write to stdout failed.
static STDOUT_FAILED: AtomicBool = AtomicBool::new(false);

/// Returns the exit code of the process for that of the command.
pub(crate) fn exit_code(code: ExitCode) -> ExitCode {
    if STDOUT_FAILED.load(Ordering::Relaxed) { CliError::EXTERNAL.into() } else { code }
}

/// Prints text to stdout. A reader that closes the pipe early (`| head`) is not an error.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = writeln!(std::io::stderr(), "error: cannot write the result: {error}");
        STDOUT_FAILED.store(true, Ordering::Relaxed);
    }
}
