//! The folder that a demo leaves its results in.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// What says that a folder is a demo's own, and may be removed.
const MARK: &str = ".compass-demo";

const FILES: [(&str, &str); 3] = [
    (".compass.yaml", include_str!("../../../examples/release/.compass.yaml")),
    (
        "release-plugins/gpu-manager.yaml",
        include_str!("../../../examples/release/release-plugins/gpu-manager.yaml"),
    ),
    (
        "release-plugins/log-viewer.yaml",
        include_str!("../../../examples/release/release-plugins/log-viewer.yaml"),
    ),
];

/// The folder of one demo.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Starts over: removes what an earlier demo left, and nothing else.
    pub(crate) fn start_over(path: &Path) -> Result<Self, Failure> {
        let failed = |error: &std::io::Error| {
            Failure::outside(error).while_doing(format!("cannot use {}", path.display()))
        };
        let empty = std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
        if path.join(MARK).is_file() {
            std::fs::remove_dir_all(path).map_err(|error| failed(&error))?;
        } else if !empty {
            let message = format!("{} is there, and no demo made it", path.display());
            return Err(Failure::usage(message).hint("choose another folder with `--folder`"));
        }
        std::fs::create_dir_all(path).map_err(|error| failed(&error))?;
        std::fs::write(path.join(MARK), "").map_err(|error| failed(&error))?;
        let path = path.canonicalize().map_err(|error| failed(&error))?;
        for (file, text) in FILES {
            let file = path.join("release").join(file);
            let parent = file.parent().unwrap_or(&path);
            std::fs::create_dir_all(parent).map_err(|error| failed(&error))?;
            std::fs::write(&file, text).map_err(|error| failed(&error))?;
        }
        Ok(Self(path))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
