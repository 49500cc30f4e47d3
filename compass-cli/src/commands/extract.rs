use std::io::{ErrorKind, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use compass_bundle::store::open_source;
use compass_bundle::{
    ArchiveImage, Bundle, ForeignImage, ForeignPackage, Package, WriteOptions, copy_bundled,
    copy_packed, unpack, write_file, write_file_below,
};
use compass_registry::layout::OciLayout;
use compass_registry::{CopyOptions, Reference};
use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::verify::require_undamaged;
use crate::cli::Global;
use crate::error::CliError;
use crate::image_usage::open;
use crate::output::{Output, bytes, printable};

/// The path that means standard output.
const STDOUT: &str = "-";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle, or a package of any making: a path, or a URL with `http`, `https`, `s3`, `oss`
    bundle: String,
    /// Takes one file, by its path below the bundle's directory
    #[arg(long, value_name = "PATH", conflicts_with_all = ["image", "yaml"])]
    file: Option<String>,
    /// Takes one image, by its reference or the end of it, as an archive for `docker load`
    #[arg(long, value_name = "REFERENCE", conflicts_with = "yaml")]
    image: Option<String>,
    /// Takes the image as an OCI layout
    #[arg(long, requires = "image")]
    layout: bool,
    /// Takes the YAML and the other small files
    #[arg(long)]
    yaml: bool,
    /// Where to: a directory; of one file or image, a file name as well, or `-` for standard output.
    /// Otherwise the current directory, and for a layout one in it that has the image's name
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

impl Args {
    /// Whether standard output carries a file or an image.
    pub(crate) fn takes_stdout(&self) -> bool {
        self.output.as_deref() == Some(Path::new(STDOUT))
    }
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, CliError> {
    if args.takes_stdout() {
        return to_stdout(args, global, output).await;
    }
    let out = args.output.as_deref().unwrap_or(Path::new("."));
    let paths = match args {
        Args { file: None, image: None, yaml: false, .. } => {
            everything(args, out, global, output).await?
        }
        _ => match (&open(&args.bundle, global).await?, args) {
            (Package::Bundle(bundle), Args { yaml: true, .. }) => small_files(bundle, out).await?,
            (Package::Foreign(package), Args { yaml: true, .. }) => {
                package.write_files(out).await?
            }
            (opened, Args { file: Some(path), .. }) => {
                vec![file(opened, path, out, global, output).await?]
            }
            (opened, Args { layout: true, image, .. }) => {
                let image = Image::named(opened, image.as_deref().unwrap_or_default(), output)?;
                vec![layout(image, args.output.as_deref(), global, output).await?]
            }
            (opened, Args { image, .. }) => {
                let image = Image::named(opened, image.as_deref().unwrap_or_default(), output)?;
                let name = image.archive_name();
                vec![archive(image, &name, out, global, output).await?]
            }
        },
    };
    output.result(
        || json!({"paths": paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()}),
        || paths.iter().map(|path| printable(&path.display().to_string()) + "\n").collect(),
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes one file or the archive of one image to standard output.
async fn to_stdout(args: &Args, global: &Global, output: &Output) -> Result<ExitCode, CliError> {
    let opened = match args {
        Args { file: Some(_), .. } | Args { image: Some(_), layout: false, .. } => {
            open(&args.bundle, global).await?
        }
        _ => {
            let message = "cannot write several files to standard output";
            let hint =
                "take one with `--file PATH` or `--image REFERENCE`, or name a directory with `-o`";
            return Err(CliError::usage(message).hint(hint));
        }
    };
    let image = match args {
        Args { file: Some(path), .. } => bundled_at(&opened, path),
        Args { image, .. } => {
            Some(Image::named(&opened, image.as_deref().unwrap_or_default(), output)?)
        }
    };
    let size = match (image, &args.file) {
        (Some(image), _) => stream(&image, output).await?,
        (None, path) => {
            let (bytes, _) = bytes_of(&opened, path.as_deref().unwrap_or_default()).await?;
            write_stdout(&bytes).await?;
            bytes.len() as u64
        }
    };
    output.result_to_stderr(|| json!({"paths": [STDOUT], "size": size}), String::new);
    Ok(ExitCode::SUCCESS)
}

async fn stream(image: &Image<'_>, output: &Output) -> Result<u64, CliError> {
    if std::io::stdout().is_terminal() {
        let message = "refusing to write an image archive to a terminal";
        return Err(CliError::usage(message).hint("redirect it, or name a file with `-o`"));
    }
    let bar = output.bar("extract");
    let (mut stdout, progress) = (tokio::io::stdout(), bar.shared());
    let to: (&mut (dyn AsyncWrite + Unpin + Send), _) = (&mut stdout, Path::new(STDOUT));
    let written = match image {
        Image::Bundled(bundle, image) => bundle.stream_archive(image, to, &*progress).await,
        Image::Packed(package, image) => package.stream_archive(image, to, &*progress).await,
    };
    bar.done();
    image.require_undamaged(&written, output).await?;
    Ok(written?)
}

async fn write_stdout(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = tokio::io::stdout();
    let written = async {
        stdout.write_all(bytes).await?;
        stdout.flush().await
    };
    match written.await {
        // A reader that stops early is not a failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::external(&error).context("cannot write to standard output"))
        }
        _ => Ok(()),
    }
}

async fn everything(
    args: &Args,
    out: &Path,
    global: &Global,
    output: &Output,
) -> Result<Vec<PathBuf>, CliError> {
    let source = open_source(&args.bundle, &global.retry()).await?;
    let opened = Package::read(Arc::clone(&source)).await?;
    let bar = output.bar("extract");
    let unpacked = match &opened {
        Package::Bundle(_) => unpack(source, out, &*bar.shared()).await,
        Package::Foreign(package) => package.unpack(out, &*bar.shared()).await,
    };
    bar.done();
    let unpacked = unpacked.map_err(|error| match &opened {
        Package::Foreign(package) if package.require_whole().is_err() => {
            let hint = "`compass verify` lists what is wrong; `--image`, `--file` and `--yaml` take out \
                        single things, and `tar` everything";
            CliError::from(error).context(format!("cannot extract {}", args.bundle)).hint(hint)
        }
        _ => CliError::from(error),
    })?;
    output.status(&format!("{} files, {}", unpacked.files, bytes(unpacked.bytes)));
    Ok(unpacked.paths)
}

/// The last name of a path in a directory, or the name that was given. What ends as directories do
/// is to become one.
fn target(output: &Path, path: &str) -> Result<PathBuf, CliError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if output.as_os_str().as_encoded_bytes().ends_with(b"/") {
        std::fs::create_dir_all(output).map_err(|error| {
            CliError::external(&error).context(format!("cannot create {}", output.display()))
        })?;
    }
    Ok(if output.is_dir() { output.join(name) } else { output.to_owned() })
}

/// A file by its path: where that is an image archive of a bundle, it is written as any archive.
async fn file(
    opened: &Package,
    path: &str,
    out: &Path,
    global: &Global,
    output: &Output,
) -> Result<PathBuf, CliError> {
    if let Some(image) = bundled_at(opened, path) {
        return archive(image, path, out, global, output).await;
    }
    let (bytes, mode) = bytes_of(opened, path).await?;
    let target = target(out, path)?;
    write_file(&target, &bytes, mode)?;
    Ok(target)
}

/// A small file, and its permissions.
async fn bytes_of(opened: &Package, path: &str) -> Result<(Bytes, u32), CliError> {
    Ok(match opened {
        Package::Bundle(bundle) => {
            let entry = bundle.entries().find(|entry| entry.path == path);
            (bundle.file(path).await?, entry.map_or(0o644, |entry| entry.mode))
        }
        Package::Foreign(package) => (package.file(path).await?, 0o644),
    })
}

async fn small_files(bundle: &Bundle, output: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut paths = Vec::new();
    for entry in bundle.entries() {
        write_file_below(output, entry.path, &bundle.file(entry.path).await?, entry.mode)?;
        paths.push(output.join(entry.path));
    }
    Ok(paths)
}

/// The image whose archive in a bundle has a path.
fn bundled_at<'o>(opened: &'o Package, path: &str) -> Option<Image<'o>> {
    let Package::Bundle(bundle) = opened else { return None };
    let file = bundle.document().files.iter().find(|file| file.path == path)?;
    let reference = &file.image.as_ref()?.reference;
    let image = bundle.images().iter().find(|image| image.reference.to_string() == *reference)?;
    Some(Image::Bundled(bundle, image))
}

