//! Recipes, base descriptions and requirements files, right and wrong, as users see them.

use proptest::prelude::*;

use super::*;
use crate::failure::Hinted;
use crate::oci::Architecture;

/// Problems, one per line: `LINE:COLUMN [underlined] message (label) = help`.
fn summary(diagnostics: &Diagnostics, text: &str) -> String {
    let line = |problem: &Diagnostic| {
        let text = text.trim_start_matches('\u{feff}');
        let underlined = &text[problem.span.start..problem.span.end];
        let label = problem.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
        let related = problem.related.as_ref().map(|it| format!(" ({}:{} {})", it.line, it.column, it.text));
        let help = problem.help.as_ref().map(|help| format!(" = {help}")).unwrap_or_default();
        let Diagnostic { line, column, message, .. } = problem;
        format!("{line}:{column} [{underlined}] {message}{label}{}{help}\n", related.unwrap_or_default())
    };
    diagnostics.problems().iter().map(line).collect()
}

fn problems<T>(text: &str, parsed: Result<T, Diagnostics>) -> String {
    parsed.err().map(|diagnostics| summary(&diagnostics, text)).unwrap_or_default()
}

/// The problems of a whole recipe.
#[track_caller]
fn check(text: &str, expected: &str) {
    let found = problems(text, Recipe::parse(text, "recipe.yaml"));
    assert_eq!(found.trim_end(), expected, "\n{text}");
}

/// The problems of lines added to a recipe that has none.
#[track_caller]
fn check_with(lines: &str, expected: &str) {
    check(&format!("{lines}\nbase: debian-bookworm\nframeworks: {{torch: 2.6.0}}\n"), expected);
}

#[track_caller]
fn check_base(text: &str, expected: &str) {
    let found = problems(text, BaseDescription::parse(text, "base.yaml"));
    assert_eq!(found.trim_end(), expected, "\n{text}");
}

