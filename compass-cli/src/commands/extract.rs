//! `compass extract`.

mod image_set;

use std::io::{ErrorKind, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::internal::write_file;
use compass_bundle::{Error, Image, OutputStream, Package, copy_image};
use compass_manifest::suggest;
use compass_registry::RegistryPrefix;
use compass_registry::layout::OciLayout;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::display::{counted, human_bytes, printable};
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::image_usage::open;
use crate::output::Output;
use crate::package_verification::check_damage;

/// The value of `--output` for standard output.
const STDOUT: &str = "-";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A bundle or any other image package: a path, or an http, https, s3 or oss URL
    bundle: String,
    /// Extracts one file, by its path below the directory of the bundle
    #[arg(long, value_name = "PATH", conflicts_with_all = ["image", "images", "yaml"])]
    file: Option<String>,
    /// Extracts one image as an archive for `docker load`, by its reference or the end of it
    #[arg(long, value_name = "REFERENCE", conflicts_with_all = ["images", "yaml"])]
    image: Option<String>,
    /// Extracts all images, or those that match patterns such as 'web*' or 'release/*:v1', as one
    /// archive for `docker load`, `podman load` and `ctr images import`; with -o FILE or -o -
    #[arg(long, value_name = "PATTERN", num_args = 0.., conflicts_with = "yaml",
          requires = "output")]
    images: Option<Vec<String>>,
    /// Names the images of --images as `install` would, for nodes that load them
    #[arg(long, value_name = "HOST[/PROJECT]", requires = "images")]
    registry: Option<RegistryPrefix>,
    /// Extracts the image as an OCI layout
    #[arg(long, requires = "image")]
    layout: bool,
    /// Extracts the YAML and the other small files
    #[arg(long)]
    yaml: bool,
    /// The directory to write to; for one file or image also a file name, or `-` for stdout
    /// [default: the current directory; for a layout, a directory with the name of the image]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

impl Args {
    /// Whether the extracted file or image is written to stdout.
    pub(crate) fn writes_to_stdout(&self) -> bool {
        self.output.as_deref() == Some(Path::new(STDOUT))
    }
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    if let Some(patterns) = &args.images {
        return image_set::extract(patterns, args, global, output).await;
    }
    if args.writes_to_stdout() {
        return extract_to_stdout(args, global, output).await;
    }
    let out = args.output.as_deref().unwrap_or(Path::new("."));
    let paths = match args {
        Args { file: None, image: None, yaml: false, .. } => {
            extract_all(args, out, global, output).await?
        }
        Args { yaml: true, .. } => open(&args.bundle, global).await?.write_files(out).await?,
        _ => {
            let package = open(&args.bundle, global).await?;
            vec![Extractor { package: &package, global, output }.extract_one(args, out).await?]
        }
    };
    output.result(
        || json!({"paths": paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()}),
        || paths.iter().map(|path| printable(&path.display().to_string()) + "\n").collect(),
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes one file or the archive of one image to stdout.
async fn extract_to_stdout(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let package = match args {
        Args { file: Some(_), .. } | Args { image: Some(_), layout: false, .. } => {
            open(&args.bundle, global).await?
        }
        _ => {
            let message = "cannot write several files to stdout";
            let hint = "select one with `--file PATH` or `--image REFERENCE`, or use `-o DIR`";
            return Err(CliError::usage(message).hint(hint));
        }
    };
    let extractor = Extractor { package: &package, global, output };
    let (image, path) = match &args.file {
        Some(path) => (package.image_at(path), path.as_str()),
        None => (Some(extractor.find_image(args)?), ""),
    };
    let size = match image {
        Some(image) => extractor.stream_archive(&image).await?,
        None => {
            let bytes = package.file(path).await?;
            write_stdout(&bytes).await?;
            bytes.len() as u64
        }
    };
    output.result_to_stderr(|| json!({"paths": [STDOUT], "size": size}), String::new);
    Ok(ExitCode::SUCCESS)
}

/// Refuses to write an archive to a terminal.
fn refuse_terminal() -> Result<()> {
    if std::io::stdout().is_terminal() {
        let message = "refusing to write an image archive to a terminal";
        return Err(CliError::usage(message).hint("use `-o FILE`, or redirect the output"));
    }
    Ok(())
}

async fn write_stdout(bytes: &[u8]) -> Result<()> {
    let mut stdout = tokio::io::stdout();
    let written = async {
        stdout.write_all(bytes).await?;
        stdout.flush().await
    };
    match written.await {
        // A reader that closes the pipe early is not an error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::external(&error).context("cannot write to stdout"))
        }
        _ => Ok(()),
    }
}

async fn extract_all(
    args: &Args,
    out: &Path,
    global: &GlobalArgs,
    output: &Output,
) -> Result<Vec<PathBuf>> {
    let package = open(&args.bundle, global).await?;
    let progress = output.progress("extract");
    let unpacked = package.unpack(out, &*progress.shared()).await;
    drop(progress);
    let unpacked = unpacked.map_err(|error| match package.problems().is_empty() {
        false => {
            let hint = "`compass verify` lists the problems; `--image`, `--file` and `--yaml` extract \
                        parts of the package, and `tar` extracts all of it";
            CliError::from(error).context(format!("cannot extract {}", args.bundle)).hint(hint)
        }
        true => CliError::from(error),
    })?;
    let (files, bytes) = (counted(unpacked.files, "file"), human_bytes(unpacked.bytes));
    output.status(&format!("{files}, {bytes}"));
    Ok(unpacked.paths)
}

/// The file to write: `output`, or a file in it if it is a directory. A path that ends with `/`
/// becomes a directory.
fn target_path(output: &Path, path: &str) -> Result<PathBuf> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if output.as_os_str().as_encoded_bytes().ends_with(b"/") {
        std::fs::create_dir_all(output).map_err(CliError::io("create", output))?;
    }
    Ok(if output.is_dir() { output.join(name) } else { output.to_owned() })
}

