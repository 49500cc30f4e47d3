//! Proves that a bundle is, to the last bit, what was written.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use compass_registry::{Digest, Hasher, Progress};
use tokio::task::spawn_blocking;

use super::checksum::read_checksum;
use super::configs::Configs;
use super::member_verifier::{MemberVerifier, VerificationState};
use super::open::Bundle;
use super::source::{BundleSource, LocalFile};
use crate::Error;
use crate::document::FILE_NAME;
use crate::plan::BundlePlan;
use crate::plan::members::Content;

/// Bytes of the file that are read at once.
pub(super) const READ: u64 = 512 << 10;

/// How a bundle is verified.
#[derive(Clone)]
pub struct VerifyOptions {
    /// Whether only the structure is looked at: everything but layers and configurations.
    pub quick: bool,
    /// How many threads prove blobs, besides the one that hashes the file.
    pub jobs: usize,
    /// Hears how it goes on.
    pub progress: Arc<dyn Progress>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { quick: false, jobs: 2, progress: Arc::new(compass_registry::NoProgress) }
    }
}

/// What a proof found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Bytes of the file.
    pub size: u64,
    /// Digest of the file; nothing where only the structure was looked at.
    pub digest: Option<Digest>,
    /// Whether the `.sha256` beside it agrees; nothing where there is none, or it was not compared.
    pub checksum: Option<bool>,
    /// What is wrong, in the order of the file.
    pub damages: Vec<Damage>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// The file in the bundle, where it is inside one.
    pub file: Option<String>,
    /// The image.
    pub image: Option<String>,
    /// The blob.
    pub blob: Option<Digest>,
    /// Bytes of the bundle.
    pub range: Range<u64>,
    /// What is wrong there.
    pub what: String,
}

impl Verified {
    /// Compares the digest with the `.sha256` beside the file. One that says nothing of the file is
    /// damage.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn compare_checksum(&mut self, source: &dyn BundleSource) -> Result<(), Error> {
        let Some(digest) = self.digest else { return Ok(()) };
        match source.checksum().await {
            Ok(written) => self.checksum = written.map(|written| written == digest),
            Err(Error::InvalidChecksum { path, reason }) => {
                let what = format!("it does not say what the SHA-256 should be: {reason}");
                let (file, range) = (Some(path), 0..0);
                self.damages.push(Damage { file, image: None, blob: None, range, what });
                self.checksum = Some(false);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether nothing is wrong.
    pub fn holds(&self) -> bool {
        self.damages.is_empty() && self.checksum != Some(false)
    }
}

impl Damage {
    /// Where it is, in words.
    pub fn place(&self) -> String {
        let parts = [self.file.clone(), self.image.clone(), self.blob.map(|b| format!("blob {b}"))];
        let mut words: Vec<String> = parts.into_iter().flatten().collect();
        if words.is_empty() {
            words.push(format!("{FILE_NAME}, headers or frame"));
        }
        let words = words.join(": ");
        match self.range.end {
            // Of what other tools made, only the entry is known.
            0 => words,
            end => format!("{words}, bytes {}-{}", self.range.start, end - 1),
        }
    }
}

impl Bundle {
    /// Reads the whole file and compares every bit with what the plan says: headers, framing,
    /// checksums, and the digest of every file and blob; and the layers with the configurations of
    /// their images, as far as they are not compressed. A file on this machine is proven by several
    /// threads; what is far away is read once, in order.
    ///
    /// # Errors
    /// Where the file cannot be read; what is wrong with its content stands in the result.
    pub async fn verify(&self, options: &VerifyOptions) -> Result<Verified, Error> {
        let (bundle, options) = (self.clone(), options.clone());
        let quick = options.quick;
        let configs = Arc::new(if quick { Configs::default() } else { Configs::of(self.plan()) });
        let passing = Arc::clone(&configs);
        let mut found = match self.source().local().cloned() {
            Some(file) => {
                let proof = spawn_blocking(move || bundle.verify_local(&file, &options, &passing));
                proof.await.map_err(|error| Error::damaged(error.to_string()))??
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
        file: &LocalFile,
        options: &VerifyOptions,
        configs: &Configs,
    ) -> Result<Verified, Error> {
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
        Ok(Verified { size: plan.size(), digest, checksum: None, damages })
    }

    async fn verify_in_order(
        &self,
        options: &VerifyOptions,
        configs: &Configs,
    ) -> Result<Verified, Error> {
        let (plan, source) = (self.plan(), self.source());
        options.progress.add_total(if options.quick { 0 } else { plan.size() });
        let (mut hasher, mut state) = (Hasher::default(), VerificationState::new(plan));
        for number in wanted(plan, options.quick) {
            let mut verifier = begin(plan, number, configs);
            while let Some(range) = verifier.next_range() {
                let bytes = source.read(range.clone()).await?;
                if bytes.len() as u64 != range.end - range.start {
                    let name = source.name();
                    return Err(Error::damaged(format!(
                        "{name}: the source returned too few bytes"
                    )));
                }
                options.progress.advance(if options.quick { 0 } else { bytes.len() as u64 });
                hasher.update(&bytes);
                verifier.push(&bytes);
            }
            configs.take(plan, number, &mut verifier);
            state.add(verifier);
        }
        let digest = (!options.quick).then(|| hasher.finish());
        Ok(Verified { size: plan.size(), digest, checksum: None, damages: state.finish() })
    }
}

fn wanted(plan: &BundlePlan, quick: bool) -> impl Iterator<Item = usize> {
    let is_blob = |number: &usize| matches!(plan.members()[*number].content, Content::Blob { .. });
    (0..plan.members().len()).filter(move |number| !quick || !is_blob(number))
}

/// Begins with a member, whose content is kept if it is a configuration.
fn begin<'p>(plan: &'p BundlePlan, number: usize, configs: &Configs) -> MemberVerifier<'p> {
    let mut verifier = MemberVerifier::new(plan, number);
    if configs.wants(plan, number) {
        verifier.collect();
    }
    verifier
}

fn digest(file: &LocalFile, size: u64, progress: &dyn Progress) -> Result<Digest, Error> {
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

/// Refuses a digest that is not what the `.sha256` beside a file says.
pub(crate) fn require_checksum(path: &Path, digest: Digest) -> Result<(), Error> {
    match read_checksum(path)? {
        Some(written) if written != digest => {
            let (name, digest) = (path.display(), digest.hex());
            Err(Error::damaged(format!("{name}: its .sha256 says another digest than {digest}")))
        }
        _ => Ok(()),
    }
}
