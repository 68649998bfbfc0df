# shellcheck shell=bash
# What the scripts share: finding, installing and building. Sourced, never run.
#
# Everything here says what it does before it does it, and does nothing that is already done: when all is in
# place, none of it touches the network.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
NODE_FLOOR=20.19.0
RUST_FLOOR=1.95.0
STAMPS=$ROOT/.run/stamps

say() { printf '%s: %s\n' "${SCRIPT:-plenary}" "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# at_least FLOOR VERSION
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# packages COMMAND:PACKAGE… installs the Debian packages of the commands that are missing.
packages() {
  local pair missing=() names=()
  for pair in "$@"; do
    have "${pair%%:*}" && continue
    names+=("${pair%%:*}")
    missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  have apt-get || die "missing: ${names[*]}; install them with this system's package manager and run again"
  [ "$(id -u)" = 0 ] || die "missing: ${names[*]}; no rights to install: run 'sudo apt-get install ${missing[*]}' and run again"
  say "installing ${missing[*]} (for ${names[*]})"
  local log=$ROOT/.run/apt.log
  mkdir -p "$ROOT/.run"
  if ! DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; then
    apt-get update >"$log" 2>&1 </dev/null || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1 </dev/null ||
      die "could not install ${missing[*]}: $(tail -n 1 "$log") (all of it in $log)"
  fi
}

need_rust() {
  have cargo || die "missing: cargo $RUST_FLOOR or newer; install Rust (rustup) and run again"
  local version
  version=$(rustc --version | cut -d' ' -f2)
  at_least "$RUST_FLOOR" "$version" || die "rustc $version is too old: $RUST_FLOOR or newer is needed (rustup update)"
  packages cc:build-essential python3:python3
}

need_node() {
  have node || packages node:nodejs npm:npm
  have npm || packages npm:npm
  local version
  version=$(node --version) && version=${version#v}
  at_least "$NODE_FLOOR" "$version" || die "node $version is too old: $NODE_FLOOR or newer is needed for the web client"
}

# digest FOLDER: one hash over the files of a folder, without what is made from them.
digest() {
  (cd "$1" && find . \( -name node_modules -o -name dist \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

# stamped NAME HASH / stamp NAME HASH: what was made last, from what.
stamped() { [ "$(cat "$STAMPS/$1" 2>/dev/null)" = "$2" ]; }
stamp() { mkdir -p "$STAMPS" && printf '%s\n' "$2" >"$STAMPS/$1"; }

# npm_packages FOLDER: npm ci, unless the packages are those of the lock file.
npm_packages() {
  local name=npm-${1//\//-} hash
  hash=$(sha256sum "$ROOT/$1/package-lock.json" | cut -d' ' -f1)
  [ -d "$ROOT/$1/node_modules" ] && stamped "$name" "$hash" && return
  say "installing the npm packages of $1"
  (cd "$ROOT/$1" && npm ci --no-audit --no-fund --loglevel=error </dev/null >&2) || die "npm ci in $1 failed (is the package registry reachable?)"
  stamp "$name" "$hash"
}

# The web client, built where it is older than its sources.
web() {
  local hash
  need_node
  hash=$(digest "$ROOT/api/web")
  [ -f "$ROOT/api/web/dist/index.html" ] && stamped web "$hash" && return
  npm_packages api/web
  say "building the web client"
  (cd "$ROOT/api/web" && npm run --silent build </dev/null >&2) || die "the web client does not build"
  stamp web "$hash"
}

# The crates of Cargo.lock, downloaded unless they are here.
crates() {
  cargo fetch --locked --offline --manifest-path "$ROOT/Cargo.toml" >/dev/null 2>&1 </dev/null && return
  say "downloading crates"
  cargo fetch --locked --manifest-path "$ROOT/Cargo.toml" </dev/null >&2 || die "could not download the crates of Cargo.lock (is the crate registry reachable?)"
}

# profile_dir PROFILE: where cargo puts what it builds.
profile_dir() {
  local target=${CARGO_TARGET_DIR:-$ROOT/target}
  case $1 in
    dev) printf '%s/debug\n' "$target" ;;
    release) printf '%s/release\n' "$target" ;;
    measure) printf '%s/measure\n' "$target" ;;
    *) die "--profile $1: expected 'dev' or 'release'" ;;
  esac
}

# binary PROFILE: builds `plenary`; its path is in $PLENARY_BIN afterwards.
binary() {
  PLENARY_BIN=$(profile_dir "$1")/plenary
  export PLENARY_BIN
  [ -x "$PLENARY_BIN" ] || say "building plenary ($1); a first build takes some minutes"
  cargo build --quiet --locked --offline --manifest-path "$ROOT/Cargo.toml" --profile "$1" -p plenary --bin plenary </dev/null >&2 ||
    die "plenary does not build"
}

# The loopback interface, up: a new network namespace starts with it down.
loopback() {
  # Under a plain `unshare -n` /sys still speaks of the host, so the kernel is asked.
  if have ip; then
    case $(ip -o link show lo 2>/dev/null) in *[,\<]UP[,\>]*) return ;; esac
  else
    case $(cat /sys/class/net/lo/operstate 2>/dev/null) in down) ;; *) return ;; esac
  fi
  say "bringing the loopback interface up"
  ip link set lo up || die "the loopback interface is down and this user has no right to bring it up: run 'ip link set lo up' as root"
}

# port_is_free PORT on 127.0.0.1
port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# copy_of_tree FOLDER: the files of this tree as they are now, committed or not, in a new folder.
copy_of_tree() {
  packages git:git patch:patch
  rm -rf "$1" && mkdir -p "$1"
  # With new times (-m): cargo must not take what an earlier copy left for built from this one.
  (cd "$ROOT" && git ls-files -z --cached --others --exclude-standard | tar -c --null -T -) | tar -xm -C "$1"
}

# plant NAME FOLDER: a regression of tests/count/planted in a copy of the tree.
plant() {
  local patch=$ROOT/tests/count/planted/$1.patch
  [ -f "$patch" ] || die "there is no planted '$1' (of $(cd "$ROOT/tests/count/planted" && basename -s .patch -- * | paste -sd' '))"
  patch --quiet -p1 -d "$2" <"$patch" || die "$patch does not apply; write it anew"
}
