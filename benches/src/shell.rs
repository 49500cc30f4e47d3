//! Runs shell commands, and measures them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::BenchError;

/// Checks that programs are installed.
/// Returns the path of the `compass` that was built with this program.
///
/// # Errors
/// If a program is not installed, or `compass` was not built.
pub fn require(programs: &[&str]) -> Result<PathBuf, BenchError> {
    if let Some(missing) = programs.iter().find(|program| !is_installed(program)) {
        return Err(format!("{missing} is not installed").into());
    }
    let compass = std::env::current_exe()?.with_file_name("compass");
    if !compass.is_file() {
        return Err("`compass` is not built: run `cargo build --release`".into());
    }
    Ok(compass)
}

/// Whether a program is installed. A program with arguments must also succeed.
pub fn is_installed(program: &str) -> bool {
    let script = match program.contains(' ') {
        true => format!("{program} >/dev/null 2>&1"),
        false => format!("command -v {program} >/dev/null"),
    };
    run(Path::new("."), &script).is_ok()
}

/// Runs a script in a directory, and returns its standard output.
///
/// # Errors
/// If the script fails.
pub fn run(directory: &Path, script: &str) -> Result<String, BenchError> {
    let output = Command::new("bash")
        .args(["-euc", script])
        .current_dir(directory)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the script failed: {script}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Measures how long a script takes.
///
/// # Errors
/// If the script fails.
pub fn timed(directory: &Path, script: &str) -> Result<Duration, BenchError> {
    let started = Instant::now();
    run(directory, script)?;
    Ok(started.elapsed())
}

/// The median of some durations; of an even number, the upper one.
///
/// # Panics
/// If there are none.
pub fn median(durations: &mut [Duration]) -> Duration {
    durations.sort();
    durations[durations.len() / 2]
}
