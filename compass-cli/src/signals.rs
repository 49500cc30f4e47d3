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

/// The signals that end the process, received since this was created.
pub(crate) struct Interruptions {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
}

impl Interruptions {
    /// Starts to listen. A listener created after a blocking call would miss the signals before.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(crate) fn listen() -> Self {
        let listen = |kind| signal(kind).ok();
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
            // `nohup` starts a program with SIGHUP ignored, which a handler must not undo.
            hangup: match is_ignored(rustix::process::Signal::HUP) {
                true => None,
                false => listen(SignalKind::hangup()),
            },
        }
    }

    /// Waits for a signal.
    pub(crate) async fn next(&mut self) -> CliError {
        tokio::select! {
            () = next(&mut self.interrupt) => CliError::interrupted(130),
            () = next(&mut self.terminate) => CliError::interrupted(143),
            () = next(&mut self.hangup) => CliError::interrupted(129),
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
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
