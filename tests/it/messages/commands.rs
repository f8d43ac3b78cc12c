//! Mistakes on the command line, and files that are no recipes.

use super::{GOOD, Mistake, command};

/// A file that is given as a recipe.
const fn file(
    title: &'static str,
    files: &'static [(&'static str, &'static str)],
    command: &'static str,
) -> Mistake {
    Mistake { title, score: 3, files, command }
}

pub(super) const MISTAKES: &[Mistake] = &[
    command("no command", 3, "imgforge"),
    command("a command that is misspelt", 3, "imgforge biuld recipe.yaml"),
    command("a recipe without a command", 3, "imgforge recipe.yaml"),
    command("`push`", 3, "imgforge push recipe.yaml"),
    command("`run`", 3, "imgforge run recipe.yaml"),
    command("`pip install`", 3, "imgforge pip install numpy"),
    command("`images`", 3, "imgforge images"),
    command("`scan`", 3, "imgforge scan recipe.yaml"),
    command("no recipe", 3, "rm recipe.yaml; imgforge build"),
    command("an option that is misspelt", 3, "imgforge build recipe.yaml --ofline"),
    command("`--push`", 3, "imgforge build recipe.yaml --push"),
    command("`-t NAME`", 3, "imgforge build -t app:v1 recipe.yaml"),
    command("`--tag=NAME`", 3, "imgforge build --tag=app:v1 recipe.yaml"),
    command(
        "`--platform` of a recipe without platforms",
        3,
        "imgforge build recipe.yaml --platform linux/arm64",
    ),
    command("`--arch`", 3, "imgforge build recipe.yaml --arch arm64"),
    command("`-f FILE .`", 3, "imgforge build -f recipe.yaml ."),
    command("`--build-arg`", 3, "imgforge build recipe.yaml --build-arg A=b"),
    command("`--no-cache`", 3, "imgforge build recipe.yaml --no-cache"),
    command("`--gpus`", 3, "imgforge build recipe.yaml --gpus all"),
    command("`--verbose`", 3, "imgforge plan recipe.yaml --verbose"),
    command("a recipe too many", 3, "imgforge build recipe.yaml other.yaml"),
    command("`--upgrade NAME` with a space", 3, "imgforge lock recipe.yaml --upgrade wholesome"),
    command("`--upgrade=` something that is not there", 3, "imgforge lock recipe.yaml --upgrade=wholsome"),
    command("a destination without its kind", 3, "imgforge build recipe.yaml -o app:v1"),
    command("a kind of destination that is none", 3, "imgforge build recipe.yaml -o docker:app:v1"),
    command("a destination in capitals", 3, "imgforge build recipe.yaml -o docker://host.test/App"),
    command("a tag that is none", 3, "imgforge build recipe.yaml -o oci:out/app:-v1"),
    command(
        "a digest as a destination",
        3,
        "imgforge build recipe.yaml -o docker://host.test/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ),
    command("an annotation without a value", 3, "imgforge build recipe.yaml --annotation version"),
    command("an image without its kind", 3, "imgforge check app"),
    command("a path without its kind", 3, "mkdir out && imgforge check ./out"),
    command("an image that is not there", 3, "imgforge check oci:out/app"),
    command("a directory that is no layout", 3, "mkdir out && imgforge inspect oci:out"),
    command("a picture of a kind that is none", 3, "imgforge check oci:out --graph picture.png"),
    command("a driver that is none, to check", 3, "imgforge check oci:out --driver newest"),
    command("a platform that is none, to copy", 3, "imgforge copy oci:a oci:b --platform linux/riscv64"),
    command("a cache with a tag", 3, "imgforge build recipe.yaml --cache docker://host.test/cache:v1"),
    command("an audit without a recipe", 3, "imgforge cache audit docker://host.test/cache"),
    command("an age that is none", 3, "imgforge cache prune --older-than old"),
    command("a shell that is none", 2, "imgforge completions tcsh"),
    command("--locked without a lock", 3, "imgforge build recipe.yaml --locked"),
    file(
        "a lock that is damaged",
        &[("recipe.yaml", GOOD), ("recipe.lock", "{\"version\": \"x\"}")],
        "imgforge plan recipe.yaml",
    ),
    file(
        "--git-annotations without a repository",
        &[("recipe.yaml", GOOD)],
        "imgforge build recipe.yaml --git-annotations",
    ),
    file("a recipe that is not there", &[("recipe.yaml", GOOD)], "imgforge build recpie.yaml"),
    file(
        "a recipe that is not there, and none near",
        &[("a.yaml", GOOD), ("b.yaml", GOOD)],
        "imgforge build something-else.yaml",
    ),
    file("a recipe where there is none", &[("notes.md", "x\n")], "imgforge build recipe.yaml"),
    file("a wrong extension", &[("recipe.yaml", GOOD)], "imgforge build recipe.yml"),
    file("a directory with a recipe", &[("app/recipe.yaml", GOOD)], "imgforge build app"),
    file("a directory without one", &[("app/Dockerfile", "FROM python:3.12\n")], "imgforge build app"),
    file(
        "the working directory",
        &[("recipe.yaml", GOOD), ("compose.yaml", "services: {}\n")],
        "imgforge build .",
    ),
    file("an image's name in place of a recipe", &[], "imgforge build python:3.12-slim"),
    file(
        "a Dockerfile in place of a recipe",
        &[("Dockerfile", "FROM python:3.12\nRUN pip install numpy\n")],
        "imgforge build Dockerfile",
    ),
    file(
        "a Dockerfile of another name",
        &[("app.yaml", "FROM python:3.12\nRUN pip install numpy\n")],
        "imgforge build app.yaml",
    ),
    file(
        "requirements in place of a recipe",
        &[("requirements.txt", "numpy\npandas\n")],
        "imgforge build requirements.txt",
    ),
    file(
        "pyproject.toml in place of a recipe",
        &[("pyproject.toml", "[project]\nname = \"app\"\n")],
        "imgforge build pyproject.toml",
    ),
    file(
        "an environment of conda in place of a recipe",
        &[("environment.yml", "name: app\ndependencies: [numpy]\n")],
        "imgforge build environment.yml",
    ),
    file(
        "a compose file in place of a recipe",
        &[("compose.yaml", "services:\n  app: {image: x}\n")],
        "imgforge build compose.yaml",
    ),
    file(
        "a lock in place of a recipe",
        &[("recipe.yaml", GOOD), ("recipe.lock", "{\"version\": 1}")],
        "imgforge build recipe.lock",
    ),
    file("a program in place of a recipe", &[("main.py", "print('x')\n")], "imgforge build main.py"),
    file(
        "a description of a base in place of a recipe",
        &[("mine.yaml", "suites: [bookworm]\npackages: [python3]\n")],
        "imgforge build mine.yaml",
    ),
    file("a lock beside standard input", &[("recipe.yaml", GOOD)], "imgforge lock - < recipe.yaml"),
    file(
        "a mistake on standard input",
        &[("recipe.yaml", "base: debian-bookworm\npakcages: [numpy]\n")],
        "imgforge plan - < recipe.yaml",
    ),
    file("nothing on standard input", &[], "imgforge plan - < /dev/null"),
];
