//! How a transfer is shown: as a bar on a terminal, otherwise as a line every ten seconds.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use compass_registry::Progress;
use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between two lines where no terminal shows a bar.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Everything but the bar itself takes at most 59 columns, so that 60 are enough.
const TEMPLATE: &str = "{msg:16!} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";

/// Where a transfer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    Bar,
    Lines,
    Hidden,
}

/// Shows a transfer; gone when dropped.
#[derive(Clone)]
pub(crate) struct Bar(Arc<State>);

struct State {
    bar: ProgressBar,
    shown: ProgressMode,
    title: String,
    began: Instant,
    total: AtomicU64,
    moved: AtomicU64,
    images: AtomicU64,
    images_done: AtomicU64,
    /// Ends the thread that prints lines, when it is dropped.
    lines: Mutex<Option<Sender<()>>>,
}

impl Bar {
    pub(crate) fn new(title: &str, shown: ProgressMode) -> Self {
        let bar = ProgressBar::new(0);
        if shown != ProgressMode::Bar {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(title.to_owned());
        let state = Arc::new(State {
            bar,
            shown,
            title: title.to_owned(),
            began: Instant::now(),
            total: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            images: AtomicU64::new(0),
            images_done: AtomicU64::new(0),
            lines: Mutex::new(None),
        });
        if shown == ProgressMode::Lines {
            state.print_lines();
        }
        Self(state)
    }

    pub(crate) fn shared(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.0) as Arc<dyn Progress>
    }

    /// Says of how many images the transfer consists.
    pub(crate) fn expect_images(&self, count: usize) {
        self.0.images.fetch_add(count as u64, Ordering::Relaxed);
        self.0.show_images();
    }

    pub(crate) fn done(&self) {
        self.0.bar.finish_and_clear();
        drop(self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl State {
    fn show_images(&self) {
        let images = self.images.load(Ordering::Relaxed);
        if images > 0 {
            let done = self.images_done.load(Ordering::Relaxed);
            self.bar.set_message(format!("{} {done}/{images}", self.title));
        }
    }

    fn print_lines(self: &Arc<Self>) {
        let (sender, receiver) = channel();
        let state = Arc::downgrade(self);
        *self.lines.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        std::thread::spawn(move || {
            while receiver.recv_timeout(BETWEEN_LINES) == Err(RecvTimeoutError::Timeout) {
                let Some(state) = state.upgrade() else { return };
                let _ = writeln!(std::io::stderr(), "{}", state.line());
            }
        });
    }

    fn line(&self) -> String {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (moved, total) = (get(&self.moved), get(&self.total));
        let mut line = format!("{}: ", self.title);
        if get(&self.images) > 0 {
            let _ = write!(line, "{} of {} images, ", get(&self.images_done), get(&self.images));
        }
        let seconds = self.began.elapsed().as_secs().max(1);
        let _ = write!(
            line,
            "{} of {}, {}/s, {}",
            BinaryBytes(moved),
            BinaryBytes(total),
            BinaryBytes(moved / seconds),
            HumanDuration(Duration::from_secs(seconds)),
        );
        line
    }
}

impl Progress for State {
    fn add_total(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc(bytes);
    }

    fn resumed(&self, bytes: u64) {
        if self.shown != ProgressMode::Hidden {
            let moved = BinaryBytes(bytes);
            let text = format!("{}: continues after {moved} of an earlier run", self.title);
            self.bar.suspend(|| writeln!(std::io::stderr(), "{text}")).unwrap_or_default();
        }
    }

    fn image_done(&self) {
        self.images_done.fetch_add(1, Ordering::Relaxed);
        self.show_images();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, TermLike as _};

    use super::*;

    fn busy(bar: &Bar) {
        bar.expect_images(180);
        let progress = bar.shared();
        progress.add_total(987_654_321_000);
        progress.advance(123_456_789_000);
        for _ in 0..123 {
            progress.image_done();
        }
    }

    #[test]
    fn bar_fits_sixty_columns() {
        let bar = Bar::new("compass-plugins-gpu-manager-v0.1.1.tar.gz", ProgressMode::Hidden);
        let terminal = InMemoryTerm::new(5, 60);
        bar.0.bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        busy(&bar);
        bar.0.bar.tick();
        let shown = terminal.contents();
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert!(shown.chars().count() <= usize::from(terminal.width()), "{shown}");
        assert!(shown.contains("GiB"), "{shown}");
    }

    #[test]
    fn line_counts_images_and_bytes() {
        let bar = Bar::new("sync", ProgressMode::Hidden);
        busy(&bar);
        let line = bar.0.line();
        assert!(line.starts_with("sync: 123 of 180 images, 114.98 GiB of 919.82 GiB, "), "{line}");
    }
}
