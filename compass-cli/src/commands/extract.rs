use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::store::open_source;
use compass_bundle::{ArchiveImage, Bundle, WriteOptions, unpack, write_file, write_file_below};
use compass_registry::layout::OciLayout;
use compass_registry::{CopyOptions, copy};
use serde_json::json;

use crate::cli::Global;
use crate::failure::Failure;
use crate::opened::bundle;
use crate::output::{Output, bytes};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle: a path, or a URL with `http`, `https`, `s3`, `oss`
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
    /// Where to: a directory; of one file or image, a file name as well
    #[arg(short, long, default_value = ".", value_name = "PATH")]
    output: PathBuf,
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let paths = match args {
        Args { file: Some(file), .. } => {
            let bundle = bundle(&args.bundle).await?;
            vec![match archive_at(&bundle, file) {
                Some(image) => archive(&bundle, image, file, &args.output, global, output).await?,
                None => one_file(&bundle, file, &args.output).await?,
            }]
        }
        Args { image: Some(name), .. } => {
            let bundle = bundle(&args.bundle).await?;
            let image = bundle.image_named(name)?;
            vec![match args.layout {
                true => layout(&bundle, image, &args.output, global, output).await?,
                false => {
                    let name = format!("{}-image.tar.gz", image.reference.repository().name());
                    archive(&bundle, image, &name, &args.output, global, output).await?
                }
            }]
        }
        Args { yaml: true, .. } => small_files(&bundle(&args.bundle).await?, &args.output).await?,
        _ => everything(args, output).await?,
    };
    output.result(
        || json!({"paths": paths}),
        || paths.iter().map(|path| format!("{}\n", path.display())).collect(),
    );
    Ok(ExitCode::SUCCESS)
}

async fn everything(args: &Args, output: &Output) -> Result<Vec<PathBuf>, Failure> {
    let source = open_source(&args.bundle).await?;
    let bar = output.bar("extract");
    let unpacked = unpack(source, &args.output, &*bar.shared()).await;
    bar.done();
    let unpacked = unpacked?;
    output.note(&format!("{} files, {}", unpacked.files, bytes(unpacked.bytes)));
    Ok(unpacked.paths)
}

/// The last name of a path in a directory, or the name that was given.
fn target(output: &Path, path: &str) -> PathBuf {
    let name = path.rsplit('/').next().unwrap_or(path);
    if output.is_dir() { output.join(name) } else { output.to_owned() }
}

async fn one_file(bundle: &Bundle, path: &str, output: &Path) -> Result<PathBuf, Failure> {
    let bytes = bundle.file(path).await?;
    let mode = bundle.entries().find(|entry| entry.path == path).map_or(0o644, |entry| entry.mode);
    let target = target(output, path);
    write_file(&target, &bytes, mode)?;
    Ok(target)
}

async fn small_files(bundle: &Bundle, output: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for entry in bundle.entries() {
        write_file_below(output, entry.path, &bundle.file(entry.path).await?, entry.mode)?;
        paths.push(output.join(entry.path));
    }
    Ok(paths)
}

/// The image whose archive has a path.
fn archive_at<'b>(bundle: &'b Bundle, path: &str) -> Option<&'b ArchiveImage> {
    let file = bundle.document().files.iter().find(|file| file.path == path)?;
    let reference = &file.image.as_ref()?.reference;
    bundle.images().iter().find(|image| image.reference.to_string() == *reference)
}

async fn archive(
    bundle: &Bundle,
    image: &ArchiveImage,
    name: &str,
    output_path: &Path,
    global: &Global,
    output: &Output,
) -> Result<PathBuf, Failure> {
    let target = target(output_path, name);
    let bar = output.bar(name);
    let options = WriteOptions { jobs: global.jobs.into(), progress: bar.shared() };
    let written = bundle.write_archive(image, &target, &options).await;
    bar.done();
    written?;
    Ok(target)
}

async fn layout(
    bundle: &Bundle,
    image: &ArchiveImage,
    path: &Path,
    global: &Global,
    output: &Output,
) -> Result<PathBuf, Failure> {
    let bar = output.bar("extract");
    let options =
        CopyOptions { jobs: global.jobs.into(), progress: bar.shared(), ..CopyOptions::default() };
    let layout = OciLayout::new(path);
    let (reference, locator) = (&image.reference, image.root.digest().into());
    let from = (reference.repository(), &locator);
    let to = (reference.repository(), reference.tag());
    let copied = copy(Arc::new(bundle.clone()), from, &layout, to, &options).await;
    bar.done();
    copied?;
    Ok(path.to_owned())
}
