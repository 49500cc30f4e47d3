//! `compass explain`.

use std::process::ExitCode;

use compass_manifest::rule::Rule;
use compass_manifest::{render, rules};
use serde_json::{Value, json};

use crate::error::{CliError, Result};
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The code of the rule; without it, all rules are listed
    code: Option<String>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    match &args.code {
        Some(code) => {
            let rule = rules::find(code).ok_or_else(|| unknown(code))?;
            output.result(|| page_json(rule), || render::rule_page(rule));
        }
        None => output.result(
            || json!({"rules": rules::ALL.iter().map(|rule| summary_json(rule)).collect::<Vec<_>>()}),
            || rules::ALL.iter().map(|rule| format!("{:30} {}\n", rule.code, rule.summary)).collect(),
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(code: &str) -> CliError {
    let error = CliError::usage(format!("there is no rule `{code}`"));
    match rules::suggest(code) {
        Some(rule) => error.hint(format!("did you mean `{}`?", rule.code)),
        None => error.hint("`compass explain` lists the rules"),
    }
}

fn summary_json(rule: &Rule) -> Value {
    json!({"code": rule.code, "severity": rule.severity, "summary": rule.summary})
}

fn page_json(rule: &Rule) -> Value {
    let mut page = summary_json(rule);
    page["docs"] = json!(rule.docs.to_string());
    page
}
