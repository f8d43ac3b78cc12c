//! Mistakes in recipes and in the files that they name.

use super::{Mistake, recipe};

pub(super) const MISTAKES: &[Mistake] = &[
    recipe("a key is misspelt", 3, &[("recipe.yaml", "base: debian-bookworm\nframworks: {torch: 2.6.0}\n")]),
    recipe(
        "a list in place of a mapping",
        3,
        &[("recipe.yaml", "base: debian-bookworm\nframeworks: [torch==2.6.0]\n")],
    ),
    recipe(
        "a mapping in place of a list",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: {numpy: 1.26.4}\n")],
    ),
    recipe("a text in place of a list", 3, &[("recipe.yaml", "base: debian-bookworm\npackages: numpy\n")]),
    recipe(
        "a policy that is none",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\ncuda: {policy: shaerd}\n")],
    ),
    recipe(
        "a date that is none",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\nexclude-newer: yesterday\n")],
    ),
    recipe(
        "a component that is none",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\ncuda: {components: {cublsa: pip}}\n")],
    ),
    recipe(
        "a key twice",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\npackages: [pandas]\n")],
    ),
    recipe("a tab", 3, &[("recipe.yaml", "base: debian-bookworm\nframeworks:\n\ttorch: 2.6.0\n")]),
    recipe("a quote that stays open", 3, &[("recipe.yaml", "base: debian-bookworm\npackages: [\"numpy]\n")]),
    recipe("an empty file", 3, &[("recipe.yaml", "")]),
    recipe("a list at the top", 3, &[("recipe.yaml", "- base: debian-bookworm\n- packages: [numpy]\n")]),
    recipe("no base", 3, &[("recipe.yaml", "packages: [numpy]\n")]),
    recipe("nothing to install", 3, &[("recipe.yaml", "base: debian-bookworm\n")]),
    recipe(
        "a requirement that is none",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [\"numpy>=\"]\n")],
    ),
    recipe("a pin of conda", 3, &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy=1.26]\n")]),
    recipe(
        "a channel of conda",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [\"conda-forge::numpy\"]\n")],
    ),
    recipe(
        "pip's command in place of a requirement",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [pip install numpy]\n")],
    ),
    recipe(
        "several names in one entry",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy pandas]\n")],
    ),
    recipe(
        "pip's option among the packages",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [-r requirements.txt]\n")],
    ),
    recipe(
        "a version that is none",
        3,
        &[("recipe.yaml", "base: debian-bookworm\nframeworks: {torch: 2..6}\n")],
    ),
    recipe(
        "`apt:`, `run:`, `pip:`, `FROM:`",
        3,
        &[("recipe.yaml", "FROM: python:3.12\napt: [ffmpeg]\npip: [numpy]\nrun: [ldconfig]\n")],
    ),
    recipe(
        "`system_packages` and `python_version`",
        3,
        &[(
            "recipe.yaml",
            "base: debian-bookworm\nsystem_packages: [ffmpeg]\npython_version: 3.11\npackages: [numpy]\n",
        )],
    ),
    recipe(
        "`ports:` and `env:` at the top",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\nports: [8888]\nenv: {A: b}\n")],
    ),
    recipe(
        "`gpu: true` and `cuda_version`",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\ngpu: true\ncuda_version: 12.4\n")],
    ),
    recipe("`cuda: 12.4`", 3, &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\ncuda: 12.4\n")]),
    recipe("`cuda: true`", 3, &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\ncuda: true\n")]),
    recipe(
        "`platform:` and `tag:`",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\nplatform: linux/arm64\ntag: v1\n")],
    ),
    recipe(
        "`platforms:` by the names of machines",
        3,
        &[(
            "recipe.yaml",
            "base: debian-bookworm\npackages: [numpy]\nplatforms: [x86_64, arm64, windows/amd64]\n",
        )],
    ),
    recipe("a framework at the top", 3, &[("recipe.yaml", "base: debian-bookworm\ntorch: 2.6.0\n")]),
    recipe(
        "variables as a list",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\nconfig: {env: [A=b]}\n")],
    ),
    recipe(
        "a command as a text",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\nconfig: {cmd: python3 main.py}\n")],
    ),
    recipe(
        "`src:` and `dest:` of files",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\nfiles: [{src: app, dest: /app}]\n")],
    ),
    recipe(
        "a user that nobody makes",
        3,
        &[(
            "recipe.yaml",
            "base: debian-bookworm\npackages: [numpy]\nfiles: [{from: recipe.yaml, to: /r.yaml, owner: app}]\n",
        )],
    ),
    recipe(
        "a missing requirements file",
        3,
        &[("recipe.yaml", "base: debian-bookworm\nrequirements: [gone.txt]\n")],
    ),
    recipe(
        "a missing file to copy",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\nfiles: [{from: gone, to: /gone}]\n")],
    ),
    recipe(
        "a requirements file that is none",
        3,
        &[
            ("recipe.yaml", "base: debian-bookworm\nrequirements: [all.txt]\n"),
            ("all.txt", "a?\nb?\nc?\nd?\ne?\nf?\ng?\nh?\ni?\nj?\nk?\nl?\n"),
        ],
    ),
    recipe(
        "a requirement in an environment of conda",
        3,
        &[
            ("recipe.yaml", "base: debian-bookworm\nrequirements: [environment.yml]\n"),
            ("environment.yml", "dependencies:\n  - pytorch\n  - pip:\n      - numpy>>2\n"),
        ],
    ),
    recipe(
        "a lock of pipenv as requirements",
        3,
        &[("recipe.yaml", "base: debian-bookworm\nrequirements: [Pipfile.lock]\n")],
    ),
    recipe(
        "an editable requirement",
        3,
        &[
            ("recipe.yaml", "base: debian-bookworm\nrequirements: [requirements.txt]\n"),
            ("requirements.txt", "-e .\n"),
        ],
    ),
    recipe(
        "a hash that fits nothing",
        2,
        &[
            ("recipe.yaml", "base: debian-bookworm\nrequirements: [requirements.txt]\n"),
            (
                "requirements.txt",
                "numpy==2.2.0 --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
            ),
        ],
    ),
    recipe("a base that is misspelt", 3, &[("recipe.yaml", "base: debian-bookwrm\npackages: [numpy]\n")]),
    recipe(
        "a base whose layout is missing",
        3,
        &[("recipe.yaml", "base: oci:out/base\npackages: [numpy]\n")],
    ),
    recipe(
        "an image of a local storage as a base",
        3,
        &[("recipe.yaml", "base: containers-storage:ubuntu\npackages: [numpy]\n")],
    ),
    recipe(
        "an image whose name is none as a base",
        3,
        &[("recipe.yaml", "base: Ubuntu:24.04\npackages: [numpy]\n")],
    ),
    recipe(
        "a Debian package that is misspelt",
        3,
        &[("recipe.yaml", "base: debian-bookworm\nsystem-packages: [pythn3]\n")],
    ),
    recipe(
        "a suite that is none",
        3,
        &[(
            "recipe.yaml",
            "base: {suites: [bookwrm], mirror: http://index.test/debian, signed-by: [../archive.asc], packages: [python3]}\npackages: [numpy]\n",
        )],
    ),
    recipe("a project that is misspelt", 3, &[("recipe.yaml", "base: debian-bookworm\npackages: [torhc]\n")]),
    recipe(
        "a project by the name of its module",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [sklearn]\n")],
    ),
    recipe(
        "a version that does not exist",
        3,
        &[("recipe.yaml", "base: debian-bookworm\nframeworks: {torch: 2.6.99}\n")],
    ),
    recipe(
        "versions that exclude each other",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [pandas, \"numpy<2\"]\n")],
    ),
    recipe(
        "a framework and a companion of another version",
        3,
        &[("recipe.yaml", "base: debian-bookworm\nframeworks: {torch: 2.7.0}\npackages: [torchvision]\n")],
    ),
    recipe(
        "wheels for other Pythons and systems only",
        3,
        &[("recipe.yaml", "base: debian-bookworm\nframeworks: {tensorflow: 2.10.0}\n")],
    ),
    recipe(
        "a project of source distributions",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [antlr4-runtime]\n")],
    ),
    recipe("a project without files", 3, &[("recipe.yaml", "base: debian-bookworm\npackages: [hollow]\n")]),
    recipe(
        "another Python than the base's",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npython: \"3.10\"\npackages: [numpy]\n")],
    ),
    recipe(
        "an index that wants a login",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [private]\n")],
    ),
    recipe(
        "an index that forbids a project",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [forbidden]\n")],
    ),
    recipe(
        "an index that is no URL",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\nindexes: [nowhere]\n")],
    ),
    recipe(
        "a wheel that is not there",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [./dist/app-1.0-py3-none-any.whl]\n")],
    ),
    recipe("a directory that is no project", 3, &[("recipe.yaml", "base: debian-bookworm\npackages: [.]\n")]),
    recipe(
        "a driver that is none",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\ncuda: {driver: newest}\n")],
    ),
    recipe(
        "a GPU that is none",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\ncuda: {gpus: [A10000]}\n")],
    ),
    recipe(
        "a machine's name of an architecture",
        3,
        &[(
            "recipe.yaml",
            "base: {suites: [bookworm], packages: [python3], architecture: x86_64}\npackages: [numpy]\n",
        )],
    ),
    recipe(
        "a rule to ignore that is none",
        3,
        &[(
            "recipe.yaml",
            "base: debian-bookworm\npackages: [numpy]\nignore: [{rule: brokn-link, path: /x, reason: y}]\n",
        )],
    ),
    recipe(
        "a tag that a registry does not have",
        3,
        &[("recipe.yaml", "base: registry.test/team/base:v9\npackages: [numpy]\n")],
    ),
    recipe(
        "a repository that a registry does not have",
        3,
        &[("recipe.yaml", "base: registry.test/team/other:v1\npackages: [numpy]\n")],
    ),
    recipe(
        "lists where one value is wanted",
        3,
        &[(
            "recipe.yaml",
            "base: debian-bookworm\npackages: [numpy]\ncuda: {policy: [shared]}\nconfig: {env: {A: [1]}}\nannotations: {a: {b: c}}\n",
        )],
    ),
    recipe(
        "the level of zstd as a key",
        3,
        &[(
            "recipe.yaml",
            "base: debian-bookworm\npackages: [numpy]\nlayers: {compression: zstd, level: 9}\n",
        )],
    ),
    recipe(
        "a GPU as compilers write it",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\ncuda: {gpus: [sm_90, H1000000]}\n")],
    ),
    recipe(
        "a directory of requirements",
        3,
        &[
            ("recipe.yaml", "base: debian-bookworm\nrequirements: [requirements]\n"),
            ("requirements/base.txt", "numpy\n"),
        ],
    ),
    recipe(
        "a port, a volume and a signal that are none",
        3,
        &[(
            "recipe.yaml",
            "base: debian-bookworm\npackages: [numpy]\nconfig: {ports: [http, 99999], volumes: [data], stop-signal: TERMINATE}\n",
        )],
    ),
    recipe(
        "a size, a compression and a mode that are none",
        3,
        &[(
            "recipe.yaml",
            "base: debian-bookworm\npackages: [numpy]\nlayers: {max-size: 500mb, compression: lz4}\nfiles: [{from: recipe.yaml, to: app/x, mode: 999}]\n",
        )],
    ),
    recipe(
        "a digest that is none",
        3,
        &[("recipe.yaml", "base: registry.test/team/base@sha256:abc\npackages: [numpy]\n")],
    ),
    recipe(
        "an archive of Python that is not there",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\npython: {from: gone.tar.gz}\n")],
    ),
    recipe(
        "a second document",
        3,
        &[("recipe.yaml", "base: debian-bookworm\npackages: [numpy]\n---\nbase: x\n")],
    ),
    recipe("a base without a tag", 3, &[("recipe.yaml", "base: ubuntu\npackages: [numpy]\n")]),
];
