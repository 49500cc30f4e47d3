//! The client against a forge with limits and faults.

#[path = "../../../tests/forge_server/mod.rs"]
mod forge_server;

use std::process::Command;
use std::time::{Duration, Instant};

use compass_registry::Secret;

use super::*;
use crate::forge::{PullState, StatusState};
use forge_server::{Fault, ForgeServer, OWN_LOGIN, REPOSITORY, TOKEN};

const HEAD: &str = "1111111111111111111111111111111111111111";

/// A pacing whose second is ten milliseconds.
fn fast() -> Pacing {
    let second = Duration::from_millis(10);
    Pacing { write_interval: Duration::ZERO, max_pause: second * 300, second }
}

fn client_with(server: &ForgeServer, credentials: Credentials, pacing: Pacing) -> GitHub {
    GitHub::new(Settings {
        repository: REPOSITORY.parse().unwrap(),
        api: server.url.parse().unwrap(),
        credentials,
        pacing,
        http: HttpOptions::default(),
    })
    .unwrap()
}

/// A forge with a pull request, and a client.
fn start() -> (ForgeServer, GitHub, u64) {
    let server = ForgeServer::start();
    let number = server.act(|forge| forge.open_pull("alice", "body", HEAD));
    let client = client_with(&server, Credentials::token(Secret::new(TOKEN)), fast());
    (server, client, number)
}

fn plan(server: &ForgeServer, method: &'static str, path: &str, fault: Fault, times: usize) {
    server.act(|forge| forge.faults.plan(method, path, fault, times));
}

/// Asserts that an error and its hint contain no secret; returns both.
fn shown<T: fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    let text = format!("{error} | {} | {error:?}", error.hint());
    assert!(!text.contains(TOKEN) && !text.contains("ghs_"), "{text}");
    text
}

#[tokio::test]
async fn client_reads_pull_request() {
    let (server, client, number) = start();
    server.act(|forge| {
        forge.add_label(number, "bob", "Kind/Release");
        forge.review(number, "bob", "fine", "approved");
        forge.review(number, "bob", "later", "pending");
    });
    let pull = client.pull_request(number).await.unwrap();
    assert_eq!((pull.author.login.as_str(), pull.state), ("alice", PullState::Open));
    assert_eq!(pull.head.commit, HEAD);
    assert_eq!(pull.head.repository.as_ref().unwrap().to_string(), REPOSITORY);
    assert!(pull.has_label("kind/release") && pull.created.is_some());
    assert_eq!(client.reviews(number).await.unwrap().len(), 1);
    let events = client.label_events(number).await.unwrap();
    assert!(events[0].is_added && events[0].by.login == "bob", "{events:?}");
    let pushes = client.pushes(&pull).await.unwrap().unwrap();
    assert_eq!((pushes[0].before.as_ref(), pushes[0].after.as_str()), (None, HEAD));
    assert_eq!(client.identity().await.unwrap().login, OWN_LOGIN);
}

#[tokio::test]
async fn client_reads_all_pages() {
    let (server, client, number) = start();
    server.act(|forge| {
        forge.page_size = 2;
        for index in 0..7 {
            forge.comment(number, "alice", &format!("comment {index}"));
        }
    });
    let comments = client.comments(number).await.unwrap();
    let bodies: Vec<_> = comments.iter().map(|comment| comment.body.as_str()).collect();
    assert_eq!(bodies.len(), 7);
    assert_eq!((bodies[0], bodies[6]), ("comment 0", "comment 6"));
    plan(&server, "GET", "/comments", Fault::ForeignPage, 1);
    // The first page changes, so that it is not answered from the cache.
    server.act(|forge| forge.edit_comment(comments[0].id, "changed"));
    let error = shown(client.comments(number).await);
    assert!(error.contains("another server"), "{error}");
}

