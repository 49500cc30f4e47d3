//! The pages of the board.

use crate::server::{Answer, Bot, eventually};
use crate::world::World;

const CHINESE: (&str, &str) = ("accept-language", "zh-CN,zh;q=0.9,en;q=0.8");

/// Asserts that a page is well-formed, that every table has headings, and that nothing else is loaded.
fn assert_page(answer: &Answer, language: &str) {
    let html = &answer.body;
    assert!(html.starts_with(&format!("<!DOCTYPE html><html lang=\"{language}\">")), "{html}");
    assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{}", answer.head);
    assert!(answer.head.contains("vary: accept-language"), "{}", answer.head);
    for unwanted in ["<script", "style=", "onload", "javascript:", "http-equiv"] {
        assert!(!html.contains(unwanted), "{unwanted}: {html}");
    }
    let count = |text: &str| html.matches(text).count();
    for landmark in ["<header", "<main", "<footer", "<nav", "<h1", "<title>"] {
        assert!(count(landmark) >= 1, "{landmark}: {html}");
    }
    assert_eq!(count("<h1"), 1);
    assert_eq!(count("<table"), count("<caption"));
    for tag in ["table", "section", "article", "ul", "dl", "tr", "td", "div", "p", "code", "span"] {
        let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
        assert_eq!(opened, count(&format!("</{tag}>")), "{tag}: {html}");
    }
    let ids: Vec<&str> =
        html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
}

/// A world with a release whose title is hostile, and a published package.
fn world_with_release() -> (World, u64) {
    let world = World::new();
    let number = world.open_release("gpu", "v0.2.0");
    world.forge.act(|forge| {
        let pull = forge.pulls.get_mut(&number).unwrap();
        "</title><script>alert(1)</script> & \"quotes\"".clone_into(&mut pull.title);
        forge.comment(number, "mallory", "/queue patches-need-sync-image");
    });
    let name = "store/plugins/gpu/compass-plugins-gpu-v0.1.0.tar.gz";
    world.write(name, "a package");
    world.write(
        &format!("{name}.sha256"),
        &format!("{}  compass-plugins-gpu-v0.1.0.tar.gz\n", "ab".repeat(32)),
    );
    (world, number)
}

#[test]
fn board_shows_releases_and_packages() {
    let (world, number) = world_with_release();
    let bot = Bot::start(&world);
    eventually("read", || bot.metric("compass_bot_open_releases") == 1);
    let path = format!("/pull/{number}");
    for (headers, language, texts) in [
        (
            &[][..],
            "en",
            [
                "Release queue",
                "In review",
                "Images in the source registry",
                "A request was refused",
            ],
        ),
        (&[CHINESE], "zh-CN", ["发布队列", "待审核", "镜像已推送到源镜像仓库", "有指令未通过"]),
    ] {
        let overview = bot.get("/", headers);
        assert_eq!(overview.status, 200);
        assert_page(&overview, language);
        for text in texts {
            assert!(overview.body.contains(text), "{text}: {}", overview.body);
        }
        for text in ["queue/need-queue", "@alice", "&lt;script&gt;", "v0.1.0", &"ab".repeat(32)] {
            assert!(overview.body.contains(text), "{text}: {}", overview.body);
        }
        let pull = bot.get(&path, headers);
        assert_eq!(pull.status, 200);
        assert_page(&pull, language);
        for text in [texts[2], "/queue patches-need-sync-image", "@mallory", "compass-plugins-gpu"]
        {
            assert!(pull.body.contains(text), "{text}: {}", pull.body);
        }
        assert!(pull.body.contains("aria-current=\"step\""), "{}", pull.body);
        assert!(!pull.body.contains("lang=\"en\"") || language == "en", "{}", pull.body);
        let packages = bot.get("/packages/plugin", headers);
        assert_eq!(packages.status, 200);
        assert_page(&packages, language);
    }
    assert_eq!(bot.get("/style.css", &[]).status, 200);
    assert_eq!(bot.get("/icon.svg", &[]).status, 200);
    bot.stop();
}

#[test]
fn board_other_paths_do_not_exist() {
    let world = World::new();
    let bot = Bot::start(&world);
    eventually("scanned", || bot.metric("compass_bot_scans_total") == 1);
    for path in [
        "/pull/1",
        "/pull/x",
        "/pull/99999999999999999999",
        "/packages/other",
        "/packages/plugin?page=0",
        "/packages/plugin?page=2",
        "/packages/plugin?page=x",
        "/x",
        "/%3Cscript%3E",
    ] {
        let answer = bot.get(path, &[]);
        assert_eq!(answer.status, 404, "{path}");
        assert_page(&answer, "en");
    }
    assert_page(&bot.get("/", &[]), "en");
    assert_eq!(bot.request("POST", "/", &[], b"").unwrap().status, 405);
    bot.stop();
}

#[test]
fn board_says_that_forge_fails() {
    let world = World::new();
    let bot = Bot::start_with(&world, &[("GITHUB_TOKEN", "ghp_invalid")]);
    eventually("failed", || bot.metric("compass_bot_scans_failed_total") == 1);
    let page = bot.get("/", &[]);
    assert_page(&page, "en");
    assert!(page.body.contains("The list of pull requests could not be read"), "{}", page.body);
    assert!(!page.body.contains("ghp_invalid"), "{}", page.body);
    let page = bot.get("/", &[CHINESE]).body;
    assert!(page.contains("无法读取 pull request 列表"), "{page}");
    // A restart would not help.
    assert_eq!(bot.get("/healthz", &[]).status, 200);
    bot.stop();
}