/// An environment.
fn variable(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("secret".into()),
        "HOST" => Some("host.example".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

#[track_caller]
fn check_requirements(text: &str, expected: &str) {
    let found = problems(text, requirements::parse(text, "requirements.txt", &variable));
    assert_eq!(found.trim_end(), expected, "\n{text}");
}

#[test]
fn empty_files_are_said_to_be_empty() {
    check(
        "",
        "1:1 [] the file is empty = write at least `base: debian-bookworm` and `packages: [numpy]`; `imgforge init` writes a recipe from a project",
    );
    check(
        "# nothing\n",
        "1:1 [] the file is empty = write at least `base: debian-bookworm` and `packages: [numpy]`; `imgforge init` writes a recipe from a project",
    );
    check(
        "---\n",
        "1:1 [] the file is empty = write at least `base: debian-bookworm` and `packages: [numpy]`; `imgforge init` writes a recipe from a project",
    );
}

#[test]
fn a_recipe_is_a_mapping() {
    check(
        "- torch\n",
        "1:1 [- torch] the recipe is a mapping, not a list = write `key: value` lines, without `- ` before the key",
    );
    check(
        "torch\n",
        "1:1 [torch] the recipe is a mapping, not a single value = write `key: value` lines, without `- ` before the key",
    );
}

#[test]
fn needs_a_base_and_something_to_install() {
    check(
        "name: x\n",
        concat!(
            "1:1 [] the recipe needs the key `base` = name the image to build on: `base: debian-bookworm`",
            "\n",
            r#"1:1 [] the recipe asks for nothing to install = add `frameworks: {torch: "2.6.0"}`, `packages: [numpy]`, `requirements: [requirements.txt]` or `system-packages: [ffmpeg]`"#
        ),
    );
    check(
        "base:\npackages: [numpy]\n",
        "1:1 [base] the recipe needs the key `base` = name the image to build on: `base: debian-bookworm`",
    );
}

#[test]
fn suggests_the_key_that_was_meant() {
    check_with(
        "framewroks: {}",
        "1:1 [framewroks] unknown key `framewroks` in the recipe = did you mean `frameworks`?",
    );
    check_with(
        "exclude_newer: 2025-06-01",
        "1:1 [exclude_newer] unknown key `exclude_newer` in the recipe = did you mean `exclude-newer`?",
    );
    check_with(
        "colours: [red]",
        "1:1 [colours] unknown key `colours` in the recipe = the keys here are `name`, `base`, `platforms`, `system-packages`, `python`, `frameworks`, `packages`, `requirements`, `constraints`, `overrides`, `indexes`, `find-links`, `prereleases`, `exclude-newer`, `cuda`, `users`, `files`, `config`, `annotations`, `layers`, `ignore`, `matrix`",
    );
    check_with(
        "volumes: [/data]",
        "1:1 [volumes] unknown key `volumes` in the recipe = write it under `config`, such as `config: {env: {NAME: value}, workdir: /app, user: app, ports: [8888]}`",
    );
    check_with("config: {envs: {}}", "1:10 [envs] unknown key `envs` in `config` = did you mean `env`?");
    check_with(
        "cuda: {colour: 12}",
        "1:8 [colour] unknown key `colour` in `cuda` = the keys here are `policy`, `driver`, `compat`, `gpus`, `components`",
    );
    check_with(
        "python: {compile: true}",
        "1:10 [compile] unknown key `compile` in `python` = the keys here are `version`, `from`, `externally-managed`, `constrain`, `bytecode`, `build`, `unversioned`",
    );
}

#[test]
fn refuses_a_key_written_twice() {
    check_with(
        "name: a\nname: b",
        "2:1 [name] the key `name` is written twice (again here) (1:1 first here) = keep one of the two",
    );
}

#[test]
fn refuses_keys_that_are_not_names() {
    check_with("? [a, b]\n: c", "1:3 [[a, b]] a key is a list, not a name");
}

#[test]
fn names_what_it_expected_and_what_it_found() {
    check_with(
        "packages: numpy",
        r#"1:11 [numpy] expected a list, found a single value = write a list: `["numpy"]`, or `- ` before each entry"#,
    );
    check_with(
        "packages: {numpy: 1}",
        "1:11 [{numpy: 1}] expected a list, found a mapping = write a list: `- numpy==1`",
    );
    check_with(
        "config: [a]",
        "1:9 [[a]] `config` is a mapping, not a list = write `key: value` lines, without `- ` before the key",
    );
    check_with(
        "packages:\n  -\n  - [numpy]",
        concat!(
            "2:4 [] expected a requirement, found nothing = write a value, or leave the entry out",
            "\n",
            "3:5 [[numpy]] expected a requirement, found a list = write it without brackets: `numpy`"
        ),
    );
    check_with(
        "files: [notebooks]",
        "1:9 [notebooks] an entry of `files` is a mapping, not a single value = write `key: value` lines, without `- ` before the key",
    );
    check_with(
        "cuda: shared",
        "1:7 [shared] `cuda` is a mapping, not a single value = write it as the policy: `cuda: {policy: shared}`",
    );
}

#[test]
fn checks_the_image_name() {
    check_with(
        "name: Colab_Like",
        "1:7 [Colab_Like] `Colab_Like` is not a name for an image = use lowercase letters and digits, joined by `-`, `_` or `.`: `colab-like`",
    );
    check_with(
        "name: team/colab",
        "1:7 [team/colab] `team/colab` is not a name for an image = use lowercase letters and digits, joined by `-`, `_` or `.`: `colab-like`",
    );
    check_with(
        "name: a..b",
        "1:7 [a..b] `a..b` is not a name for an image = use lowercase letters and digits, joined by `-`, `_` or `.`: `colab-like`",
    );
}

#[test]
fn checks_the_python_version() {
    check_with(
        "python: 3.x",
        r#"1:9 [3.x] `3.x` is not a Python version = write the version of the base's interpreter: "3.11" or "3.11.2""#,
    );
    check_with(
        "python: 3",
        r#"1:9 [3] `3` is not a Python version = write the version of the base's interpreter: "3.11" or "3.11.2""#,
    );
    check_with(
        "python: 3.11.2.1",
        r#"1:9 [3.11.2.1] `3.11.2.1` is not a Python version = write the version of the base's interpreter: "3.11" or "3.11.2""#,
    );
    check_with(
        "python: +3.11",
        r#"1:9 [+3.11] `+3.11` is not a Python version = write the version of the base's interpreter: "3.11" or "3.11.2""#,
    );
    check_with(
        "python: {externally-managed: yes}",
        "1:30 [yes] `yes` is not `keep` or `remove` = write one of `keep`, `remove`",
    );
}

#[test]
fn checks_framework_versions() {
    check(
        "base: b\nframeworks: {torch: latest}\n",
        r#"2:21 [latest] `latest` is not a version or a range of versions = write "2.6.0" for exactly that, ">=2.5,<2.7" for a range, "*" for any (PEP 440)"#,
    );
    check(
        "base: b\nframeworks: {torch: '>=2.5,,<3'}\n",
        r#"2:21 ['>=2.5,,<3'] `>=2.5,,<3` is not a version or a range of versions = write "2.6.0" for exactly that, ">=2.5,<2.7" for a range, "*" for any (PEP 440)"#,
    );
    check(
        "base: b\nframeworks: {torch: '~=2'}\n",
        r#"2:21 ['~=2'] `~=2` is not a version or a range of versions = write "2.6.0" for exactly that, ">=2.5,<2.7" for a range, "*" for any (PEP 440)"#,
    );
    check(
        "base: b\nframeworks: {torch: [2.6.0]}\n",
        "2:21 [[2.6.0]] expected a version, found a list = write it without brackets: `2.6.0`",
    );
}

#[test]
fn checks_framework_names() {
    check(
        "base: b\nframeworks: {-x: 1}\n",
        "2:14 [-x] `-x` is not a requirement (Expected package name starting with an alphanumeric character, found `-`) = write it as pip takes it: `numpy`, `transformers>=4.40`, `jax[cuda12]==0.5.3` (PEP 508)",
    );
    check(
        "base: b\nframeworks: {torch==2: 1}\n",
        r#"2:14 [torch==2] `torch==2` is more than a name = write the version after the colon: `torch: "2.6.0"`"#,
    );
    check(
        "base: b\nframeworks: {jax: 1, 'JAX[cuda12]': 2}\n",
        "2:22 ['JAX[cuda12]'] the framework `jax` is written twice (again here) (2:14 first here) = keep one of the two",
    );
}

#[test]
fn checks_requirements() {
    check(
        "base: b\npackages: ['transformers>>4.40']\n",
        r#"2:25 [>>4.40] `transformers>>4.40` is not a requirement (no such comparison operator ">>", must be one of ~= == != <= >= < > ===) = write it as pip takes it: `numpy`, `transformers>=4.40`, `jax[cuda12]==0.5.3` (PEP 508)"#,
    );
    check(
        "base: b\npackages: [numpy>=1.26,<3]\n",
        r#"2:24 [<] `<3` is not a requirement (Expected package name starting with an alphanumeric character, found `<`) = quote a requirement that holds a comma: ["numpy>=1.26,<3"]"#,
    );
    check(
        "base: b\npackages: [\"a; python == '3'\"]\n",
        "2:16 [python] `a; python == '3'` is not a requirement (Expected a quoted string or a valid marker name, found `python`) = write it as pip takes it: `numpy`, `transformers>=4.40`, `jax[cuda12]==0.5.3` (PEP 508)",
    );
    check(
        "base: b\npackages: ['']\n",
        "2:12 [] an empty text is not a requirement (Empty field is not allowed for PEP508) = write it as pip takes it: `numpy`, `transformers>=4.40`, `jax[cuda12]==0.5.3` (PEP 508)",
    );
    check(
        "base: b\npackages: [no space]\n",
        "2:15 [s] `no space` is not a requirement (Expected one of `@`, `(`, `<`, `=`, `>`, `~`, `!`, `;`, found `s`) = write each as an entry of its own: `no`, `space`",
    );
}

#[test]
fn reads_wheels_that_are_named_by_their_places() {
    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let hash = format!("#sha256={HEX}");
    let read = |text: &str, expected: &str| {
        let recipe = parse(&format!("base: b\npackages: [{text:?}]\n"));
        let package = &recipe.packages[0];
        assert_eq!(package.value.to_string(), expected, "{text}");
        assert_eq!(package.requirement.name.as_ref(), "my-app", "{text}");
        let version = package.wheel.as_ref().map(|wheel| wheel.filename.version.to_string());
        assert!(package.requirement.to_string().contains(&format!("=={}", version.unwrap())), "{text}");
        let line = format!("{text}\n");
        let file = requirements::parse(&line, "requirements.txt", &variable);
        let file = file.unwrap_or_else(|found| panic!("{}", found.render(Color::Plain)));
        assert_eq!(file.requirements[0].requirement.value, package.value, "{text}");
        assert_eq!(file.requirements[0].hashes.len(), usize::from(text.contains("sha256")), "{text}");
    };
    let wheel = "my_app-1.0-py3-none-any.whl";
    read(&format!("./dist/{wheel}"), &format!("my-app @ ./dist/{wheel}"));
    read(&format!("dist/{wheel}[a,b]"), &format!("my-app[a,b] @ dist/{wheel}"));
    read(&format!("{wheel}{hash}"), &format!("my-app @ {wheel}{hash}"));
    read(&format!("/srv/a dir/{wheel}"), &format!("my-app @ /srv/a dir/{wheel}"));
    read(&format!("file:///srv/a%20dir/{wheel}"), &format!("my-app @ /srv/a dir/{wheel}"));
    read(&format!("file://localhost/srv/{wheel}"), &format!("my-app @ /srv/{wheel}"));
    read(&format!("my_app @ file:dist/{wheel}"), &format!("my-app @ dist/{wheel}"));
    read(&format!("My.App[x]@./dist/{wheel}"), &format!("my-app[x] @ ./dist/{wheel}"));
    read(
        &format!(
            "my-app[x] @ https://me:secret@host.example/w/{wheel}?token=1{hash} ; sys_platform == 'linux'"
        ),
        &format!("my-app[x] @ https://host.example/w/{wheel}{hash} ; sys_platform == 'linux'"),
    );
    read(
        "https://host.example/my_app-1.0%2Bcpu-py3-none-any.whl#egg=my-app",
        "my-app @ https://host.example/my_app-1.0%2Bcpu-py3-none-any.whl",
    );
}

#[test]
fn reads_projects_by_their_directories_and_what_is_built() {
    let recipe = Recipe::parse(
        "base: b\npython: {build: [FVcore, langdetect]}\n\
         packages: [., './app[gpu]', \"app @ ../app ; python_version >= '3.11'\", numpy]\n",
        "recipe.yaml",
    );
    let recipe = recipe.unwrap();
    let shown: Vec<String> = recipe.projects.iter().map(|project| project.value.to_string()).collect();
    assert_eq!(shown, [" @ . ; ", "[gpu] @ ./app ; ", "app @ ../app ; python_full_version >= '3.11'"]);
    assert_eq!(recipe.packages.len(), 1);
    let read = |text: &str, expected: &str| {
        let recipe = parse(&format!("base: b\npackages: [{text:?}]\n"));
        assert_eq!(recipe.projects[0].value.to_string(), expected, "{text}");
    };
    read(
        "app @ git+https://me:secret@h/app@v1#subdirectory=a",
        "app @ git+https://h/app@v1#subdirectory=a ; ",
    );
    read("git+ssh://git@h/app.git#egg=App[x]", "app[x] @ git+ssh://git@h/app.git ; ");
    read("./dist/my_app-1.0.tar.gz[x]", "my-app[x] @ ./dist/my_app-1.0.tar.gz ; ");
    read(
        "app @ https://h/archive/v1.zip#subdirectory=a ; sys_platform == 'linux'",
        "app @ https://h/archive/v1.zip#subdirectory=a ; sys_platform == 'linux'",
    );
    assert!(recipe.python.build.has(&"fvcore".parse().unwrap()));
    assert!(!recipe.python.build.has(&"numpy".parse().unwrap()));
    let all = Recipe::parse("base: b\npython: {build: all}\npackages: [a]\n", "recipe.yaml").unwrap();
    assert!(all.python.build.has(&"numpy".parse().unwrap()));
}

#[test]
fn refuses_what_cannot_be_built() {
    const HELP: &str = "name the projects, `[fvcore, langdetect]`, or write `all`";
    check(
        "base: b\npackages: [a]\npython: {build: yes}\n",
        &format!("3:17 [yes] `yes` is neither `all` nor a list of projects = {HELP}"),
    );
    check(
        "base: b\npackages: [a]\npython: {build: [a, A]}\n",
        "3:21 [A] `a` is listed twice (again here) (3:18 first here) = keep one of the two",
    );
    check(
        "base: b\npackages: [a]\npython: {build: [a b]}\n",
        "3:18 [a b] `a b` is not a package name = a name is letters, digits, `-`, `_` and `.`, and starts and ends with a letter or digit",
    );
}

#[test]
fn refuses_what_is_no_wheel() {
    const BUILD: &str = "and name that: `./dist/NAME-VERSION-py3-none-any.whl`";
    let refuse = |text: &str, message: &str| {
        let shown = |quoted: &str, place: &str| {
            let message = message.replace(
                "BUILD",
                &format!(
                    "name a wheel, a source distribution (`.tar.gz`, `.zip`), `NAME @ git+https://…` or a directory; or build a wheel of it, `pip wheel --no-deps -w dist {}`, {BUILD}",
                    text.rsplit(' ').next().unwrap()
                ),
            );
            format!("{place} [{quoted}] {message}")
        };
        check(&format!("base: b\npackages: ['{text}']\n"), &shown(&format!("'{text}'"), "2:12"));
        check_requirements(&format!("{text}\n"), &shown(text, "1:1"));
    };
    refuse(
        "x-1.tar.bz2",
        "`x-1.tar.bz2` is an archive of a kind that is not built, and imgforge installs wheels = BUILD",
    );
    refuse(
        "hg+https://host.example/x",
        "`hg+https://host.example/x` is a version control URL of another program than git, and imgforge installs wheels = BUILD",
    );
    refuse(
        "git+https://host.example/x",
        "`git+https://host.example/x` does not tell the name of its project = write it in front: `NAME @ git+https://host.example/x`",
    );
    refuse(
        "x @ git+ftp://host.example/x",
        "`git+ftp://host.example/x` is no repository of git: repositories are fetched by `https`, `ssh`, `http` or from a `file`, and it says `ftp` = write `NAME @ git+https://host/repository@REVISION#subdirectory=DIRECTORY`",
    );
    refuse(
        "https://host.example/x.zip",
        "`https://host.example/x.zip` does not tell the name of its project = write it in front: `NAME @ https://host.example/x.zip`",
    );
    refuse(
        "x @ https://host.example/x.whl",
        r#"`x.whl` is not the name of a wheel (The wheel filename "x.whl" is invalid: Must have a version) = keep the name that it was built with: `NAME-VERSION-PYTHON-ABI-PLATFORM.whl`"#,
    );
    refuse(
        "x @ ./y-1-py3-none-any.whl",
        "`x` is asked for, and `y-1-py3-none-any.whl` is a wheel of `y` = write the name of the wheel's project, or name a wheel of the project that is meant",
    );
    refuse(
        "./x-1-py3-none-any.whl#sha512=00",
        "`sha512=00` is no hash that imgforge compares = write `#sha256=` and 64 hexadecimal digits: `sha256sum` computes them",
    );
    refuse(
        "./x-1-py3-none-any.whl#sha256=00",
        "`00` is not a sha256 hash = write `#sha256=` and 64 hexadecimal digits: `sha256sum` computes them",
    );
    refuse(
        "file://host/x-1-py3-none-any.whl",
        "`file://host/x-1-py3-none-any.whl` names a file of another machine = write a path, or a URL of three slashes: `file:///srv/wheels/…`",
    );
    refuse(
        "s3://host/x-1-py3-none-any.whl",
        "`s3://host/x-1-py3-none-any.whl` is a URL of a kind that imgforge does not read = write `https://` or `http://`, or a path",
    );
}

#[test]
fn refuses_packages_asked_for_twice() {
    check(
        "base: b\npackages: [numpy, scipy, 'NumPy>=1']\n",
        "2:26 ['NumPy>=1'] `numpy` is listed twice (again here) (2:12 first here) = write one requirement: `numpy>=1.26,<3`",
    );
    check(
        "base: b\nframeworks: {jax: '*'}\npackages: ['jax[k8s]']\n",
        r#"3:12 ['jax[k8s]'] `jax` is a framework of this recipe already (2:14 here) = write its version and extras there: `jax[cuda12]: "0.5.3"`"#,
    );
    check(
        "base: b\npackages: [\"numpy<2; python_version<'3.12'\", \"numpy>=2; python_version>='3.12'\"]\n",
        "",
    );
}

#[test]
fn checks_requirements_and_constraints_paths() {
    check_with(
        "requirements: [a.txt, b.txt, a.txt]",
        "1:30 [a.txt] `a.txt` is listed twice (again here) (1:16 first here) = keep one of the two",
    );
    check_with("constraints: ['']", "1:15 [''] the path is empty");
}

#[test]
fn checks_indexes() {
    check_with(
        "indexes: [ftp://host.example/simple]",
        "1:11 [ftp://host.example/simple] `ftp://host.example/simple` is not a URL = write `https://` or `http://`, the host, and the path; or a directory: `./wheels`",
    );
    check_with(
        "indexes: [simple]",
        "1:11 [simple] `simple` is not a URL = write `https://` or `http://`, the host, and the path; or a directory: `./wheels`",
    );
    check_with(
        "indexes: [{name: x, packages: [_x]}]",
        concat!(
            "1:11 [] an index needs the key `url` = give its simple API, `{url: https://…/simple, packages: [torch]}`, or a directory of wheels, `{path: wheels}`",
            "\n",
            "1:32 [_x] `_x` is not a package name = a name is letters, digits, `-`, `_` and `.`, and starts and ends with a letter or digit"
        ),
    );
}

#[test]
fn names_the_way_from_other_locks() {
    check_with(
        "requirements: [pdm.lock, {file: r.txt, extras: [x]}, {file: pylock.toml, project: false}]",
        concat!(
            "1:16 [pdm.lock] `pdm.lock` is no requirements file, and imgforge does not read it = export it with `pdm export -f pylock -o pylock.toml`, and name `pylock.toml` here",
            "\n",
            "1:26 [{file: r.txt, extras: [x]}] `r.txt` has neither extras nor groups = only locks (`uv.lock`, `pylock.toml`, `poetry.lock`) and `pyproject.toml` have",
            "\n",
            "1:54 [{file: pylock.toml, project: false}] `pylock.toml` has no workspace of which a part could be chosen = `packages`, `default-groups` and `project` are for `uv.lock`"
        ),
    );
}

#[test]
fn checks_dates() {
    check_with(
        "exclude-newer: 2025-13-01",
        "1:16 [2025-13-01] `2025-13-01` is not a date = write a date, `2025-06-01`, or an RFC 3339 time, `2025-06-01T12:00:00Z`",
    );
    check_with(
        "exclude-newer: yesterday",
        "1:16 [yesterday] `yesterday` is not a date = write a date, `2025-06-01`, or an RFC 3339 time, `2025-06-01T12:00:00Z`",
    );
}

#[test]
fn checks_policies() {
    check_with("cuda: {policy: sharde}", "1:16 [sharde] `sharde` is not a policy = did you mean `shared`?");
    check_with(
        "cuda: {policy: none, components: {nccl: pipp, cudnn: }}",
        concat!(
            "1:16 [none] `none` is not a policy = write one of `shared`, `base`, `pip`, `cpu`",
            "\n",
            "1:41 [pipp] `pipp` is not a policy of one component = did you mean `pip`?",
            "\n",
            "1:52 [] expected a policy, found nothing = write `shared`, `base` or `pip`"
        ),
    );
    check_with(
        "cuda: {components: {ncl: pip, cudnn: cpu}, driver: new}",
        concat!(
            "1:21 [ncl] `ncl` is not a CUDA component = did you mean `nccl`?",
            "\n",
            "1:38 [cpu] `cpu` is not a policy of one component = write one of `shared`, `base`, `pip`",
            "\n",
            "1:52 [new] `new` is not a version of NVIDIA's driver = write it as `nvidia-smi` shows it: `\"550.54.15\"`, ",
            "or its branch: `\"550\"`"
        ),
    );
}

#[test]
fn checks_gpus() {
    check_with(
        "cuda: {gpus: [T4, A1000, tesla, sm_90, compute_103a]}",
        "1:19 [A1000] `A1000` is no GPU that imgforge knows = did you mean `A100`?\n1:26 [tesla] `tesla` is no GPU that \
         imgforge knows = write a compute capability, as `nvidia-smi --query-gpu=compute_cap` shows it, `\"9.0\"`, or a card \
         as NVIDIA calls it: `T4`, `A100`, `RTX 4090`\n1:33 [sm_90] `sm_90` is no GPU that imgforge knows = write its compute \
         capability: `\"9.0\"`\n1:40 [compute_103a] `compute_103a` is no GPU that imgforge knows = write its compute \
         capability: `\"10.3\"`",
    );
    check_with(
        "cuda: {gpus: T4}",
        "1:14 [T4] expected a list, found a single value = write a list: `[\"T4\"]`, or `- ` before each entry",
    );
    let text = "base: debian-bookworm\npackages: [y]\ncuda: {gpus: [Tesla T4, 9.0, \"12.0\"]}\n";
    let recipe = Recipe::parse(text, "recipe.yaml").unwrap();
    let gpus: Vec<String> = recipe.cuda.gpus.iter().map(|gpu| gpu.value.to_string()).collect();
    assert_eq!(gpus, ["T4 (7.5)", "9.0", "12.0"]);
}

#[test]
fn checks_files() {
    check_with(
        "files: [{from: a, to: content}]",
        "1:23 [content] `content` is not a path in the image = start it with `/`: `/content`",
    );
    check_with(
        "files: [{from: '', to: /a/../b, mode: 0999}]",
        concat!(
            "1:16 [''] the path is empty",
            "\n",
            "1:24 [/a/../b] `/a/../b` is not a path in the image = write the path without `.` and `..`",
            "\n",
            "1:39 [0999] `0999` is not a set of permission bits = write octal digits: `0644`, `0755`"
        ),
    );
    check_with(
        "files: [{from: a}]",
        "1:9 [] an entry of `files` needs the key `to` = say what goes where: `{from: notebooks, to: /content}`",
    );
}

#[test]
fn checks_the_config() {
    check_with(
        "config: {env: {1A: x, B: }}",
        concat!(
            "1:16 [1A] `1A` is not a name for an environment variable = use letters, digits and `_`, and no digit first",
            "\n",
            r#"1:23 [B] `B` has no value = write `""` for an empty text"#
        ),
    );
    check_with(
        "config: {workdir: content}",
        "1:19 [content] `content` is not a path in the image = start it with `/`: `/content`",
    );
    check_with(
        "config: {user: a b}",
        "1:16 [a b] `a b` is not a user = write `USER` or `USER:GROUP`, names or numbers: `1000:1000`",
    );
    check_with(
        "config: {entrypoint: python -m http.server}",
        r#"1:22 [python -m http.server] expected a list of arguments, found a single value = no shell reads it: write `["python", "-m", "http.server"]`, or `["sh", "-c", "…"]` for a shell"#,
    );
    check_with("config: {labels: {'': x}}", "1:19 [''] the name is empty");
    check_with(
        "annotations: {a: [b]}",
        "1:18 [[b]] expected a text, found a list = write it without brackets: `b`",
    );
    check_with(
        "annotations: {a: {b: c}}",
        "1:18 [{b: c}] expected a text, found a mapping = write one value in place of the `key: value` pairs",
    );
}

#[test]
fn checks_layers() {
    check_with(
        "layers: {budget: 121}",
        "1:18 [121] `121` is not a number of layers = write a number from 1 to 120: docker refuses an image of more than 125 layers",
    );
    check_with("layers: {max-size: 1gib}", "1:20 [1gib] `1gib` is not a size = did you mean `1GiB`?");
    check_with(
        "layers: {max-size: 12}",
        "1:20 [12] `12` is not a size = write a number and one of the units B, kB, MB, GB, TB, KiB, MiB, GiB, TiB",
    );
    check_with(
        "layers: {compression: zstd:99}",
        "1:28 [99] `zstd:99` has no such level = write a number from 1 to 19: `zstd:3`",
    );
    check_with(
        "layers: {compression: lz4}",
        "1:23 [lz4] `lz4` is not a compression = write one of `gzip`, `zstd`, `estargz`",
    );
    check_with("layers: {compression: zst}", "1:23 [zst] `zst` is not a compression = did you mean `zstd`?");
    check_with(
        "layers: {compression: gzip:9}",
        "1:27 [:9] `gzip` has no level = write `gzip`: what is deflated in a wheel stays as it is",
    );
    check_with(
        "layers: {prefetch: [/usr/bin]}",
        "1:20 [[/usr/bin]] only layers of eStargz are fetched file by file = add `compression: estargz`",
    );
}

#[test]
fn checks_image_references() {
    check(
        "base: Ubuntu:24.04\npackages: [a]\n",
        "1:7 [Ubuntu:24.04] `Ubuntu:24.04` is not an image reference = the name of an image is lowercase",
    );
    check(
        "base: ubuntu@sha256:12\npackages: [a]\n",
        "1:7 [ubuntu@sha256:12] `ubuntu@sha256:12` is not an image reference = after `@` comes the digest: `sha256:` and 64 hexadecimal digits",
    );
    check(
        "base: 'oci:'\npackages: [a]\n",
        "1:7 ['oci:'] `oci:` names no image = write a path after the colon: `oci:out/base`, `oci-archive:base.tar`",
    );
    check(
        "base: [a]\npackages: [a]\n",
        "1:7 [[a]] expected a base, found a list = write it without brackets: `a`",
    );
}

#[test]
fn says_what_breaks_yaml() {
    check(
        "base: b\nframeworks:\n  torch: >=2.5\n",
        r#"3:10 [] this is not YAML: while scanning a block scalar, did not find expected comment or line break = quote a value that starts with a special character: ">=2.5,<2.7", "*""#,
    );
    check(
        "base: b\nframeworks:\n  torch: *\n",
        r#"3:10 [] this is not YAML: while scanning an anchor or alias, did not find expected alphabetic or numeric character = quote a value that starts with a special character: ">=2.5,<2.7", "*""#,
    );
    check(
        "base: b\npackages: [jax[cuda12]]\n",
        r#"2:15 [] this is not YAML: while parsing a flow sequence, expected ',' or ']' = quote an entry that holds brackets or commas: ["jax[cuda12]", "numpy>=1,<3"]"#,
    );
    check(
        "base: b\n\tpackages: [a]\n",
        "1:7 [] this is not YAML: while scanning a plain scalar, found a tab = indent with spaces, not tabs",
    );
    check(
        "base: b: c\n",
        "1:8 [] this is not YAML: mapping values are not allowed in this context = quote a value that holds a colon and a space",
    );
    check(
        "base: b\npackages:\n  - a\n - b\n",
        "4:2 [] this is not YAML: while parsing a block mapping, did not find expected key = look at the indentation and the quotes, here and in the lines before",
    );
    check(
        "base: 'b\n",
        "1:7 [] this is not YAML: the quote that begins here is not closed = close it on this line with the quotation mark that it begins with: `\"numpy\"`",
    );
    check("base: &b [*b]\n", "1:11 [*b] an alias is inside the value it repeats");
    check(
        "base: !Ref b\npackages: [a]\n",
        "1:7 [!Ref b] the tag `!Ref` means nothing here = remove it, or quote the value",
    );
    check(
        "base: b\npackages: [a]\n---\nbase: c\n",
        "3:1 [---] a second YAML document starts here = keep one document per file: remove the `---` line and what follows",
    );
    check("base: \"a\\0\"\npackages: [a]\n", r#"1:7 ["a\0"] a value holds a NUL character"#);
}

#[test]
fn counts_columns_in_characters_and_lines_by_any_ending() {
    check(
        "base: b\r\nname: 'ü'\r\npackages: [é, 'a, b']\r\n",
        concat!(
            "2:7 ['ü'] `ü` is not a name for an image = use lowercase letters and digits, joined by `-`, `_` or `.`: `colab-like`",
            "\n",
            "3:12 [é] `é` is not a requirement (Expected package name starting with an alphanumeric character, found `é`) = write it as pip takes it: `numpy`, `transformers>=4.40`, `jax[cuda12]==0.5.3` (PEP 508)",
            "\n",
            "3:17 [,] `a, b` is not a requirement (Expected one of `@`, `(`, `<`, `=`, `>`, `~`, `!`, `;`, found `,`) = write it as pip takes it: `numpy`, `transformers>=4.40`, `jax[cuda12]==0.5.3` (PEP 508)"
        ),
    );
    check(
        "\u{feff}name: A\nbase: b\npackages: [a]\n",
        "1:7 [A] `A` is not a name for an image = use lowercase letters and digits, joined by `-`, `_` or `.`: `colab-like`",
    );
}

#[test]
fn checks_base_descriptions() {
    check_base(
        "",
        "1:1 [] the file is empty = write at least `base: debian-bookworm` and `packages: [numpy]`; `imgforge init` writes a recipe from a project",
    );
    check_base(
        "{}",
        "1:1 [{}] the base does not say of which kind it is = give one of `suites` (Debian packages), `image` (a registry), `layout`, `archive` (a path)",
    );
    check_base(
        "image: ubuntu\nlayout: x\n",
        "1:1 [image: ubuntu] the base is of more than one kind: it has `image` and `layout` = give one of `suites` (Debian packages), `image` (a registry), `layout`, `archive` (a path)",
    );
    check_base(
        "suites: []\npackages: [python3]\n",
        "1:1 [suites: []] the base has no suite to take packages from = name one: `suites: [bookworm]`",
    );
    check_base(
        "suites: [bookworm, bookworm, ../x, {suit: y}]\npackages: [python3]\n",
        concat!(
            "1:20 [bookworm] `bookworm` is listed twice (again here) (1:10 first here) = keep one of the two",
            "\n",
            "1:30 [../x] `../x` is not the name of a suite or component = write it as sources.list does: `bookworm-updates`, `main`",
            "\n",
            "1:37 [suit] unknown key `suit` in a suite = did you mean `suite`?"
        ),
    );
    check_base(
        "suite: bookworm\n",
        "1:1 [] the description of a base needs the key `packages` = list what to install: `packages: [python3]`",
    );
    check_base(
        "suite: bookworm\npackages: [libc6=2.36, Foo, apt, apt]\narchitecture: x86_64\nmirror: nowhere\nessential: maybe\n",
        concat!(
            "2:12 [libc6=2.36] `libc6=2.36` is not the name of a Debian package = write the name alone, lowercase: `libgomp1`",
            "\n",
            "2:24 [Foo] `Foo` is not the name of a Debian package = write the name alone, lowercase: `libgomp1`",
            "\n",
            "2:34 [apt] `apt` is listed twice (again here) (2:29 first here) = keep one of the two",
            "\n",
            "3:15 [x86_64] `x86_64` is not Debian's name of an architecture = write `amd64`",
            "\n",
            "4:9 [nowhere] `nowhere` is not a URL = write `https://` or `http://`, the host, and the path",
            "\n",
            "5:12 [maybe] `maybe` is not `true` or `false` = write one of `true`, `false`"
        ),
    );
    check_base(
        "suite: bookworm\npackages: [apt]\nsecurity: yes\n",
        "3:1 [security] unknown key `security` in the description of a base = the keys here are `suite`, `suites`, `components`, `architecture`, `mirror`, `signed-by`, `packages`, `essential`",
    );
    check_base(
        "image: ubuntu:24.04\ndigest: sha256:12\n",
        "2:9 [sha256:12] `sha256:12` is not a digest = write `sha256:` and 64 hexadecimal digits",
    );
    check_base("layout: ''\n", "1:9 [''] the path is empty");
}

#[test]
fn checks_requirements_files() {
    check_requirements(
        "numpy>>1 # why\n",
        r#"1:6 [>>1] `numpy>>1` is not a requirement (no such comparison operator ">>", must be one of ~= == != <= >= < > ===) = write it as pip takes it: `numpy`, `transformers>=4.40`, `jax[cuda12]==0.5.3` (PEP 508)"#,
    );
    check_requirements(
        "-e hg+https://h/x\n",
        "1:4 [hg+https://h/x] `hg+https://h/x` is a version control URL of another program than git, and imgforge installs wheels = name a wheel, a source distribution (`.tar.gz`, `.zip`), `NAME @ git+https://…` or a directory; or build a wheel of it, `pip wheel --no-deps -w dist hg+https://h/x`, and name that: `./dist/NAME-VERSION-py3-none-any.whl`",
    );
    check_requirements(
        "numpy --hash=md5:00\n",
        "1:14 [md5:00] `md5:00` is a hash that can be forged = write the wheel's `--hash=sha256:…`: `pip hash` computes it",
    );
    check_requirements(
        "numpy --hash=sha512:00\n",
        "1:14 [sha512:00] `sha512:00` is not a hash of sha256, sha384 or sha512 = write `--hash=sha256:` and 64 hexadecimal digits",
    );
    check_requirements(
        "numpy --hash=sha256:00\n",
        "1:14 [sha256:00] `sha256:00` is not a hash of sha256, sha384 or sha512 = write `--hash=sha256:` and 64 hexadecimal digits",
    );
    check_requirements(
        "--require-hashes\nnumpy\n",
        "2:1 [numpy] there is no hash, and the file says `--require-hashes` = add `--hash=sha256:…` to each requirement: `uv pip compile --generate-hashes`; directories and repositories have none",
    );
    check_requirements(
        "numpy --no-binary x\n",
        "1:7 [--no-binary] `--no-binary` is not supported behind a requirement = only `--hash` may stand there",
    );
    check_requirements(
        "--no-binary numpy\n--frobnicate\n",
        concat!(
            "1:1 [--no-binary] `--no-binary` asks for source distributions, which are built where the recipe says so = remove the line, and name the project in the recipe: `python: {build: [NAME]}`",
            "\n",
            "2:1 [--frobnicate] `--frobnicate` is not supported in a requirements file = supported are `-r`, `-c`, `-e`, `-i`, `--extra-index-url`, `-f`, `--no-index`, `--pre`, `--require-hashes` and, behind a requirement, `--hash`"
        ),
    );
    check_requirements(
        "-r \"other file.txt\n",
        "1:4 [\"] this quote is not closed = options are words of a shell: close the quote, or write a backslash before it",
    );
    check_requirements("-r\n", "1:1 [-r] `-r` needs a value");
    check_requirements(
        "-r https://host.example/r.txt\n",
        "1:4 [https://host.example/r.txt] `https://host.example/r.txt` is a URL, not a path = download the file and name it by its path",
    );
    check_requirements(
        "-i nowhere\n",
        "1:4 [nowhere] `nowhere` is not a URL = write `https://` or `http://`, the host, and the path",
    );
    check_requirements(
        "x>=1, \\\n  <<2\n",
        r#"1:6 [ \] `x>=1,   <<2` is not a requirement (no such comparison operator "<<", must be one of ~= == != <= >= < > ===) = write it as pip takes it: `numpy`, `transformers>=4.40`, `jax[cuda12]==0.5.3` (PEP 508)"#,
    );
    check_requirements(
        "--index-url https://${USER}@${HOST}/\n",
        "1:21 [${USER}] the environment has no variable `USER` = set it where imgforge runs: `USER=… imgforge …`",
    );
    check_requirements(
        "numpy==${EMPTY} # why\n",
        "1:8 [${EMPTY}] the environment has no variable `EMPTY` = set it where imgforge runs: `EMPTY=… imgforge …`",
    );
    check_requirements(
        "-i ${TOKEN}\n",
        "1:4 [${TOKEN}] with the values of its variables, this is not what may stand here = check the variables where imgforge runs; their values are not shown, since they may be secrets",
    );
    check_requirements(
        "numpy >= 1 -- x\n",
        "1:12 [--] `--` is not supported behind a requirement = only `--hash` may stand there",
    );
}

const DESIGN: &str = r#"
name: colab-like
base: debian-bookworm
python: 3.10
frameworks:
  torch: 2.6.0
  jax[cuda12]: ">=0.5,<0.6"
  tensorflow:
packages: [matplotlib, "transformers>=4.40"]
requirements: [requirements.txt, {file: pylock.gpu.toml, extras: [Gpu], groups: [serve]}]
constraints: [bounds.txt, "numpy<3"]
overrides: [protobuf>=5, "tensorboard ; sys_platform == 'never'"]
indexes:
  - https://wheels.example/simple
  - {url: "https://host.example/torch", name: torch, packages: [Torch, torch_vision]}
  - ./wheels
  - {path: more wheels, packages: [app]}
find-links: [https://host.example/links.html, ./dist]
prereleases: [jax]
exclude-newer: 2025-06-01
cuda:
  policy: shared
  components: {nccl: pip}
system-packages: [libgl1]
users: [{name: app, uid: 1000, groups: [video], shell: /bin/bash}]
files: [{from: notebooks, to: /content/, mode: 0755, owner: app, exclude: ["*.pyc"]}]
config: {env: {MODE: 0755, EMPTY: ""}, workdir: /content, user: "", entrypoint: [], cmd: [python3, 3.10], labels: {a: b}, ports: [8888], volumes: [/data], stop-signal: SIGINT, healthcheck: none, shell: [sh, -c]}
annotations: {org.opencontainers.image.title: Colab}
layers: {budget: 40, max-size: 512MiB, compression: gzip}
ignore: [{rule: broken-link, path: /opt/*, reason: mounted when it runs}]
"#;

fn parse(text: &str) -> Recipe {
    Recipe::parse(text, "recipe.yaml").unwrap_or_else(|found| panic!("{}", found.render(Color::Plain)))
}

fn json<T: Serialize>(value: &T) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_is_ignored_is_a_rule_and_has_a_reason() {
    let entry = |text: &str| format!("ignore: [{text}]");
    check_with(
        &entry("{rule: mising-library, path: /opt/*, reason: x}"),
        "1:17 [mising-library] `mising-library` is no rule of `imgforge check` = did you mean `missing-library`?",
    );
    check_with(
        &entry("{rule: broken-link, path: /opt/*}"),
        "1:10 [] an entry of `ignore` needs the key `reason` = say why: `{rule: broken-link, path: /opt/*, reason: mounted when it runs}`",
    );
}

#[test]
fn reads_every_key_and_keeps_numbers_as_written() {
    let expected = serde_json::json!({
        "name": "colab-like",
        "base": {"named": "debian-bookworm"},
        "python": {
            "version": "3.10",
            "constrain": "frameworks",
            "externally_managed": "remove",
            "bytecode": false,
            "build": {"projects": []},
            "unversioned": "link",
        },
        "system_packages": ["libgl1"],
        "users": [{
            "name": "app", "uid": 1000, "gid": null, "groups": ["video"], "home": null, "shell": "/bin/bash", "system": false,
        }],
        "frameworks": {
            "jax": {"extras": ["cuda12"], "specifiers": ">=0.5,<0.6"},
            "tensorflow": {"extras": [], "specifiers": ""},
            "torch": {"extras": [], "specifiers": "==2.6.0"},
        },
        "packages": ["matplotlib", "transformers>=4.40"],
        "requirements": [
            {"file": "requirements.txt"},
            {"file": "pylock.gpu.toml", "extras": ["gpu"], "groups": ["serve"]},
        ],
        "constraints": ["bounds.txt", "numpy<3"],
        "overrides": ["protobuf>=5", "tensorboard ; sys_platform == 'never'"],
        "indexes": [
            {"url": "https://wheels.example/simple", "name": null, "packages": []},
            {"url": "https://host.example/torch", "name": "torch", "packages": ["torch", "torch-vision"]},
            {"path": "./wheels", "name": null, "packages": []},
            {"path": "more wheels", "name": null, "packages": ["app"]},
        ],
        "find_links": [{"url": "https://host.example/links.html"}, {"path": "./dist"}],
        "prereleases": {"projects": ["jax"]},
        "exclude_newer": "2025-06-02T00:00:00Z",
        "cuda": {"policy": "shared", "driver": null, "components": {"nccl": "pip"}},
        "files": [{
            "from": "notebooks", "to": "/content", "into": true, "mode": 0o755, "owner": "app", "exclude": ["*.pyc"],
        }],
        "config": {
            "env": {"MODE": "0755", "EMPTY": ""},
            "workdir": "/content",
            "user": null,
            "entrypoint": [],
            "cmd": ["python3", "3.10"],
            "labels": {"a": "b"},
            "ports": ["8888/tcp"],
            "volumes": ["/data"],
            "stop_signal": "SIGINT",
            "healthcheck": "None",
            "shell": ["sh", "-c"],
        },
        "annotations": {"org.opencontainers.image.title": "Colab"},
        "layers": {"budget": 40, "max_size": 512 << 20, "compression": "gzip", "prefetch": []},
        "ignore": [{"rule": "broken-link", "subject": "/opt/*", "reason": "mounted when it runs"}],
    });
    assert_eq!(json(&parse(DESIGN)), expected);
}

#[test]
fn comments_order_and_style_of_a_recipe_change_nothing() {
    let one = parse("base: b\nframeworks: {torch: 2.6.0, jax: '*'}\nconfig: {env: {A: 1, B: 2}}\n");
    let two = parse(
        "# the same\nconfig:\n  env:\n    B: \"2\"\n    A: '1'\nframeworks:\n  JAX: # any\n  torch: ==2.6.0\nbase: b\n",
    );
    assert_eq!(json(&one).to_string(), json(&two).to_string());
}

#[test]
fn roots_are_the_frameworks_and_the_packages() {
    let roots: Vec<String> = parse(DESIGN).roots().map(|root| root.to_string()).collect();
    let expected =
        ["jax[cuda12]>=0.5,<0.6", "tensorflow", "torch==2.6.0", "matplotlib", "transformers>=4.40"];
    assert_eq!(roots, expected);
}

#[test]
fn tells_names_inline_descriptions_and_references_apart() {
    for (base, expected) in [
        ("debian-bookworm", r#"{"named":"debian-bookworm"}"#),
        ("ubuntu:24.04", r#"{"image":"ubuntu:24.04"}"#),
        ("oci-archive:out/base.tar", r#"{"image":"oci-archive:out/base.tar"}"#),
        ("docker://host.example:5000/a/b", r#"{"image":"docker://host.example:5000/a/b"}"#),
        ("{layout: out/base}", r#"{"inline":{"layout":{"path":"out/base"}}}"#),
        ("{archive: base.tar}", r#"{"inline":{"archive":{"path":"base.tar"}}}"#),
        ("{image: docker://ubuntu}", r#"{"inline":{"registry":{"digest":null,"reference":"ubuntu"}}}"#),
    ] {
        let recipe = parse(&format!("base: {base}\npackages: [numpy]\n"));
        assert_eq!(json(&recipe.base).to_string(), expected);
    }
}

#[test]
fn the_recipe_and_the_base_in_the_repository_parse() {
    let recipe = parse(include_str!("../../recipes/colab-like.yaml"));
    assert_eq!(recipe.base.value, BaseRef::Named("debian-bookworm".to_owned()));
    let frameworks: Vec<&str> = recipe.frameworks.keys().map(PackageName::as_str).collect();
    assert_eq!(frameworks, ["jax", "tensorflow", "torch"]);

    let base = BaseDescription::parse(include_str!("../../images/debian-bookworm.yaml"), "base.yaml");
    let Ok(BaseDescription::Debian(debian)) = base else { panic!("{base:?}") };
    let suites: Vec<&str> = debian.suites.iter().map(|suite| suite.name.as_str()).collect();
    assert_eq!(suites, ["bookworm", "bookworm-updates", "bookworm-security"]);
    assert_eq!((debian.architecture, debian.essential), (Architecture::Amd64, true));
}

#[test]
fn a_suite_may_live_on_a_mirror_of_its_own() {
    let text = "suites: [a, {suite: a-security, mirror: 'http://host.example/security'}]\nmirror: http://host.example/all\npackages: [apt]\nsigned-by: [keys/a.gpg]\nessential: false\narchitecture: arm64\n";
    let expected = serde_json::json!({"debian": {
        "suites": [
            {"name": "a", "mirror": null},
            {"name": "a-security", "mirror": "http://host.example/security"},
        ],
        "components": ["main"],
        "architecture": "arm64",
        "mirror": "http://host.example/all",
        "signed_by": ["keys/a.gpg"],
        "packages": ["apt"],
        "essential": false,
    }});
    assert_eq!(BaseDescription::parse(text, "base.yaml").map(|base| json(&base)), Ok(expected));
}

#[test]
fn a_python_version_admits_its_patches() {
    for (wanted, given, admitted) in [
        ("3.11", "3.11.2", true),
        ("3.11.2", "3.11.2", true),
        ("3.11.2", "3.11.3", false),
        ("3.11", "3.12.0", false),
        ("3.1", "3.11.2", false),
    ] {
        let recipe = parse(&format!("base: b\npackages: [a]\npython: {wanted}\n"));
        let version = recipe.python.version.map(|version| version.value);
        let given = given.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(version.map(|version| version.admits(&given)), Some(admitted), "{wanted} {given}");
    }
}

#[test]
fn shows_every_problem_at_once_in_the_order_of_the_text() {
    let text = "name: Colab\nframeworks:\n  torch: latest\n  jax: 0.5.3\n  torch: 2.6.0\npackages: [numpy>>1]\ncuda:\n  polcy: shared\n";
    let expected = r#"error: the recipe needs the key `base`
 --> recipe.yaml:1:1
  |
1 | name: Colab
  | ^
  |
  = help: name the image to build on: `base: debian-bookworm`

error: `Colab` is not a name for an image
 --> recipe.yaml:1:7
  |
1 | name: Colab
  |       ^^^^^
  |
  = help: use lowercase letters and digits, joined by `-`, `_` or `.`: `colab-like`

error: `latest` is not a version or a range of versions
 --> recipe.yaml:3:10
  |
3 |   torch: latest
  |          ^^^^^^
  |
  = help: write "2.6.0" for exactly that, ">=2.5,<2.7" for a range, "*" for any (PEP 440)

error: the key `torch` is written twice
 --> recipe.yaml:5:3
  |
3 |   torch: latest
  |   ----- first here
4 |   jax: 0.5.3
5 |   torch: 2.6.0
  |   ^^^^^ again here
  |
  = help: keep one of the two

error: `numpy>>1` is not a requirement
 --> recipe.yaml:6:17
  |
6 | packages: [numpy>>1]
  |                 ^^^ no such comparison operator ">>", must be one of ~= == != <= >= < > ===
  |
  = help: write it as pip takes it: `numpy`, `transformers>=4.40`, `jax[cuda12]==0.5.3` (PEP 508)

error: unknown key `polcy` in `cuda`
 --> recipe.yaml:8:3
  |
8 |   polcy: shared
  |   ^^^^^
  |
  = help: did you mean `policy`?
"#;
    let found =
        Recipe::parse(text, "recipe.yaml").map_err(|found| (found.to_string(), found.render(Color::Plain)));
    assert_eq!(found.err(), Some(("`recipe.yaml` has 6 problems".to_owned(), expected.to_owned())));
}

#[test]
fn problems_are_data_too() {
    let found = Recipe::parse("base: b\npackages: [a, a]\n", "recipe.yaml").err();
    let expected = serde_json::json!([{
        "severity": "error",
        "message": "`a` is listed twice",
        "file": "recipe.yaml",
        "span": {"start": 22, "end": 23},
        "line": 2,
        "column": 15,
        "label": "again here",
        "related": {"span": {"start": 19, "end": 20}, "line": 2, "column": 12, "text": "first here"},
        "help": "write one requirement: `numpy>=1.26,<3`",
    }]);
    assert_eq!(found.as_ref().map(json), Some(expected));
    assert_eq!(
        found.and_then(|found| found.hint()).as_deref(),
        Some("write one requirement: `numpy>=1.26,<3`")
    );
}

#[test]
fn later_stages_point_at_the_line_that_asked() {
    let recipe = parse("base: b\nframeworks: {Torch: 2.6.0}\npackages:\n  - numpi>=1\n");
    let name = |text: &str| text.parse().unwrap_or_else(|error| panic!("{error}"));
    let span = recipe.locate(&name("numpi")).unwrap_or_else(|| panic!("numpi is among the packages"));
    let report = recipe.report(Problem::warning(span, "no index knows `numpi`").help("is it spelt right?"));
    let expected = "warning: no index knows `numpi`\n --> recipe.yaml:4:5\n  |\n4 |   - numpi>=1\n  |     ^^^^^^^^\n  |\n  = help: is it spelt right?\n";
    assert_eq!(report.render(Color::Plain), expected);
    assert!(report.render(Color::Ansi).contains("\u{1b}["));
    assert_eq!(recipe.locate(&name("torch")), Some(Span { start: 21, end: 26 }));
    assert_eq!(recipe.locate(&name("scipy")), None);
}

#[test]
fn no_control_character_of_a_recipe_reaches_the_terminal() {
    let text = "base: \"\\e[31m\"\npackages: [\"\\e[31m\"]\n\"\\e[31m\": 1\nconfig: {entrypoint: \"\\e[31m\"}\nname: A # \u{1b}[31m \u{9b}31m\n";
    let rendered = Recipe::parse(text, "\u{1b}[31m.yaml").err().map(|found| found.render(Color::Plain));
    let rendered = rendered.unwrap_or_default();
    assert!(rendered.contains("unknown key"), "{rendered}");
    assert!(!rendered.contains(|c: char| c.is_control() && c != '\n'), "{rendered:?}");
}

#[test]
fn an_alias_repeats_what_its_anchor_names() {
    let recipe = parse("base: b\npackages: &all [numpy]\nconfig: {labels: {a: &x y, b: *x}}\n");
    assert_eq!(recipe.config.labels["b"], "y");
    check("base: b\npackages: [&a numpy, *a]\n", "");
}

/// A text that would take too much gives one problem, soon.
#[track_caller]
fn check_bounded(text: &str, message: &str) {
    let started = std::time::Instant::now();
    let found = Recipe::parse(text, "recipe.yaml").err().unwrap_or_else(|| panic!("it parsed"));
    let messages: Vec<&str> = found.problems().iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages, [message]);
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[test]
fn an_alias_bomb_is_refused() {
    const TOO_LARGE: &str = "the file is too large: with every alias it takes more than 8388608 bytes";
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    check_bounded(&text, TOO_LARGE);
    check_bounded(&format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(1000)), TOO_LARGE);
    check_bounded(&"- \n".repeat(300_000), TOO_LARGE);
}

#[test]
fn deep_nesting_is_refused() {
    const TOO_DEEP: &str = "lists and mappings are nested more than 32 deep";
    for nested in ["[", "{a: ", "- ", "? ", "[a, "] {
        check_bounded(&nested.repeat(100_000), TOO_DEEP);
    }
}

#[test]
fn a_huge_file_is_refused() {
    check_bounded(&"#".repeat(2 << 20), "the file is longer than 1048576 bytes");
}

#[test]
fn more_problems_than_anyone_reads_are_counted() {
    let text: String = (0..1000).map(|number| format!("key{number}: 1\n")).collect();
    let found = Recipe::parse(&text, "recipe.yaml").err().unwrap_or_else(|| panic!("it parsed"));
    assert_eq!(found.to_string(), "`recipe.yaml` has 1001 problems");
    assert_eq!(found.problems().len(), 100);
    assert!(found.render(Color::Plain).ends_with("and 991 more problems\n"));
}

/// The same as pip and uv read of these lines.
#[test]
fn options_are_words_of_a_shell_and_comments_end_continuations() {
    let check = |text: &str, includes: &[&str], requirements: &[&str], indexes: &[&str]| {
        let file = requirements::parse(text, "requirements.txt", &variable);
        let file = file.unwrap_or_else(|found| panic!("{}", found.render(Color::Plain)));
        let read: Vec<&str> = file.includes.iter().map(|path| path.value.as_str()).collect();
        assert_eq!(read, includes, "{text}");
        let read: Vec<String> = file.requirements.iter().map(|it| it.requirement.value.to_string()).collect();
        assert_eq!(read, requirements, "{text}");
        let read: Vec<&str> = file.extra_index_urls.iter().map(|url| url.value.as_str()).collect();
        assert_eq!(read, indexes, "{text}");
    };
    check("-r \"other file.txt\"\n", &["other file.txt"], &[], &[]);
    check("-r 'a b'/c\\ d.txt --requirement=\"e f\"\n-r'g h'", &["a b/c d.txt", "e f", "g h"], &[], &[]);
    check(
        "--extra-index-url \"https://host.example/simple/\"\n",
        &[],
        &[],
        &["https://host.example/simple/"],
    );
    check(
        "--extra-index-url https://${HOST}/${HOST}/ # ${NONE}\n",
        &[],
        &[],
        &["https://host.example/host.example/"],
    );
    check("numpy # why \\\nscipy\n", &[], &["numpy"], &[]);
    check("numpy \\\n# why\nscipy\n", &[], &["numpy", "scipy"], &[]);
    check("numpy \\\n  >=1 \\\n  # why \\\nscipy\n", &[], &["numpy>=1", "scipy"], &[]);
    check("numpy; sys_platform == 'a b'  # it's\n", &[], &["numpy ; sys_platform == 'a b'"], &[]);
    check("--no-binary :none: --prefer-binary\nnumpy\n", &[], &["numpy"], &[]);
}

#[test]
fn requirements_files_of_windows_are_read() {
    let utf16 = |units: fn(u16) -> [u8; 2]| {
        let text: Vec<u8> = "\u{feff}numpy\r\n".encode_utf16().flat_map(units).collect();
        requirements::decoded(text)
    };
    assert_eq!(utf16(u16::to_le_bytes).as_deref(), Some("numpy\r\n"));
    assert_eq!(utf16(u16::to_be_bytes).as_deref(), Some("numpy\r\n"));
    assert_eq!(requirements::decoded(b"\xef\xbb\xbfnumpy".into()).as_deref(), Some("\u{feff}numpy"));
    for bytes in [&b"\xff\xfea"[..], b"\xff\xfe\x00\xd8", b"caf\xe9"] {
        assert_eq!(requirements::decoded(bytes.into()), None, "{bytes:?}");
    }
}

#[test]
fn reads_a_requirements_file_as_pip_does() {
    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let text = format!(
        "\u{feff}# comment\n-i https://host.example/simple\n--extra-index-url=https://host.example/more\n\
         -r more.txt\r\n-cconstraints.txt\n--only-binary :all:\n-f wheels --find-links=https://host.example/links.html --no-index\n\n\
         numpy >= 1.26, \\\n  < 3  # why\n\
         torch==2.6.0 ; python_version < '3.13' \\\n    --hash={DIGEST} \\\n    --hash {DIGEST}\n\
         # a comment \\\nuv#not a comment\\\n"
    );
    let text = text.replace("uv#not a comment\\", "uv \\");
    let file = requirements::parse(&text, "requirements.txt", &|_| None);
    let file = file.unwrap_or_else(|found| panic!("{}", found.render(Color::Plain)));
    let expected = serde_json::json!({
        "requirements": [
            {"requirement": "numpy>=1.26,<3", "hashes": []},
            {"requirement": "torch==2.6.0 ; python_full_version < '3.13'", "hashes": [DIGEST, DIGEST]},
            {"requirement": "uv", "hashes": []},
        ],
        "includes": ["more.txt"],
        "constraints": ["constraints.txt"],
        "index_url": "https://host.example/simple",
        "extra_index_urls": ["https://host.example/more"],
        "find_links": [{"path": "wheels"}, {"url": "https://host.example/links.html"}],
        "no_index": true,
        "prereleases": false,
        "projects": [],
        "require_hashes": false,
    });
    assert_eq!(json(&file), expected);
    let report = file.report(Problem::error(file.includes[0].span, "there is no such file"));
    assert_eq!((report.problems()[0].line, report.problems()[0].column), (4, 4));
}

/// Parses `text` as everything; whatever is wrong with it can be shown and lies within it.
fn check_survives(text: &str) {
    let outcomes = [
        Recipe::parse(text, "x").err(),
        BaseDescription::parse(text, "x").err(),
        requirements::parse(text, "x", &|_| Some("value".into())).err(),
    ];
    for found in outcomes.into_iter().flatten() {
        assert!(!found.problems().is_empty());
        assert!(found.render(Color::Plain).contains("error: "));
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for problem in found.problems() {
            assert!(text.get(problem.span.start..problem.span.end).is_some(), "{problem:?}");
        }
    }
}

/// Pieces that YAML, requirements and versions are made of, so that random texts get past the first byte.
const PIECES: &[&str] = &[
    "\n",
    "\r\n",
    "\n  ",
    "\n- ",
    " ",
    "\t",
    ": ",
    ":",
    ", ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "#",
    " # ",
    "&a ",
    "*a",
    "!",
    "!!str ",
    "|",
    ">",
    "? ",
    "---\n",
    "...",
    "%",
    "~",
    "null",
    "\\",
    "\\\n",
    "ü",
    "\u{feff}",
    "\0",
    "\u{1b}",
    "base",
    "base: b\n",
    "frameworks",
    "packages",
    "packages: [a]\n",
    "torch",
    "config",
    "env",
    "name",
    "layers",
    "max-size",
    "1GiB",
    "1.",
    "99999999999999999999",
    "files",
    "from",
    "to",
    "/",
    "../",
    "cuda",
    "policy",
    "suites",
    "image",
    "@",
    "sha256:",
    "prereleases",
    "exclude-newer",
    "2025-06-01",
    "T12:00:00Z",
    "python",
    "3.11",
    "==",
    ">=",
    "<",
    "~=",
    "===",
    ".*",
    "+cu12",
    "; python_version",
    " in ",
    "extra",
    "-r ",
    "-",
    "--hash=",
    "--index-url ",
    "https://",
    "git+",
    "${",
    "(",
    ")",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        check_survives(&text);
    }

    #[test]
    fn no_mixture_of_its_own_words_makes_it_panic(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)
    ) {
        check_survives(&pieces.concat());
    }

    #[test]
    fn no_value_makes_it_panic(value in "\\PC{0,20}", pieces in prop::collection::vec(prop::sample::select(PIECES), 0..6)) {
        for value in [value, pieces.concat()] {
            let value = serde_json::Value::from(value);
            let keys = ["name", "base", "python", "frameworks", "exclude-newer", "layers"];
            check_survives(&keys.map(|key| format!("{key}: {value}\n")).concat());
            check_survives(&format!("base: b\npackages: [{value}]\nframeworks: {{{value}: 1, a: {value}}}\n"));
            check_survives(&format!("base: b\npackages: [a]\nlayers: {{max-size: {value}, budget: {value}}}\n"));
            check_survives(&format!("base: b\npackages: [a]\nfiles: [{{from: a, to: {value}, mode: {value}}}]\n"));
            check_survives(&format!("suite: {value}\npackages: [{value}]\nmirror: {value}\n"));
        }
    }
}

#[test]
fn a_description_carries_what_was_recorded_of_its_image() {
    let check = |text: &str, json: &str| {
        let recorded = BaseDescription::record(text, json);
        let read = BaseDescription::parse(&recorded, "x").unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(read.inventory().map(|inventory| inventory.json().trim_end()), Some(json.trim_end()));
        assert!(recorded.starts_with("# Ubuntu\nimage: ubuntu:24.04\n"), "{recorded}");
        recorded
    };
    let json = "{\n\"python\": \"3.11.2\",\n\"distributions\": [\n{},\n{}\n]\n}\n";
    let first = check("# Ubuntu\nimage: ubuntu:24.04\n", json);
    let second = check(&first, "{}");
    assert_eq!(second.matches("inventory:").count(), 1);
    assert_eq!(check(&second, json), first);
    assert!(check(&format!("{first}\n# the end\n"), "{}").contains("# the end\n"));
    let problems = BaseDescription::parse("image: a:b\ninventory: not JSON\n", "x").unwrap_err();
    assert!(problems.render(Color::Plain).contains("the inventory is not JSON"));
}

/// The JSON schema that editors get.
fn schema() -> serde_json::Value {
    serde_json::from_str(include_str!("recipe.schema.json")).unwrap()
}

fn matrix_schema() -> serde_json::Value {
    serde_json::from_str(include_str!("matrix.schema.json")).unwrap()
}

/// The keys of every mapping of a schema, by the name that messages give to the mapping.
fn keys_of_schema(schema: &serde_json::Value, found: &mut BTreeMap<String, Vec<String>>) {
    if let (Some(title), Some(properties)) = (schema["title"].as_str(), schema["properties"].as_object()) {
        found.insert(title.to_owned(), properties.keys().cloned().collect());
    }
    match schema {
        serde_json::Value::Object(members) => members.values().for_each(|it| keys_of_schema(it, found)),
        serde_json::Value::Array(items) => items.iter().for_each(|it| keys_of_schema(it, found)),
        _ => {}
    }
}

#[test]
fn the_schema_has_the_keys_that_are_read_and_no_others() {
    let mut of_schema = BTreeMap::new();
    keys_of_schema(&schema(), &mut of_schema);
    // A key that is unlike any other is answered with all keys of its mapping.
    const NO_KEY: &str = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";
    let mut read: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for lines in [
        "KEY: x",
        "base: {suite: bookworm, packages: [a], KEY: x}",
        "base: {image: a:b, KEY: x}",
        "base: {layout: a, KEY: x}",
        "base: {archive: a, KEY: x}",
        "base: {suite: {suite: bookworm, KEY: x}, packages: [a]}",
        "python: {KEY: x}",
        "requirements: [{file: pylock.toml, KEY: x}]",
        "indexes: [{path: a, KEY: x}]",
        "cuda: {KEY: x}",
        "users: [{name: a, uid: 1, KEY: x}]",
        "files: [{from: a, to: /b, KEY: x}]",
        "config: {KEY: x}",
        "config: {healthcheck: {test: a, KEY: x}}",
        "layers: {KEY: x}",
        "ignore: [{rule: broken-link, path: a, reason: b, KEY: x}]",
    ] {
        let text = lines.replace("KEY", NO_KEY);
        let problems = Recipe::parse(&text, "recipe.yaml").unwrap_err();
        let problem = problems.problems().iter().find(|it| it.message.contains("unknown key")).expect(lines);
        let (_, mapping) = problem.message.rsplit_once(" in ").unwrap();
        let help = problem.help.as_deref().unwrap().strip_prefix("the keys here are ").unwrap();
        let keys = read.entry(mapping.to_owned()).or_default();
        keys.extend(help.split(", ").map(|key| key.trim_matches('`').to_owned()));
    }
    // Which of these a description has decides what other keys it may have.
    let kinds = read.get_mut("the description of a base").unwrap();
    kinds.extend(["suites"].map(str::to_owned));
    for keys in read.values_mut().chain(of_schema.values_mut()) {
        keys.sort();
        keys.dedup();
    }
    // Its other keys are those of the recipe.
    assert_eq!(of_schema.remove("`matrix`").unwrap(), ["exclude", "include"]);
    assert_eq!(of_schema, read);
}

#[test]
fn the_schema_of_a_matrix_has_the_keys_that_are_read() {
    let problems =
        Matrix::parse("recipe: a\nqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq: x\n", "matrix.yaml").unwrap_err();
    let help = problems.problems()[0].help.as_deref().unwrap().strip_prefix("the keys here are ").unwrap();
    let mut read: Vec<&str> = help.split(", ").map(|key| key.trim_matches('`')).collect();
    read.sort_unstable();
    let of_matrix = matrix_schema();
    assert_eq!(
        of_matrix["properties"].as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>(),
        read
    );
    assert_eq!(of_matrix["$defs"]["matrix"], schema()["$defs"]["matrix"]);
}

#[test]
fn every_mapping_that_is_read_is_in_the_schema() {
    let mut of_schema = BTreeMap::new();
    keys_of_schema(&schema(), &mut of_schema);
    keys_of_schema(&matrix_schema(), &mut of_schema);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/recipe");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for rest in text.split("Fields::open(").skip(1) {
            let name = rest.split('"').nth(1).unwrap();
            assert!(of_schema.contains_key(name), "{}: {name}", path.display());
        }
    }
}

#[test]
fn the_schema_of_a_base_is_that_of_a_recipes_base() {
    let base: serde_json::Value = serde_json::from_str(include_str!("base.schema.json")).unwrap();
    let mut expected = schema()["$defs"]["base"].clone();
    expected["$schema"] = schema()["$schema"].clone();
    expected["$defs"] = serde_json::json!({ "suite": schema()["$defs"]["suite"] });
    assert_eq!(base, expected);
}
