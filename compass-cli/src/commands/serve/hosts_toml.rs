//! The configuration of containerd for nodes that pull from this server.

use std::process::ExitCode;

use serde_json::json;

use crate::error::{CliError, Result};
use crate::output::Output;

/// The directory of the files, `config_path` in the configuration of containerd.
const DIRECTORY: &str = "/etc/containerd/certs.d";

/// Files that make a server the mirror of registries.
pub(super) struct HostsToml<'a> {
    /// The address at which nodes reach the server.
    pub(super) address: &'a str,
    pub(super) is_tls: bool,
    /// The registries in the names of the images.
    pub(super) hosts: Vec<String>,
    /// Whether these registries do not use TLS.
    pub(super) is_plain_http: bool,
}

impl HostsToml<'_> {
    pub(super) fn print(&self, output: &Output) -> Result<ExitCode> {
        if self.hosts.is_empty() {
            let message = "no image names the registry that nodes pull it from";
            let hint =
                "name the images of the layout with their registry, as `HOST/REPOSITORY:TAG`";
            return Err(CliError::check_failed(message).hint(hint));
        }
        let files: Vec<_> =
            self.hosts.iter().map(|host| (path_of(host), self.content(host))).collect();
        output.result(
            || {
                let file =
                    |(path, content): &(String, String)| json!({"path": path, "content": content});
                json!({"files": files.iter().map(file).collect::<Vec<_>>()})
            },
            || {
                let file = |(path, content): &(String, String)| format!("# {path}\n{content}");
                files.iter().map(file).collect::<Vec<_>>().join("\n")
            },
        );
        Ok(ExitCode::SUCCESS)
    }

    fn content(&self, host: &str) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        let server = match host {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let ca = match self.is_tls {
            true => format!("  # ca = \"{DIRECTORY}/{host}/ca.crt\"\n"),
            false => String::new(),
        };
        let server_scheme = if self.is_plain_http { "http" } else { "https" };
        format!(
            "server = \"{server_scheme}://{server}\"\n\n[host.\"{scheme}://{}\"]\n  capabilities = [\"pull\", \
             \"resolve\"]\n{ca}",
            self.address
        )
    }
}

fn path_of(host: &str) -> String {
    format!("{DIRECTORY}/{host}/hosts.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_names_server_and_mirror() {
        let toml = |is_tls| HostsToml {
            address: "10.0.0.5:5000",
            is_tls,
            hosts: Vec::new(),
            is_plain_http: false,
        };
        assert_eq!(
            toml(false).content("harbor.example:8443"),
            "server = \"https://harbor.example:8443\"\n\n[host.\"http://10.0.0.5:5000\"]\n  \
             capabilities = [\"pull\", \"resolve\"]\n"
        );
        let secured = toml(true).content("docker.io");
        assert!(secured.starts_with("server = \"https://registry-1.docker.io\"\n"), "{secured}");
        assert!(secured.contains("[host.\"https://10.0.0.5:5000\"]"), "{secured}");
        assert!(secured.contains("# ca = \"/etc/containerd/certs.d/docker.io/ca.crt\""));
    }
}
