# Short names for the commands of this repository: `just` lists them. Nothing depends on this file.

[private]
default:
    @{{ just_executable() }} --list

# Format, lint and licences: what takes a minute, before every commit
check: lint
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    {{ tools }}/cargo-deny check licenses bans sources

# The Python and the shell scripts; `just lint --fix` mends them
lint *ARGUMENTS:
    tests/lint {{ ARGUMENTS }}

# The tests, all or those that match FILTER
test *FILTER:
    tests/run {{ FILTER }}

# An acceptance on real downloads, as in `just accept kill --quick`
accept NAME *ARGUMENTS:
    tests/acceptance/{{ NAME }} {{ ARGUMENTS }}

# Builds side by side with those of other tools
bench *ARGUMENTS:
    tests/bench/build {{ ARGUMENTS }}

tools := env_var_or_default("CARGO_TARGET_DIR", "target") / "test-tools/venv/bin"