#[tokio::test]
async fn client_unchanged_answer_is_cached() {
    let (server, client, number) = start();
    let id = server.act(|forge| forge.comment(number, "alice", "one"));
    for _ in 0..3 {
        assert_eq!(client.comments(number).await.unwrap()[0].body, "one");
    }
    assert_eq!(server.act(|forge| forge.unchanged), 2);
    server.act(|forge| forge.edit_comment(id, "two"));
    let comments = client.comments(number).await.unwrap();
    assert!(comments[0].body == "two" && comments[0].is_edited());
}

#[tokio::test]
async fn client_limits_are_waited_for() {
    let (server, client, number) = start();
    for (fault, seconds) in [
        (Fault::HourlyLimit(3), 3),
        (Fault::SecondaryLimit(Some(4)), 4),
        (Fault::SecondaryLimit(None), 60),
        (Fault::TooManyRequests(2), 2),
    ] {
        plan(&server, "GET", "/pulls/", fault.clone(), 1);
        let before = Instant::now();
        client.pull_request(number).await.unwrap();
        assert!(before.elapsed() >= fast().second * seconds, "{fault:?} {:?}", before.elapsed());
    }
}

#[tokio::test]
async fn client_long_limit_is_error() {
    let (server, client, number) = start();
    plan(&server, "GET", "/pulls/", Fault::HourlyLimit(3000), 1);
    let error = shown(client.pull_request(number).await);
    assert!(error.contains("hourly limit") && error.contains("again later"), "{error}");
    // A limit that does not end is an error after the last attempt.
    plan(&server, "GET", "/pulls/", Fault::TooManyRequests(100), 99);
    let error = shown(client.pull_request(number).await);
    assert!(error.contains("short time"), "{error}");
}

#[tokio::test]
async fn client_missing_permission_is_named() {
    let (server, client, number) = start();
    plan(&server, "POST", "/labels", Fault::NoPermission("issues=write"), 1);
    let error = shown(client.add_labels(number, &["a".to_owned()]).await);
    assert!(error.contains("may not add labels") && error.contains("issues=write"), "{error}");
    plan(&server, "POST", "/statuses/", Fault::NoPermission(""), 1);
    let status = CommitStatus {
        context: "c".to_owned(),
        state: StatusState::Pending,
        description: "d".to_owned(),
        url: None,
    };
    let error = shown(client.set_commit_status(HEAD, &status).await);
    assert!(error.contains("commit statuses"), "{error}");
}

#[tokio::test]
async fn client_rejections_say_what_helps() {
    let (server, client, number) = start();
    assert!(shown(client.pull_request(99).await).contains("--repo-name"));
    plan(&server, "GET", "/pulls/", Fault::Status(410, "gone"), 1);
    assert!(client.pull_request(number).await.unwrap_err().is_not_found());
    let error = shown(client.add_labels(number, &["x".repeat(60)]).await);
    assert!(error.contains("too long (maximum is 50"), "{error}");
    plan(&server, "GET", "/pulls/", Fault::Status(451, "blocked"), 1);
    assert!(shown(client.pull_request(number).await).contains("451: blocked"));
    plan(&server, "GET", "/pulls/", Fault::NotJson, 1);
    assert!(shown(client.pull_request(number).await).contains("not usable"));
    let wrong = client_with(&server, Credentials::token(Secret::new("ghs_wrong")), fast());
    assert!(shown(wrong.pull_request(number).await).contains("GITHUB_TOKEN"));
}

