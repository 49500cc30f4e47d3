//! The built-in policy.

use std::sync::LazyLock;

use compass_manifest::Policy;
use compass_manifest::source::SourceFile;

/// The policy of a repository without a policy file, and the values that a policy file omits.
#[expect(clippy::expect_used, reason = "a constant text, which the tests parse")]
pub(crate) static BUILT_IN_POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let source = SourceFile::new("the built-in policy", include_str!("policy.yaml"));
    Policy::parse(&source).expect("the built-in policy is valid")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_policy_names_registries_and_accounts() {
        let policy = &*BUILT_IN_POLICY;
        assert_eq!(policy.registries.release, "harbor.caicloud.xyz/release");
        assert_eq!(policy.registries.projects["release"].source, "caicloud");
        assert_eq!(policy.store.as_deref(), Some("oss://infra-release"));
        assert_eq!(policy.review.queue.cc(), ["supereagle", "pendoragon"]);
    }
}
