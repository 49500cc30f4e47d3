//! Benchmarks `check` on many plugin manifests.
#![allow(missing_docs)]

use compass_manifest::{Policy, Tree, check};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn tree(plugins: u16) -> Tree {
    let plugin = |number: u16| {
        let name = format!("plugin-{number}");
        let port = 1000 + number;
        let text = format!(
            "metadata:\n  name: {name}\n  alias: 插件\nspec:\n  version: v0.1.1\n  service:\n    port: {port}\n    \
             image: harbor.example/release/compass-plugins-{name}:v0.1.1\n  modules:\n  \
             - name: {name}\n    slots:\n    - system.{name}\n"
        );
        (format!("release-plugins/{name}.yaml"), text)
    };
    (0..plugins).map(plugin).collect()
}

fn check_plugins(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    group.sample_size(10);
    for plugins in [100, 1_000, 10_000] {
        let tree = tree(plugins);
        group.throughput(Throughput::Elements(plugins.into()));
        group.bench_with_input(BenchmarkId::from_parameter(plugins), &tree, |bencher, tree| {
            bencher.iter(|| check(tree, &Policy::default()));
        });
    }
    group.finish();
}

criterion_group!(benches, check_plugins);
criterion_main!(benches);
