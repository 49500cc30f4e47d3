//! Measures several tools with the same work, in turn.

use std::fmt::Write as _;
use std::time::Duration;

use compass_benches::BenchError;
use compass_benches::shell::{is_installed, median, run};

use crate::environment::{Destination, Environment};
use crate::images::{self, ImageSet};

/// The same work for several tools.
pub(crate) struct Comparison {
    /// The name on the command line.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) images: ImageSet,
    pub(crate) destination: Destination,
    pub(crate) contenders: Vec<Contender>,
}

/// One tool, and the script that does the work with it.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) name: String,
    /// The programs that the script requires.
    pub(crate) requires: &'static [&'static str],
    /// Runs once before the measurements, in the parent directory of the script.
    pub(crate) setup: Option<String>,
    pub(crate) script: String,
    /// Whether one measurement is enough, because the tool takes minutes.
    pub(crate) once: bool,
}

impl Contender {
    fn missing(&self) -> Vec<&'static str> {
        self.requires.iter().filter(|program| !is_installed(program)).copied().collect()
    }
}

/// The measurements of one contender.
#[derive(Default)]
struct Measurements {
    durations: Vec<Duration>,
    /// The peak memory in KiB.
    memory: u64,
}

impl Comparison {
    /// Measures the contenders in turn, and returns the result as a Markdown table.
    pub(crate) async fn run(
        &self,
        environment: &Environment,
        rounds: usize,
    ) -> Result<String, BenchError> {
        eprintln!("{}: creating images …", self.name);
        images::push(&environment.near.source, self.images).await?;
        let contenders: Vec<_> =
            self.contenders.iter().filter(|one| one.missing().is_empty()).collect();
        for setup in contenders.iter().filter_map(|one| one.setup.as_deref()) {
            run(environment.root(), setup)?;
        }
        let mut results: Vec<_> =
            contenders.iter().map(|one| (*one, Measurements::default())).collect();
        for round in 0..rounds {
            eprintln!("{}: round {} of {rounds} …", self.name, round + 1);
            for (contender, measurements) in &mut results {
                if round == 0 || !contender.once {
                    let usage = environment.measure(&contender.script, self.destination).await?;
                    measurements.durations.push(usage.duration);
                    measurements.memory = measurements.memory.max(usage.memory);
                }
            }
        }
        Ok(self.table(results))
    }

    fn table(&self, results: Vec<(&Contender, Measurements)>) -> String {
        let mut table = format!(
            "### {}: {}\n\n| | median | fastest | of | times as fast | peak memory |\n\
             |---|---|---|---|---|---|\n",
            self.name, self.title
        );
        let mut first = None;
        for (contender, Measurements { mut durations, memory }) in results {
            let (count, median) = (durations.len(), median(&mut durations).as_secs_f64());
            let (name, fastest) = (&contender.name, durations[0].as_secs_f64());
            let ratio = *first.get_or_insert(median) / median;
            let memory = memory / 1024;
            let _ = writeln!(
                table,
                "| {name} | {median:.2} s | {fastest:.2} s | {count} | {ratio:.2} | {memory} MiB |"
            );
        }
        for contender in &self.contenders {
            let missing = contender.missing();
            if !missing.is_empty() {
                let missing = missing.join(", ");
                let _ = write!(table, "\nNot measured: {}, without {missing}.\n", contender.name);
            }
        }
        table + "\n"
    }
}
