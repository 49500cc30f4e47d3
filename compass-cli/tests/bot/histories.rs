//! Histories of pull requests: the labels, the comment and the status do not depend on when, how often
//! and in which order webhooks arrive.
//!
//! Each history runs on two forges. On the first one, the bot looks at each pull request once at the
//! end. On the second one, it gets webhooks of the history so far in any order, repeated, in batches or
//! not at all, and scans at the end. Nothing else may differ. Afterwards all webhooks are sent again,
//! and nothing may be written.
//!
//! A step that was granted stays granted if its command is deleted or its images are, so that here it
//! matters whether the bot has looked before. In such histories, the bot looks at the pull request before
//! something is taken away, on both forges.
//!
//! `PROPTEST_CASES` sets the number of histories, 3 by default, and `COMPASS_HISTORY_PULLS` the number of
//! pull requests in each, 5 by default. Each processor verifies a part of the histories.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use self::actions::{Action, Body, Image, Side, Text};
use self::run::{Run, Schedule};
use crate::world::World;

#[path = "histories/actions.rs"]
mod actions;
#[path = "histories/run.rs"]
mod run;

/// What happens to some pull requests, and which webhooks arrive meanwhile.
#[derive(Debug, Clone)]
struct History {
    bodies: Vec<Body>,
    events: Vec<Event>,
    /// Whether the bot gets webhooks only after the last action. Nothing is taken away then.
    is_late: bool,
    /// The order of the last webhooks.
    last: Vec<Index>,
}

/// An action on one of the pull requests, and the webhooks that arrive after it.
#[derive(Debug, Clone)]
struct Event {
    pull: Index,
    action: Action,
    deliveries: Vec<Index>,
    /// Whether the bot is idle again before the next action.
    waits: bool,
}

#[test]
fn histories_end_equal_in_any_order() {
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default().cases,
        None => 3,
    };
    let pulls = std::env::var("COMPASS_HISTORY_PULLS").map_or(5, |text| text.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = u32::try_from(threads).unwrap().min(cases);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let share = (cases + thread) / threads;
            scope.spawn(move || verify_histories(share, pulls));
        }
    });
}

/// Verifies histories one after the other, in a world of their own.
fn verify_histories(cases: u32, pulls: usize) {
    let config =
        Config { cases, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let world = Mutex::new(World::new());
    let heads = run::create_heads(&world.lock().unwrap());
    let result = TestRunner::new(config).run(&histories(pulls), |history| {
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        verify(&mut world, &heads, &history)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn verify(world: &mut World, heads: &[String], history: &History) -> Result<(), TestCaseError> {
    let takes_away = history.events.iter().any(|event| event.action.takes_away());
    let looks_before = |action: &Action| {
        let is_push = matches!(action, Action::Push(..));
        action.takes_away() || (takes_away && is_push)
    };
    let expected = {
        let mut run = Run::start(world, heads, &history.bodies, Schedule::Once);
        for event in &history.events {
            run.act(event.pull, &event.action, looks_before(&event.action));
        }
        run.finish(&[])
    };
    let mut run = Run::start(world, heads, &history.bodies, Schedule::Often);
    for event in &history.events {
        run.act(event.pull, &event.action, looks_before(&event.action));
        if !history.is_late {
            run.deliver(&event.deliveries, event.waits);
        }
    }
    if history.is_late {
        for event in &history.events {
            run.deliver(&event.deliveries, event.waits);
        }
    }
    let found = run.finish(&history.last);
    for (expected, found) in expected.iter().zip(&found) {
        proptest::prop_assert_eq!(found, expected);
    }
    Ok(())
}

fn histories(pulls: usize) -> impl Strategy<Value = History> {
    let events = proptest::collection::vec(event(), 1..=6 * pulls);
    let bodies = proptest::collection::vec(body(), pulls);
    let last = proptest::collection::vec(any::<Index>(), 0..20);
    // Only histories in which nothing is taken away need no looks in between.
    let is_additive = any::<bool>();
    (bodies, events, any::<bool>(), last, is_additive).prop_map(
        |(bodies, mut events, is_late, last, is_additive)| {
            if is_additive || is_late {
                events.retain(|event| !event.action.takes_away());
            }
            History { bodies, events, is_late, last }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let deliveries = proptest::collection::vec(any::<Index>(), 0..4);
    (any::<Index>(), action(), deliveries, any::<bool>())
        .prop_map(|(pull, action, deliveries, waits)| Event { pull, action, deliveries, waits })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![6 => Just(Body::Complete), 1 => Just(Body::NoNote), 1 => Just(Body::AllSteps)]
}

fn author() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just("alice"),
        3 => Just("paula"),
        1 => Just("ines"),
        1 => Just("mallory"),
        1 => Just("prow[bot]"),
    ]
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        6 => Just(Text::Pushed("v0.2.0")),
        2 => Just(Text::Pushed("v0.3.0")),
        1 => Just(Text::List("v0.2.0")),
        1 => Just(Text::List("v0.3.0")),
        2 => Just(Text::Plain("/queue patches-need-sync-image")),
        4 => Just(Text::Plain("/queue patches-need-package")),
        1 => Just(Text::Plain("/queue done-package-uploaded")),
        1 => Just(Text::Plain("/queue need-queue")),
        1 => Just(Text::Plain("/queue nonsense\n/kind release")),
        1 => Just(Text::Plain("image(s) pushed to\nhttps://nowhere")),
        1 => Just(Text::Plain("> /queue patches-need-package\n\nnot yet @alice")),
        1 => Just(Text::Plain("```\n/queue patches-need-package\n```")),
        1 => Just(Text::Plain("LGTM")),
    ]
}

fn label() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("queue/need-queue"),
        Just("Queue/Patches-Need-Sync-Image"),
        Just("queue/patches-need-package"),
        Just("queue/done-package-uploaded"),
        Just("kind/release"),
        Just("size/XS \u{1f41b}"),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let any_index = any::<Index>;
    prop_oneof![
        12 => (author(), text()).prop_map(|(author, text)| Action::Comment(author, text)),
        2 => (any_index(), text()).prop_map(|(which, text)| Action::EditComment(which, text)),
        2 => any_index().prop_map(Action::DeleteComment),
        1 => Just(Action::DeleteOwnComment),
        1 => body().prop_map(Action::EditBody),
        4 => (any_index(), any::<bool>()).prop_map(|(head, is_forced)| Action::Push(head, is_forced)),
        2 => (author(), label()).prop_map(|(author, label)| Action::AddLabel(author, label)),
        2 => (author(), label()).prop_map(|(author, label)| Action::RemoveLabel(author, label)),
        2 => (author(), text()).prop_map(|(author, text)| Action::Review(author, text)),
        1 => any_index().prop_map(Action::DismissReview),
        1 => Just(Action::Close),
        2 => Just(Action::Reopen),
        6 => (side(), version()).prop_map(|(side, version)| Action::AddImage(Image { side, version })),
        1 => version().prop_map(|version| {
            Action::RemoveImage(Image { side: Side::Source, version })
        }),
    ]
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![2 => Just(Side::Source), 1 => Just(Side::Release)]
}

fn version() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just("v0.2.0"), 1 => Just("v0.3.0")]
}
