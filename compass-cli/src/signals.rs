//! Signals: which end the command, and which must not.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;

/// Keeps a write beyond `ulimit -f` from ending the process without a word: it is an error like
/// a full disk. The handler stays for the life of the process.
pub(crate) fn ignore_file_size_limit() {
    const SIGXFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();
    if let Err(error) = signal(SignalKind::from_raw(SIGXFSZ)) {
        tracing::debug!(%error, "SIGXFSZ ends the process");
    }
}

/// Waits until a signal asks the process to end.
pub(crate) async fn interruption() -> CliError {
    let terminated = listen(SignalKind::terminate());
    // `nohup` starts programs with SIGHUP ignored: they must not end.
    let hung_up = async {
        match is_ignored(rustix::process::Signal::HUP) {
            true => std::future::pending().await,
            false => next(listen(SignalKind::hangup())).await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => CliError::interrupted(130),
        () = next(terminated) => CliError::interrupted(143),
        () = hung_up => CliError::interrupted(129),
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

/// Whether the process was started with a signal ignored (`proc_pid_status(5)`, `SigIgn`).
fn is_ignored(signal: rustix::process::Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (signal.as_raw() - 1)) != 0
}
