//! A first recipe, drafted from what a project's directory has: Dockerfile, requirements, `pyproject.toml`, conda's
//! environment.
//!
//! ```text
//! ProjectFiles ─ draft ─► Draft ─ text ─► a recipe with comments
//! ```

mod accounts;
mod conda;
mod dockerfile;
mod python;
mod requirement;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use crate::recipe::locks::LockKind;

pub use accounts::DraftUser;

/// The base of a recipe that nothing else tells a base of.
const DEFAULT_BASE: &str = "debian-bookworm";

/// The files that a draft is made from, by name.
pub const READ: [&str; 9] = [
    "Dockerfile",
    "Containerfile",
    "pylock.toml",
    "uv.lock",
    "poetry.lock",
    "pyproject.toml",
    "requirements.txt",
    "environment.yml",
    "environment.yaml",
];

/// A project's directory.
#[derive(Debug, Clone, Default)]
pub struct ProjectFiles {
    /// The texts of those of [`READ`] that are there.
    pub texts: BTreeMap<String, String>,
    /// The names of all its files.
    pub names: BTreeSet<String>,
}

/// A recipe to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// The base; without it, the default one.
    pub base: Option<String>,
    /// Debian packages.
    pub system_packages: Vec<String>,
    /// Frameworks with their versions.
    pub frameworks: BTreeMap<String, String>,
    /// Requirements.
    pub packages: Vec<String>,
    /// Requirements files.
    pub requirements: Vec<String>,
    /// Constraints files.
    pub constraints: Vec<String>,
    /// Package indexes.
    pub indexes: Vec<String>,
    /// Users to make.
    pub users: Vec<DraftUser>,
    /// Files to copy.
    pub files: Vec<DraftFiles>,
    /// The environment of a container.
    pub env: Vec<(String, String)>,
    /// Further keys of `config`, as YAML.
    pub config: Vec<(&'static str, String)>,
    /// The files that it was made from.
    pub sources: Vec<String>,
    /// Lines of those files that it leaves out, with the reason.
    pub left_out: Vec<String>,
}

/// Files to copy into the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftFiles {
    /// The path beside the recipe.
    pub from: String,
    /// The path in the image.
    pub to: String,
    /// The owner, where it is named.
    pub owner: Option<String>,
    /// The permission bits, where they are named.
    pub mode: Option<String>,
}

/// Drafts a recipe.
pub fn draft(files: &ProjectFiles) -> Draft {
    let mut draft = Draft::default();
    for name in READ {
        let Some(text) = files.texts.get(name) else { continue };
        draft.sources.push(name.to_owned());
        match name {
            "Dockerfile" | "Containerfile" => dockerfile::read(text, name, files, &mut draft),
            name if LockKind::of(name).is_some() => python::read_lock(name, &mut draft),
            "pyproject.toml" => python::read_project(text, &mut draft),
            "requirements.txt" => python::read_requirements(name, &mut draft),
            _ => conda::read(text, name, files, &mut draft),
        }
    }
    draft.finish();
    draft
}

impl Draft {
    /// A draft of requirements that a person names.
    pub fn of_answers(base: &str, requirements: &[String], system_packages: &[String]) -> Self {
        let mut draft = Self { base: Some(base.to_owned()), ..Self::default() };
        requirements.iter().for_each(|requirement| draft.require(requirement));
        draft.system_packages = system_packages.to_vec();
        draft.finish();
        draft
    }

    /// The recipe, with comments.
    pub fn text(&self) -> String {
        text::recipe(self)
    }

    /// Adds a requirement once: frameworks to the frameworks.
    fn require(&mut self, requirement: &str) {
        match requirement::framework(requirement) {
            Some((name, version)) => drop(self.frameworks.entry(name).or_insert(version)),
            None => {
                let name = requirement::name(requirement);
                let has = |other: &String| requirement::name(other) == name && name.is_some();
                if !self.packages.iter().any(has) && !self.packages.iter().any(|other| other == requirement) {
                    self.packages.push(requirement.to_owned());
                }
            }
        }
    }

    /// Returns whether a lock of another tool is among the requirements.
    fn has_lock(&self) -> bool {
        self.requirements.iter().any(|file| LockKind::of(file).is_some())
    }

    fn require_file(&mut self, name: &str) {
        add_once(&mut self.requirements, name);
    }

    fn leave_out(&mut self, line: &str, reason: &str) {
        const LONGEST: usize = 100;
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown: String = line.chars().take(LONGEST).collect();
        let more = if line.chars().nth(LONGEST).is_some() { "…" } else { "" };
        self.left_out.push(format!("{shown}{more}: {reason}"));
    }

