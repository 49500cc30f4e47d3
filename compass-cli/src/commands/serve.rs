//! `compass serve`.

mod hosts_toml;
mod login;
mod tls_files;
mod upstream;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use compass_bundle::store::open_source;
use compass_bundle::{Bundle, Error as BundleError, ImageCatalog};
use compass_registry::Error;
use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::{DiskStorage, Storage};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use self::hosts_toml::HostsToml;
use self::login::basic_auth;
use self::tls_files::TlsFiles;
use self::upstream::{Upstream, open_cache, parse_size, parse_upstream};
use crate::display::counted;
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The images to serve, read-only: bundles (paths, or http, https, s3 or oss URLs), and
    /// directories with an OCI layout
    #[arg(value_name = "BUNDLE", required_unless_present_any = ["writable", "upstream"])]
    sources: Vec<String>,
    /// Serves a registry that stores images in this directory, and that clients may push to
    #[arg(long, value_name = "DIR", conflicts_with_all = ["sources", "upstream", "hosts_toml"])]
    writable: Option<PathBuf>,
    /// Serves the images of another registry, which are fetched when a client asks for them
    #[arg(long, value_name = "URL", conflicts_with = "sources", requires = "cache",
          value_parser = parse_upstream)]
    upstream: Option<Upstream>,
    /// The directory that keeps the images of --upstream
    #[arg(long, value_name = "DIR", requires = "upstream")]
    cache: Option<PathBuf>,
    /// The maximum size of the images in --cache; those not used for the longest time are removed
    #[arg(long, value_name = "SIZE", default_value = "32GiB", value_parser = parse_size,
          requires = "cache", hide_short_help = true)]
    cache_size: u64,
    /// The address to listen on; port 0 selects a free port
    #[arg(long, default_value = "127.0.0.1:5000", value_name = "HOST:PORT", value_parser = address)]
    listen: String,
    /// The certificate of the server in PEM form, followed by those of its issuers
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert in PEM form
    #[arg(long, requires = "tls_cert", value_name = "FILE", hide_short_help = true)]
    tls_key: Option<PathBuf>,
    /// The user that every client must log in as
    ///
    /// The password is that of --password-file or of the environment variable
    /// `COMPASS_SERVE_PASSWORD`.
    #[arg(long)]
    user: Option<String>,
    /// A file whose first line is the password of --user
    #[arg(long, requires = "user", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The maximum number of blobs that are sent at a time; further requests wait up to 10 s, and
    /// then get status 503
    #[arg(long, value_name = "N", default_value_t = 256, hide_short_help = true,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_streams: u32,
    /// The minimum average speed of a client that reads a response or sends an upload, over two
    /// minutes and in bytes per second; 0 disables it
    #[arg(long, value_name = "BYTES", default_value_t = 1024, hide_short_help = true)]
    min_client_speed: u64,
    /// How long the body of a request may pause before the request fails
    #[arg(long, value_name = "SECONDS", default_value_t = 30, hide_short_help = true,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    body_idle_timeout: u64,
    /// Prints the configuration of containerd for nodes, and exits
    ///
    /// The address is the one that the nodes reach this server at.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    hosts_toml: Option<String>,
}

/// What a server tells about itself when it is ready.
struct Description {
    text: String,
    json: Value,
    is_writable: bool,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    if let Some(directory) = &args.writable {
        let (storage, description) = open_writable(directory).await?;
        return serve(storage, args, description, output).await;
    }
    if let (Some(upstream), Some(directory)) = (&args.upstream, &args.cache) {
        return serve_cache(upstream, directory, args, global, output).await;
    }
    let catalog = open_catalog(&args.sources, global).await?;
    if let Some(address) = &args.hosts_toml {
        let hosts = catalog.hosts().map(str::to_owned).collect();
        let is_tls = args.tls_cert.is_some();
        return HostsToml { address, is_tls, hosts, is_plain_http: false }.print(output);
    }
    let (sources, images) = (catalog.source_names(), catalog.tag_count());
    let description = Description {
        text: format!("{} of {}", counted(images, "image"), sources.join(", ")),
        json: json!({"sources": sources, "images": images}),
        is_writable: false,
    };
    serve(catalog, args, description, output).await
}

