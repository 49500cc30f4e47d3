//! `compass completions`.

use std::process::ExitCode;

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::Shell as Generator;
use serde_json::json;

use crate::cli::Cli;
use crate::global_args::Format;
use crate::output::{self, Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Fish,
    Zsh,
}

pub(crate) fn run(args: &Args, output: &Output) -> ExitCode {
    let generator = match args.shell {
        Shell::Bash => Generator::Bash,
        Shell::Fish => Generator::Fish,
        Shell::Zsh => Generator::Zsh,
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut Cli::command(), "compass", &mut script);
    let script = String::from_utf8_lossy(&script);
    match output.format {
        Format::Json => output.result(|| json!({"script": script}), String::new),
        // A script is printed as it is: escapes would change its meaning.
        _ => output::print(&script),
    }
    ExitCode::SUCCESS
}
