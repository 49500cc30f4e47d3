//! Measures the time and memory of `check` on large repositories.
//!
//! One has 10,000 plugins and 2,000 hotfixes, the other one ten times as many.
//!
//! ```sh
//! cargo run --release -p compass-benches --bin check_scale
//! ```
//!
//! Each measurement runs in a process of its own, so that the peak memory of one does not hide that
//! of another. The time does not include building the tree.

use std::env;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::time::Instant;

use compass_manifest::{Policy, Tree, check};

const ROUNDS: usize = 5;
const PLUGINS: usize = 10_000;
const HOTFIXES: usize = 2_000;
const SHARED_PORT: u16 = 80;

fn main() -> ExitCode {
    match env::args().nth(1).as_deref().map(str::parse) {
        Some(Ok(factor)) => measure(factor),
        Some(Err(_)) => {
            eprintln!("usage: check_scale");
            return ExitCode::from(2);
        }
        None => return compare(),
    }
    ExitCode::SUCCESS
}

/// Measures once.
/// Prints the time in ms, the peak memory in MiB, and the size of the YAML in MB.
fn measure(factor: usize) {
    let tree = tree(factor);
    let bytes: usize = tree.files().map(|(_, bytes)| bytes.len()).sum();
    let mut policy = Policy::default();
    policy.plugins.shared_ports.push(SHARED_PORT);
    let started = Instant::now();
    let report = check(&tree, &policy);
    let elapsed = started.elapsed();
    assert!(report.findings().is_empty(), "{:?}", &report.findings()[0]);
    println!("{} {} {}", elapsed.as_millis(), peak_memory() / 1024, bytes / 1_000_000);
}

fn compare() -> ExitCode {
    let mut table = String::from("| files | YAML | median | peak memory |\n|---|---|---|---|\n");
    let mut medians = Vec::new();
    for factor in [1, 10] {
        let mut rounds: Vec<(u64, u64, u64)> = Vec::new();
        for _ in 0..ROUNDS {
            let Some(round) = measure_in_child(factor) else {
                eprintln!("error: a measurement failed");
                return ExitCode::FAILURE;
            };
            rounds.push(round);
        }
        rounds.sort_unstable();
        let (millis, _, megabytes) = rounds[ROUNDS / 2];
        let memory = rounds.iter().map(|(_, memory, _)| memory).max().copied().unwrap_or_default();
        let files = (PLUGINS + HOTFIXES) * factor;
        let _ = writeln!(table, "| {files} | {megabytes} MB | {millis} ms | {memory} MiB |");
        medians.push(millis);
    }
    println!("{table}");
    println!("ten times the files take {:.1} times as long", ratio(medians[1], medians[0]));
    ExitCode::SUCCESS
}

#[expect(clippy::cast_precision_loss, reason = "printed with one digit")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}

/// Runs one measurement in a process of its own. Returns what [`measure`] prints.
fn measure_in_child(factor: usize) -> Option<(u64, u64, u64)> {
    let output = Command::new(env::current_exe().ok()?).arg(factor.to_string()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split_whitespace().map(str::parse);
    match (words.next(), words.next(), words.next()) {
        (Some(Ok(millis)), Some(Ok(memory)), Some(Ok(size))) => Some((millis, memory, size)),
        _ => None,
    }
}

/// The peak memory of this process, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn tree(factor: usize) -> Tree {
    let mut tree = Tree::new();
    for number in 0..PLUGINS * factor {
        // There are fewer ports than plugins. The rest share one, which the policy allows.
        let port = if number < 60_000 {
            u16::try_from(1024 + number).unwrap_or(SHARED_PORT)
        } else {
            SHARED_PORT
        };
        tree.insert(format!("release-plugins/plugin-{number}.yaml"), plugin(number, port));
    }
    // As in a real repository, an addon has several consecutive hotfixes.
    for number in 0..HOTFIXES * factor {
        let (addon, patch) = (number / 20, number % 20 + 1);
        let version = format!("v2.7.0-20180605-p{patch}");
        let path =
            format!("v2.7.0/addon-{addon}-{version}/default/group/addon-{addon}/values.yaml");
        tree.insert(format!("release-hotfixes/{path}"), hotfix(addon, &version));
    }
    tree
}

fn plugin(number: usize, port: u16) -> String {
    format!(
        "metadata:\n  name: plugin-{number}\n  alias: 插件 {number}\nspec:\n  class: \
         plugin-{number}\n  version: v0.1.{number}\n  compassRequirement: \">=v2.7.2\"\n  \
         description: 管理节点上的设备\n  note: 管理节点上的设备\n  author: example\n  service:\n    port: {port}\n    \
         image: harbor.example/release/compass-plugins-plugin-{number}:v0.1.{number}\n    \
         configs:\n      envs:\n      - name: MONITORING_TIMEOUT\n        value: '60'\n        \
         description: 连接超时时间\n      - name: MONITORING_HOST\n        value: monitoring-admin\n        \
         description: 地址\n      files: []\n    security:\n      privileged: false\n      \
         clusterAccessible: true\n      apiAccessible: true\n    resources:\n      limits:\n        \
         cpu: '0.5'\n        memory: 512Mi\n      requests:\n        cpu: '0.1'\n        memory: \
         256Mi\n  modules:\n  - name: plugin-{number}\n    alias:\n      zh: 插件\n      en: Plugin\n    \
         icon: /src/img/icon.svg\n    sources:\n    - /src/index.js\n    slots:\n    - \
         system.plugin-{number}\n"
    )
}

fn hotfix(addon: usize, version: &str) -> String {
    let mut text = format!(
        "_config:\n  _metadata:\n    name: addon-{addon}\n    version: {version}\n    namespace: \
         default\n    description: addon-{addon}\n    template:\n      type: \
         template.caicloud.io/application\n      version: 1.0.0\n  controllers:\n  - type: \
         Deployment\n    controller:\n      replica: 1\n      strategy:\n        unavailable: 0\n        \
         surge: 1\n    containers:\n    - image: '[[ registry_release ]]/addon-{addon}:{version}'\n      \
         imagePullPolicy: IfNotPresent\n      resources:\n        limits:\n          cpu: 500m\n          \
         memory: 512Mi\n        requests:\n          cpu: 100m\n          memory: 128Mi\n      env:\n"
    );
    for number in 0..24 {
        let _ = write!(
            text,
            "      - name: ENV_SETTING_{number}\n        value: 'http://service-{number}:8080/api'\n"
        );
    }
    text.push_str(
        "      ports:\n      - protocol: TCP\n        port: 8080\n    services:\n    - name: \
         service\n      type: ClusterIP\n      ports:\n      - protocol: TCP\n        port: 8080\n        \
         targetPort: 8080\n    volumes:\n    - name: time\n      type: HostPath\n      source:\n        \
         path: /etc/localtime\n",
    );
    text
}
