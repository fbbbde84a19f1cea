# Sourced by the scripts beside it: finds Python, and makes the environment `.venv` of this clone.
# shellcheck shell=bash

unset CDPATH # with it, `cd` prints where it went
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
venv=$root/.venv
constraints=$root/constraints.txt

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
    wanted="$made $(cat "$root/pyproject.toml" "${constraints:-/dev/null}" | sha256sum) "
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

# Makes the dev environment beside the usual one, in .venv-newest, of the newest versions that there are, and says which
# of them are others than the tested ones.
ensure_newest_environment() {
    local tested=$constraints
    venv=$root/.venv-newest constraints=
    ensure_environment dev
    run_pip "$venv/bin/python" --upgrade --upgrade-strategy eager --editable "$root[dev]" ||
        die "the newest versions could not be installed, the lines above say why"
    echo "newer than constraints.txt, or not in it:" >&2
    "$venv/bin/python" -m pip freeze --disable-pip-version-check --exclude-editable |
        grep -vxFf "$tested" >&2 || echo "nothing" >&2
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
    SECONDS=0
    rm -f "$venv/.gpujobs-installed"
    if [ "$(cat "$venv/.gpujobs-made" 2>/dev/null)" != "$made" ]; then
        rm -rf "$venv"
        "$python" -m venv "$venv" || die "$python could not make $venv; the lines above say why"
        echo "$made" >"$venv/.gpujobs-made"
    fi
    run_pip "$venv/bin/python" ${constraints:+--constraint "$constraints"} --editable "$root${extras:+[$extras]}" ||
        die "the installation failed, the lines above say why; run this again to go on"
    echo "$wanted$extras" >"$venv/.gpujobs-installed"
    echo "the environment is ready after $SECONDS s" >&2
}

# Installs by this Python's pip; on a terminal it says what it does, and for how long already, elsewhere a line now
# and then.
# Usage: run_pip PYTHON ARGUMENT…
run_pip() {
    local interpreter=$1
    shift
    if [ -t 2 ]; then
        "$interpreter" -m pip install --progress-bar off --disable-pip-version-check "$@" | show_progress >&2
    else
        "$interpreter" -m pip install --progress-bar off --disable-pip-version-check "$@" | show_steps >&2
    fi
}

# A line for each package that is downloaded, and below them what is being done, with the seconds so far.
show_progress() {
    local line='' what='looking for the packages' count=0 status
    while :; do
        status=0
        IFS= read -r -t 1 line || status=$?
        if [ "$status" -gt 128 ]; then # a second without news
            printf '\r\033[K%5d s  %s …' "$SECONDS" "$what"
            continue
        elif [ "$status" != 0 ]; then
            break
        fi
        case $line in
        *.metadata*) ;;
        *Downloading*.whl*'('* | *Downloading*.tar.gz*'('* | *'Using cached'*'('*)
            count=$((count + 1)) line=${line#"${line%%[![:space:]]*}"} line=${line//https:*\//}
            printf '\r\033[K%5d s  %3d  %s\n' "$SECONDS" "$count" "$line"
            ;;
        *'Installing collected packages'*)
            what="unpacking $count packages"
            ;;
        Collecting*)
            what=${line%% (from*}
            ;;
        esac
        printf '\r\033[K%5d s  %s …' "$SECONDS" "$what"
    done
    printf '\r\033[K'
}

# What is being done, a line at most every `GPUJOBS_STEP_SECONDS` (15), for a log or a pipe.
show_steps() {
    local line='' what='looking for the packages' count=0 status every=${GPUJOBS_STEP_SECONDS:-15} said=$SECONDS
    while :; do
        status=0
        IFS= read -r -t 1 line || status=$?
        if [ "$status" -le 128 ] && [ "$status" != 0 ]; then break; fi
        case $line in
        *.metadata*) ;;
        *Downloading*.whl*'('* | *Downloading*.tar.gz*'('* | *'Using cached'*'('*)
            count=$((count + 1)) line=${line#"${line%%[![:space:]]*}"} what="$count package$(if [ "$count" -gt 1 ]; then echo s; fi) fetched, the last: ${line//https:*\//}"
            ;;
        *'Installing collected packages'*) what="unpacking $count packages" ;;
        esac
        if [ $((SECONDS - said)) -ge "$every" ]; then
            printf '%5d s  %s\n' "$SECONDS" "$what"
            said=$SECONDS
        fi
    done
}

# How this clone's command is called from where the caller is.
command_here() {
    if [ "$(command -v gpujobs)" = "$venv/bin/gpujobs" ]; then echo gpujobs; else shortest "$venv/bin/gpujobs"; fi
}

# A path below the working directory without it.
shortest() {
    case $1 in "$PWD"/*) printf '%s\n' "${1#"$PWD"/}" ;; *) printf '%s\n' "$1" ;; esac
}
