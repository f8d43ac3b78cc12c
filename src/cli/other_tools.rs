//! The words of other tools on the command line, and how imgforge says the same.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::examples;

/// Words of other tools, and what to write instead.
type Translations = &'static [(&'static [&'static str], &'static str)];

/// Options of docker, buildx, pip, uv and scanners.
const OPTIONS: Translations = &[
    (
        &["-t", "--tag", "--name", "--image", "--dest", "--destination"],
        "name the place of the image: `-o docker://HOST/NAME:TAG` pushes it, `-o docker-daemon:NAME:TAG` loads it into Docker",
    ),
    (&["--push"], "`-o docker://HOST/NAME:TAG` pushes the image"),
    (
        &["--load"],
        "`-o docker-daemon:NAME:TAG` loads the image into Docker, `-o podman:NAME:TAG` into podman",
    ),
    (
        &["--arch", "--architecture", "--platforms", "--override-arch"],
        "`--platform linux/arm64` chooses among the platforms that the recipe names: `platforms: [linux/amd64, linux/arm64]`",
    ),
    (&["-f", "--file", "--recipe"], "the recipe is named without an option: `imgforge build recipe.yaml`"),
    (
        &["--build-arg", "--var", "--set", "--env"],
        "a recipe has no variables: write the value in it; `config: {env: {NAME: value}}` is the container's environment",
    ),
    (
        &["--no-cache", "--pull", "--refresh", "--force"],
        "it is not needed: what has changed is built again, and nothing else; `imgforge lock RECIPE --upgrade` takes newer versions",
    ),
    (&["--target", "--squash"], "a recipe describes one image, without stages"),
    (
        &["--secret", "--ssh", "--username", "--password", "--creds"],
        "logins are those of `docker login`, `podman login` and netrc",
    ),
    (
        &["-i", "--index-url", "--extra-index-url", "--index", "--default-index", "--find-links"],
        "write `indexes: [\"https://HOST/simple\"]` in the recipe, or set PIP_INDEX_URL",
    ),
    (&["-r", "--requirement", "--requirements"], "write `requirements: [requirements.txt]` in the recipe"),
    (&["-c", "--constraint", "--constraints"], "write `constraints: [constraints.txt]` in the recipe"),
    (
        &["--pre", "--prerelease"],
        "write `prereleases: all` in the recipe, or the names of projects, or name one: `torch>=2.7.0rc1`",
    ),
    (
        &["--no-deps"],
        "write `overrides:` in the recipe: `[\"NAME ; sys_platform == 'never'\"]` leaves NAME out",
    ),
    (
        &["--dry-run", "--check", "--print", "--explain"],
        "`imgforge plan RECIPE` shows what would be built and why",
    ),
    (
        &["-v", "--verbose", "--debug"],
        "`--progress plain` prints each step; `imgforge plan RECIPE --all --wide` lists everything with its reasons",
    ),
    (&["--frozen", "--immutable"], "`--locked` builds what the lock says, and nothing else"),
    (
        &["--gpus", "--cuda", "--cuda-version", "--with-cuda"],
        "`docker run --gpus all` gives GPUs to a container; the recipe names those to support: `cuda: {gpus: [T4]}`",
    ),
    (&["--cpu", "--no-cuda", "--cpu-only"], "write `cuda: {policy: cpu}` in the recipe"),
    (
        &["--python-version", "-p"],
        "the base decides; write `python: \"3.11\"` in the recipe where it has several",
    ),
    (
        &["--label", "--labels"],
        "write `config: {labels: {NAME: value}}` in the recipe; `--annotation NAME=VALUE` annotates the manifest",
    ),
    (
        &["--tls-verify", "--insecure", "--plain-http", "--src-tls-verify", "--dest-tls-verify"],
        "`--insecure-registry HOST` takes a registry without TLS",
    ),
    (&["--iidfile"], "`--digest-file FILE` has the digest"),
    (
        &["--severity", "--exit-code", "--fail-on"],
        "errors end with exit code 1; the recipe accepts single findings: `ignore: [{rule: broken-link, path: /opt/*, reason: …}]`",
    ),
    (&["--out", "--outfile", "--save"], "`-o oci-archive:FILE` writes the image into a file"),
    (&["--threads", "--jobs", "-j"], "IMGFORGE_THREADS says how many layers are written at once"),
    (&["--cache-dir", "--cache-from", "--cache-to", "--root"], "IMGFORGE_CACHE_DIR names the store"),
];

