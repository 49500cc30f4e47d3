//! The pages with commands: their preparation, substitutes, and the commands that do not run.

/// A page whose commands run in order.
pub(crate) struct Page {
    /// The path from the root of the repository.
    pub(crate) file: &'static str,
    /// Commands that create the files that the page uses, in the directory of the demo.
    pub(crate) setup: &'static [&'static str],
    /// Texts of the page with their replacements: `{dir}` is the directory of the demo, `{source}`,
    /// `{release}` and `{site}` are its registries, `{free}` a free address, `{center}` a plugin center.
    pub(crate) substitutes: &'static [(&'static str, &'static str)],
    /// The beginnings of commands that do not run here, with the reason.
    pub(crate) not_run: &'static [(&'static str, &'static str)],
}

/// The pages of other tests, with the reason.
pub(crate) const ELSEWHERE: &[(&str, &str)] = &[
    ("docs/guide.md", "is followed in addition to this table"),
    ("docs/guide.zh-CN.md", "has the commands of docs/guide.md"),
    ("README.zh-CN.md", "has the commands of README.md"),
    ("docs/scale.md", "needs an object storage, which `tests/store` has"),
    ("docs/stores.md", "needs an object storage, which `tests/store` has"),
];

/// Packages a plugin and the product of the demo.
const PACKAGES: &str = "
    compass release plugin gpu-manager --repo compass-demo/release -o .
    compass release product v2.7.0 --repo compass-demo/release -o .
";

/// Gives the release repository a remote, and pushes a branch with the next version of a plugin.
const BRANCH: &str = "
    cd compass-demo/release
    git config user.name Lin
    git config user.email lin@example.com
    git init --quiet --bare ../forge.git
    git remote add origin ../forge.git
    git push --quiet origin main --tags
    compass release plugin gpu-manager
    git switch --quiet -c gpu-manager-v0.1.2
    compass bump plugin gpu-manager
    git commit --quiet -am 'Release gpu-manager v0.1.2'
    git push --quiet --set-upstream origin gpu-manager-v0.1.2
";

/// Writes the files that a workflow has. The repository ignores them.
const WORKFLOW_FILES: &str = "
    compass pr plugin gpu-manager --base origin/main --only body > ../body.md
    mv ../body.md body.md
    echo '[]' > comments.json
    echo '{\"pull_request\": {\"body\": \"\", \"user\": {\"login\": \"alice\"}, \"labels\": []}}' > event.json
    ls body.md comments.json event.json >> .git/info/exclude
";

pub(crate) const PAGES: &[Page] = &[
    Page {
        file: "README.md",
        setup: &["
            cd compass-demo/release
            git config user.name Lin
            git config user.email lin@example.com
        "],
        substitutes: &[("127.0.0.1:5003", "{site}")],
        not_run: &[
            ("cargo run -- demo", "`.ci/run` runs the demo"),
            ("cargo test --workspace", "`.ci/run` runs the tests"),
            ("docker load -i …", "needs a daemon: `tests/interop.rs` loads image archives"),
            ("podman load -i …", "`tests/interop.rs` loads image archives"),
            ("skopeo copy oci-archive:…", "`tests/interop.rs` copies image archives"),
            ("gunzip -c …", "needs a daemon: `tests/interop.rs` imports image archives"),
        ],
    },
    Page {
        file: "docs/install.md",
        setup: &["
            compass release product v2.7.0 --repo compass-demo/release -o .
            compass release plugin gpu-manager --repo compass-demo/release -o .
            (cd compass-demo/release && compass bump plugin gpu-manager &&
             git -c user.name=L -c user.email=l@example.com commit --quiet -am 'Release v0.1.2')
            compass release plugin gpu-manager --repo compass-demo/release -o .
            compass install compass-plugins-gpu-manager-v0.1.2.tar.gz --registry {site}/compass --output yaml
            printf 'dex:\\n  host: dex.site.example\\n' > site.yaml
            echo secret > password
            printf '#!/bin/sh\\ntest -s \"$2\" && echo \"$1\"\\n' > to-addon-manager
            chmod +x to-addon-manager
        "],
        substitutes: &[("registry.site:5000", "{site}")],
        not_run: &[
            ("python3 -m venv tools", "`.ci/run` installs the same programs"),
            ("PATH=", "`.ci/run` builds the same binary, and runs it in a bare root"),
            ("cp target/x86_64", "needs the binary of the command before"),
            ("sha256sum compass >", "needs the binary of the command before"),
        ],
    },
    Page {
        file: "docs/plugin-center.md",
        setup: &[PACKAGES],
        substitutes: &[
            ("registry.site:5000", "{site}"),
            ("https://plugins.site.example", "{center}"),
            ("TOKEN=…", "TOKEN=token-of-the-center"),
        ],
        not_run: &[],
    },
    Page {
        file: "docs/serve.md",
        setup: &[PACKAGES],
        substitutes: &[
            ("0.0.0.0:5000", "{free}"),
            ("https://harbor.example", "http://{release}"),
            ("/var/cache/compass", "{dir}/cache"),
            ("--registry registry.site", "--registry {site}"),
        ],
        not_run: &[],
    },
    Page {
        file: "docs/commands.md",
        setup: &[],
        substitutes: &[("/usr/local/share/man", "{dir}/man")],
        not_run: &[],
    },
    Page {
        file: "docs/registries.md",
        setup: &["
            cd compass-demo/release
            mkdir ci
            echo '{\"auths\": {}}' > ci/auth.json
            cp images-lists/platform.list images-lists/web.list
        "],
        substitutes: &[
            ("registry.example/release", "{release}/release"),
            ("registry.example", "{release}"),
        ],
        not_run: &[],
    },
    Page {
        file: "docs/review.md",
        setup: &[BRANCH, WORKFLOW_FILES],
        substitutes: &[
            ("--number 12", "--number 1"),
            ("export GITHUB_TOKEN=… GITHUB_REPOSITORY=caicloud/compass-release", "true"),
            (" --repo-name example/release", ""),
            ("$GITHUB_EVENT_PATH", "event.json"),
        ],
        not_run: &[],
    },
    Page {
        file: "docs/ci.md",
        setup: &[BRANCH],
        substitutes: &[(" --format markdown", " --from {source}/caicloud --format markdown")],
        not_run: &[],
    },
    Page {
        file: "docs/bot.md",
        setup: &[BRANCH],
        substitutes: &[
            ("https://github.com/caicloud/compass-release", "../forge.git"),
            ("/var/lib/compass-bot", "{dir}/bot"),
        ],
        not_run: &[],
    },
];
