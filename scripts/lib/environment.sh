# Sourced by the scripts beside it: finds Python, and makes the environment `.venv` of this clone.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=$root/.venv

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 4
}

# Prints the first Python from 3.11 to 3.13 on the PATH.
find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "no Python 3.11, 3.12 or 3.13 is on the PATH (python3 is $(python3 --version 2>&1)); install one" \
        "(Debian, Ubuntu: apt install python3 python3-venv), then run this again"
}

has_nvidia_driver() {
    [ -e /proc/driver/nvidia/version ] || nvidia-smi -L >/dev/null 2>&1
}

# Makes .venv hold this project with the extras that are needed, once: what it was made from is noted at the
# very end, so that an interrupted run is noticed and finished by the next one.
# Usage: ensure_environment [dev]
ensure_environment() {
    local extras=${1:-} python wanted note=$venv/.gpujobs-environment lock
    if has_nvidia_driver; then extras=${extras:+$extras,}cuda; fi
    python=$(find_python) || exit
    wanted="$("$python" --version) $root $(sha256sum <"$root/pyproject.toml") "
    if [ -f "$note" ] && grep -qxF "$wanted$extras" "$note"; then return; fi
    # What was installed with more extras serves also those who need fewer.
    if [ -f "$note" ] && grep -qxF "${wanted}dev${extras:+,$extras}" "$note"; then return; fi
    exec {lock}>"$root/.venv.lock"
    flock "$lock" || die "another run is making $venv, and its lock could not be waited for"
    if [ -f "$note" ] && grep -qxF "$wanted$extras" "$note"; then return; fi
    echo "making the environment $venv (TensorFlow and Ray; takes some minutes, once)" >&2
    if ! [ -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$venv"
        "$python" -m venv "$venv" ||
            die "$python cannot make virtual environments; install its venv module (Debian, Ubuntu: apt install" \
                "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')), then run this again"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root${extras:+[$extras]}" ||
        die "the installation failed; the lines above say why"
    echo "$wanted$extras" >"$note"
    exec {lock}>&-
}
