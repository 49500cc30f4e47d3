//! Compares image configurations with the layers that are not compressed.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::member_verifier::MemberVerifier;
use super::open::Bundle;
use super::report::Damage;
use crate::Error;
use crate::plan::BundlePlan;
use crate::plan::configs::PlannedConfig;
use crate::plan::members::Content;

/// The maximum size in bytes of the configurations that are kept while the bundle is read.
const MAX_KEPT: u64 = 16 << 20;

/// The configurations that are kept while a bundle is read.
#[derive(Debug, Default)]
pub(super) struct Configs {
    wanted: HashSet<usize>,
    bytes: Mutex<HashMap<usize, Vec<u8>>>,
}

impl Configs {
    pub(super) fn of(plan: &BundlePlan) -> Self {
        let (mut wanted, mut kept) = (HashSet::new(), 0);
        for config in plan.configs() {
            if config.size <= MAX_KEPT - kept && wanted.insert(config.blob) {
                kept += config.size;
            }
        }
        Self { wanted, bytes: Mutex::default() }
    }

    /// Returns whether a member is a configuration to keep.
    pub(super) fn wants(&self, plan: &BundlePlan, number: usize) -> bool {
        self.wanted_in(plan, number).is_some()
    }

    /// Takes the content of a configuration from the verifier of its member.
    pub(super) fn take(&self, plan: &BundlePlan, number: usize, verifier: &mut MemberVerifier<'_>) {
        if let Some((config, bytes)) = self.wanted_in(plan, number).zip(verifier.take_collected()) {
            self.bytes.lock().unwrap_or_else(PoisonError::into_inner).insert(config, bytes);
        }
    }

    fn wanted_in(&self, plan: &BundlePlan, number: usize) -> Option<usize> {
        let Content::Blob { blob, .. } = plan.members()[number].content else { return None };
        self.wanted.contains(&blob).then_some(blob)
    }

    fn get(&self, config: usize) -> Option<Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).get(&config).cloned()
    }
}

impl Bundle {
    /// Compares the number of layers and the digests of uncompressed layers with the configurations.
    ///
    /// Compressed layers are not decompressed: their digests are compared when their members are
    /// verified.
    pub(super) async fn verify_configs(&self, configs: &Configs) -> Result<Vec<Damage>, Error> {
        let mut damages = Vec::new();
        for config in self.plan().configs() {
            if let Some(what) = self.config_problem(configs, config).await? {
                damages.push(self.config_damage(config, what));
            }
        }
        Ok(damages)
    }

    async fn config_problem(
        &self,
        configs: &Configs,
        config: &PlannedConfig,
    ) -> Result<Option<String>, Error> {
        if let Some(what) = config.size_problem() {
            return Ok(Some(what));
        }
        let bytes = match configs.get(config.blob) {
            Some(bytes) => Bytes::from(bytes),
            None => match self.stored_blob(&config.digest).await? {
                Some(bytes) => bytes,
                None => return Ok(None),
            },
        };
        let is_intact = config.digest.algorithm().digest(&bytes) == config.digest;
        // A damaged configuration is reported when its blob is verified.
        Ok(if is_intact { config.problem(&bytes) } else { None })
    }

    fn config_damage(&self, config: &PlannedConfig, what: String) -> Damage {
        let plan = self.plan();
        let member = &plan.members()[plan.blobs()[config.blob].places[0]];
        let archive = match member.content {
            Content::Blob { archive, .. } => archive,
            Content::Run(_) => None,
        };
        Damage {
            file: archive.map(|archive| plan.archives()[archive].path.clone()),
            image: Some(config.reference.clone()),
            blob: Some(config.digest),
            range: member.place.content_range(0..member.place.size),
            what,
        }
    }
}
