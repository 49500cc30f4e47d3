//! Signals that end the command, and signals that must not.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;

/// Makes a write beyond `ulimit -f` an error, as a full disk is, instead of the end of the process.
/// The handler stays installed.
pub(crate) fn ignore_file_size_limit() {
    const SIGXFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();
    if let Err(error) = signal(SignalKind::from_raw(SIGXFSZ)) {
        tracing::debug!(%error, "cannot handle SIGXFSZ");
    }
}

/// Waits for a signal that ends the process.
pub(crate) async fn interruption() -> CliError {
    let terminate = listen(SignalKind::terminate());
    // `nohup` starts a program with SIGHUP ignored, which a handler must not undo.
    let hangup = async {
        match is_ignored(rustix::process::Signal::HUP) {
            true => std::future::pending().await,
            false => next(listen(SignalKind::hangup())).await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => CliError::interrupted(130),
        () = next(terminate) => CliError::interrupted(143),
        () = hangup => CliError::interrupted(129),
    }
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).ok()
}

async fn next(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether the process was started with this signal ignored (`SigIgn` in `proc_pid_status(5)`).
fn is_ignored(signal: rustix::process::Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (signal.as_raw() - 1)) != 0
}
