//! Pull requests in all states, and published packages of each kind.

use jiff::Timestamp;

use crate::world::{BODY, World};

/// The number of different states.
pub(crate) const STATES: usize = 7;

const NAMES: [&str; 20] = [
    "log-center",
    "gpu-manager",
    "ingress",
    "cargo-admin",
    "devops",
    "mesh",
    "billing",
    "backup",
    "alert",
    "storage",
    "tenant",
    "registry",
    "network",
    "monitor",
    "audit",
    "gateway",
    "scheduler",
    "console",
    "catalog",
    "workflow",
];

const TITLES: [&str; 10] = [
    "Release log-center v0.2.0",
    "发布 gpu-manager v0.2.0：修复多卡节点上显存统计不准确的问题",
    "Release ingress v0.2.0: reload the configuration without dropping connections, and report the number of \
     connections of each upstream separately for every namespace and every load balancer of the cluster",
    "发布镜像管理插件，支持按项目设置保留策略，并在删除之前列出所有受影响的镜像以及引用这些镜像的工作负载，避免误删正在使用的内容",
    "</title><script>alert(1)</script> & \"quotes\" \u{202e}txet desrever\u{202c}",
    "AVeryLongNameWithoutAnySpacesThatABrowserCannotBreakUnlessTheStyleSheetAllowsItToBreakAnywhereItWants",
    "WIP: billing by the second",
    "Release backup v0.2.0",
    "告警插件 v0.2.0",
    "Release storage v0.2.0",
];

/// What happened to a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Published,
    WorkFailed,
    ImagesMissing,
    Refused,
    ToSync,
    ToPackage,
    Draft,
}

const FATES: [Fate; STATES] = [
    Fate::Published,
    Fate::WorkFailed,
    Fate::ImagesMissing,
    Fate::Refused,
    Fate::ToSync,
    Fate::ToPackage,
    Fate::Draft,
];

/// Creates pull requests; returns their numbers, of which the first ones have all states.
pub(crate) fn create(world: &World, count: usize) -> Vec<u64> {
    let fate = |index: usize| FATES[index % STATES];
    let needs_work = |index: &usize| matches!(fate(*index), Fate::Published | Fate::WorkFailed);
    let (with_work, others): (Vec<usize>, Vec<usize>) = (0..count).partition(needs_work);
    let mut numbers = vec![0; count];
    for index in with_work {
        numbers[index] = open(world, index, fate(index));
        world.apply(numbers[index]);
    }
    world.compass(&["queue", "--run"]);
    for index in others {
        numbers[index] = open(world, index, fate(index));
    }
    let now = Timestamp::now().as_second();
    world.forge.act(|forge| {
        for (index, number) in numbers.iter().enumerate() {
            let pull = forge.pulls.get_mut(number).unwrap();
            TITLES[index % TITLES.len()].clone_into(&mut pull.title);
            pull.created = now - 5_000 * i64::try_from(index * index).unwrap();
        }
    });
    publish(world);
    numbers
}

fn open(world: &World, index: usize, fate: Fate) -> u64 {
    let name = NAMES[index % NAMES.len()];
    let head = world.change(&format!("change-{name}"), name, "v0.2.0");
    let author = ["alice", "lin-xia", "wangwei"][index % 3];
    let body = if fate == Fate::Draft { "Not ready yet." } else { BODY };
    let number = world.forge.act(|forge| forge.open_pull(author, body, &head));
    let comment = |author: &str, text: &str| {
        world.forge.act(|forge| forge.comment(number, author, text));
    };
    match fate {
        Fate::ImagesMissing => {}
        Fate::Refused => comment("mallory", "/queue patches-need-package"),
        Fate::Draft => world.forge.act(|forge| {
            forge.pulls.get_mut(&number).unwrap().is_draft = true;
        }),
        Fate::Published | Fate::WorkFailed | Fate::ToSync | Fate::ToPackage => {
            world.push_image(name, "v0.2.0");
            comment(author, &world.pushed(name, "v0.2.0"));
        }
    }
    if fate == Fate::WorkFailed {
        world.sync_other_image(name, "v0.2.0");
    }
    if fate == Fate::ToPackage {
        world.sync_image(name, "v0.2.0");
        comment("paula", "/queue patches-need-package");
    }
    number
}

/// Writes packages of each kind to the store.
fn publish(world: &World) {
    let mut files = Vec::new();
    for (name, patch) in ["gpu-manager", "log-center", "ingress"]
        .iter()
        .flat_map(|name| (1..4).map(move |patch| (name, patch)))
    {
        files.push(format!("plugins/{name}/compass-plugins-{name}-v0.1.{patch}.tar.gz"));
    }
    for addon in ["web", "a-controller-with-a-very-long-name-for-storage-classes"] {
        files.push(format!(
            "hotfixes/compass/v2.7.0/compass-hotfixes-{addon}-v2.7.0-20180605-p1.tar.gz"
        ));
    }
    for version in ["v2.7.0", "v2.7.1"] {
        files.push(format!("products/compass/{version}/compass-{version}.tar.gz"));
    }
    for (index, path) in files.iter().enumerate() {
        let name = path.rsplit('/').next().unwrap();
        world.write(&format!("store/{path}"), &"a package ".repeat(1 + 10_000 * index));
        let digest = format!("{index:02x}").repeat(32);
        world.write(&format!("store/{path}.sha256"), &format!("{digest}  {name}\n"));
    }
}