/// An image of what was opened.
enum Image<'o> {
    Bundled(&'o Bundle, &'o ArchiveImage),
    Packed(&'o ForeignPackage, &'o ForeignImage),
}

impl<'o> Image<'o> {
    /// The image of a name; what should be known of it is a warning.
    fn named(opened: &'o Package, name: &str, output: &Output) -> Result<Self, CliError> {
        Ok(match opened {
            Package::Bundle(bundle) => Self::Bundled(bundle, bundle.image_named(name)?),
            Package::Foreign(package) => {
                let image = package.image_named(name)?;
                image.notes.iter().for_each(|note| output.warn(note));
                Self::Packed(package, image)
            }
        })
    }

    /// Where it could not be taken out: whether that is the bundle's fault.
    async fn require_undamaged<T>(
        &self,
        taken: &Result<T, compass_bundle::Error>,
        output: &Output,
    ) -> Result<(), CliError> {
        match (self, taken) {
            (Self::Bundled(bundle, _), Err(error)) => {
                require_undamaged(bundle, error, output).await
            }
            _ => Ok(()),
        }
    }

    /// The name of its archive: with the tag, or with the beginning of the digest if it has none.
    fn archive_name(&self) -> String {
        let reference = self.reference().with_default_tag();
        let version = match (reference.tag(), reference.digest()) {
            (Some(tag), _) => tag.to_string(),
            (None, Some(digest)) => digest.hex()[..12].to_owned(),
            (None, None) => "latest".to_owned(),
        };
        format!("{}-{version}-image.tar.gz", reference.repository().name())
    }

