# shellcheck shell=bash
# The Rust toolchain, for scripts that build. Source this, then call `ensure_cargo`.

ensure_cargo() {
  if command -v cargo >/dev/null; then return 0; fi
  if [[ -x ${HOME:-}/.cargo/bin/cargo ]]; then
    PATH=$HOME/.cargo/bin:$PATH
    return 0
  fi
  echo "Rust is missing: install it with rustup (https://rustup.rs), then run this again" >&2
  return 1
}
