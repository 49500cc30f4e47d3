//! Verifies every byte of a bundle.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use compass_registry::{Digest, Hasher, Progress, setters};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::checksum::read_checksum;
use super::configs::Configs;
use super::member_verifier::{MemberVerifier, READ, VerificationState};
use super::open::Bundle;
use super::report::VerifyReport;
use super::source::{LocalFile, read_exact};
use crate::Error;
use crate::plan::BundlePlan;
use crate::plan::members::Content;

/// The options of [`Bundle::verify`].
#[derive(Clone)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Whether to verify the structure only: everything but layers and configurations.
    pub quick: bool,
    /// The number of threads that verify members, in addition to the one that hashes the file.
    pub jobs: usize,
    /// Receives the progress.
    pub progress: Arc<dyn Progress>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { quick: false, jobs: 2, progress: Arc::new(compass_registry::NoProgress) }
    }
}

setters!(VerifyOptions { quick: bool, jobs: usize, progress: Arc<dyn Progress> });

impl Bundle {
    /// Reads the whole file and compares every byte with the plan.
    ///
    /// The headers, the framing, the checksums, and the digest of every file and blob are compared.
    /// Layers that are not compressed are compared with the configurations of their images as well.
    /// Several threads verify a local file; a remote file is read once, in order.
    ///
    /// # Errors
    /// If the file cannot be read. Damage is part of the result.
    ///
    /// # Cancellation
    /// If the future is dropped, the threads that verify a local file stop after their current read,
    /// and a remote file is not read further.
    pub async fn verify(&self, options: &VerifyOptions) -> Result<VerifyReport, Error> {
        let (bundle, options) = (self.clone(), options.clone());
        let quick = options.quick;
        let configs = Arc::new(if quick { Configs::default() } else { Configs::of(self.plan()) });
        let passing = Arc::clone(&configs);
        let mut found = match self.source().local().cloned() {
            Some(file) => {
                let file = StoppableFile { file, stopped: CancellationToken::new() };
                let _stop_on_drop = file.stopped.clone().drop_guard();
                let verify = move || bundle.verify_local(&file, &options, &passing);
                let verified = spawn_blocking(verify).await;
                verified.map_err(|error| Error::damaged(error.to_string()))??
            }
            None => bundle.verify_in_order(&options, &passing).await?,
        };
        if !quick {
            found.damages.extend(self.verify_configs(&configs).await?);
        }
        found.compare_checksum(&**self.source()).await?;
        Ok(found)
    }

    fn verify_local(
        &self,
        file: &StoppableFile,
        options: &VerifyOptions,
        configs: &Configs,
    ) -> Result<VerifyReport, Error> {
        let plan = self.plan();
        let wanted: Vec<usize> = wanted(plan, options.quick).collect();
        let (next, state) = (AtomicUsize::new(0), Mutex::new(VerificationState::new(plan)));
        options.progress.add_total(if options.quick { 0 } else { plan.size() });
        let work = || {
            let mut buffer = Vec::new();
            while let Some(number) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut verifier = begin(plan, *number, configs);
                while let Some(range) = verifier.next_range() {
                    file.read_into(&mut buffer, range)?;
                    verifier.push(&buffer);
                }
                configs.take(plan, *number, &mut verifier);
                state.lock().unwrap_or_else(PoisonError::into_inner).add(verifier);
            }
            Ok::<_, Error>(())
        };
        let hash = || (!options.quick).then(|| digest(file, plan.size(), &*options.progress));
        let digest = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..options.jobs.clamp(1, wanted.len().max(1)))
                .map(|_| scope.spawn(work))
                .collect();
            let digest = hash().transpose();
            for worker in workers {
                worker.join().unwrap_or_else(|_| Err(Error::damaged("a thread stopped")))?;
            }
            digest
        })?;
        let damages = state.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
        Ok(VerifyReport { size: plan.size(), digest, checksum: None, damages })
    }

    async fn verify_in_order(
        &self,
        options: &VerifyOptions,
        configs: &Configs,
    ) -> Result<VerifyReport, Error> {
        let (plan, source) = (self.plan(), self.source());
        options.progress.add_total(if options.quick { 0 } else { plan.size() });
        let (mut hasher, mut state) = (Hasher::default(), VerificationState::new(plan));
        for number in wanted(plan, options.quick) {
            let mut verifier = begin(plan, number, configs);
            while let Some(range) = verifier.next_range() {
                let bytes = read_exact(&**source, range).await?;
                options.progress.advance(if options.quick { 0 } else { bytes.len() as u64 });
                hasher.update(&bytes);
                verifier.push(&bytes);
            }
            configs.take(plan, number, &mut verifier);
            state.add(verifier);
        }
        let digest = (!options.quick).then(|| hasher.finish());
        Ok(VerifyReport { size: plan.size(), digest, checksum: None, damages: state.finish() })
    }
}

fn wanted(plan: &BundlePlan, quick: bool) -> impl Iterator<Item = usize> {
    let is_blob = |number: &usize| matches!(plan.members()[*number].content, Content::Blob { .. });
    (0..plan.members().len()).filter(move |number| !quick || !is_blob(number))
}

/// A local file whose reads fail after the verification was dropped.
struct StoppableFile {
    file: LocalFile,
    stopped: CancellationToken,
}

impl StoppableFile {
    /// Reads bytes into `buffer`.
    fn read_into(&self, buffer: &mut Vec<u8>, range: Range<u64>) -> Result<(), Error> {
        if self.stopped.is_cancelled() {
            return Err(Error::io("verify", self.file.path())(ErrorKind::Interrupted.into()));
        }
        self.file.read_into(buffer, range)
    }
}

/// Creates the verifier of a member, which keeps the content of a configuration.
fn begin<'p>(plan: &'p BundlePlan, number: usize, configs: &Configs) -> MemberVerifier<'p> {
    let mut verifier = MemberVerifier::new(plan, number);
    if configs.wants(plan, number) {
        verifier.collect();
    }
    verifier
}

fn digest(file: &StoppableFile, size: u64, progress: &dyn Progress) -> Result<Digest, Error> {
    let (mut hasher, mut buffer, mut position) = (Hasher::default(), Vec::new(), 0);
    while position < size {
        let next = size.min(position + READ);
        file.read_into(&mut buffer, position..next)?;
        hasher.update(&buffer);
        progress.advance(next - position);
        position = next;
    }
    Ok(hasher.finish())
}

/// Checks that a digest matches the `.sha256` beside a file, if there is one.
pub(crate) fn check_sidecar(path: &Path, digest: Digest) -> Result<(), Error> {
    match read_checksum(path)? {
        Some(written) if written != digest => {
            let (name, digest) = (path.display(), digest.hex());
            Err(Error::damaged(format!("{name}: its .sha256 has another digest than {digest}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stoppable_file_stopped_reads_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 100]).unwrap();
        let file = LocalFile::open(file.path()).unwrap();
        let (file, mut buffer) =
            (StoppableFile { file, stopped: CancellationToken::new() }, Vec::new());
        file.read_into(&mut buffer, 0..50).unwrap();
        assert_eq!(buffer, [7; 50]);
        file.stopped.cancel();
        let stopped = file.read_into(&mut buffer, 50..100);
        assert!(matches!(stopped, Err(Error::Io { .. })), "{stopped:?}");
        assert_eq!(buffer, [7; 50]);
    }
}
