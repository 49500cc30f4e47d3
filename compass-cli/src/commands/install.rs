use std::process::ExitCode;

use compass_bundle::{Bundle, Installed, Opened, install, install_package};
use compass_registry::{CopyOptions, RegistryPlace};
use serde_json::{Value, json};

use super::verify::verify;
use crate::cli::Global;
use crate::failure::Failure;
use crate::opened::open;
use crate::output::{Output, bytes};
use crate::registries::Registries;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle, or a package of any making: a path, or a URL with `http`, `https`, `s3`, `oss`
    bundle: String,
    /// The site's registry, as `HOST[/PROJECT]`; without a project images keep theirs
    #[arg(long, value_name = "PLACE")]
    registry: RegistryPlace,
    /// Speaks with the registry without TLS
    #[arg(long)]
    plain_http: bool,
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let opened = open(&args.bundle).await?;
    let client = Registries::without_policy().client(&args.registry.host, args.plain_http)?;
    let bar = output.bar("install");
    let options =
        CopyOptions { jobs: global.jobs.into(), progress: bar.shared(), ..CopyOptions::default() };
    let place = &args.registry;
    let installed = match &opened {
        Opened::Bundle(bundle) => install(bundle, &client, place, &options).await,
        Opened::Package(package) => install_package(package, &client, place, &options).await,
    };
    bar.done();
    if let (Err(compass_bundle::Error::Registry(error)), Opened::Bundle(bundle)) =
        (&installed, &opened)
        && error.is_mismatch()
    {
        require_undamaged(bundle, &args.bundle, output).await?;
    }
    let installed = installed.map_err(|error| {
        Failure::from(error).while_doing(format!("cannot install {}", args.bundle))
    })?;
    output.result(
        || json!({"images": installed.iter().map(installed_json).collect::<Vec<_>>()}),
        || installed.iter().map(line).collect(),
    );
    Ok(ExitCode::SUCCESS)
}

/// Content was not what it should be: whether that is the bundle's fault.
async fn require_undamaged(bundle: &Bundle, name: &str, output: &Output) -> Result<(), Failure> {
    let verified = verify(bundle, false, output).await?;
    let Some(damage) = verified.damages.first() else { return Ok(()) };
    let (range, what) = (&damage.range, &damage.what);
    let message = format!("{name} is damaged at bytes {}..{}: {what}", range.start, range.end);
    let hint = "`compass verify` says all that is damaged: copy or download the bundle again";
    Err(Failure::not_right(message).hint(hint))
}

fn line(installed: &Installed) -> String {
    let copied = &installed.copied;
    let reduced = if copied.reduced { ", the platforms of the bundle only" } else { "" };
    let moved = bytes(copied.bytes);
    format!("{} {} ({moved} moved{reduced})\n", installed.reference, copied.digest)
}

fn installed_json(installed: &Installed) -> Value {
    json!({
        "site": installed.reference.to_string(),
        "digest": installed.copied.digest,
        "blobs": installed.copied.blobs,
        "bytes": installed.copied.bytes,
        "present": installed.copied.present,
    })
}