#[tokio::test]
async fn client_transient_failures_are_repeated() {
    let (server, client, number) = start();
    for fault in [Fault::Status(502, "bad gateway"), Fault::Breaks] {
        plan(&server, "GET", "/pulls/", fault.clone(), 3);
        client.pull_request(number).await.unwrap();
        plan(&server, "POST", "/labels", fault.clone(), 2);
        client.add_labels(number, &[format!("{fault:?}").chars().take(6).collect()]).await.unwrap();
        plan(&server, "GET", "/pulls/", fault, 4);
        shown(client.pull_request(number).await);
    }
    let mut server = server;
    server.url = "http://127.0.0.1:1".to_owned();
    let client = client_with(&server, Credentials::token(Secret::new(TOKEN)), fast());
    let error = shown(client.pull_request(number).await);
    assert!(error.contains("cannot reach the forge 127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn client_lost_answer_is_unconfirmed() {
    let (server, client, number) = start();
    plan(&server, "POST", "/comments", Fault::LosesAnswer, 1);
    let error = client.create_comment(number, "text").await.unwrap_err();
    assert!(matches!(error, ForgeError::Unconfirmed { .. }) && error.is_stale(), "{error}");
    plan(&server, "POST", "/comments", Fault::Status(503, "busy"), 1);
    let error = client.create_comment(number, "text").await.unwrap_err();
    assert!(matches!(error, ForgeError::Unconfirmed { .. }), "{error}");
    assert_eq!(server.act(|forge| forge.comments_by(number, OWN_LOGIN)).len(), 1);
    // Adding the same label again does nothing.
    plan(&server, "POST", "/labels", Fault::LosesAnswer, 1);
    client.add_labels(number, &["a".to_owned()]).await.unwrap();
    assert_eq!(server.act(|forge| forge.pull(number).events.len()), 1);
}

#[tokio::test]
async fn client_stale_labels_are_no_error() {
    let (server, client, number) = start();
    server.act(|forge| {
        forge.add_label(number, "bob", "queue/old");
        forge.rename_label("queue/old", "queue/new");
    });
    client.remove_label(number, "queue/old").await.unwrap();
    client.add_labels(number, &["Queue/New".to_owned()]).await.unwrap();
    assert_eq!(server.act(|forge| forge.pull(number).labels.clone()), ["queue/new"]);
    client.remove_label(number, "queue/new").await.unwrap();
    assert_eq!(client.pull_request(number).await.unwrap().labels, Vec::<String>::new());
}

#[tokio::test]
async fn client_label_of_any_characters_is_removed() {
    let (server, client, number) = start();
    let labels = ["size/XS \u{1f41b}", "a b", "100% ?#&", "\u{7ec4}\u{4ef6}/x", "%2F"];
    client.add_labels(number, &labels.map(str::to_owned)).await.unwrap();
    for label in labels {
        client.remove_label(number, label).await.unwrap();
    }
    assert_eq!(server.act(|forge| forge.pull(number).labels.clone()), Vec::<String>::new());
    // The URL standard removes such a segment, so that the request would remove all labels.
    server.act(|forge| forge.add_label(number, "bob", "kept"));
    for label in [".", ".."] {
        client.remove_label(number, label).await.unwrap_err();
    }
    assert_eq!(server.act(|forge| forge.pull(number).labels.clone()), ["kept"]);
}

#[tokio::test]
async fn client_reads_git_objects() {
    let (server, client, _) = start();
    let directory = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(arguments);
        let output = command.current_dir(&directory).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    git(&["init", "--quiet", "--initial-branch=release/2.7"]);
    std::fs::write(directory.path().join("file"), b"content\0").unwrap();
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--no-gpg-sign", "-m", "text"]);
    server.act(|forge| forge.git = Some(directory.path().to_owned()));
    let head = client.branch_commit("release/2.7").await.unwrap();
    assert_eq!(head, git(&["rev-parse", "HEAD"]));
    let commit = client.commit(&head).await.unwrap();
    assert_eq!(commit.tree, git(&["rev-parse", "HEAD^{tree}"]));
    assert_eq!(commit.seconds.to_string(), git(&["show", "-s", "--format=%ct"]));
    let files = client.tree(&head).await.unwrap();
    assert_eq!(
        (files.len(), files[0].path.as_str(), files[0].mode.as_str()),
        (1, "file", "100644")
    );
    assert_eq!(client.blob(&files[0].object).await.unwrap(), b"content\0"[..]);
    assert!(client.blob(&head).await.unwrap_err().is_not_found());
    assert!(client.branch_commit("other").await.unwrap_err().is_not_found());
    server.act(|forge| forge.truncates_trees = true);
    assert!(shown(client.tree(&head).await).contains("too many files"));
}

#[tokio::test]
async fn client_renamed_repository_is_followed() {
    let (server, client, number) = start();
    let former: RepoName = "caicloud/former-name".parse().unwrap();
    server.act(|forge| forge.former_names.push(former.to_string()));
    let former = GitHub { repository: former, ..client };
    former.create_comment(number, "text").await.unwrap();
    assert_eq!(server.act(|forge| forge.comments_by(number, OWN_LOGIN)), ["text"]);
    assert_eq!(former.open_pull_requests(&[]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn client_writes_keep_their_distance() {
    let server = ForgeServer::start();
    let number = server.act(|forge| forge.open_pull("alice", "body", HEAD));
    let interval = Duration::from_millis(60);
    let pacing = Pacing { write_interval: interval, ..fast() };
    let client = client_with(&server, Credentials::token(Secret::new(TOKEN)), pacing);
    let comment = |text| client.create_comment(number, text);
    let (one, two, three) = tokio::join!(comment("1"), comment("2"), comment("3"));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    let times = server.act(|forge| forge.written.clone());
    for pair in times.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= interval, "{times:?}");
    }
}

#[tokio::test]
async fn identity_of_workflow_token_is_bot() {
    let (server, client, _) = start();
    server.act(|forge| forge.tokens.insert(TOKEN.to_owned(), None));
    let account = client.identity().await.unwrap();
    assert!(account.login == "github-actions[bot]" && account.is_bot, "{account:?}");
}

#[tokio::test]
async fn app_renews_rejected_token() {
    let Some(pem) = generate_key() else { return };
    let server = ForgeServer::start();
    let number = server.act(|forge| forge.open_pull("alice", "body", HEAD));
    let escaped = Secret::new(pem.replace('\n', "\\n"));
    let client = client_with(&server, Credentials::app("7", &escaped).unwrap(), fast());
    assert_eq!(client.identity().await.unwrap().login, "compass[bot]");
    client.pull_request(number).await.unwrap();
    let tokens = || server.act(|forge| forge.tokens.keys().cloned().collect::<Vec<_>>());
    let first = tokens();
    assert_eq!(first.len(), 2, "one token serves all requests");
    server.act(|forge| forge.tokens.retain(|token, _| !token.starts_with("ghs_")));
    client.comments(number).await.unwrap();
    assert_ne!(tokens(), first);
}

#[test]
fn app_statement_verifies_with_openssl() {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    let Some(pem) = generate_key() else { return };
    let credentials = Credentials::app("7", &Secret::new(&pem)).unwrap();
    let app::Kind::App(app) = &credentials.0 else { panic!("not an app") };
    let now = "2026-11-29T00:00:00Z".parse().unwrap();
    let statement = app.assertion(now).unwrap();
    let (message, signature) = statement.reveal().rsplit_once('.').unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(message.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims, json!({"iss": "7", "iat": 1_795_910_340, "exp": 1_795_910_880}));
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(directory.path().join(name), bytes).unwrap();
    };
    write("key", pem.as_bytes());
    write("message", message.as_bytes());
    write("signature", &BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap());
    let verify = "openssl pkey -in key -pubout -out public && \
                  openssl dgst -sha256 -verify public -signature signature message";
    let verified = Command::new("sh").args(["-c", verify]).current_dir(&directory).output();
    assert!(verified.unwrap().status.success());
}

#[test]
fn app_key_of_other_kind_is_error() {
    for key in ["", "not a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        let error = Credentials::app("7", &Secret::new(key)).unwrap_err().to_string();
        assert!(error.starts_with("GITHUB_APP_PRIVATE_KEY"), "{error}");
    }
}

/// Generates an RSA key; `None` if openssl is not installed.
fn generate_key() -> Option<String> {
    match Command::new("openssl").args(["genrsa", "2048"]).output() {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(error) => {
            eprintln!("SKIPPED: cannot run openssl: {error}");
            None
        }
    }
}
