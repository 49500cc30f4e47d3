//! Settings of S3: `AWS_*` variables and `~/.aws/config`.

use super::endpoint::{Addressing, Endpoint};
use super::ini::Ini;
use super::{ConfigFiles, CredentialSource, Settings, SignatureVersion, StoreEnvironment};
use crate::store::object::address::Provider;

/// The variables for credentials.
pub(super) const CREDENTIALS: &str = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// Finds the settings of a bucket. Credentials come from the chain of the AWS tools.
pub(super) fn settings(
    bucket: &str,
    environment: &StoreEnvironment,
    files: &ConfigFiles,
) -> Result<Settings, String> {
    let profile = Profile::find(environment, files)?;
    let region = environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
    let region = region.or_else(|| profile.get("region")).unwrap_or("us-east-1").to_owned();
    let endpoint = environment.first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
    let endpoint = endpoint.or_else(|| profile.endpoint());
    let style = environment.first(&["AWS_S3_ADDRESSING_STYLE"]);
    let style =
        style.or_else(|| profile.config.get_nested(&profile.section, "s3", "addressing_style"));
    let style = style.filter(|style| !style.eq_ignore_ascii_case("auto"));
    let style = style.map(Addressing::parse).transpose()?;
    let (endpoint, default) = match endpoint {
        Some(endpoint) => (Endpoint::parse(endpoint, CREDENTIALS)?, Addressing::Path),
        None => (amazon(&region), amazon_addressing(bucket)),
    };
    let addressing = match style {
        _ if endpoint.requires_path() => Addressing::Path,
        Some(style) => style,
        None => default,
    };
    Ok(Settings {
        provider: Provider::S3,
        bucket: bucket.to_owned(),
        endpoint,
        addressing,
        region,
        signature: SignatureVersion::V4,
        credentials: CredentialSource::Default,
    })
}

/// The endpoint of Amazon S3 in a region.
fn amazon(region: &str) -> Endpoint {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    Endpoint { is_https: true, authority: format!("s3.{region}.amazonaws.com{suffix}") }
}

/// Amazon's wildcard certificates do not match bucket names with dots.
fn amazon_addressing(bucket: &str) -> Addressing {
    match bucket.contains(['.', '_']) || bucket.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Addressing::Path,
        false => Addressing::VirtualHost,
    }
}

/// The selected profile in `~/.aws/config`.
struct Profile {
    config: Ini,
    section: String,
}

impl Profile {
    fn find(environment: &StoreEnvironment, files: &ConfigFiles) -> Result<Self, String> {
        let config = Ini::parse(&files.aws);
        let section = match environment.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]) {
            None | Some("default") => "default".to_owned(),
            Some(name) => format!("profile {name}"),
        };
        let section = match config.has_section("profile default") && section == "default" {
            true => "profile default".to_owned(),
            false => section,
        };
        if section.chars().any(char::is_control) {
            return Err("AWS_PROFILE contains control characters".to_owned());
        }
        Ok(Self { config, section })
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.config.get(&self.section, key)
    }

    /// The endpoint of S3 in the section of services or in the profile, or that of all services.
    fn endpoint(&self) -> Option<&str> {
        let of_service = self.get("services").and_then(|services| {
            self.config.get_nested(&format!("services {services}"), "s3", "endpoint_url")
        });
        let nested = || self.config.get_nested(&self.section, "s3", "endpoint_url");
        of_service.or_else(nested).or_else(|| self.get("endpoint_url"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(bucket: &str, variables: &[(&str, &str)], config: &str) -> Result<Settings, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let files = ConfigFiles { aws: config.to_owned(), ..ConfigFiles::default() };
        settings(bucket, &StoreEnvironment::new(variables), &files)
    }

    fn endpoint(settings: &Settings) -> String {
        format!("{}://{}", settings.endpoint.scheme(), settings.endpoint.authority)
    }

    #[test]
    fn settings_default_to_amazon() {
        let found = find("releases", &[], "").unwrap();
        assert_eq!(endpoint(&found), "https://s3.us-east-1.amazonaws.com");
        assert_eq!(found.addressing, Addressing::VirtualHost);
        let found = find("rel.eases", &[("AWS_REGION", "cn-north-1")], "").unwrap();
        assert_eq!(endpoint(&found), "https://s3.cn-north-1.amazonaws.com.cn");
        assert_eq!(found.addressing, Addressing::Path);
    }

    #[test]
    fn settings_of_variables_precede_profile() {
        let config = "[default]\nregion = a-1\n[profile dev]\nregion = b-1\nservices = mine\n\
                      s3 =\n  addressing_style = virtual\n\
                      [services mine]\ns3 =\n  endpoint_url = https://s3.example:9000\n";
        let found = find("releases", &[], config).unwrap();
        assert_eq!(endpoint(&found), "https://s3.a-1.amazonaws.com");
        let found = find("releases", &[("AWS_PROFILE", "dev")], config).unwrap();
        assert_eq!((endpoint(&found), &*found.region), ("https://s3.example:9000".into(), "b-1"));
        assert_eq!(found.addressing, Addressing::VirtualHost);
        let variables = [
            ("AWS_PROFILE", "dev"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_REGION", "c"),
        ];
        let found = find("releases", &variables, config).unwrap();
        assert_eq!((endpoint(&found), &*found.region), ("http://127.0.0.1:1".into(), "c"));
        assert_eq!(found.addressing, Addressing::Path, "IP addresses have no subdomains");
    }

    #[test]
    fn settings_reject_invalid_values() {
        for (name, value) in
            [("AWS_ENDPOINT_URL", "http://user:pass@host"), ("AWS_S3_ADDRESSING_STYLE", "odd")]
        {
            assert!(find("releases", &[(name, value)], "").is_err(), "{name}");
        }
    }
}
