# https://just.systems: `just` lists the recipes, `just check` is the one to run before a push.

# List the recipes.
default:
    @just --list

# Everything that must hold before a push: format, lints, tests, documentation, licences and advisories.
check: format-check lint test docs deny

# Format all code.
format:
    cargo fmt --all

format-check:
    cargo fmt --all --check

# Clippy with the lints of the workspace, over tests and benchmarks too; a warning is a failure.
lint:
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

# All tests: with cargo-nextest where it is installed, else with cargo. Nextest leaves out the examples in documentation.
test *options:
    #!/bin/sh
    set -eu
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --locked --no-tests=pass {{ options }}
        cargo test --workspace --locked --doc
    else
        cargo test --workspace --locked {{ options }}
    fi

# Ours beside valkey-server or redis-server; see docs/BENCHMARKS.md. For example: just bench --quick --only get,set
bench *options:
    cargo bench --locked --bench redis_comparison -- {{ options }}

# Documentation of the code, where a broken link is a failure. (The pages that are generated are kept current by tests.)
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

# Licences, advisories and sources of all dependencies, as deny.toml wants them. Needs the network for the advisories.
deny:
    #!/bin/sh
    set -eu
    if cargo deny --version >/dev/null 2>&1; then
        cargo deny --all-features check
    else
        echo "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)"
    fi
