//! Machines that are full, closed or out of reach.

use super::{GOOD, Mistake};

const fn on(title: &'static str, score: u8, command: &'static str) -> Mistake {
    Mistake { title, score, files: &[("recipe.yaml", GOOD)], command }
}

pub(super) const MISTAKES: &[Mistake] = &[
    on("standard output is full", 3, "imgforge -q plan recipe.yaml > /dev/full"),
    on("a full disk as the destination", 2, "imgforge -q build recipe.yaml -o oci-archive:- > /dev/full"),
    on("the store's directory cannot be made", 3, "IMGFORGE_CACHE_DIR=/proc/x imgforge -q plan recipe.yaml"),
    on("the destination cannot be written", 3, "imgforge -q build recipe.yaml -o oci:/proc/app"),
    on(
        "a directory of something else as the destination",
        3,
        "mkdir out && touch out/x && imgforge -q build recipe.yaml -o oci:out",
    ),
    on("a file as the destination's directory", 3, "touch out && imgforge -q build recipe.yaml -o oci:out"),
    on(
        "--offline with an empty store",
        3,
        "IMGFORGE_CACHE_DIR=$PWD/empty imgforge -q plan recipe.yaml --offline",
    ),
    on(
        "an index that nobody serves",
        3,
        "PIP_INDEX_URL=http://127.0.0.1:9/simple imgforge -q plan recipe.yaml",
    ),
    on("an index whose URL is none", 3, "PIP_INDEX_URL=nowhere imgforge -q plan recipe.yaml"),
    on("no engine", 3, "DOCKER_HOST=unix:///nowhere.sock imgforge -q build recipe.yaml -o docker-daemon:app"),
    on(
        "a cache in the environment that is none",
        3,
        "IMGFORGE_CACHE=host.test/cache imgforge build recipe.yaml --quiet",
    ),
    on("a cache that nobody serves", 3, "imgforge cache prune docker://127.0.0.1:9/cache"),
    on("a registry that nobody serves", 3, "imgforge inspect docker://127.0.0.1:9/app:v1"),
    on("a number of threads that is none", 3, "IMGFORGE_THREADS=many imgforge -q plan recipe.yaml"),
    on(
        "a file of a digest that cannot be written",
        3,
        "imgforge -q build recipe.yaml --digest-file /proc/digest",
    ),
    on(
        "another Python than an image's",
        3,
        "imgforge -q inspect docker://registry.test/team/base:v1 --python 3.9",
    ),
    on(
        "an image of another platform",
        3,
        "imgforge -q inspect docker://registry.test/team/base:v1 --platform linux/arm64",
    ),
    on("a file as the store", 3, "touch store && IMGFORGE_CACHE_DIR=store imgforge -q plan recipe.yaml"),
    on("a mirror that is no URL", 3, "IMGFORGE_DEBIAN_MIRROR=nowhere imgforge -q plan recipe.yaml"),
    on(
        "a directory as the metadata's file",
        3,
        "mkdir out && imgforge -q build recipe.yaml --metadata-file out",
    ),
    on("a key that is not there", 3, "imgforge -q build recipe.yaml -o oci:out --sign-by key.pem"),
    on("a key as an argument", 3, "imgforge -q build recipe.yaml --sign-by '-----BEGIN PRIVATE KEY-----'"),
    on(
        "a public key that shall sign",
        3,
        "printf -- '-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----\\n' > key.pub && \
         imgforge -q build recipe.yaml -o oci:out --sign-by key.pub",
    ),
    on(
        "an image that nobody signed",
        3,
        "printf -- '-----BEGIN PUBLIC KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWGmIVd0PeEuqHrOP+/sEoa77gIKN\\nVM+K9XkYK3Q4Pgcabi6eYDz++OnXfSeADp7/oMMhrIvjNbTvgZQ/VTCsnQ==\\n-----END PUBLIC KEY-----\\n' > key.pub && \
         imgforge -q verify docker://registry.test/team/base:v1 --key key.pub",
    ),
    on(
        "a bill beside an archive",
        3,
        "imgforge -q build recipe.yaml -o oci-archive:app.tar --sbom spdx-json",
    ),
    on("a format of bills that is none", 3, "imgforge -q sbom oci:out --format spdx"),
    on("what is outdated, without a lock", 3, "imgforge -q outdated recipe.yaml"),
    on(
        "another base for an image that others made",
        3,
        "imgforge -q rebase docker://registry.test/team/base:v1 --base docker://registry.test/team/base:v1",
    ),
];
