//! Runs a command within a time limit.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::command::spawn_error;
use crate::error::Result;

/// How long a command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// How long the error output of a command is awaited after its end. A process that it started, such
/// as a shared connection of SSH, can keep the pipe open.
const OUTPUT_WAIT: Duration = Duration::from_secs(1);

/// The time between two looks at a command.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The maximum size of an error message in bytes.
const MAX_MESSAGE: usize = 64 << 10;

/// How a command ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With its error output.
    Exited(ExitStatus, String),
    TimedOut,
}

/// Runs a command that writes only errors. At the limit, ends it and the processes that it started.
pub(super) fn run_within(command: Command, limit: Duration) -> Result<Ended> {
    // A process of another group cannot ask at the terminal, and does not receive Ctrl-C.
    let has_terminal = File::open("/dev/tty").is_ok();
    run_as(command, limit, !has_terminal)
}

/// Runs a command. With `own_group`, its processes are in a process group of their own.
fn run_as(mut command: Command, limit: Duration, own_group: bool) -> Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    if own_group {
        command.process_group(0);
    }
    let mut child = command.spawn().map_err(|error| spawn_error(&error))?;
    let output = child.stderr.take().map(read_in_thread);
    let collect = |wait| output.as_ref().map(|output| collect(output, wait)).unwrap_or_default();
    if let Some(status) = wait_until(&mut child, Instant::now() + limit)? {
        let output = if status.success() { Vec::new() } else { collect(OUTPUT_WAIT) };
        return Ok(Ended::Exited(status, String::from_utf8_lossy(&output).into_owned()));
    }
    signal(&child, own_group, Signal::TERM);
    // The output ends when all processes have ended.
    collect(GRACE);
    signal(&child, own_group, Signal::KILL);
    child.wait().map_err(|error| spawn_error(&error))?;
    Ok(Ended::TimedOut)
}

/// Waits for the end of a command; `None` if it has not ended in time.
fn wait_until(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    loop {
        let status = child.try_wait().map_err(|error| spawn_error(&error))?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Reads a pipe until its end, so that the command can write. Only the first bytes are sent.
fn read_in_thread(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, output) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut chunk, mut left) = (vec![0; 4096], MAX_MESSAGE);
        loop {
            let kept = match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count.min(left),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            left -= kept;
            if kept > 0 {
                // Fails if the output is not needed any more.
                let _ = sender.send(chunk[..kept].to_vec());
            }
        }
    });
    output
}

/// Collects the output until its end, or until the time is over.
fn collect(output: &Receiver<Vec<u8>>, wait: Duration) -> Vec<u8> {
    let deadline = Instant::now() + wait;
    let mut bytes = Vec::new();
    while let Ok(chunk) = output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        bytes.extend(chunk);
    }
    bytes
}

/// Sends a signal to a command that was not waited for, or to its group.
fn signal(child: &Child, own_group: bool, signal: Signal) {
    let pid = Pid::from_child(child);
    // Fails only if the processes have ended.
    let _ = match own_group {
        true => kill_process_group(pid, signal),
        false => kill_process(pid, signal),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn is_running(pid: &str) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        // A process that has ended may wait for its parent.
        !status.is_empty() && !status.contains("State:\tZ")
    }

    #[test]
    fn run_within_ends_command_at_limit() {
        for own_group in [true, false] {
            let sleep = shell("exec sleep 600");
            let ended = run_as(sleep, Duration::from_millis(10), own_group).unwrap();
            assert!(matches!(ended, Ended::TimedOut));
        }
    }

    #[test]
    fn run_within_returns_error_output() {
        let ended = run_within(shell("echo wrong >&2; exit 3"), LONG).unwrap();
        let Ended::Exited(status, message) = ended else { panic!("timed out") };
        assert_eq!((status.code(), message.as_str()), (Some(3), "wrong\n"));
    }

    #[test]
    fn run_within_ignores_processes_left_behind() {
        let ended = run_within(shell("sleep 600 & echo $! >&2; exit 3"), LONG).unwrap();
        let Ended::Exited(_, pid) = ended else { panic!("timed out") };
        assert!(is_running(pid.trim()));
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }

    #[test]
    fn run_within_ends_started_processes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("sleep 600 & echo $! > '{}'; wait", file.display());
        // The limit is longer if the script has not reached its end.
        let pid = (0..8).find_map(|round| {
            let ended = run_as(shell(&script), Duration::from_millis(100 << round), true).unwrap();
            assert!(matches!(ended, Ended::TimedOut));
            std::fs::read_to_string(&file).ok().filter(|pid| pid.ends_with('\n'))
        });
        let pid = pid.unwrap();
        for _ in 0..1000 {
            if !is_running(pid.trim()) {
                return;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        panic!("the process {} is running", pid.trim());
    }
}
