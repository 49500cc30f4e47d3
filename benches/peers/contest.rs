//! Several tools at the same work, in turns.

use std::path::{Path, PathBuf};
use std::time::Duration;

use compass_benches::Failure;
use compass_benches::link::Link;
use compass_benches::registry::{Registry, free_host};
use compass_benches::shell::{has, median, need, sh, timed};

use crate::images;

/// A way to somewhere far away.
const LINK: Link = Link { delay: Duration::from_millis(25), rate: 40_000_000 };

/// The same work for several.
pub(crate) struct Contest {
    /// What the command line calls it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) contenders: Vec<Contender>,
}

/// A tool, and how it does the work.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Programs that it needs.
    pub(crate) needs: &'static [&'static str],
    pub(crate) script: String,
    /// Whether it takes so long that once is enough.
    pub(crate) once: bool,
}

/// Where the comparisons take place.
pub(crate) struct Arena {
    /// Deleted at the end.
    scratch: tempfile::TempDir,
    rounds: usize,
    pub(crate) compass: PathBuf,
    pub(crate) near: Place,
    pub(crate) far: Place,
    _source: Registry,
    /// Where the destination listens while there is one.
    destination: String,
}

/// Where source and destination are reached.
pub(crate) struct Place {
    pub(crate) source: String,
    pub(crate) destination: String,
}

impl Arena {
    pub(crate) async fn open(data: Option<&Path>, rounds: usize) -> Result<Self, Failure> {
        let compass = need(&["docker-registry", "curl", "bash", "xargs", "/usr/bin/time"])?;
        let scratch = tempfile::tempdir()?;
        let own = scratch.path().join("source");
        let data = data.map_or(own, Path::to_owned);
        std::fs::create_dir_all(&data)?;
        let (source, destination) = (free_host()?, free_host()?);
        let registry = Registry::start(&data.canonicalize()?, &source)?;
        eprintln!("making images …");
        images::push_all(&source).await?;
        let (slow_source, slow_destination) =
            (LINK.to(source.clone()).await?, LINK.to(destination.clone()).await?);
        Ok(Self {
            scratch,
            rounds: rounds.max(1),
            compass,
            near: Place { source, destination: destination.clone() },
            far: Place { source: slow_source, destination: slow_destination },
            _source: registry,
            destination,
        })
    }

    /// Where scripts run.
    pub(crate) fn root(&self) -> &Path {
        self.scratch.path()
    }

    /// Holds a contest, and prints the outcome as a table.
    pub(crate) async fn hold(&self, contest: &Contest) -> Result<(), Failure> {
        let missing = |contender: &Contender| -> Vec<_> {
            contender.needs.iter().filter(|program| !has(program)).copied().collect()
        };
        let present: Vec<_> =
            contest.contenders.iter().filter(|one| missing(one).is_empty()).collect();
        let mut results = vec![(Vec::new(), 0); present.len()];
        for round in 0..self.rounds {
            for (contender, (times, peak)) in present.iter().zip(&mut results) {
                if round == 0 || !contender.once {
                    let (time, used) = self.run(&contender.script).await?;
                    times.push(time);
                    *peak = used.max(*peak);
                }
            }
        }
        println!("### {}: {}\n", contest.name, contest.title);
        println!("| | median | of | times as fast | peak memory |\n|---|---|---|---|---|");
        let mut first = None;
        for (contender, (mut times, peak)) in present.iter().zip(results) {
            let (count, median) = (times.len(), median(&mut times).as_secs_f64());
            let first = *first.get_or_insert(median);
            let (ratio, peak) = (first / median, peak / 1024);
            println!("| {} | {median:.2} s | {count} | {ratio:.2} | {peak} MiB |", contender.name);
        }
        for contender in &contest.contenders {
            let missing = missing(contender);
            if !missing.is_empty() {
                println!("\nNot compared with {}: no {}.", contender.name, missing.join(", "));
            }
        }
        println!();
        Ok(())
    }

    /// Runs a script with an empty destination; gives the time that it took and the memory of its
    /// largest process in KiB.
    async fn run(&self, script: &str) -> Result<(Duration, u64), Failure> {
        let (root, host) = (self.root().to_owned(), self.destination.clone());
        let script = format!("/usr/bin/time -f %M -o peak bash -euc '{script}'");
        let work = move || {
            sh(&root, "rm -rf destination work peak; mkdir work; sync")?;
            let _destination = Registry::start(&root.join("destination"), &host)?;
            let time = timed(&root.join("work"), &script)?;
            let peak = sh(&root, "tail -n 1 work/peak")?;
            Ok::<_, Failure>((time, peak.trim().parse()?))
        };
        tokio::task::spawn_blocking(work).await?
    }
}
