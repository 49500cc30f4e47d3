//! `compass queue`.

mod report;

use std::collections::{BTreeMap, btree_map};
use std::process::ExitCode;

use compass_manifest::Policy;
use futures_util::{StreamExt as _, stream};

use self::report::{Entry, EntryState};
use crate::error::{CliError, Result};
use crate::forge::{ForgeArgs, PullRequest, open_forge};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::pull_request::{DueStep, Reviewer};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only pull requests with this label of the queue, such as `patches-need-sync-image`
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    #[command(flatten)]
    forge: ForgeArgs,
    /// Does the work of the teams: copies images, publishes packages, and comments; `--jobs N` works on
    /// N pull requests at once
    #[arg(long)]
    run: bool,
    /// Prints what `--run` would do, and changes nothing
    #[arg(long, requires = "run")]
    dry_run: bool,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    // The option counts pull requests here; each of them uses the default number of transfers.
    let jobs = usize::from(global.jobs.unwrap_or(1));
    let own_global = GlobalArgs { jobs: None, ..global.clone() };
    let reviewer = Reviewer::open(open_forge(&args.forge)?, &own_global, output)?;
    let label = args.label.as_deref().map(|label| without_group(label).to_owned());
    let pulls = waiting(&reviewer, label.as_deref()).await?;
    let action = match (args.run, args.dry_run) {
        (true, false) => Action::Run,
        (true, true) => Action::Plan,
        (false, _) => Action::List,
    };
    let work = pulls.into_iter().map(|pull| entry(&reviewer, pull, label.as_deref(), action));
    let entries: Vec<Entry> = stream::iter(work).buffered(jobs.max(1)).collect().await;
    for error in entries.iter().filter_map(|entry| entry.error()) {
        output.error(error);
    }
    output.result(|| report::to_json(&entries, action), || report::to_text(&entries));
    let code = entries.iter().filter_map(|entry| entry.error()).map(|error| error.exit).max();
    Ok(code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// What the command does for each pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    List,
    Plan,
    Run,
}

/// The label of a queue without its group.
fn without_group(label: &str) -> &str {
    label.strip_prefix("queue/").unwrap_or(label)
}

/// A pull request of the work list, with the error if the policy of its base branch cannot be read.
type Waiting = (PullRequest, Option<CliError>);

/// The open release pull requests with a label of the queue, oldest first.
///
/// The policy of its base branch says which labels count for a pull request.
async fn waiting(reviewer: &Reviewer, label: Option<&str>) -> Result<Vec<Waiting>> {
    let wanted: Vec<String> = label.map(|label| format!("queue/{label}")).into_iter().collect();
    let mut pulls = reviewer.forge.open_pull_requests(&wanted).await?;
    pulls.retain(|pull| has_group(pull, "kind/") && has_group(pull, "queue/"));
    let mut policies: BTreeMap<String, Policy> = BTreeMap::new();
    let mut waiting = Vec::new();
    for pull in pulls {
        let policy = match policies.entry(pull.base.name.clone()) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(base) => match reviewer.policy_of(&pull).await {
                Ok(policy) => base.insert(policy),
                Err(error) => {
                    waiting.push((pull, Some(error)));
                    continue;
                }
            },
        };
        if is_in_queue(&pull, policy) {
            waiting.push((pull, None));
        }
    }
    if let Some(label) = label
        && !policies.values().any(|policy| has_label(policy, label))
    {
        require_label(&reviewer.default_policy()?, label)?;
    }
    Ok(waiting)
}

/// Whether a pull request has a label of a group, such as `queue/`.
fn has_group(pull: &PullRequest, group: &str) -> bool {
    let is_member = |label: &String| {
        label.get(..group.len()).is_some_and(|start| start.eq_ignore_ascii_case(group))
    };
    pull.labels.iter().any(is_member)
}

/// Whether a pull request has a kind and a label of the queue of a policy.
fn is_in_queue(pull: &PullRequest, policy: &Policy) -> bool {
    let queue = &policy.review.queue;
    queue.kinds().iter().any(|kind| pull.has_label(&format!("kind/{kind}")))
        && queue.labels().iter().any(|label| pull.has_label(&format!("queue/{label}")))
}

fn require_label(policy: &Policy, label: &str) -> Result<()> {
    if has_label(policy, label) {
        return Ok(());
    }
    let labels = policy.review.queue.labels().join(", ");
    let message = format!("the queue has no label `{label}`");
    Err(CliError::usage(message).hint(format!("the queue has these labels: {labels}")))
}

fn has_label(policy: &Policy, label: &str) -> bool {
    policy.review.queue.labels().iter().any(|known| known.eq_ignore_ascii_case(label))
}

/// Looks at a pull request, or does its work. A failure is part of the result.
async fn entry(
    reviewer: &Reviewer,
    (pull, error): Waiting,
    label: Option<&str>,
    action: Action,
) -> Entry {
    if let Some(error) = error {
        return Entry { pull, state: EntryState::Failed(error) };
    }
    let is_wanted = |step: &DueStep| match label {
        Some(label) => step.from.eq_ignore_ascii_case(label),
        None => true,
    };
    let state = match action {
        Action::Run => match reviewer.work(pull.number, is_wanted).await {
            Ok(report) => EntryState::worked(report),
            Err(error) => EntryState::Failed(error),
        },
        Action::List | Action::Plan => match reviewer.look(pull.number).await {
            Ok(review) => {
                let due = review.due_step().filter(|step| is_wanted(step));
                EntryState::looked(&review, due.filter(|_| action == Action::Plan))
            }
            Err(error) => EntryState::Failed(error),
        },
    };
    Entry { pull, state }
}
