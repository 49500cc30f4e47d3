//! 1, 4 and 16 processes that send the shards of one bundle, and are killed at random times.

use std::process::Child;
use std::time::{Duration, Instant};

use compass_registry::testing::random_bytes;
use serde_json::Value;

use crate::shards::require_published;
use crate::traffic::Traffic;
use crate::world::{BUNDLE, World};

/// The layers of a bundle of about ten parts.
const LAYERS: [(u64, usize); 5] =
    [(1, 14_000_000), (2, 11_000_000), (3, 2_000_000), (4, 12_000_000), (5, 3_000_000)];

/// The bytes that each process may read in addition to the layers: manifests and the configuration.
const OVERHEAD: u64 = 64 << 10;

/// The processes that send a bundle in shards.
struct Shards<'w> {
    world: &'w World,
    traffic: &'w Traffic,
    count: usize,
}

impl Shards<'_> {
    fn arguments(&self, shard: usize) -> Vec<String> {
        let from = format!("{}/release", self.traffic.host);
        let shard = format!("{}/{}", shard + 1, self.count);
        let to = self.world.store();
        [
            "package", "plugin", "demo", "--repo", "repo", "--from", &from, "-o", &to, "--shard",
            &shard,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn start(&self, shard: usize) -> Child {
        self.world.start(&self.arguments(shard).iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn send(&self, shard: usize) -> Value {
        self.world.json(&self.arguments(shard).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Sends all shards at once, and waits until the bundle is complete.
    fn send_all(&self) -> Duration {
        let began = Instant::now();
        for mut process in (0..self.count).map(|shard| self.start(shard)).collect::<Vec<_>>() {
            assert!(process.wait().unwrap().success());
        }
        began.elapsed()
    }

    /// Sends all shards at once, and kills a number of processes at random times. Each of them is
    /// started again. Returns how many of them were running.
    fn send_with_kills(&self, kills: usize, longest: Duration, seed: u64) -> usize {
        let mut processes: Vec<_> = (0..self.count).map(|shard| self.start(shard)).collect();
        let random = random_bytes(seed, 16 * kills);
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let wait = u64::try_from(longest.as_millis()).unwrap().max(2);
        let mut running = 0;
        for choice in random.chunks(16) {
            let shard = usize::try_from(number(&choice[..8]) % self.count as u64).unwrap();
            std::thread::sleep(Duration::from_millis(number(&choice[8..]) % wait));
            let process = &mut processes[shard];
            running += usize::from(process.try_wait().unwrap().is_none());
            let _ = process.kill();
            process.wait().unwrap();
            *process = self.start(shard);
        }
        for process in &mut processes {
            assert!(process.wait().unwrap().success());
        }
        running
    }

    fn remove(&self) {
        let key = format!("plugins/demo/{BUNDLE}");
        self.world.put(&key, None);
        self.world.put(&format!("{key}.sha256"), None);
    }
}

/// `COMPASS_SHARD_KILLS` is the number of kills for each number of processes.
#[test]
fn shards_killed_at_random_equal_local_bundle() {
    let Some(world) = World::required("kills") else { return };
    world.release_version("v0.1.0", &LAYERS);
    world.packaged("out");
    let kills = std::env::var("COMPASS_SHARD_KILLS").ok().and_then(|kills| kills.parse().ok());
    let kills: usize = kills.unwrap_or(4);
    let traffic = Traffic::start(world.registry.host().clone());
    let layers: u64 = LAYERS.iter().map(|(_, size)| *size as u64).sum();
    for count in [1, 4, 16] {
        let shards = Shards { world: &world, traffic: &traffic, count };
        traffic.take();
        let time = shards.send_all();
        let read = traffic.take();
        require_published(&world);
        assert!((layers..layers + count as u64 * OVERHEAD).contains(&read), "{count}: {read}");
        let (mut killed, mut seed) = (0, 0);
        while killed < kills {
            shards.remove();
            seed += 1;
            let most = (kills - killed).min(2 * count);
            killed += shards.send_with_kills(most, time / 2, seed);
            // A shard that ended before another one was killed is not sent again.
            assert_eq!(shards.send(0)["complete"], true);
            require_published(&world);
        }
        shards.remove();
        let again = traffic.take();
        eprintln!("{count} shards: {time:.1?}, {killed} kills in {seed} runs, {again} bytes read");
    }
}