/// Commands of docker, podman, pip, uv, skopeo and scanners.
const COMMANDS: Translations = &[
    (
        &["push", "publish"],
        "`imgforge build RECIPE -o docker://HOST/NAME:TAG` pushes; `imgforge copy oci:DIR docker://HOST/NAME:TAG` pushes what is built",
    ),
    (
        &["pull", "fetch", "download"],
        "`imgforge copy docker://HOST/NAME:TAG oci:DIR` pulls an image; a base is pulled when it is needed",
    ),
    (
        &["run", "exec", "shell", "start"],
        "`imgforge build RECIPE -o docker-daemon:NAME --run` builds an image and starts it; what is there is started by `docker run NAME`",
    ),
    (
        &["install", "add", "pip", "remove", "uninstall"],
        "write `packages: [NAME]` in the recipe, then `imgforge build RECIPE`",
    ),
    (
        &["compile", "freeze", "export", "sync"],
        "`imgforge lock RECIPE` writes every decision down; `--format pylock` prints it for pip and uv",
    ),
    (&["update", "upgrade", "outdated"], "`imgforge lock RECIPE --upgrade`, or `--upgrade=NAME`"),
    (
        &["images", "image", "ls", "list", "ps"],
        "imgforge keeps no list of images: they are where `-o` put them, in Docker for example (`docker images`)",
    ),
    (
        &["save", "load", "tag", "import", "cp", "commit"],
        "`imgforge copy A B` copies an image from any place to any other",
    ),
    (
        &["rm", "rmi", "gc", "prune", "clean", "clear", "purge", "system"],
        "`imgforge cache prune` removes what no build has used for 30 days",
    ),
    (
        &["scan", "audit"],
        "imgforge does not look for vulnerabilities: give the image to a scanner; `imgforge check IMAGE` proves that its \
         frameworks can load their libraries",
    ),
    (
        &["validate", "lint", "verify", "test", "doctor"],
        "`imgforge check IMAGE` proves that an image loads; `imgforge plan RECIPE` reads a recipe",
    ),
    (&["show", "history", "info", "tree", "sbom"], "`imgforge inspect IMAGE` shows what is in an image"),
    (
        &["serve", "server", "daemon", "registry", "proxy"],
        "imgforge has no server: `-o docker://HOST/NAME:TAG` pushes to a registry, and `--cache docker://HOST/REPO` shares \
         layers through one",
    ),
    (&["login", "logout", "auth"], "logins are those of `docker login` and `podman login`"),
    (
        &["create", "new", "generate", "convert", "from"],
        "`imgforge init` writes a recipe from what is in the working directory",
    ),
    (&["explain", "why", "resolve", "solve"], "`imgforge plan RECIPE` shows what would be built and why"),
    (&["compare"], "`imgforge diff A B` shows what changed between two images or recipes"),
    (&["man", "manual", "docs"], "`imgforge help COMMAND`; `imgforge man DIR` writes manual pages"),
];

/// The error with a tip, where it is about a word of another tool. `arguments` are those of the process.
pub(super) fn with_tip(mut error: clap::Error, arguments: &[String]) -> clap::Error {
    // Clap would have every unknown option taken for a part of the command behind `--`.
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
    }
    if let Some(tip) = tip(&error, arguments) {
        error.remove(ContextKind::SuggestedArg);
        if error.kind() != ErrorKind::MissingRequiredArgument {
            error.remove(ContextKind::Usage);
        }
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

fn tip(error: &clap::Error, arguments: &[String]) -> Option<String> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let given = context(ContextKind::InvalidArg)?;
            let option = given.split(['=', ' ']).next().unwrap_or(given);
            match option.starts_with('-') {
                true => translation(OPTIONS, option).map(str::to_owned),
                false => upgraded(given, arguments)
                    .or_else(|| started(given, arguments))
                    .or_else(|| one_recipe(given, arguments)),
            }
        }
        ErrorKind::InvalidSubcommand => {
            let given = context(ContextKind::InvalidSubcommand)?;
            match given.contains(['.', '/', ':']) {
                true => Some(format!("a command comes first: `imgforge build {given}`")),
                false => translation(COMMANDS, given).map(str::to_owned),
            }
        }
        ErrorKind::MissingRequiredArgument => {
            Some(format!("for example: `{}`", examples::first(command(arguments)?)?))
        }
        _ => None,
    }
}

/// The command among the arguments.
fn command(arguments: &[String]) -> Option<&str> {
    arguments.iter().skip(1).map(String::as_str).find(|argument| !argument.starts_with('-'))
}

fn translation(translations: Translations, word: &str) -> Option<&'static str> {
    translations.iter().find(|(words, _)| words.contains(&word)).map(|(_, ours)| *ours)
}

/// The tip for `--upgrade NAME`, whose value needs a sign before it.
fn upgraded(name: &str, arguments: &[String]) -> Option<String> {
    let follows = arguments.windows(2).any(|pair| pair[0] == "--upgrade" && pair[1] == name);
    follows.then(|| format!("write it without a space: `--upgrade={name}`"))
}

/// The tip for `--run CMD`, whose command stands behind `--`.
fn started(given: &str, arguments: &[String]) -> Option<String> {
    let follows = arguments.windows(2).any(|pair| pair[0] == "--run" && pair[1] == given);
    follows.then(|| format!("write the command last, behind `--`: `--run -- {given}`"))
}

/// The tip for a word too many behind a recipe.
fn one_recipe(given: &str, arguments: &[String]) -> Option<String> {
    let command = command(arguments)?;
    ["build", "plan", "lock"].contains(&command).then(|| {
        format!("`imgforge {command}` takes one recipe: run it again for `{given}`, or put what both install into one recipe")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_stands_once() {
        for translations in [OPTIONS, COMMANDS] {
            let words: Vec<&str> = translations.iter().flat_map(|(words, _)| *words).copied().collect();
            let mut once = words.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), words.len());
        }
    }
}