async fn serve_cache(
    upstream: &Upstream,
    directory: &Path,
    args: &Args,
    global: &GlobalArgs,
    output: &Output,
) -> Result<ExitCode> {
    if let Some(address) = &args.hosts_toml {
        let (hosts, is_tls) = (vec![upstream.host.clone()], args.tls_cert.is_some());
        let is_plain_http = upstream.is_plain_http;
        return HostsToml { address, is_tls, hosts, is_plain_http }.print(output);
    }
    let storage = open_cache(upstream, directory, args.cache_size, global).await?;
    let (host, shown) = (&upstream.host, directory.display().to_string());
    let description = Description {
        text: format!("the images of {host}, cached in {shown}"),
        json: json!({"upstream": host, "directory": shown}),
        is_writable: false,
    };
    serve(storage, args, description, output).await
}

async fn open_writable(directory: &Path) -> Result<(DiskStorage, Description)> {
    let storage = DiskStorage::open_exclusive(directory).await.map_err(|error| {
        let is_foreign = matches!(error, Error::InvalidContent { .. });
        let error = CliError::from(error);
        if is_foreign { error.into_config() } else { error }
    })?;
    let shown = directory.display().to_string();
    let json = json!({"directory": shown});
    Ok((storage, Description { text: shown, json, is_writable: true }))
}

/// Opens bundles and OCI layouts.
async fn open_catalog(sources: &[String], global: &GlobalArgs) -> Result<ImageCatalog> {
    let mut catalog = ImageCatalog::default();
    for source in sources {
        let path = Path::new(source);
        if path.is_dir() {
            catalog.add_layout(path).await?;
        } else {
            let file = open_source(source, &global.retry_policy()).await?;
            catalog.add_bundle(&Bundle::read(file).await.map_err(not_served)?)?;
        }
    }
    Ok(catalog)
}

/// Explains how to serve a package that has no offsets.
fn not_served(error: BundleError) -> CliError {
    let is_foreign = matches!(error, BundleError::NotABundle { .. });
    let error = CliError::from(error);
    match is_foreign {
        true => error.hint(
            "packages of other tools can only be read from start to end: push one to a registry \
             with `compass install`, or extract its images with `compass extract PACKAGE --image \
             REFERENCE --layout -o DIR` and serve DIR",
        ),
        false => error,
    }
}

async fn serve(
    storage: impl Storage,
    args: &Args,
    description: Description,
    output: &Output,
) -> Result<ExitCode> {
    let login = basic_auth(args.user.as_deref(), args.password_file.as_deref())?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(TlsFiles::open(certificate, key).await?),
        _ => None,
    };
    let (has_login, is_tls) = (login.is_some(), tls.is_some());
    let options = ServerOptions::default()
        .basic_auth(login)
        .read_only(!description.is_writable)
        .tls(tls.as_ref().map(TlsFiles::identity))
        .max_streams(usize::try_from(args.max_streams).unwrap_or(usize::MAX))
        .body_idle_timeout(Duration::from_secs(args.body_idle_timeout))
        .min_speed(args.min_client_speed);
    raise_open_file_limit();
    let server = Server::start(storage, &args.listen, options).await?;
    let host = server.host();
    let is_local = host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
    if !is_local {
        warn_of_exposure(&description, has_login, is_tls, output);
    }
    output.result(
        || {
            let mut json = description.json.clone();
            json["host"] = json!(host);
            json["tls"] = json!(is_tls);
            json
        },
        || format!("{host} serves {}; stop it with Ctrl-C\n", description.text),
    );
    if let Some(files) = tls {
        tokio::spawn(files.watch());
    }
    server.stopped().await?;
    Ok(ExitCode::SUCCESS)
}

fn warn_of_exposure(description: &Description, has_login: bool, is_tls: bool, output: &Output) {
    if description.is_writable && !has_login {
        output.warn(
            "every client that can reach this address can push and delete: require a login with \
             `--user NAME --password-file FILE`, or listen on 127.0.0.1",
        );
    }
    if has_login && !is_tls {
        output.warn("passwords are sent without encryption: use `--tls-cert` and `--tls-key`");
    }
}

/// Validates the form `HOST:PORT`. Listening fails later if the address is not available.
pub(super) fn address(text: &str) -> Result<String, &'static str> {
    let parts = text.rsplit_once(':');
    let is_valid =
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    is_valid.then(|| text.to_owned()).ok_or("expected `HOST:PORT`, for example `0.0.0.0:5000`")
}

/// Raises the limit of open files to the maximum.
///
/// A connection needs one file, and another one while a blob is transferred. The default limit of
/// many systems is too low for that.
pub(super) fn raise_open_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}