/// Extracts one file or image of a package.
struct Extractor<'e> {
    package: &'e Package,
    global: &'e GlobalArgs,
    output: &'e Output,
}

impl Extractor<'_> {
    /// Writes what the arguments select to a file or a directory, and returns its path.
    async fn extract_one(&self, args: &Args, out: &Path) -> Result<PathBuf> {
        if let Some(path) = &args.file {
            return self.write_file(path, out).await;
        }
        let image = self.find_image(args)?;
        match args.layout {
            true => self.write_layout(&image, args.output.as_deref()).await,
            false => self.write_archive(&image, &archive_name(&image), out).await,
        }
    }

    /// Finds the image of `--image`; prints the notes about it as warnings.
    fn find_image(&self, args: &Args) -> Result<Image<'_>> {
        let name = args.image.as_deref().unwrap_or_default();
        let image = self.package.image_named(name).map_err(|error| match error {
            Error::NoSuchImage { several: false, .. } => self.suggest_image(name, error.into()),
            other => other.into(),
        })?;
        image.notes.iter().for_each(|note| self.output.warn(note));
        Ok(image)
    }

    /// Adds the image that was meant to an error, if there is one.
    fn suggest_image(&self, name: &str, error: CliError) -> CliError {
        let images = self.package.images();
        let names = images.iter().map(|image| image.reference.repository().name());
        match names.clone().find(|known| known.ends_with(name)).or_else(|| suggest(name, names)) {
            Some(known) if !name.is_empty() => error.hint(format!("did you mean `{known}`?")),
            _ => error,
        }
    }

    /// Writes the file at a path, which may be an image archive of a bundle.
    async fn write_file(&self, path: &str, out: &Path) -> Result<PathBuf> {
        if let Some(image) = self.package.image_at(path) {
            return self.write_archive(&image, path, out).await;
        }
        let content = self.package.file(path).await?;
        let target = target_path(out, path)?;
        let file = self.package.files().into_iter().find(|file| file.path == path);
        let mode = file.and_then(|file| file.mode).unwrap_or(0o644);
        write_file(&target, &content, mode)?;
        Ok(target)
    }

    async fn write_archive(&self, image: &Image<'_>, name: &str, out: &Path) -> Result<PathBuf> {
        let target = target_path(out, name)?;
        let progress = self.output.progress(name);
        let options = self.global.write_options(progress.shared());
        let written = image.write_archive(&target, &options).await;
        drop((options, progress));
        self.checked(written).await?;
        Ok(target)
    }

    async fn write_layout(&self, image: &Image<'_>, out: Option<&Path>) -> Result<PathBuf> {
        let path = out.unwrap_or(Path::new(image.reference.repository().name()));
        let progress = self.output.progress("extract");
        let options = self.global.copy_options(progress.shared());
        let copied = copy_image(image, Arc::new(OciLayout::new(path)), &options).await;
        drop((options, progress));
        self.checked(copied).await?;
        Ok(path.to_owned())
    }

    async fn stream_archive(&self, image: &Image<'_>) -> Result<u64> {
        refuse_terminal()?;
        let shown = self.output.progress("extract");
        let (mut stdout, progress) = (tokio::io::stdout(), shown.shared());
        let to = OutputStream::new(&mut stdout, Path::new(STDOUT));
        let written = image.stream_archive(to, &*progress).await;
        drop(shown);
        self.checked(written).await
    }

    /// Replaces the error of a damaged package with the damage.
    async fn checked<T>(&self, result: std::result::Result<T, compass_bundle::Error>) -> Result<T> {
        check_damage(self.package, result.as_ref().err(), self.output).await?;
        Ok(result?)
    }
}

/// The file name of the archive: with the tag, or with the first digits of the digest.
fn archive_name(image: &Image<'_>) -> String {
    let reference = image.reference.with_default_tag();
    let version = match (reference.tag(), reference.digest()) {
        (Some(tag), _) => tag.to_string(),
        (None, Some(digest)) => digest.hex()[..12].to_owned(),
        (None, None) => "latest".to_owned(),
    };
    format!("{}-{version}-image.tar.gz", reference.repository().name())
}