    fn reference(&self) -> &Reference {
        match self {
            Self::Bundled(_, image) => &image.reference,
            Self::Packed(_, image) => &image.reference,
        }
    }
}

async fn archive(
    image: Image<'_>,
    name: &str,
    out: &Path,
    global: &Global,
    output: &Output,
) -> Result<PathBuf, CliError> {
    let target = target(out, name)?;
    let bar = output.bar(name);
    let options = WriteOptions { jobs: global.jobs.into(), progress: bar.shared() };
    let written = match &image {
        Image::Bundled(bundle, image) => bundle.write_archive(image, &target, &options).await,
        Image::Packed(package, image) => package.write_archive(image, &target, &options).await,
    };
    bar.done();
    image.require_undamaged(&written, output).await?;
    written?;
    Ok(target)
}

async fn layout(
    image: Image<'_>,
    out: Option<&Path>,
    global: &Global,
    output: &Output,
) -> Result<PathBuf, CliError> {
    let path = out.unwrap_or(Path::new(image.reference().repository().name()));
    let bar = output.bar("extract");
    let options =
        CopyOptions { jobs: global.jobs.into(), progress: bar.shared(), ..CopyOptions::default() };
    let layout = OciLayout::new(path);
    let copied = match &image {
        Image::Bundled(bundle, image) => copy_bundled(bundle, image, &layout, &options).await,
        Image::Packed(package, image) => copy_packed(package, image, &layout, &options).await,
    };
    bar.done();
    image.require_undamaged(&copied, output).await?;
    copied?;
    Ok(path.to_owned())
}
