//! The words that other tools have for what a recipe says in its own: Dockerfiles, compose files, conda's environments,
//! cog, and what people guess.

/// Words of other tools in one mapping of a recipe, and the recipe's way to say the same.
struct Translations {
    /// The mapping, as messages call it.
    mapping: &'static str,
    /// Words in lowercase with `-` for `_`, and what to write instead.
    words: &'static [(&'static [&'static str], &'static str)],
}

const SYSTEM_PACKAGES: &str =
    "name Debian packages under `system-packages`, such as `system-packages: [ffmpeg, git]`";
const PACKAGES: &str = "name distributions of package indexes under `packages`, such as `packages: [numpy, \"transformers>=4.40\"]`";
const NOTHING_RUNS: &str = "imgforge runs no commands during a build: Debian packages are named under `system-packages`, Python's under \
                            `packages`, and files to copy under `files`";
const CONFIG: &str = "write it under `config`, such as `config: {env: {NAME: value}, workdir: /app, user: app, ports: [8888]}`";
const CUDA_VERSION: &str = "remove it: the frameworks determine the version of CUDA, and `imgforge plan` shows it. To use the CUDA of a \
                            base image, write for example `base: nvidia/cuda:12.8.1-runtime-ubuntu24.04`";
const GPUS: &str = "remove it: CUDA is included by default. To name the GPUs to run on, write `cuda: {gpus: [T4, A100]}`; for an \
                    image without CUDA, write `cuda: {policy: cpu}`";
const DESTINATION: &str =
    "give the name and the tag when you build: `imgforge build RECIPE -o docker://HOST/NAME:TAG`";
const PLATFORMS: &str = "write `platforms: [linux/amd64, linux/arm64]`";
const INDEXES: &str = "write `indexes: [\"https://HOST/simple\"]`";
const PYTHON: &str = "write `python: \"3.11\"`: it is the version of the base's own interpreter";