    /// Makes a recipe of it that plans: something is installed, and the base has a Python.
    fn finish(&mut self) {
        let is_bare = self.base.as_deref().is_some_and(is_without_python);
        if is_bare && !self.system_packages.iter().any(|name| name.starts_with("python3")) {
            self.system_packages.push("python3".to_owned());
        }
        let nothing = self.frameworks.is_empty() && self.packages.is_empty() && self.requirements.is_empty();
        if nothing && self.system_packages.is_empty() {
            self.frameworks.insert("torch".to_owned(), "*".to_owned());
        }
    }
}

/// Returns whether the images of this name have no Python.
fn is_without_python(base: &str) -> bool {
    let name = base.split('@').next().unwrap_or(base);
    let name = name.rsplit('/').next().unwrap_or(name);
    ["ubuntu", "debian", "cuda"].contains(&name.split(':').next().unwrap_or(name))
}

fn add_once(list: &mut Vec<String>, entry: &str) {
    if !list.iter().any(|known| known == entry) {
        list.push(entry.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    /// The draft of these files, as a recipe that parses.
    #[track_caller]
    fn drafted(texts: &[(&str, &str)]) -> (Draft, String) {
        let texts: BTreeMap<String, String> =
            texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let names = texts.keys().cloned().chain(["src".to_owned()]).collect();
        let draft = draft(&ProjectFiles { texts, names });
        let text = draft.text();
        if let Err(problems) = Recipe::parse(&text, "recipe.yaml") {
            panic!("{}\n{text}", problems.render(crate::recipe::Color::Plain));
        }
        (draft, text)
    }

    /// The lines of the recipe without comments.
    fn lines(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
    }

    #[track_caller]
    fn check(texts: &[(&str, &str)], expected: &[&str]) {
        let (_, text) = drafted(texts);
        assert_eq!(lines(&text), expected, "{text}");
    }

    #[test]
    fn nothing_gives_a_recipe_to_begin_with() {
        check(&[], &["base: debian-bookworm", "frameworks:", "  torch: \"*\""]);
    }

    #[test]
    fn a_dockerfile_gives_base_packages_and_config() {
        let text = concat!(
            "# syntax=docker/dockerfile:1\n",
            "ARG PYTHON=3.12\n",
            "FROM node:20 AS web\nRUN npm ci\n",
            "FROM python:${PYTHON}-slim AS base\n",
            "ENV A=1 B=\"two words\" PATH=/opt/bin:$PATH\n",
            "RUN apt-get update && apt-get install -y --no-install-recommends \\\n    ffmpeg \\\n    # sound\n    \
             libsndfile1=1.2 && rm -rf /var/lib/apt/lists/*\n",
            "FROM base\n",
            "WORKDIR /app\nCOPY requirements.txt .\n",
            "RUN --mount=type=cache,target=/root/.cache pip install --no-cache-dir -r requirements.txt \\\n",
            "    && python -m pip install 'torch==2.6.0' 'numpy>=2' --extra-index-url https://host.test/simple\n",
            "COPY --from=web /dist /app/web\nCOPY src/ ./src/\n",
            "RUN curl -O https://host.test/model.bin\n",
            "EXPOSE 8000\nUSER 1000\nCMD [\"python\", \"-m\", \"app\"]\n",
        );
        let (draft, text) = drafted(&[("Dockerfile", text), ("requirements.txt", "flask\n")]);
        assert_eq!(
            lines(&text),
            [
                "base: python:3.12-slim",
                "system-packages: [ffmpeg, libsndfile1]",
                "frameworks:",
                "  torch: \"2.6.0\"",
                "packages: [\"numpy>=2\"]",
                "requirements: [requirements.txt]",
                "indexes: [\"https://host.test/simple\"]",
                "files:",
                "  - {from: src, to: /app/src}",
                "config:",
                "  env: {A: \"1\", B: \"two words\"}",
                "  workdir: /app",
                "  ports: [8000]",
                "  user: 1000",
                "  cmd: [python, -m, app]",
            ],
            "{text}"
        );
        let left_out: Vec<&str> = draft.left_out.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(left_out, ["ENV PATH=/opt/bin", "COPY --from=web /dist /app/web", "curl -O https"]);
    }

    #[test]
    fn owners_modes_and_directories_of_files_are_not_lost() {
        let text = "FROM python:3.12-slim\nRUN pip install rich && useradd -m app && mkdir -p /data /models /app/x /tmp/y\n\
                    RUN mkdir -m 755 /app/x && mkdir /srv/cache && chown app /srv/cache\nWORKDIR /app\n\
                    COPY --chown=app:app src /app/src\nCOPY --chown=1000:1000 src /b\nCOPY --chown=root:root src /c\n\
                    COPY --chown=other src /d\nCOPY --chmod=755 requirements.txt /etc/r.txt\nCOPY --chmod=u+x src /app/x/\n";
        let (draft, text) = drafted(&[("Dockerfile", text), ("requirements.txt", "rich\n")]);
        let files: Vec<&str> = lines(&text).into_iter().filter(|line| line.contains("from:")).collect();
        assert_eq!(
            files,
            [
                "  - {from: src, to: /app/src, owner: app}",
                "  - {from: src, to: /b, owner: 1000:1000}",
                "  - {from: src, to: /c}",
                "  - {from: src, to: /d}",
                "  - {from: requirements.txt, to: /etc/r.txt, mode: 0755}",
                "  - {from: src, to: /app/x}",
            ]
        );
        let left_out: Vec<&str> = draft.left_out.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(
            left_out,
            [
                "chown app /srv/cache",
                "COPY --chown=other src /d",
                "COPY --chmod=u+x src /app/x/",
                "mkdir -p /data /models /app/x /tmp/y",
                "mkdir /srv/cache",
            ]
        );
    }

    #[test]
    fn users_and_the_check_of_health_are_taken_over() {
        let text = "FROM python:3.12-slim\nRUN pip install rich && groupadd -g 1500 app \\\n  && useradd -m -u 1500 -g app app\n\
                    HEALTHCHECK --interval=30s CMD curl -f http://localhost:8000/ || exit 1\nUSER app\n";
        let (draft, text) = drafted(&[("Dockerfile", text)]);
        assert_eq!(draft.left_out, [""; 0]);
        assert_eq!(
            lines(&text),
            [
                "base: python:3.12-slim",
                "packages: [rich]",
                "users:",
                "  - {name: app, uid: 1500}",
                "config:",
                "  healthcheck: {test: \"curl -f http://localhost:8000/ || exit 1\", interval: 30s}",
                "  user: app",
            ]
        );
    }

    #[test]
    fn a_base_without_python_gets_one_and_alpine_is_told() {
        check(
            &[("Dockerfile", "FROM ubuntu:24.04\nRUN pip install numpy\n")],
            &["base: ubuntu:24.04", "system-packages: [python3]", "packages: [numpy]"],
        );
        check(
            &[("Dockerfile", "FROM python:3.12-alpine\nRUN pip install numpy\n")],
            &["base: python:3.12-slim", "packages: [numpy]"],
        );
    }

    #[test]
    fn a_project_gives_its_dependencies_and_its_python() {
        let project =
            "[project]\nname = 'app'\nrequires-python = '>=3.12'\ndependencies = ['torch>=2.5,<3', 'rich']\n";
        check(
            &[("pyproject.toml", project)],
            &["base: python:3.12-slim", "frameworks:", "  torch: \">=2.5,<3\"", "packages: [rich]"],
        );
        let older = project.replace(">=3.12", ">=3.9");
        check(
            &[("pyproject.toml", &older), ("pylock.toml", ""), ("uv.lock", "")],
            &["base: debian-bookworm", "requirements: [pylock.toml]"],
        );
        for lock in ["uv.lock", "poetry.lock"] {
            check(
                &[("pyproject.toml", &older), (lock, ""), ("requirements.txt", "rich\n")],
                &["base: debian-bookworm", &format!("requirements: [{lock}]")],
            );
        }
    }

    #[test]
    fn a_user_that_every_base_has_is_taken_over() {
        for (user, is_kept) in
            [("nobody", true), ("1000:1000", true), ("www-data", true), ("rootless", false)]
        {
            let text = format!("FROM python:3.12-slim\nRUN pip install rich\nUSER {user}\n");
            let (draft, text) = drafted(&[("Dockerfile", &text)]);
            assert_eq!((text.contains("  user: "), draft.left_out.is_empty()), (is_kept, is_kept), "{text}");
        }
    }

    #[test]
    fn an_environment_of_conda_gives_what_has_a_wheel() {
        let text = "name: app\nchannels: [conda-forge]\ndependencies:\n  - python=3.12\n  - pytorch=2.6\n  - numpy=1.26.4\n  \
                    - ffmpeg\n  - pip\n  - pip:\n    - jax==0.5.3\n    - rich\n";
        check(
            &[("environment.yml", text)],
            &[
                "base: python:3.12-slim",
                "frameworks:",
                "  jax: \"0.5.3\"",
                "  torch: \"2.6\"",
                "packages: [\"numpy==1.26.4\", ffmpeg, rich]",
            ],
        );
    }
}
