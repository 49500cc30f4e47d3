//! Settings of OSS: `OSS_*` and `ALIBABA_CLOUD_*` variables, and `~/.ossutilconfig`.

use super::endpoint::{Addressing, Endpoint};
use super::ini::Ini;
use super::{
    AssumedRole, ConfigFiles, CredentialSource, Settings, SignatureVersion, StoreEnvironment,
};
use crate::store::object::address::Provider;

/// The variables for credentials.
pub(super) const CREDENTIALS: &str =
    "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET";

/// The variables for the ID of the access key, in order of precedence.
const KEY_VARIABLES: [&str; 2] = ["ALIBABA_CLOUD_ACCESS_KEY_ID", "OSS_ACCESS_KEY_ID"];

/// Finds the settings of a bucket.
pub(super) fn settings(
    bucket: &str,
    environment: &StoreEnvironment,
    files: &ConfigFiles,
) -> Result<Settings, String> {
    let config = OssutilConfig::find(bucket, environment, &files.ossutil);
    let variable = |names: &[&str]| environment.first(names).map(str::to_owned);
    let region = variable(&["OSS_REGION", "ALIBABA_CLOUD_REGION_ID"]);
    let region = region.or_else(|| config.get("region"));
    let region = region.map(|region| region.trim_start_matches("oss-").to_owned());
    let own = variable(&["OSS_ENDPOINT", "ALIBABA_CLOUD_OSS_ENDPOINT"]);
    let cname = config.ini.get_bucket("Bucket-Cname", bucket).filter(|_| own.is_none());
    let endpoint = own
        .or_else(|| cname.map(str::to_owned))
        .or_else(|| config.ini.get_bucket("Bucket-Endpoint", bucket).map(str::to_owned))
        .or_else(|| config.get("endpoint"))
        .or_else(|| region.as_ref().map(|region| format!("https://oss-{region}.aliyuncs.com")));
    let endpoint = endpoint.ok_or("no endpoint: set OSS_ENDPOINT or OSS_REGION")?;
    let endpoint = Endpoint::parse(&endpoint, CREDENTIALS)?;
    let style = variable(&["OSS_ADDRESSING_STYLE"]).or_else(|| config.get("addressing-style"));
    let addressing = match style.map(|style| Addressing::parse(&style)).transpose()? {
        _ if endpoint.requires_path() => Addressing::Path,
        Some(style) => style,
        None if cname.is_some() => Addressing::Cname,
        None => Addressing::VirtualHost,
    };
    let signature = variable(&["OSS_SIGNATURE_VERSION"]).or_else(|| config.get("sign-version"));
    let signature = parse_signature(signature)?;
    Ok(Settings {
        provider: Provider::Oss,
        bucket: bucket.to_owned(),
        region: signed_region(region, &endpoint, signature)?,
        endpoint,
        addressing,
        signature,
        credentials: match environment.first(&KEY_VARIABLES) {
            Some(_) => CredentialSource::Default,
            None => config.credentials(),
        },
    })
}

/// The region that requests are signed for. Version 1 has none.
fn signed_region(
    region: Option<String>,
    endpoint: &Endpoint,
    signature: SignatureVersion,
) -> Result<String, String> {
    let host = endpoint.host();
    match (region.or_else(|| region_of(host)), signature) {
        (Some(region), _) => Ok(region),
        (None, SignatureVersion::V1) => Ok(String::new()),
        (None, SignatureVersion::V4) => Err(format!(
            "the endpoint {host} names no region: set OSS_REGION, or \
             OSS_SIGNATURE_VERSION=v1 for a storage without regions"
        )),
    }
}

fn parse_signature(version: Option<String>) -> Result<SignatureVersion, String> {
    match version.unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "v4" | "4" => Ok(SignatureVersion::V4),
        "v1" | "1" => Ok(SignatureVersion::V1),
        other => Err(format!("the signature version `{other}` is not `v1` or `v4`")),
    }
}

/// The region in a host of Alibaba Cloud: `oss-cn-hangzhou-internal.aliyuncs.com`.
fn region_of(host: &str) -> Option<String> {
    let name = host.strip_suffix(".aliyuncs.com")?;
    // Dual-stack endpoints are `cn-hangzhou.oss.aliyuncs.com`.
    if let Some(region) = name.strip_suffix(".oss") {
        return Some(region.to_owned());
    }
    let region = name.strip_prefix("oss-")?;
    let region = region.strip_suffix("-internal").unwrap_or(region);
    // `oss-accelerate` and `oss-accelerate-overseas` serve all regions.
    let is_region = !region.starts_with("accelerate") && !region.contains('.');
    is_region.then(|| region.to_owned())
}

/// `~/.ossutilconfig`: the section of the profile, and the sections of buckets.
struct OssutilConfig {
    ini: Ini,
    /// The sections that settings are read from, in order of precedence.
    sections: Vec<String>,
}

impl OssutilConfig {
    fn find(bucket: &str, environment: &StoreEnvironment, text: &str) -> Self {
        let ini = Ini::parse(text);
        let buckets = format!("buckets {bucket}");
        let sections = match environment.first(&["OSS_PROFILE", "OSSUTIL_PROFILE"]) {
            Some(profile) if profile != "default" => vec![buckets, format!("profile {profile}")],
            // Version 1 has the section `Credentials`.
            _ => [buckets.as_str(), "default", "profile default", "Credentials"]
                .map(str::to_owned)
                .into(),
        };
        Self { ini, sections }
    }

    fn get(&self, key: &str) -> Option<String> {
        let mut values = self.sections.iter().filter_map(|section| self.ini.get(section, key));
        values.next().map(str::to_owned)
    }

