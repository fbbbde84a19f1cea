# Sourced by the scripts beside it: finds Python, and makes the environment `.venv` of this clone.
# shellcheck shell=bash

unset CDPATH # with it, `cd` prints where it went
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
venv=$root/.venv

die() {
    printf '%s: %s\n' "$(basename -- "$0")" "$*" >&2
    exit 4
}

# Prints the first Python from 3.11 to 3.13 on the PATH that can make environments.
find_python() {
    local candidate unable=
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
        unable=${unable:-$candidate}
    done
    if [ -n "$unable" ]; then
        die "$unable cannot make virtual environments (its venv or ensurepip module is missing);" \
            "install it (Debian, Ubuntu: apt install" \
            "$("$unable" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')), then run this again"
    fi
    die "no Python 3.11, 3.12 or 3.13 is on the PATH ($(python3 --version 2>/dev/null || echo "no python3 at all"));" \
        "install one (Debian, Ubuntu: apt install python3 python3-venv), then run this again"
}

has_nvidia_driver() {
    [ -e /proc/driver/nvidia/version ] || nvidia-smi -L >/dev/null 2>&1
}

# Makes .venv hold this project with the extras that are needed, once. Two notes in it make that safe: the
# first says for which Python and place it was made, the second, written at the very end, what was installed,
# so that an interrupted run is noticed and finished by the next one.
# Usage: ensure_environment [dev]
ensure_environment() {
    local extras=${1:-} python made wanted lock
    if has_nvidia_driver; then extras=${extras:+$extras,}cuda; fi
    python=$(find_python) || exit
    made="$("$python" --version) $root"
    wanted="$made $(sha256sum <"$root/pyproject.toml") "
    if is_installed "$wanted" "$extras"; then return; fi
    [ -w "$root" ] || die "$root cannot be written; the environment .venv is made there (clone it to a place of your own)"
    exec {lock}>"$root/.venv.lock"
    if ! flock --nonblock "$lock"; then
        echo "another run is making $venv; waiting for it" >&2
        flock "$lock" || die "the lock $root/.venv.lock could not be waited for"
    fi
    if ! is_installed "$wanted" "$extras"; then install "$python" "$made" "$wanted" "$extras"; fi
    exec {lock}>&-
}

# What was installed with the dev extra serves also those who do not need it.
is_installed() {
    local note=$venv/.gpujobs-installed
    [ -f "$note" ] && [ -x "$venv/bin/python" ] || return 1
    grep -qxF -e "$1$2" -e "$1dev${2:+,$2}" "$note"
}

install() {
    local python=$1 made=$2 wanted=$3 extras=$4
    echo "making the environment $venv: downloading TensorFlow and Ray takes some minutes, once" >&2
    rm -f "$venv/.gpujobs-installed"
    if [ "$(cat "$venv/.gpujobs-made" 2>/dev/null)" != "$made" ]; then
        rm -rf "$venv"
        "$python" -m venv "$venv" || die "$python could not make $venv; the lines above say why"
        echo "$made" >"$venv/.gpujobs-made"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root${extras:+[$extras]}" ||
        die "the installation failed, the lines above say why; run this again to go on"
    echo "$wanted$extras" >"$venv/.gpujobs-installed"
}
