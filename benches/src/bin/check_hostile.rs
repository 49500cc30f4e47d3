//! What hostile files cost: time and peak memory of reading and of judging each, in a process of
//! its own. What the process has before is subtracted.
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

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [what, name] => measure(what, name),
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

fn compare() -> Result<(), Failure> {
    println!("| | refused | `yaml::read` | | `check` | |\n|---|---|---|---|---|---|");
    for case in CASES {
        let (read, check) = (child("read", case.name)?, child("check", case.name)?);
        let refused = if case.refusal.is_some() { "yes" } else { "" };
        println!("| {} | {refused} | {read} | {check} |", case.name);
    }
    Ok(())
}

fn child(what: &str, name: &str) -> Result<String, Failure> {
    let output = Command::new(std::env::current_exe()?).args([what, name]).output()?;
    if !output.status.success() {
        return Ok(format!("{} | ", output.status));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn measure(what: &str, name: &str) -> Result<(), Failure> {
    let case = CASES.iter().find(|case| case.name == name).ok_or("there is no such case")?;
    let path = "release-plugins/x.yaml";
    let tree: Tree = [(path, (case.bytes)())].into_iter().collect();
    let bytes = tree.get(path).unwrap_or_default();
    // Making the file may have taken more than keeping it: forget that peak.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = status("VmRSS:")?;
    let began = Instant::now();
    if what == "check" {
        drop(check(&tree, &Policy::default()));
    } else {
        drop(yaml::read(path, bytes));
    }
    let time = began.elapsed().as_millis();
    println!("{time} ms | {} MiB", status("VmHWM:")?.saturating_sub(before) / 1024);
    Ok(())
}

/// A line of the process's status, in KiB.
fn status(field: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