    fn credentials(&self) -> CredentialSource {
        let mode = self.get("mode").unwrap_or_default().to_ascii_lowercase();
        match mode.as_str() {
            "anonymous" => return CredentialSource::Anonymous,
            "ecsramrole" => return CredentialSource::InstanceRole(self.get("ecsRoleName")),
            _ => {}
        }
        // Version 1 names the metadata service of the instance in the section `AkService`.
        if self.ini.get("AkService", "ecsAk").is_some() {
            return CredentialSource::InstanceRole(None);
        }
        let (Some(id), Some(secret)) = (self.get("accessKeyID"), self.get("accessKeySecret"))
        else {
            return CredentialSource::Default;
        };
        let role = self.get("roleArn").filter(|_| mode == "ramrolearn");
        let role = role.map(|arn| AssumedRole { arn, session: self.get("roleSessionName") });
        CredentialSource::Keys { id, secret, token: self.get("stsToken"), role }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)], ossutil: &str) -> Result<Settings, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let files = ConfigFiles { ossutil: ossutil.to_owned(), ..ConfigFiles::default() };
        settings("infra-release", &StoreEnvironment::new(variables), &files)
    }

    fn keys(id: &str, secret: &str, token: Option<&str>) -> CredentialSource {
        let token = token.map(str::to_owned);
        CredentialSource::Keys { id: id.to_owned(), secret: secret.to_owned(), token, role: None }
    }

    const VERSION_1: &str = "[Credentials]\nlanguage=EN\nendpoint=oss-cn-beijing.aliyuncs.com\n\
                             accessKeyID=id\naccessKeySecret=secret\nstsToken=token\n\
                             [Bucket-Endpoint]\ninfra-release=oss-cn-shanghai.aliyuncs.com\n";

    const VERSION_2: &str = "[default]\naccess-key-id = id\naccess_key_secret = secret\n\
                             region = cn-hangzhou\n\
                             [profile site]\nAccessKeyId = other\nAccessKeySecret = more\n\
                             region = cn-wulanchabu\nendpoint = http://10.0.0.1:8080\n\
                             [profile role]\nmode = EcsRamRole\necsRoleName = r\nregion = x\n";

    #[test]
    fn settings_of_version_1_name_endpoint_of_bucket() {
        let found = find(&[], VERSION_1).unwrap();
        assert_eq!(found.endpoint.authority, "oss-cn-shanghai.aliyuncs.com");
        assert_eq!((&*found.region, found.addressing), ("cn-shanghai", Addressing::VirtualHost));
        assert_eq!(found.credentials, keys("id", "secret", Some("token")));
        let cname = format!("{VERSION_1}[Bucket-Cname]\ninfra-release=files.example\n");
        let found = find(&[("OSS_REGION", "cn-beijing")], &cname).unwrap();
        assert_eq!(found.endpoint.authority, "files.example");
        assert_eq!((&*found.region, found.addressing), ("cn-beijing", Addressing::Cname));
        let found = find(&[("OSS_ENDPOINT", "oss-cn-qingdao.aliyuncs.com")], &cname).unwrap();
        assert_eq!(found.addressing, Addressing::VirtualHost);
    }

    #[test]
    fn settings_of_version_2_select_profile() {
        let found = find(&[], VERSION_2).unwrap();
        assert_eq!(found.endpoint.authority, "oss-cn-hangzhou.aliyuncs.com");
        assert_eq!(found.credentials, keys("id", "secret", None));
        let found = find(&[("OSS_PROFILE", "site")], VERSION_2).unwrap();
        assert_eq!((found.endpoint.scheme(), found.addressing), ("http", Addressing::Path));
        assert_eq!(found.credentials, keys("other", "more", None));
        let found = find(&[("OSS_PROFILE", "role")], VERSION_2).unwrap();
        assert_eq!(found.credentials, CredentialSource::InstanceRole(Some("r".into())));
    }

    #[test]
    fn settings_of_variables_precede_file() {
        let variables = [
            ("OSS_ENDPOINT", "https://oss-cn-shenzhen-internal.aliyuncs.com"),
            ("OSS_ACCESS_KEY_ID", "x"),
            ("OSS_SIGNATURE_VERSION", "V1"),
        ];
        let found = find(&variables, VERSION_1).unwrap();
        assert_eq!((&*found.region, found.signature), ("cn-shenzhen", SignatureVersion::V1));
        assert_eq!(found.credentials, CredentialSource::Default);
    }

    #[test]
    fn settings_without_region_are_error() {
        let accelerate = [("OSS_ENDPOINT", "oss-accelerate.aliyuncs.com")];
        assert!(find(&accelerate, "").unwrap_err().contains("set OSS_REGION"));
        assert!(find(&[], "").unwrap_err().contains("OSS_ENDPOINT"));
        let region = [accelerate[0], ("OSS_REGION", "oss-cn-hangzhou")];
        assert_eq!(find(&region, "").unwrap().region, "cn-hangzhou");
    }

    #[test]
    fn region_of_reads_hosts_of_alibaba() {
        for (host, region) in [
            ("oss-cn-hangzhou.aliyuncs.com", Some("cn-hangzhou")),
            ("oss-cn-hangzhou-internal.aliyuncs.com", Some("cn-hangzhou")),
            ("cn-hangzhou.oss.aliyuncs.com", Some("cn-hangzhou")),
            ("oss-accelerate-overseas.aliyuncs.com", None),
            ("files.example", None),
        ] {
            assert_eq!(region_of(host).as_deref(), region, "{host}");
        }
    }
}
