//! Looks at a pull request, and writes its labels, its comment and its status.
//!
//! The state is computed anew each time, from the pull request, its comments, its commits, the
//! registries and the store. So it does not matter how often and when [`Reviewer::look`] is called. The
//! policy, the registries and the store are those of the base branch; the pull request is data, which
//! is read from git objects.

mod apply;
mod changed_targets;
mod comment;
mod conversation;
mod forge_commits;
mod head_history;
mod own_labels;
mod publication;
mod queue_policy;
mod record;
mod release_files;
mod report;
mod target_facts;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use compass_manifest::Check;
use compass_manifest::Policy;
use compass_manifest::finding::Severity;
use compass_manifest::review::{Evidence, Facts, Statement, Status, TargetOwners};
use tokio::task::block_in_place;

pub(crate) use self::apply::Written;
pub(crate) use self::changed_targets::{ReleaseTarget, TargetKind};
use self::own_labels::OwnLabels;
pub(crate) use self::record::{Failure, Record};
pub(crate) use self::target_facts::{ImageFacts, TargetFacts};
pub(crate) use self::work::{DueStep, WorkReport};
use crate::error::{CliError, Result};
use crate::forge::{self, Account, CommitStatus, PullRequest, SharedForge};
use crate::git::{Git, PrivateClone, PullRefs};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::repository::Repository;

/// Looks at pull requests of one repository.
#[derive(Debug)]
pub(crate) struct Reviewer {
    pub(crate) forge: SharedForge,
    pub(crate) global: Arc<GlobalArgs>,
    pub(crate) output: Output,
    /// The clone of the user, whose `origin` has the pull requests.
    clone: Git,
    root: PathBuf,
    /// The policy of `--policy`, which replaces that of the base branch.
    policy: Option<Policy>,
}

/// The state of a pull request.
#[derive(Debug)]
pub(crate) struct PullReview {
    pub(crate) pull: PullRequest,
    /// The account of this program.
    pub(crate) own: Account,
    pub(crate) targets: Vec<TargetFacts>,
    /// Remarks about the change, such as a removed manifest.
    pub(crate) remarks: Vec<Statement>,
    pub(crate) status: Status,
    /// The steps that were granted, and the last failure.
    pub(crate) record: Record,
    /// The comment of this program, if there is one.
    pub(crate) own_comment: Option<forge::Comment>,
    /// The numbers of further comments of this program, which are not needed.
    duplicates: Vec<u64>,
    /// The numbers of the comments that requests can be in; those of reviews are negated.
    text_ids: Vec<i64>,
    /// The text that the comment should have.
    pub(crate) comment: String,
    pub(crate) commit_status: CommitStatus,
    /// The repository at the head, with the policy of the base branch.
    pub(crate) source: ReleaseSource,
}

/// The release repository at the head of a pull request.
#[derive(Debug)]
pub(crate) struct ReleaseSource {
    pub(crate) repository: Repository,
    /// Holds the git objects of the repository.
    pub(crate) clone: PrivateClone,
}

/// The number of times that a pull request is read again because its head moved.
const MAX_MOVES: usize = 3;

/// The maximum number of characters of a failure in the comment, which has it twice.
const MAX_FAILURE: usize = 4_000;

impl Reviewer {
    /// Opens the clone of `--repo`, or the one around the current directory.
    pub(crate) fn open(forge: SharedForge, global: &GlobalArgs, output: &Output) -> Result<Self> {
        let root = Repository::find_root(global)?;
        let Some(clone) = Git::discover(&root, global.repo.is_some())? else {
            let message = format!("{} is not in a git repository", root.display());
            return Err(CliError::usage(message)
                .hint("clone the release repository, and name it with `--repo DIR`"));
        };
        let policy = match global.policy {
            Some(_) => Some((*Repository::policy_only(global)?.policy).clone()),
            None => None,
        };
        let (global, output) = (Arc::new(global.clone()), output.clone());
        Ok(Self { forge, global, output, clone, root, policy })
    }

