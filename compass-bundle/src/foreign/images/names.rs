//! Image names as Docker writes them.

use compass_registry::{Digest, Reference, Tag};

use crate::Error;

/// A name in an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Full(Reference),
    /// A tag without a repository, as the image layout specification defines it.
    Tag(Tag),
    /// The image has no name.
    None,
    /// The text is not a valid name.
    Invalid,
}

/// Parses an image name of `manifest.json` or of containerd.
pub(crate) fn read_name(name: &str) -> Name {
    if name.is_empty() || name.contains("<none>") {
        return Name::None;
    }
    normalize_docker_name(name).parse().map_or(Name::Invalid, Name::Full)
}

/// Parses the annotation `org.opencontainers.image.ref.name`: a tag, or a whole name.
pub(crate) fn read_ref_name(name: &str) -> Name {
    match name.parse() {
        Ok(tag) if !name.contains(['/', ':', '@']) => Name::Tag(tag),
        _ => read_name(name),
    }
}

/// Adds the registry and project that Docker omits for its own images.
///
/// See `ParseDockerRef` of github.com/distribution/reference.
fn normalize_docker_name(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let is_host = first.contains(['.', ':'])
        || first == "localhost"
        || first.contains(|c: char| c.is_ascii_uppercase());
    let (host, path) = match (is_host, first) {
        (true, "index.docker.io" | "docker.io") => ("docker.io", rest),
        (true, host) => return format!("{host}/{rest}"),
        (false, _) => ("docker.io", name),
    };
    let project = if path.contains('/') { "" } else { "library/" };
    format!("{host}/{project}{path}")
}

/// Maximum characters of an archive's name that become part of an image name.
const MAX_STEM: usize = 100;

/// A reference for an image without a name, from the name of its archive, and its tag or digest.
pub(crate) fn unnamed_reference(
    archive: &str,
    tag: Option<&str>,
    digest: &Digest,
) -> Result<Reference, Error> {
    let name = archive.rsplit('/').next().unwrap_or_default();
    let stem = name.split(".tar").next().unwrap_or_default();
    let plain: String = stem
        .chars()
        .take(MAX_STEM)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let plain = plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let name = if plain.is_empty() { "image" } else { &plain };
    let tag = tag.map_or_else(|| digest.hex()[..12].to_owned(), str::to_owned);
    Ok(format!("localhost/unnamed/{name}:{tag}").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_name_without_registry_is_completed() {
        for (name, expected) in [
            ("alpine", Some("docker.io/library/alpine")),
            ("alpine:3.18", Some("docker.io/library/alpine:3.18")),
            ("team/app:v1", Some("docker.io/team/app:v1")),
            ("docker.io/alpine:3.18", Some("docker.io/library/alpine:3.18")),
            ("index.docker.io/library/app:v1", Some("docker.io/library/app:v1")),
            ("index.docker.io/team/app", Some("docker.io/team/app")),
            ("localhost/app:v1", Some("localhost/app:v1")),
            ("localhost:5000/team/app", Some("localhost:5000/team/app")),
            ("REG.example/team/app:v1", Some("REG.example/team/app:v1")),
            ("reg.example/team/app:v1", Some("reg.example/team/app:v1")),
            ("[::1]:5000/app:v1", Some("[::1]:5000/app:v1")),
            ("h.x/p/i:v 1", None),
            ("Team/app:v1", None),
            ("app:", None),
            ("a/../b", None),
        ] {
            let expected = expected.map_or(Name::Invalid, |name| Name::Full(name.parse().unwrap()));
            assert_eq!(read_name(name), expected, "{name}");
        }
        for name in ["", "<none>:<none>", "team/app:<none>", "<none>@sha256:0"] {
            assert_eq!(read_name(name), Name::None, "{name}");
        }
    }

    #[test]
    fn ref_name_is_parsed() {
        for (name, expected) in [
            ("v1.2", Name::Tag("v1.2".parse().unwrap())),
            ("latest", Name::Tag("latest".parse().unwrap())),
            ("alpine:3.18", Name::Full("docker.io/library/alpine:3.18".parse().unwrap())),
            ("release/web:v1", Name::Full("docker.io/release/web:v1".parse().unwrap())),
            ("stable+1", Name::Invalid),
            ("", Name::None),
        ] {
            assert_eq!(read_ref_name(name), expected, "{name}");
        }
    }

    #[test]
    fn unnamed_image_takes_archive_name() {
        let digest = Digest::of(b"x");
        let hex = &digest.hex()[..12];
        for (archive, tag, expected) in [
            ("a/GPU_one.tar.gz", None, format!("localhost/unnamed/gpu-one:{hex}")),
            ("镜像.tar", None, format!("localhost/unnamed/image:{hex}")),
            ("a.tar.xz", Some("v1"), "localhost/unnamed/a:v1".to_owned()),
        ] {
            assert_eq!(unnamed_reference(archive, tag, &digest).unwrap().to_string(), expected);
        }
        assert!(unnamed_reference(&"x".repeat(5000), None, &digest).is_ok());
    }
}
