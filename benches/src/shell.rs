//! Commands, and how long they take.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// Looks for programs, and gives the path of the `compass` that was built along with this one.
///
/// # Errors
/// Where one is missing.
pub fn need(programs: &[&str]) -> Result<PathBuf, Failure> {
    if let Some(missing) = programs.iter().find(|program| !has(program)) {
        return Err(format!("{missing} is missing here").into());
    }
    let compass = std::env::current_exe()?.with_file_name("compass");
    if !compass.is_file() {
        return Err("build the tool first: cargo build --release".into());
    }
    Ok(compass)
}

/// Whether a program is there. With arguments behind it, whether it also works.
pub fn has(program: &str) -> bool {
    let look = match program.contains(' ') {
        true => format!("{program} >/dev/null 2>&1"),
        false => format!("command -v {program} >/dev/null"),
    };
    sh(Path::new("."), &look).is_ok()
}

/// Runs a script in a directory, and gives what it prints.
///
/// # Errors
/// Where it fails.
pub fn sh(root: &Path, script: &str) -> Result<String, Failure> {
    let output = Command::new("bash")
        .args(["-euc", script])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("this failed: {script}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// How long a script takes.
///
/// # Errors
/// Where it fails.
pub fn timed(root: &Path, script: &str) -> Result<Duration, Failure> {
    let began = Instant::now();
    sh(root, script)?;
    Ok(began.elapsed())
}

/// The middle one of some times.
///
/// # Panics
/// Where there are none.
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
