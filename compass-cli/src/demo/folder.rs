//! The folder with the results of a demo.

use std::path::{Path, PathBuf};

use compass_manifest::policy::POLICY_FILE;

use crate::error::{CliError, Result};
use crate::git;

/// The file that marks a folder of the demo, which the next demo may remove.
const MARKER: &str = ".compass-demo";

macro_rules! example {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("example/", $path)))),*]
    };
}

const FILES: [(&str, &str); 9] = example![
    ".compass.yaml",
    "addons/default/console/web/values.yaml",
    "addons/kube-system/dns/coredns/values.yaml",
    "hack/install.sh",
    "images-lists/platform.list",
    "release-hotfixes/v2.7.0/web-v2.7.0-20180605-p1/default/console/web/values.yaml",
    "release-plugins/gpu-manager.yaml",
    "release-plugins/log-viewer.yaml",
    "release-products/v2.7.0.yaml",
];

/// The registry in the example.
const RELEASE: &str = "harbor.caicloud.xyz/release";

#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Creates the folder; removes that of an earlier demo.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let failed = |error: &std::io::Error| {
            CliError::external(error).context(format!("cannot use {}", path.display()))
        };
        let empty = std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
        if path.join(MARKER).is_file() {
            std::fs::remove_dir_all(path).map_err(|error| failed(&error))?;
        } else if !empty {
            let message = format!("{} is not empty and was not created by a demo", path.display());
            return Err(CliError::usage(message).hint("use another folder: `--folder DIR`"));
        }
        std::fs::create_dir_all(path).map_err(|error| failed(&error))?;
        std::fs::write(path.join(MARKER), "").map_err(|error| failed(&error))?;
        let path = path.canonicalize().map_err(|error| failed(&error))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes and commits the example as a release repository for these registries.
    pub(crate) fn write_release(&self, source: &str, release: &str) -> Result<PathBuf> {
        let root = self.path("release");
        for (file, text) in FILES {
            let path = root.join(file);
            let text = text.replace(RELEASE, &format!("{release}/release"));
            let text = match file {
                POLICY_FILE => text + &self.registries(source, release),
                _ => text,
            };
            write(&path, &text).map_err(CliError::io("write", &path))?;
        }
        git::commit_all(&root, "v2.7.0")?;
        Ok(root)
    }

    /// The additions to the policy for the demo.
    fn registries(&self, source: &str, release: &str) -> String {
        let store = self.path("store");
        format!(
            "registries:\n  source: {source}/caicloud\n  release: {release}/release\n  \
             projects:\n    release: {{source: caicloud, release: release}}\n    library: {{source: \
             library, release: library}}\nstore: file://{}\n",
            store.display()
        )
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(path, text)
}