const TRANSLATIONS: [Translations; 7] = [
    Translations {
        mapping: "the recipe",
        words: &[
            (
                &["from", "image", "base-image", "baseimage", "parent"],
                "name the image under `base`, such as `base: python:3.12-slim`",
            ),
            (
                &[
                    "apt",
                    "apt-get",
                    "apt-packages",
                    "aptitude",
                    "deb",
                    "debs",
                    "debian",
                    "dpkg",
                    "os-packages",
                    "apk",
                    "yum",
                    "dnf",
                ],
                SYSTEM_PACKAGES,
            ),
            (
                &[
                    "pip",
                    "pip-packages",
                    "python-packages",
                    "dependencies",
                    "deps",
                    "install",
                    "requires",
                    "uv",
                    "libraries",
                    "modules",
                ],
                PACKAGES,
            ),
            (
                &["conda", "channels", "mamba", "conda-packages"],
                "imgforge installs wheels, and nothing of conda's channels: write `packages: [numpy]`",
            ),
            (
                &["run", "commands", "scripts", "script", "post-install", "setup", "steps", "shell-commands"],
                NOTHING_RUNS,
            ),
            (&["copy", "add", "include", "context", "mounts"], "write `files: [{from: app, to: /app}]`"),
            (
                &[
                    "env",
                    "environment",
                    "environment-variables",
                    "env-vars",
                    "variables",
                    "workdir",
                    "working-dir",
                    "entrypoint",
                    "cmd",
                    "command",
                    "user",
                    "ports",
                    "expose",
                    "volumes",
                    "volume",
                    "labels",
                    "label",
                    "stop-signal",
                    "stopsignal",
                    "healthcheck",
                    "shell",
                ],
                CONFIG,
            ),
            (&["arg", "args", "build-args"], "a recipe has no variables: write each value where it is used"),
            (&["python-version", "py-version", "pyversion", "requires-python", "interpreter"], PYTHON),
            (&["cuda-version", "cudnn", "cudnn-version", "toolkit", "cuda-toolkit"], CUDA_VERSION),
            (&["gpu", "gpus", "use-gpu", "accelerator", "accelerators"], GPUS),
            (&["driver", "min-driver", "nvidia-driver"], "write `cuda: {driver: \"550.54.15\"}`"),
            (
                &[
                    "tag",
                    "tags",
                    "push",
                    "output",
                    "outputs",
                    "registry",
                    "repository",
                    "publish",
                    "destination",
                ],
                DESTINATION,
            ),
            (&["platform", "arch", "architecture", "architectures"], PLATFORMS),
            (
                &[
                    "index",
                    "index-url",
                    "extra-index-url",
                    "extra-index-urls",
                    "index-urls",
                    "sources",
                    "repositories",
                ],
                INDEXES,
            ),
            (
                &["torch", "pytorch", "jax", "tensorflow"],
                "write it below `frameworks:`, such as `frameworks: {torch: \"2.6.0\"}`",
            ),
            (
                &["services", "build", "version", "stages"],
                "a recipe describes one image: `imgforge init` writes one to begin with",
            ),
            (&["compression", "squash"], "write `layers: {compression: zstd}`"),
            (
                &["exclude", "dockerignore"],
                "write it at what is copied: `files: [{from: app, to: /app, exclude: [.git]}]`",
            ),
        ],
    },
    Translations {
        mapping: "`python`",
        words: &[
            (
                &["packages", "dependencies", "requirements", "pip"],
                "write `packages:` and `requirements:` at the top of the recipe",
            ),
            (
                &["path", "executable", "interpreter", "source", "url", "archive", "standalone"],
                "the base's own interpreter is used: write `version: \"3.11\"` where it has several; `from: \
                 ./cpython-3.12.11-…-install_only.tar.gz` takes another one in its place",
            ),
        ],
    },
    Translations {
        mapping: "`cuda`",
        words: &[
            (&["version", "toolkit", "cudnn"], CUDA_VERSION),
            (
                &["gpu", "arch", "archs", "architectures", "compute-capability", "capabilities"],
                "write `gpus: [T4, \"9.0\"]`",
            ),
            (
                &["enabled", "enable", "use"],
                "leave `cuda` out to have CUDA; `policy: cpu` is an image without it",
            ),
        ],
    },
    Translations {
        mapping: "`config`",
        words: &[
            (&["environment", "variables"], "write `env: {NAME: value}`"),
            (&["command", "args"], "write `cmd: [python3, main.py]`"),
            (&["working-dir", "workingdir", "cwd"], "write `workdir: /app`"),
            (&["expose", "exposedports"], "write `ports: [8888]`"),
        ],
    },
    Translations {
        mapping: "`layers`",
        words: &[
            (
                &["level", "compression-level", "zstd"],
                "write the level behind the compression: `compression: zstd:9`",
            ),
            (&["count", "max", "max-layers", "number"], "write `budget: 20`"),
            (&["size", "max-bytes", "split"], "write `max-size: 2GiB`"),
        ],
    },
    Translations {
        mapping: "an entry of `files`",
        words: &[
            (&["src", "source", "path", "host", "local"], "write `from: app`"),
            (&["dest", "dst", "destination", "target"], "write `to: /app`"),
            (&["chown", "user", "uid"], "write `owner: app`, or `owner: 1000:1000`"),
            (&["chmod", "permissions"], "write `mode: 0755`"),
            (&["ignore", "excludes"], "write `exclude: [.git]`"),
        ],
    },
    Translations {
        mapping: "the description of a base",
        words: &[
            (&["from"], "write `image: NAME:TAG`"),
            (&["apt"], "write `packages: [python3]`"),
            (&["arch", "platform"], "write `architecture: arm64`"),
            (&["distribution", "distro", "release", "codename", "dist"], "write `suites: [bookworm]`"),
        ],
    },
];

/// The recipe's way to say what another tool calls `key` in `mapping`.
pub(super) fn translation(mapping: &str, key: &str) -> Option<&'static str> {
    let key = key.to_lowercase().replace('_', "-");
    let words = TRANSLATIONS.iter().find(|translations| translations.mapping == mapping)?.words;
    words.iter().find(|(words, _)| words.contains(&key.as_str())).map(|(_, ours)| *ours)
}

