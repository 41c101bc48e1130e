# shellcheck shell=bash
# Finds the Rust toolchain and builds programs with it. Source this, then call `ensure_cargo`.

ensure_cargo() {
  if ! command -v cargo >/dev/null; then
    if [[ ! -x ${HOME:-}/.cargo/bin/cargo ]]; then
      echo "Rust is missing: install it with rustup (https://rustup.rs), then run this again" >&2
      return 1
    fi
    PATH=$HOME/.cargo/bin:$PATH
  fi
  _use_installed_toolchain
}

# Builds the development binary, with cargo's progress shown, and runs it.
run_dev() {
  if [[ ! -x ${CARGO_TARGET_DIR:-target}/debug/renderhook-dev ]]; then
    echo "Building renderhook: the first build takes a few minutes" >&2
  fi
  cargo build --locked --package renderhook-dev
  exec cargo run --quiet --locked --package renderhook-dev -- "$@"
}

# If the pinned version is installed under another name (`stable`), uses that: rustup would download it again, or fail without a
# network.
_use_installed_toolchain() {
  local pinned name
  if [[ -n ${RUSTUP_TOOLCHAIN:-} ]] || ! command -v rustup >/dev/null; then return 0; fi
  pinned=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
  for name in $(rustup toolchain list --quiet); do
    if [[ $name == "$pinned"-* ]]; then return 0; fi
  done
  for name in $(rustup toolchain list --quiet); do
    if [[ $("$(rustup which --toolchain "$name" rustc)" --version) == "rustc $pinned "* ]]; then
      export RUSTUP_TOOLCHAIN=$name
      return 0
    fi
  done
}

# Sets `cargo_deny` to the program's path. Builds it into target/ if it is missing.
ensure_cargo_deny() {
  local version=0.20.2
  cargo_deny=$(command -v cargo-deny || echo target/tools/bin/cargo-deny)
  if [[ -x $cargo_deny ]]; then return 0; fi
  echo "cargo-deny is missing: building $version into target/tools, which takes about two minutes once" >&2
  # Without optimization it takes half the time, and still checks within seconds.
  cargo install --quiet --locked --debug cargo-deny --version "$version" --root target/tools --target-dir target/tools/build
  rm -rf target/tools/build
}