    /// Computes the state of a pull request. Writes nothing.
    pub(crate) async fn look(&self, number: u64) -> Result<PullReview> {
        for _ in 0..MAX_MOVES {
            let pull = self.forge.pull_request(number).await?;
            let clone = self.fetch(&pull).await?;
            if clone.head == pull.head.commit {
                return Box::pin(self.review(pull, clone)).await;
            }
            tracing::info!(number, "the head of the pull request moved");
        }
        let message = format!("the head of #{number} is not the same on the forge and in `origin`");
        Err(CliError::usage(message).into_external().hint(format!(
            "check that `origin` is {}, and run the command again",
            self.forge.repository()
        )))
    }

    /// Looks at a pull request, and writes what differs. Something that changed on the forge in the
    /// meantime is read again once.
    pub(crate) async fn look_and_write(&self, number: u64) -> Result<(PullReview, Vec<Written>)> {
        let review = Box::pin(self.look(number)).await?;
        self.write_review(review).await
    }

    /// Writes what differs from a review. Something that changed on the forge in the meantime is read
    /// again once.
    pub(crate) async fn write_review(
        &self,
        review: PullReview,
    ) -> Result<(PullReview, Vec<Written>)> {
        match self.write(&review).await {
            Ok(written) => Ok((review, written)),
            Err(error) if error.is_stale() => {
                let review = Box::pin(self.look(review.pull.number)).await?;
                let written = self.write(&review).await?;
                Ok((review, written))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The policy of `--policy`, or that of the work tree.
    pub(crate) fn default_policy(&self) -> Result<Policy> {
        match &self.policy {
            Some(policy) => Ok(policy.clone()),
            None => Ok((*Repository::open(&self.global)?.policy).clone()),
        }
    }

    /// The policy of `--policy`, or that of the base branch of a pull request.
    pub(crate) async fn policy_of(&self, pull: &PullRequest) -> Result<Policy> {
        if let Some(policy) = &self.policy {
            return Ok(policy.clone());
        }
        let clone = self.fetch(pull).await?;
        block_in_place(|| clone.git.policy_of(&clone.base))
    }

    /// Fetches the commits from `origin`, or reads them through the interface of the forge.
    async fn fetch(&self, pull: &PullRequest) -> Result<PrivateClone> {
        let refs = PullRefs { number: pull.number, base_branch: &pull.base.name };
        let error = match block_in_place(|| self.clone.fetch_pull_request(refs)) {
            Ok(clone) => return Ok(clone),
            Err(error) => error,
        };
        let read = forge_commits::read(&*self.forge, &self.clone, pull).await;
        read.map_err(|other| error.with_cause(format!("{other}")))
    }

    async fn review(&self, pull: PullRequest, clone: PrivateClone) -> Result<PullReview> {
        let own = self.forge.identity().await?;
        let comments = self.forge.comments(pull.number).await?;
        let reviews = self.forge.reviews(pull.number).await?;
        let source = block_in_place(|| self.source(clone))?;
        let policy = Arc::clone(&source.repository.policy);
        let (own_comment, record) = record::find(&comments, &own);
        let changed = block_in_place(|| changed_targets::find(&source))?;
        let files = release_files::Reader::new(&source, &*self.forge);
        let history = head_history::HeadHistory::read(
            &*self.forge,
            &pull,
            &files,
            own_comment.as_ref(),
            &record,
        )
        .await?;
        let mut facts = Facts::new(&pull.author.login, &pull.body);
        facts.labels.clone_from(&pull.labels);
        facts.release_files.clone_from(history.current());
        policy.review.grant_roles(&mut facts);
        let texts = conversation::texts(&comments, &reviews, &own);
        conversation::add(&mut facts, &pull, &texts, &history, &policy).await?;
        facts.check_errors = Some(block_in_place(|| check_errors(&source, &self.output))?);
        let looked_up = target_facts::look_up(&source, &changed.targets, self).await?;
        for owners in block_in_place(|| owners(&source, &looked_up))? {
            facts.add_owners(owners);
        }
        let grants = match own_comment {
            Some(_) => record.grants_for(&pull.base.name),
            None => {
                let events = self.forge.label_events(pull.number).await?;
                let own_labels = OwnLabels { events: &events, own: &own, texts: &texts };
                own_labels.grants(&facts, &policy.review.queue, &history).await?
            }
        };
        facts.granted = Some(grants.clone());
        facts.images = target_facts::images(&looked_up);
        facts.bundle = target_facts::bundle(&looked_up);
        let status = policy.review.queue.evaluate(&facts);
        let record = record.updated(grants, &status, &history, &pull.base.name);
        let mut review = PullReview {
            commit_status: report::commit_status(&pull, &status, &record),
            pull,
            targets: looked_up,
            remarks: changed.remarks,
            status,
            record,
            own_comment,
            duplicates: record::duplicates(&comments, &own),
            own,
            text_ids: texts.iter().map(|text| text.id).collect(),
            comment: String::new(),
            source,
        };
        review.comment = comment::render(&review);
        Ok(review)
    }

    /// Opens the release repository at the head, with the policy of the base branch.
    fn source(&self, clone: PrivateClone) -> Result<ReleaseSource> {
        let policy = match &self.policy {
            Some(policy) => policy.clone(),
            None => clone.git.policy_of(&clone.base)?,
        };
        let settings = queue_policy::write_settings(&policy, &clone, &self.root)?;
        let repository = Repository::open_clone(&clone, policy, settings)?;
        Ok(ReleaseSource { repository, clone })
    }
}

impl PullReview {
    /// Adds a failure of the work to the comment and the status.
    fn set_failure(&mut self, text: &str) {
        let (state, release_files) = (self.status.state.clone(), self.record.release_files.clone());
        let state = state.unwrap_or_default();
        let text = text.chars().take(MAX_FAILURE).collect();
        self.record.failure = Some(Failure { state, release_files, text });
        self.commit_status = report::commit_status(&self.pull, &self.status, &self.record);
        self.comment = comment::render(self);
    }
}

impl ReleaseSource {
    /// The paths that the pull request changes.
    pub(crate) fn changed_paths(&self) -> Result<std::collections::BTreeSet<String>> {
        let PrivateClone { git, merge_base, .. } = &self.clone;
        git.changed_since(merge_base)
    }
}

/// The owners of the targets that can be released, by the OWNERS files of the base.
fn owners(source: &ReleaseSource, targets: &[TargetFacts]) -> Result<Vec<TargetOwners>> {
    let ReleaseSource { repository, clone } = source;
    let releasable = targets.iter().filter(|facts| facts.error.is_none());
    let arguments: Vec<String> = releasable.flat_map(|facts| facts.target.arguments()).collect();
    repository.owners_at(&arguments, &clone.git, &clone.base)
}

/// The number of errors that the change adds.
fn check_errors(source: &ReleaseSource, output: &Output) -> Result<usize> {
    let ReleaseSource { repository, clone } = source;
    let base = clone.git.base(&clone.merge_base, false, &repository.tree, &repository.policy)?;
    let products = repository.tagged_products(|_| true, &output.silenced())?;
    let (products, base_state) = (repository.parse_all(products), repository.parse(base.tree));
    let mut check =
        Check::new(repository.release()).with_base(&base_state).with_changed_paths(&base.changed);
    for (version, product) in &products {
        check = check.with_product(version.as_str(), product);
    }
    Ok(check.run().count(Severity::Error))
}

/// Whether a fact is true.
pub(crate) fn holds(evidence: &Evidence) -> bool {
    *evidence == Evidence::Yes
}
