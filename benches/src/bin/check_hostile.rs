//! Measures the time and peak memory of `yaml::read` and `check` on hostile files.
//!
//! Each measurement runs in a process of its own. The memory that the process uses before is
//! subtracted.
//!
//! ```sh
//! cargo run --release -p compass-benches --bin check_hostile
//! ```

#[path = "../../../compass-manifest/tests/hostile/cases.rs"]
mod cases;

use std::process::{Command, ExitCode};
use std::time::Instant;

use compass_manifest::{Policy, Tree, check, yaml};

use cases::CASES;

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [operation, name] => measure(operation, name),
        _ => compare(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), Error> {
    println!("| | refused | `yaml::read` | | `check` | |\n|---|---|---|---|---|---|");
    for case in CASES {
        let (read, check) =
            (measure_in_child("read", case.name)?, measure_in_child("check", case.name)?);
        let refused = if case.error.is_some() { "yes" } else { "" };
        println!("| {} | {refused} | {read} | {check} |", case.name);
    }
    Ok(())
}

/// Runs one measurement in a process of its own.
fn measure_in_child(operation: &str, name: &str) -> Result<String, Error> {
    let output = Command::new(std::env::current_exe()?).args([operation, name]).output()?;
    if !output.status.success() {
        return Ok(format!("{} | ", output.status));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn measure(operation: &str, name: &str) -> Result<(), Error> {
    let case = CASES
        .iter()
        .find(|case| case.name == name)
        .ok_or_else(|| format!("unknown case `{name}`"))?;
    let path = "release-plugins/x.yaml";
    let tree: Tree = [(path, (case.bytes)())].into_iter().collect();
    let bytes = tree.get(path).unwrap_or_default();
    // Resets the peak, which building the file may have raised.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = status("VmRSS:")?;
    let started = Instant::now();
    if operation == "check" {
        drop(check(&tree, &Policy::default()));
    } else {
        drop(yaml::read(path, bytes));
    }
    let time = started.elapsed().as_millis();
    println!("{time} ms | {} MiB", status("VmHWM:")?.saturating_sub(before) / 1024);
    Ok(())
}

/// Reads a field of `/proc/self/status`, in KiB.
fn status(field: &str) -> Result<u64, Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .ok_or_else(|| format!("/proc/self/status has no `{field}`"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
