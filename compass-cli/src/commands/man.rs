//! `compass man`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_mangen::Man;
use compass_manifest::suggest;
use serde_json::json;

use crate::cli::Cli;
use crate::error::{CliError, Result};
use crate::fs;
use crate::global_args::Format;
use crate::output::{self, Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command, such as `store ls` [default: the page of `compass` itself]
    command: Vec<String>,
    /// Writes the pages of all commands into this directory
    #[arg(short, long, value_name = "DIR", conflicts_with = "command")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let root = with_all_help(root);
    match &args.output {
        Some(directory) => write_all(&root, directory, output)?,
        None => print_page(find(&root, &args.command)?, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Includes the help of options that `-h` does not list, for which `clap_mangen` writes none.
fn with_all_help(command: clap::Command) -> clap::Command {
    command.mut_args(|option| option.hide_short_help(false)).mut_subcommands(with_all_help)
}

/// Finds a command by the words after `compass`.
fn find<'c>(root: &'c clap::Command, words: &[String]) -> Result<&'c clap::Command> {
    words.iter().try_fold(root, |parent, word| {
        parent.find_subcommand(word).ok_or_else(|| {
            let names = parent.get_subcommands().map(clap::Command::get_name);
            let error = CliError::usage(format!("there is no command `{word}`"));
            match suggest(word, names) {
                Some(name) => error.hint(format!("did you mean `{name}`?")),
                None => error.hint("`compass --help` lists the commands"),
            }
        })
    })
}

fn print_page(command: &clap::Command, output: &Output) -> Result<()> {
    let page = String::from_utf8_lossy(&page(command)?.text).into_owned();
    match output.format {
        Format::Json => output.result(|| json!({"page": page}), String::new),
        // A page is printed as it is: escapes would change its meaning.
        _ => output::print(&page),
    }
    Ok(())
}

/// Writes the pages of a command and of the commands below it.
fn write_all(root: &clap::Command, directory: &Path, output: &Output) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(|error| fs::write_error(directory, &error))?;
    let (mut pending, mut names) = (vec![root], Vec::new());
    while let Some(command) = pending.pop() {
        let Page { name, text } = page(command)?;
        fs::write(&directory.join(&name), &text)?;
        names.push(name);
        pending.extend(command.get_subcommands().filter(|command| !command.is_hide_set()));
    }
    names.sort();
    let written = format!("{} pages were written to {}\n", names.len(), directory.display());
    output.result(|| json!({"pages": names, "directory": directory}), || written);
    Ok(())
}

/// A manual page with its file name, such as `compass-store-ls.1`.
struct Page {
    name: String,
    text: Vec<u8>,
}

fn page(command: &clap::Command) -> Result<Page> {
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    man.render(&mut text).map_err(|error| CliError::external(&error))?;
    Ok(Page { name: man.get_filename(), text })
}
