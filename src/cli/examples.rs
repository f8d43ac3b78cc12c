//! The examples below the help of each command: a test of `tests/it/docs.rs` has the program read each of them.

/// The first example of a command that needs arguments.
pub(super) fn first(command: &str) -> Option<&'static str> {
    let examples = match command {
        "inspect" => INSPECT,
        "sbom" => SBOM,
        "check" => CHECK,
        "diff" => DIFF,
        "copy" => COPY,
        "verify" => VERIFY,
        "rebase" => REBASE,
        _ => return None,
    };
    let line = examples.lines().nth(1)?;
    Some(line.split("  #").next().unwrap_or(line).trim())
}

/// Those of `imgforge init`.
pub(super) const INIT: &str = "\
Examples:
  imgforge init                      # recipe.yaml, from what is in this directory
  imgforge init gpu.yaml --force     # another file, replaced
  imgforge init - | imgforge plan -  # what it would become";

/// Those of `imgforge build`.
pub(super) const BUILD: &str = "\
Examples:
  imgforge build recipe.yaml                                           # to out/recipe, an OCI layout
  imgforge build recipe.yaml -o docker-daemon:app:v1                   # into Docker, without a registry
  imgforge build recipe.yaml -o docker-daemon:app:v1 --run -- python3  # and start it
  imgforge build recipe.yaml -o docker://registry.example/team/app:v1  # pushed
  imgforge build recipe.yaml --cache docker://registry.example/cache   # layers that machines share
  imgforge build recipe.yaml -o oci-archive:app.tar --locked           # a file, as the lock says
  imgforge build recipe.yaml --platform linux/arm64                    # one of the recipe's platforms
  imgforge init - | imgforge build - -o podman:app                     # a recipe from standard input";

/// Those of `imgforge plan`.
pub(super) const PLAN: &str = "\
Examples:
  imgforge plan recipe.yaml             # versions, sources of CUDA, layers, and why
  imgforge plan recipe.yaml --json      # the same as JSON, which `imgforge diff` takes
  imgforge plan recipe.yaml --platform linux/arm64
  imgforge plan - < recipe.yaml         # paths begin at the working directory";

/// Those of `imgforge lock`.
pub(super) const LOCK: &str = "\
Examples:
  imgforge lock recipe.yaml                          # recipe.lock, keeping what still fits
  imgforge lock recipe.yaml --upgrade                # everything anew
  imgforge lock recipe.yaml --upgrade=transformers   # this one, and what it needs
  imgforge lock recipe.yaml --upgrade=base           # what the base's tag names now
  imgforge lock recipe.yaml --layers                 # the digest of every layer as well
  imgforge lock recipe.yaml --format pylock          # pylock.toml, for uv pip install -r";

/// Those of `imgforge inspect`.
pub(super) const INSPECT: &str = "\
Examples:
  imgforge inspect docker://nvidia/cuda:12.8.1-runtime-ubuntu24.04
  imgforge inspect docker-daemon:app:v1 --json
  imgforge inspect oci:out/app --record images/app.yaml  # a base whose plans need not look into it";

/// Those of `imgforge sbom`.
pub(super) const SBOM: &str = "\
Examples:
  imgforge sbom oci:out/app > app.spdx.json
  imgforge sbom docker://registry.example/team/app:v1 --format cyclonedx-json
  imgforge build recipe.yaml -o docker://registry.example/app:v1 --sbom spdx-json  # attached to it";

/// Those of `imgforge check`.
pub(super) const CHECK: &str = "\
Examples:
  imgforge check docker-daemon:app:v1
  imgforge check oci:out/app --gpu T4,H100 --driver 550.54.15  # will it run there?
  imgforge check oci:out/app --import                          # imports, in a sandbox
  imgforge check oci:out/app --graph app.html                  # who loads which library of CUDA
  imgforge check oci:out/app --platform linux/arm64            # of an index
  imgforge check oci:out/app --format github                   # annotations for GitHub Actions";

/// Those of `imgforge diff`.
pub(super) const DIFF: &str = "\
Examples:
  imgforge diff docker://registry.example/team/app:v1 recipe.yaml  # what a build would change
  imgforge diff oci:out/before oci:out/after --json";

/// Those of `imgforge copy`.
pub(super) const COPY: &str = "\
Examples:
  imgforge copy oci:out/app docker://registry.example/team/app:v1  # push what is built
  imgforge copy docker-daemon:app:v1 oci-archive:app.tar           # for a machine without network
  imgforge copy docker://python:3.12-slim oci:python --platform linux/arm64
  imgforge copy --all oci:out/app docker://registry.example/team/app  # every platform, with signatures and bills";

/// Those of `imgforge verify`.
pub(super) const VERIFY: &str = "\
Examples:
  imgforge verify docker://registry.example/team/app:v1 --key cosign.pub
  imgforge verify oci:out/app --key cosign.pub && imgforge copy oci:out/app docker-daemon:app:v1";

/// Those of `imgforge outdated`.
pub(super) const OUTDATED: &str = "\
Examples:
  imgforge outdated recipe.yaml         # a table: locked, allowed by the recipe, newest
  imgforge outdated recipe.yaml --json  # for a bot that opens pull requests";

/// Those of `imgforge rebase`.
pub(super) const REBASE: &str = "\
Examples:
  imgforge rebase docker://registry.example/app:v1 --base docker://python:3.12-slim -o oci:out/app
  imgforge rebase oci:out/app --base oci:out/debian -o oci:out/app:patched --sign-by cosign.key";

/// Those of `imgforge matrix`.
pub(super) const MATRIX: &str = "\
Examples:
  imgforge matrix lock matrix.yaml                      # a lock for every image, in matrix.locks/
  imgforge matrix plan matrix.yaml --shards 4           # the images, and the split of their layers
  imgforge matrix layers matrix.yaml --locked --shard 1/4 --cache docker://registry.example/cache
  imgforge matrix images matrix.yaml --locked --shard 1/4 --cache docker://registry.example/cache";

/// Those of `imgforge cache`.
pub(super) const CACHE: &str = "\
Examples:
  imgforge cache info
  imgforge cache prune --keep-size 50GiB
  imgforge cache prune --older-than 7d --dry-run
  imgforge cache verify
  imgforge cache prune docker://registry.example/team/cache --older-than 30d
  imgforge cache audit docker://registry.example/team/cache --recipe recipe.yaml --sample 10%";

/// Those of `imgforge completions`.
pub(super) const COMPLETIONS: &str = "\
Examples:
  imgforge completions bash > ~/.local/share/bash-completion/completions/imgforge
  imgforge completions zsh > ~/.zfunc/_imgforge";

/// Those of `imgforge schema`.
pub(super) const SCHEMA: &str = "\
Examples:
  imgforge schema > recipe.schema.json   # then, first in a recipe:
                                         # yaml-language-server: $schema=recipe.schema.json
  imgforge schema findings               # of `imgforge check --json`";

/// Those of `imgforge man`.
pub(super) const MAN: &str = "\
Examples:
  imgforge man ~/.local/share/man/man1   # then: man imgforge-build";