/// The recipe's way to say what `text` says in place of the mapping `mapping`: `gpu: true`, `cuda: 12.4`.
pub(super) fn translation_of_value(mapping: &str, text: &str) -> Option<&'static str> {
    match (mapping, text) {
        ("`cuda`", "true" | "false" | "yes" | "no" | "on" | "off") => Some(GPUS),
        ("`cuda`", "shared" | "base" | "pip" | "cpu") => {
            Some("write it as the policy: `cuda: {policy: shared}`")
        }
        ("`cuda`", version) if version.starts_with(|c: char| c.is_ascii_digit()) => Some(CUDA_VERSION),
        _ => None,
    }
}

/// The recipe's way to say a requirement that is written as a command or as conda writes it.
pub(super) fn translation_of_requirement(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let command = ["pip", "pip3", "uv", "conda", "mamba", "apt", "apt-get"];
    match words.as_slice() {
        ["-r" | "--requirement", file, ..] => {
            Some(format!("write `requirements: [{file}]` at the top of the recipe"))
        }
        ["-e" | "--editable", ..] => Some("name the project's directory: `packages: [.]`".to_owned()),
        ["--index-url" | "--extra-index-url" | "-i", ..] => Some(INDEXES.to_owned()),
        [first, _, rest @ ..] if command.contains(first) => {
            let names: Vec<&str> =
                rest.iter().copied().filter(|word| *word != "install" && is_name(word)).collect();
            Some(format!(
                "this is a command: list only the names, each as an entry of its own, {}",
                quoted(&names)
            ))
        }
        [_, _, ..] if words.iter().all(|word| is_name(word)) => {
            Some(format!("write each as an entry of its own: {}", quoted(&words)))
        }
        [only] if only.contains("::") => Some(
            "imgforge installs from package indexes, not from channels of conda: write the name alone"
                .to_owned(),
        ),
        [only] => {
            conda_pin(only).map(|(name, version)| format!("write `{name}=={version}`: `=` alone is conda's"))
        }
        _ => None,
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn is_name(word: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    word.starts_with(|c: char| c.is_ascii_alphanumeric()) && word.chars().all(is_of_name)
}

/// `numpy=1.26` as conda pins, with or without a build.
fn conda_pin(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let version = rest.split('=').next()?;
    let is_version = version.starts_with(|c: char| c.is_ascii_digit());
    (is_name(name) && is_version).then_some((name, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_stands_once_and_in_the_form_that_is_compared() {
        for Translations { mapping, words } in &TRANSLATIONS {
            let mut seen = std::collections::BTreeSet::new();
            for word in words.iter().flat_map(|(words, _)| *words) {
                assert!(seen.insert(word), "{mapping}: {word}");
                assert_eq!(translation(mapping, word), translation(mapping, &word.to_uppercase()), "{word}");
                assert!(!word.contains('_') && **word == word.to_lowercase(), "{word}");
            }
        }
        assert_eq!(
            translation("the recipe", "FROM"),
            Some("name the image under `base`, such as `base: python:3.12-slim`")
        );
        assert_eq!(translation("the recipe", "frameworks"), None);
    }

    #[test]
    fn requirements_of_other_tools_are_told_from_ours() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(translation_of_requirement(text).as_deref(), expected, "{text}");
        };
        check(
            "pip install -U numpy pandas",
            Some("this is a command: list only the names, each as an entry of its own, `numpy`, `pandas`"),
        );
        check("numpy=1.26=py311", Some("write `numpy==1.26`: `=` alone is conda's"));
        check("-r req.txt", Some("write `requirements: [req.txt]` at the top of the recipe"));
        check("numpy pandas", Some("write each as an entry of its own: `numpy`, `pandas`"));
        check(
            "conda-forge::numpy",
            Some("imgforge installs from package indexes, not from channels of conda: write the name alone"),
        );
        check("numpy>=1,,", None);
    }
}
