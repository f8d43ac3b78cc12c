//! Annotations of an image from the git repository of its recipe.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use url::Url;

use crate::failure::{Failure, Result};

/// The commit of the repository that the recipe is in, and the place that it was cloned from, without a login in it.
///
/// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
pub(super) fn annotations(recipe: &Path) -> Result<BTreeMap<String, String>> {
    let directory = recipe.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let revision = ask(directory, &["rev-parse", "HEAD"])?.ok_or_else(|| {
        let message = format!("`{}` is not in a Git repository that has a commit", recipe.display());
        Failure::advised(
            message,
            "run `git init` and commit it, or write --annotation NAME=VALUE in place of --git-annotations",
        )
    })?;
    let source = ask(directory, &["config", "--get", "remote.origin.url"])?;
    let named = [("revision", Some(revision)), ("source", source.map(|source| without_login(&source)))];
    let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Ok(named.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value)).collect())
}

/// The first line that git prints; `None` where it fails.
fn ask(directory: &Path, arguments: &[&str]) -> Result<Option<String>> {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().map_err(|error| {
        Failure::advised(format!("could not run git: {error}"), "install it, or leave out --git-annotations")
    })?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned();
    Ok(Some(text).filter(|text| output.status.success() && !text.is_empty()))
}

/// The place of a repository, as it may be shown to whoever has the image.
fn without_login(source: &str) -> String {
    let Ok(mut url) = Url::parse(source) else { return source.to_owned() };
    if matches!(url.scheme(), "http" | "https") {
        url.set_username("").and_then(|()| url.set_password(None)).ok();
        return url.into();
    }
    source.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_login_of_a_clone_is_shown() {
        let check = |source: &str, expected: &str| assert_eq!(without_login(source), expected);
        check("https://me:s3cret@git.test/team/app.git", "https://git.test/team/app.git");
        check("git@git.test:team/app.git", "git@git.test:team/app.git");
        check("ssh://git@git.test/team/app", "ssh://git@git.test/team/app");
        check("/srv/app", "/srv/app");
    }
}
