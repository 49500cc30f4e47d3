//! Runs registries as processes: Debian's `docker-registry`, and `compass serve`.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::BenchError;

/// How long a registry may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A registry process. It is killed when this is dropped.
#[derive(Debug)]
pub struct RegistryProcess(Child);

impl RegistryProcess {
    /// Starts `docker-registry` on a directory, which is created if it does not exist.
    ///
    /// # Errors
    /// If the directory cannot be written, or the registry does not listen within ten seconds.
    pub fn docker_registry(storage: &Path, host: &str) -> Result<Self, BenchError> {
        std::fs::create_dir_all(storage)?;
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: '{host}'}}\n",
            storage.display()
        );
        let file = storage.join("registry.yml");
        std::fs::write(&file, config)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file);
        Self::start(command, host)
    }

    /// Starts `compass serve` on a directory, which is created if it does not exist.
    ///
    /// # Errors
    /// As [`Self::docker_registry`].
    pub fn compass(program: &Path, storage: &Path, host: &str) -> Result<Self, BenchError> {
        std::fs::create_dir_all(storage)?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--writable").arg(storage).args(["--listen", host]);
        Self::start(command, host)
    }

    fn start(mut command: Command, host: &str) -> Result<Self, BenchError> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self(command.spawn()?);
        let started = Instant::now();
        while TcpStream::connect(host).is_err() {
            if started.elapsed() > START_TIMEOUT {
                let program = command.get_program().display();
                return Err(format!("{program} does not listen at {host}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }
}

impl Drop for RegistryProcess {
    fn drop(&mut self) {
        // Both fail only if the process has ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Finds a free address on this machine.
///
/// # Errors
/// An error of the system if no port is free.
pub fn free_host() -> Result<String, BenchError> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
