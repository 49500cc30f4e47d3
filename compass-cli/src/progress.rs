//! The progress of a transfer: a bar on a terminal, otherwise a line every ten seconds.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use compass_registry::Progress;
use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The interval between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The text next to the bar has at most 59 columns, so that a line fits a terminal of 60 columns.
const TEMPLATE: &str = "{msg:16!} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    Bar,
    Lines,
    Hidden,
}

/// Shows the progress of a transfer until it is dropped.
pub(crate) struct TransferProgress(Arc<State>);

struct State {
    bar: ProgressBar,
    mode: ProgressMode,
    title: String,
    started: Instant,
    total_bytes: AtomicU64,
    done_bytes: AtomicU64,
    total_images: AtomicU64,
    done_images: AtomicU64,
    /// Stops the thread that prints lines when it is dropped.
    line_thread: Mutex<Option<Sender<()>>>,
}

impl TransferProgress {
    pub(crate) fn new(title: &str, mode: ProgressMode) -> Self {
        let bar = ProgressBar::new(0);
        if mode != ProgressMode::Bar {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(title.to_owned());
        let state = Arc::new(State {
            bar,
            mode,
            title: title.to_owned(),
            started: Instant::now(),
            total_bytes: AtomicU64::new(0),
            done_bytes: AtomicU64::new(0),
            total_images: AtomicU64::new(0),
            done_images: AtomicU64::new(0),
            line_thread: Mutex::new(None),
        });
        if mode == ProgressMode::Lines {
            state.start_line_thread();
        }
        Self(state)
    }

    pub(crate) fn shared(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.0) as Arc<dyn Progress>
    }

    /// Adds to the number of images of the transfer.
    pub(crate) fn expect_images(&self, count: usize) {
        self.0.total_images.fetch_add(count as u64, Ordering::Relaxed);
        self.0.update_message();
    }
}

impl Drop for TransferProgress {
    fn drop(&mut self) {
        self.0.bar.finish_and_clear();
        drop(self.0.line_thread.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl State {
    fn update_message(&self) {
        let images = self.total_images.load(Ordering::Relaxed);
        if images > 0 {
            let done = self.done_images.load(Ordering::Relaxed);
            self.bar.set_message(format!("{} {done}/{images}", self.title));
        }
    }

    fn start_line_thread(self: &Arc<Self>) {
        let (sender, receiver) = channel();
        let state = Arc::downgrade(self);
        *self.line_thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        std::thread::spawn(move || {
            while receiver.recv_timeout(LINE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let Some(state) = state.upgrade() else { return };
                let _ = writeln!(std::io::stderr(), "{}", state.line());
            }
        });
    }

    fn line(&self) -> String {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (done, total) = (get(&self.done_bytes), get(&self.total_bytes));
        let mut line = format!("{}: ", self.title);
        if get(&self.total_images) > 0 {
            let (done, total) = (get(&self.done_images), get(&self.total_images));
            let _ = write!(line, "{done} of {total} images, ");
        }
        let seconds = self.started.elapsed().as_secs().max(1);
        let _ = write!(
            line,
            "{} of {}, {}/s, {}",
            BinaryBytes(done),
            BinaryBytes(total),
            BinaryBytes(done / seconds),
            HumanDuration(Duration::from_secs(seconds)),
        );
        line
    }
}

impl Progress for State {
    fn add_total(&self, bytes: u64) {
        self.total_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc(bytes);
    }

    fn resumed(&self, bytes: u64) {
        if self.mode != ProgressMode::Hidden {
            let bytes = BinaryBytes(bytes);
            let text = format!("{}: continues after {bytes} of an earlier run", self.title);
            self.bar.suspend(|| writeln!(std::io::stderr(), "{text}")).unwrap_or_default();
        }
    }

    fn image_done(&self) {
        self.done_images.fetch_add(1, Ordering::Relaxed);
        self.update_message();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, TermLike as _};

    use super::*;

    /// Advances a transfer of 180 images to about an eighth.
    fn advance(progress: &TransferProgress) {
        progress.expect_images(180);
        let progress = progress.shared();
        progress.add_total(987_654_321_000);
        progress.advance(123_456_789_000);
        for _ in 0..123 {
            progress.image_done();
        }
    }

    #[test]
    fn bar_fits_sixty_columns() {
        let title = "compass-plugins-gpu-manager-v0.1.1.tar.gz";
        let progress = TransferProgress::new(title, ProgressMode::Hidden);
        let terminal = InMemoryTerm::new(5, 60);
        progress.0.bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        advance(&progress);
        progress.0.bar.tick();
        let shown = terminal.contents();
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert!(shown.chars().count() <= usize::from(terminal.width()), "{shown}");
        assert!(shown.contains("GiB"), "{shown}");
    }

    #[test]
    fn line_counts_images_and_bytes() {
        let progress = TransferProgress::new("sync", ProgressMode::Hidden);
        advance(&progress);
        let line = progress.0.line();
        assert!(line.starts_with("sync: 123 of 180 images, 114.98 GiB of 919.82 GiB, "), "{line}");
    }
}
