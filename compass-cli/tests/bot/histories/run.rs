//! Runs a history on a forge of its own, with a bot.

use proptest::sample::Index;
use serde_json::{Value, json};

use super::actions::{Action, Body, Image, Side};
use crate::forge_server::{Delivery, OWN_LOGIN};
use crate::server::{Bot, deliver, delivery, eventually};
use crate::world::World;

/// The time of the first action, and that between two actions, by the clock of the forge.
const BEGIN: i64 = 1_800_000_000;
const INTERVAL: i64 = 10_000;

/// When the bot looks at pull requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schedule {
    /// At the end, and before something is taken away.
    Once,
    /// Whenever a webhook arrives.
    Often,
}

/// What the bot wrote to a pull request, and its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    labels: Vec<String>,
    status: Option<(String, String)>,
    comments: Vec<String>,
    /// The records, without former steps: whether those are known depends on when the bot looked.
    records: Vec<Value>,
}

pub(super) struct Run<'w> {
    world: &'w World,
    heads: &'w [String],
    bot: Option<Bot>,
    pulls: Vec<u64>,
    actions: i64,
}

/// Creates commits that a history can push: a release, the same with another commit, another release of
/// the version, and another version.
pub(super) fn create_heads(world: &World) -> Vec<String> {
    let first = world.change("history-1", "gpu", "v0.2.0");
    let same = world.commit("history-2", "Change nothing");
    let manifest = world.plugin("gpu", "v0.2.0", 9999);
    world.write("author/release-plugins/gpu.yaml", &manifest);
    let other = world.commit("history-3", "Change the port");
    let newer = world.change("history-4", "gpu", "v0.3.0");
    vec![first, same, other, newer]
}

impl<'w> Run<'w> {
    pub(super) fn start(
        world: &'w mut World,
        heads: &'w [String],
        bodies: &[Body],
        schedule: Schedule,
    ) -> Self {
        world.restart_forge();
        // The repository spells one of the labels in another way.
        let label = "Queue/Patches-Need-Sync-Image".to_owned();
        world.forge.act(|forge| forge.label_names.push(label));
        for side in [Side::Source, Side::Release] {
            for version in ["v0.2.0", "v0.3.0"] {
                Image { side, version }.remove(world);
            }
        }
        let open = |(index, body): (i64, &Body)| {
            world.forge.act(|forge| {
                forge.clock = BEGIN + index;
                forge.open_pull("alice", &body.text(), &heads[0])
            })
        };
        let pulls = (0..).zip(bodies).map(open).collect();
        let mut run = Self { world, heads, bot: None, pulls, actions: 0 };
        if schedule == Schedule::Often {
            run.bot();
        }
        run
    }

    /// The bot, which scans at its start.
    fn bot(&mut self) -> &Bot {
        if self.bot.is_none() {
            let _ = std::fs::remove_dir_all(self.world.path("journal"));
            let bot = Bot::start(self.world);
            eventually("scanned", || bot.metric("compass_bot_scans_total") > 0);
            wait(&bot);
            self.bot = Some(bot);
        }
        self.bot.as_ref().unwrap()
    }

    pub(super) fn act(&mut self, pull: Index, action: &Action, looks_before: bool) {
        let number = *pull.get(&self.pulls);
        if looks_before {
            // An image is of all pull requests.
            let affected = match action {
                Action::RemoveImage(_) => self.pulls.clone(),
                _ => vec![number],
            };
            let bot = self.bot();
            for number in affected {
                assert_eq!(deliver(&bot.host, &delivery(number)), Some(202));
            }
            wait(bot);
        }
        self.actions += 1;
        let clock = BEGIN + INTERVAL * self.actions;
        self.world.forge.act(|forge| forge.clock = clock);
        action.act(self.world, self.heads, number);
    }

    /// Sends some of the webhooks of everything that happened so far.
    pub(super) fn deliver(&mut self, which: &[Index], waits: bool) {
        let all = self.world.forge.act(|forge| forge.deliveries.clone());
        let bot = self.bot();
        for one in which {
            assert_eq!(deliver(&bot.host, one.get(&all)), Some(202));
        }
        if waits {
            wait(bot);
        }
    }

    /// Scans, and returns the result. Then sends all webhooks again in another order, which has to
    /// write nothing.
    pub(super) fn finish(mut self, order: &[Index]) -> Vec<Written> {
        let (world, pulls) = (self.world, self.pulls.clone());
        let bot = self.bot();
        let scans = bot.metric("compass_bot_scans_total");
        assert_eq!(deliver(&bot.host, &renamed_label()), Some(202));
        eventually("scanned", || bot.metric("compass_bot_scans_total") > scans);
        wait(bot);
        let written: Vec<_> = pulls.iter().map(|number| written(world, *number)).collect();
        let (before, mut all) = world.forge.act(|forge| (forge.writes(), forge.deliveries.clone()));
        for index in order {
            let (one, length) = (index.index(all.len()), all.len());
            all.swap(one, length - 1);
        }
        for one in all.iter().rev() {
            assert_eq!(deliver(&bot.host, one), Some(202));
        }
        wait(bot);
        assert_eq!(world.forge.act(|forge| forge.writes()), before, "a replay wrote something");
        assert_eq!(bot.metric("compass_bot_looks_failed_total"), 0);
        let (_, log) = self.bot.take().unwrap().stop();
        assert!(!log.contains("panicked"), "{log}");
        written
    }
}

impl Drop for Run<'_> {
    /// Ends the bot of a history that failed.
    fn drop(&mut self) {
        if let Some(bot) = self.bot.take() {
            bot.kill();
        }
    }
}

/// Waits until the bot is idle.
fn wait(bot: &Bot) {
    // Both numbers are read at once: between two reads, a pull request can move from one to the other.
    let is_zero = |text: &str, name: &str| text.lines().any(|line| line == format!("{name} 0"));
    eventually("idle", || {
        let text = bot.get("/metrics", &[]).body;
        is_zero(&text, "compass_bot_queue_running") && is_zero(&text, "compass_bot_queue_waiting")
    });
}

/// A webhook that makes the bot scan.
fn renamed_label() -> Delivery {
    let one = delivery(1);
    let payload = json!({"action": "edited", "repository": one.payload["repository"]});
    Delivery { event: "label", payload, ..one }
}

fn written(world: &World, number: u64) -> Written {
    // The status is that of the commit, which can be the head of another pull request too.
    let is_open = world.forge.act(|forge| forge.pull(number).state == "open");
    let status = world.forge.act(|forge| forge.status(number, "compass/release-queue"));
    let status = status.filter(|_| is_open);
    let own = world.forge.act(|forge| forge.comments_by(number, OWN_LOGIN));
    let (comments, records) = own.iter().map(|comment| split_record(comment)).unzip();
    Written {
        labels: world.labels(number),
        status: status.map(|status| (status.state, status.description)),
        comments,
        records,
    }
}

/// Splits a comment into its visible text and its record.
fn split_record(comment: &str) -> (String, Value) {
    let (text, record) = comment.split_once("<!-- compass:record ").unwrap();
    let mut record: Value =
        serde_json::from_str(record.trim_end().trim_end_matches("-->").trim()).unwrap();
    let current = record["releaseFiles"].clone();
    let grants = record["grants"].as_array_mut().unwrap();
    grants.retain(|grant| grant["releaseFiles"] == current);
    (text.to_owned(), record)
}
