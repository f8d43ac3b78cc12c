//! Requirements, as far as a draft must know them.

use std::str::FromStr;

use uv_pep508::VersionOrUrl;

/// The distributions that a recipe names as frameworks.
const FRAMEWORKS: [&str; 3] = ["jax", "tensorflow", "torch"];

fn parsed(text: &str) -> Option<uv_pep508::Requirement<url::Url>> {
    crate::pypa::complexity::weigh_requirement(text).ok()?;
    uv_pep508::Requirement::from_str(text).ok()
}

/// The normalized name of a requirement; `None` where it is none of an index.
pub(super) fn name(text: &str) -> Option<String> {
    parsed(text).map(|requirement| requirement.name.to_string())
}

/// Returns whether an index can answer a requirement.
pub(super) fn is_of_index(text: &str) -> bool {
    parsed(text).is_some_and(|it| !matches!(it.version_or_url, Some(VersionOrUrl::Url(_))))
}

/// The framework that a requirement asks for, and its version as a recipe writes it. Extras of CUDA are imgforge's to add.
pub(super) fn framework(text: &str) -> Option<(String, String)> {
    let requirement = parsed(text)?;
    let name = requirement.name.to_string();
    let is_cuda = |extra: &str| extra.contains("cuda");
    let known = FRAMEWORKS.contains(&name.as_str()) && requirement.marker.is_true();
    let bare = requirement.extras.iter().all(|extra| is_cuda(extra.as_ref()));
    let version = match requirement.version_or_url {
        None => "*".to_owned(),
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => {
            let text = specifiers.to_string().replace(", ", ",");
            match text.strip_prefix("==").filter(|rest| !rest.contains([',', '='])) {
                Some(exact) => exact.to_owned(),
                None => text,
            }
        }
        Some(VersionOrUrl::Url(_)) => return None,
    };
    (known && bare).then_some((name, version))
}
