//! Docker credential helpers. Runs `docker-credential-<name> get` with the host on standard input,
//! and reads a JSON object from its standard output.

use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Credentials;
use super::file::{DOCKER_HUB_KEY, is_docker_hub};
use crate::Secret;

/// The time limit of a helper. A helper may ask the user to unlock a keyring.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The maximum number of bytes read from each output.
const MAX_OUTPUT: u64 = 1 << 20;

/// The maximum number of characters of a helper's message that are shown.
const MAX_CHARS: usize = 300;

/// The message of a helper that has no login for the host (docker-credential-helpers).
const NOT_FOUND: &str = "credentials not found";

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", alias = "username", default)]
    username: String,
    #[serde(rename = "Secret", alias = "secret", default)]
    secret: String,
}

/// The output and exit status of a helper.
struct Output {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Returns the program of a helper.
pub(super) fn program_name(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// Gets the login of a host from a helper. Blocks.
pub(super) fn get(name: &str, host: &str) -> io::Result<Option<Credentials>> {
    let key = if is_docker_hub(host) { DOCKER_HUB_KEY } else { host };
    read(&run(&program_name(name), key)?).map_err(io::Error::other)
}

fn read(output: &Output) -> Result<Option<Credentials>, String> {
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    if !output.status.success() {
        // Helpers print errors on stdout; programs that they run print them on stderr.
        let message = String::from_utf8_lossy(stdout);
        if message.contains(NOT_FOUND) {
            return Ok(None);
        }
        let message = [message.trim(), String::from_utf8_lossy(stderr).trim()].join("\n");
        return Err(match message.trim() {
            "" => format!("it failed without a message ({})", output.status),
            message => one_line(message),
        });
    }
    if stdout.trim_ascii().is_empty() {
        return Ok(None);
    }
    let answer: Answer = serde_json::from_slice(stdout)
        .map_err(|_| "its output is not a credentials object".to_owned())?;
    let secret = Secret::new(answer.secret);
    Ok(match answer.username.as_str() {
        "" if secret.reveal().is_empty() => None,
        "<token>" => Some(Credentials::IdentityToken(secret)),
        _ => Some(Credentials::Password { username: answer.username, password: secret }),
    })
}

/// Joins the lines of a message, and truncates it.
fn one_line(message: &str) -> String {
    let lines: Vec<_> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join("; ");
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn run(program: &str, key: &str) -> io::Result<Output> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // Ignore EPIPE: if the helper does not read its input, its exit status and output show the
        // cause.
        let _ = stdin.write_all(key.as_bytes());
    }
    wait_with_timeout(child)
}

/// Waits for a helper, and kills it after the time limit.
fn wait_with_timeout(mut child: Child) -> io::Result<Output> {
    let (stdout, stderr) =
        (read_in_thread(child.stdout.take()), read_in_thread(child.stderr.take()));
    let until = Instant::now() + TIMEOUT;
    if let Ok(stdout) = stdout.recv_timeout(TIMEOUT) {
        while Instant::now() < until {
            if let Some(status) = child.try_wait()? {
                // A process that the helper left behind may hold the pipe open.
                let stderr = stderr.recv_timeout(Duration::from_millis(200)).unwrap_or_default();
                return Ok(Output { status, stdout, stderr });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    child.kill()?;
    child.wait()?;
    let reason = format!("it did not finish within {} s", TIMEOUT.as_secs());
    Err(io::Error::new(io::ErrorKind::TimedOut, reason))
}

/// Reads a pipe to its end in another thread.
fn read_in_thread(pipe: Option<impl io::Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // On an error, the bytes read so far are still shown.
            let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut bytes);
        }
        // The receiver is gone if the helper exceeded its time limit.
        let _ = sender.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn answer(code: i32, stdout: &str, stderr: &str) -> Result<Option<Credentials>, String> {
        let (stdout, stderr) = (stdout.as_bytes().to_vec(), stderr.as_bytes().to_vec());
        read(&Output { status: ExitStatus::from_raw(code << 8), stdout, stderr })
    }

    #[test]
    fn helper_output_is_login_or_none() {
        let password = |username: &str| Credentials::Password {
            username: username.to_owned(),
            password: Secret::new("s"),
        };
        for (stdout, expected) in [
            (r#"{"ServerURL":"a.b","Username":"u","Secret":"s"}"#, Some(password("u"))),
            (r#"{"username":"u","secret":"s"}"#, Some(password("u"))),
            (r#"{"Username":"","Secret":"s"}"#, Some(password(""))),
            (
                r#"{"Username":"<token>","Secret":"t"}"#,
                Some(Credentials::IdentityToken(Secret::new("t"))),
            ),
            (r#"{"Username":"","Secret":""}"#, None),
            ("{}", None),
            ("", None),
            (" \n", None),
        ] {
            assert_eq!(answer(0, stdout, "a warning"), Ok(expected), "{stdout}");
        }
        assert_eq!(answer(1, "credentials not found in native keychain\n", ""), Ok(None));
    }

    #[test]
    fn helper_failure_includes_message() {
        let error = answer(1, "", "no credentials:\n run aws sso login\n").unwrap_err();
        assert_eq!(error, "no credentials:; run aws sso login");
        let error = answer(1, "exit status 2: pass not initialized", "gpg: no key").unwrap_err();
        assert_eq!(error, "exit status 2: pass not initialized; gpg: no key");
        assert!(answer(3, "", "").unwrap_err().contains("without a message"));
        assert!(answer(1, "", &"x".repeat(9000)).unwrap_err().len() < 400);
        // The output of a successful helper may be the secret itself.
        let error = answer(0, "hunter2", "hunter2").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
