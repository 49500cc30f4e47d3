//! Debian's `docker-registry`, on a directory.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// A registry that runs until it is dropped.
#[derive(Debug)]
pub struct Registry(Child);

impl Registry {
    /// Serves a directory, which is created where it is not there.
    ///
    /// # Errors
    /// Where it does not start within ten seconds.
    pub fn start(storage: &Path, host: &str) -> Result<Self, Failure> {
        std::fs::create_dir_all(storage)?;
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: '{host}'}}\n",
            storage.display()
        );
        let file = storage.join("registry.yml");
        std::fs::write(&file, config)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self(command.spawn()?);
        let began = Instant::now();
        while TcpStream::connect(host).is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                return Err(format!("docker-registry does not start at {host}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Killed twice is as dead as killed once.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An address on this machine that nobody listens at.
///
/// # Errors
/// Where there is none.
pub fn free_host() -> Result<String, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
