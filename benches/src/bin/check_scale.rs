//! Judging a large release repository: time and peak memory, each case in a process of its own.
//!
//! ```sh
//! cargo run --release -p compass-benches --bin check_scale
//! ```

use std::process::{Command, ExitCode};
use std::time::Instant;

use compass_manifest::{Policy, Tree, check, yaml};

const ROUNDS: usize = 5;
/// How many plugin manifests, and how many values of hotfix addons.
const SIZES: [(u16, u16); 2] = [(1_000, 200), (10_000, 2_000)];
const CASES: [&str; 3] = ["tree alone", "yaml::parse of every file", "check"];

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [case, plugins, hotfixes] => measure(case, plugins, hotfixes),
        _ => compare(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every case in child processes and prints medians.
fn compare() -> Result<(), Failure> {
    println!(
        "| plugins | hotfix addons | | median of {ROUNDS} | peak memory |\n|---|---|---|---|---|"
    );
    for (plugins, hotfixes) in SIZES {
        for case in CASES {
            let (mut times, mut peaks) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let (time, peak) = child(case, plugins, hotfixes)?;
                times.push(time);
                peaks.push(peak);
            }
            let (time, peak) = (median(&mut times), median(&mut peaks));
            println!(
                "| {plugins} | {hotfixes} | {case} | {} ms | {} MiB |",
                time / 1000,
                peak / 1024
            );
        }
    }
    Ok(())
}

/// Microseconds and peak KiB of one case, as its process says.
fn child(case: &str, plugins: u16, hotfixes: u16) -> Result<(u64, u64), Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args([case, &plugins.to_string(), &hotfixes.to_string()]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let (time, peak) = text.trim().split_once(' ').ok_or("two numbers were expected")?;
    Ok((time.parse()?, peak.parse()?))
}

fn measure(case: &str, plugins: &str, hotfixes: &str) -> Result<(), Failure> {
    let tree = tree(plugins.parse()?, hotfixes.parse()?);
    let began = Instant::now();
    match case {
        "tree alone" => {}
        "check" => {
            let report = check(&tree, &Policy::default());
            if !report.passes() {
                return Err(format!("{:?}", report.findings().first()).into());
            }
        }
        _ => {
            for (path, bytes) in tree.files() {
                yaml::parse(std::str::from_utf8(bytes)?)
                    .map_err(|error| format!("{path}: {}", error.message))?;
            }
        }
    }
    println!("{} {}", began.elapsed().as_micros(), peak()?);
    Ok(())
}

/// The most memory that this process has had, in KiB.
fn peak() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// A repository as real ones are, only larger, and without a fault.
fn tree(plugins: u16, hotfixes: u16) -> Tree {
    (0..plugins).map(plugin).chain((0..hotfixes).map(hotfix)).collect()
}

fn plugin(number: u16) -> (String, String) {
    let name = format!("plugin-{number:05}");
    let port = 1_000 + number;
    let text = format!(
        "metadata:
  name: {name}
  alias: GPU 管理
spec:
  class: {name}
  version: v0.1.1
  compassRequirement: \">=v2.7.2\"
  description: 管理集群中的 GPU 资源
  note: 新增 GPU 用量统计
  author: compass
  service:
    port: {port}
    image: harbor.caicloud.xyz/release/compass-plugins-{name}:v0.1.1
    configs:
      envs:
      - name: LOG_LEVEL
        value: 'info'
        description: 日志级别
      - name: MONITOR_SERVER
        value: http://monitoring-admin:8899/api/v1
        description: 监控
      - name: MULTI_TENANCY
        value: '[[ multi_tenant ]]'
      files: []
    security:
      privileged: false
      clusterAccessible: true
      apiAccessible: true
    resources:
      limits:
        cpu: '0.5'
        memory: 512Mi
      requests:
        cpu: '0.1'
        memory: 128Mi
  modules:
  - name: {name}
    alias:
      zh: GPU 管理
      en: GPU Manager
    icon: gpu
    sources:
    - /src/index.js
    slots:
    - system.{name}
    - cluster.{name}
"
    );
    (format!("release-plugins/{name}.yaml"), text)
}

fn hotfix(number: u16) -> (String, String) {
    let addon = format!("compass-hotfixes-addon-{number:05}-v3.1.55-20180724-p5");
    let mut text = "_config:
  _metadata:
    description: addon
    name: addon
    template:
      type: template.caicloud.io/application
      version: 1.0.0
    version: \"v3.1.55\"
  controllers:
  - containers:
    - env:
      # 隐藏审计日志菜单
"
    .to_owned();
    for variable in 0..40 {
        text.push_str(&format!(
            "      - name: SERVER_{variable}\n        value: http://[[ platform_host ]]:{variable}\n"
        ));
    }
    text.push_str(
        "      image: '[[ registry_release ]]/addon:v3.1.55'
      imagePullPolicy: IfNotPresent
      ports:
      - port: 3000
        protocol: TCP
    controller:
      replica: 1
      strategy:
        surge: 1
        unavailable: 0
    services:
    - name: addon
      ports:
      - nodePort: 30000
        port: 3000
        protocol: TCP
      type: NodePort
    type: Deployment
",
    );
    (format!("release-hotfixes/2.7.0/20180725/{addon}/default/addon/values.yaml"), text)
}
