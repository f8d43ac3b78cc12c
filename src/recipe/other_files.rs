//! Files that people give in place of a recipe: known by their names and by how they begin.

/// A file of another kind than a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherFile {
    /// A Dockerfile or Containerfile.
    Dockerfile,
    /// A file of docker compose.
    Compose,
    /// Requirements in pip's format.
    Requirements,
    /// A project's `pyproject.toml`.
    Pyproject,
    /// A lock of another tool.
    ForeignLock,
    /// An environment of conda.
    Conda,
    /// The lock that imgforge writes beside a recipe.
    Lock,
    /// The description of a base.
    Base,
    /// A matrix in a file of its own.
    Matrix,
    /// A wheel or a source distribution.
    Distribution,
    /// A tar, which may be an image.
    Archive,
    /// A program.
    Program,
}

/// Names of files, by their beginnings and their ends.
const NAMES: [(&str, &str, OtherFile); 24] = [
    ("Dockerfile", "", OtherFile::Dockerfile),
    ("Containerfile", "", OtherFile::Dockerfile),
    ("", ".dockerfile", OtherFile::Dockerfile),
    ("", ".Dockerfile", OtherFile::Dockerfile),
    ("docker-compose", ".yml", OtherFile::Compose),
    ("docker-compose", ".yaml", OtherFile::Compose),
    ("compose", ".yml", OtherFile::Compose),
    ("compose", ".yaml", OtherFile::Compose),
    ("pyproject", ".toml", OtherFile::Pyproject),
    ("uv", ".lock", OtherFile::ForeignLock),
    ("poetry", ".lock", OtherFile::ForeignLock),
    ("pdm", ".lock", OtherFile::ForeignLock),
    ("Pipfile", ".lock", OtherFile::ForeignLock),
    ("pylock", ".toml", OtherFile::ForeignLock),
    ("environment", ".yml", OtherFile::Conda),
    ("environment", ".yaml", OtherFile::Conda),
    ("", ".lock", OtherFile::Lock),
    ("", ".txt", OtherFile::Requirements),
    ("", ".in", OtherFile::Requirements),
    ("", ".whl", OtherFile::Distribution),
    ("", ".tar.gz", OtherFile::Distribution),
    ("", ".tar", OtherFile::Archive),
    ("", ".py", OtherFile::Program),
    ("", ".sh", OtherFile::Program),
];

impl OtherFile {
    /// The kind of a file that is no recipe, by its name.
    pub fn named(name: &str) -> Option<Self> {
        let fits = |(start, end, _): &&(&str, &str, Self)| name.starts_with(start) && name.ends_with(end);
        NAMES.iter().find(fits).map(|(_, _, kind)| *kind)
    }

    /// The kind of a file that is no recipe, by its text.
    pub fn of_text(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let first = lines.next()?;
        let key = |key: &str| text.lines().any(|line| line.starts_with(key));
        let instruction = first.split_whitespace().next().unwrap_or_default();
        if ["FROM", "ARG"].contains(&instruction.to_uppercase().as_str()) {
            return Some(Self::Dockerfile);
        }
        if key("base:") {
            return None;
        }
        match () {
            () if key("matrix:") && (key("recipe:") || key("recipes:")) => Some(Self::Matrix),
            () if key("services:") => Some(Self::Compose),
            () if key("dependencies:") && (key("channels:") || key("name:")) => Some(Self::Conda),
            () if key("suites:") || key("suite:") || key("layout:") || key("archive:") => Some(Self::Base),
            () if first.starts_with("[project]") || first.starts_with("[build-system]") => {
                Some(Self::Pyproject)
            }
            () => None,
        }
    }

    /// The kind as a noun with its article.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Dockerfile => "a Dockerfile",
            Self::Compose => "a file of docker compose",
            Self::Requirements => "a requirements file",
            Self::Pyproject => "the description of a Python project",
            Self::ForeignLock => "the lock of another tool",
            Self::Conda => "an environment of conda",
            Self::Lock => "a lock",
            Self::Base => "the description of a base",
            Self::Matrix => "a matrix",
            Self::Distribution => "a distribution",
            Self::Archive => "an archive",
            Self::Program => "a program",
        }
    }

    /// The next step of somebody who gave the file `path`, named `name`, as a recipe.
    pub fn advice(self, path: &str, name: &str) -> String {
        match self {
            Self::Dockerfile => {
                "`imgforge init` writes a recipe from its FROM, apt-get and pip lines; then: `imgforge build \
                 recipe.yaml`"
                    .to_owned()
            }
            Self::Compose => {
                "each image has a recipe of its own: `imgforge init` writes one; then: `imgforge build recipe.yaml`".to_owned()
            }
            Self::Requirements | Self::Pyproject | Self::ForeignLock | Self::Conda => format!(
                "`imgforge init` writes a recipe from `{name}` and what is beside it; then: `imgforge build \
                 recipe.yaml`"
            ),
            Self::Lock => {
                "name the recipe that it belongs to, with .yaml in place of .lock: the lock beside it is read, too"
                    .to_owned()
            }
            Self::Base => format!(
                "write a recipe that names it, `base: {}`, with this file in `images/` beside it",
                name.split('.').next().unwrap_or(name)
            ),
            Self::Matrix => format!(
                "`imgforge matrix plan {path}` shows its images, and `imgforge matrix images {path}` builds them"
            ),
            Self::Distribution => format!("write a recipe that installs it: `packages: [./{name}]`"),
            Self::Archive => format!("look into an image with `imgforge inspect docker-archive:{path}`"),
            Self::Program => {
                format!("write a recipe that copies it: `files: [{{from: {name}, to: /app/{name}}}]`")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_name_or_text() {
        for (name, kind) in [
            ("Dockerfile", Some(OtherFile::Dockerfile)),
            ("Dockerfile.gpu", Some(OtherFile::Dockerfile)),
            ("uv.lock", Some(OtherFile::ForeignLock)),
            ("recipe.lock", Some(OtherFile::Lock)),
            ("requirements-dev.txt", Some(OtherFile::Requirements)),
            ("recipe.yaml", None),
        ] {
            assert_eq!(OtherFile::named(name), kind, "{name}");
        }
        for (text, kind) in [
            ("# syntax=x\nFROM python:3.12\nRUN x\n", Some(OtherFile::Dockerfile)),
            ("ARG A=b\nFROM x\n", Some(OtherFile::Dockerfile)),
            ("from: python:3.12\n", None),
            ("services:\n  web:\n", Some(OtherFile::Compose)),
            ("name: x\ndependencies:\n  - numpy\n", Some(OtherFile::Conda)),
            ("base: x\nservices: y\n", None),
            ("suites: [bookworm]\n", Some(OtherFile::Base)),
            ("recipe: recipe.yaml\nmatrix: {}\n", Some(OtherFile::Matrix)),
            ("base: x\nmatrix: {}\n", None),
            ("", None),
        ] {
            assert_eq!(OtherFile::of_text(text), kind, "{text}");
        }
    }
}
