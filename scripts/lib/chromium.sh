# Sourced by scripts/test: Debian's Chromium, in which the tests of the pages look at them.
# shellcheck shell=bash

# Installs it in the background where it is missing and can be, and waits for it a minute at most, also for the
# environment that is made meanwhile. Never fails: without it the tests of the pages are skipped, and say so.
# Usage: begin_chromium; …; await_chromium
chromium_installing=
begin_chromium() {
    if command -v chromium >/dev/null; then return; fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then return; fi
    chromium_log=$(mktemp -t gpujobs-chromium.XXXXXX) || return 0
    chromium_until=$(($(date +%s) + ${GPUJOBS_CHROMIUM_SECONDS:-60}))
    install_chromium </dev/null >"$chromium_log" 2>&1 &
    chromium_installing=$!
}

# What is fetched may be cut off; what unpacks is not, since half of a package is in the way of all others.
install_chromium() {
    timeout "${GPUJOBS_CHROMIUM_SECONDS:-60}" bash -c "$(declare -f apt_get fetch_chromium); fetch_chromium" || return
    apt_get install --no-download chromium
}

# A machine that has never listed the packages, or long ago, finds none at first.
fetch_chromium() {
    apt_get install --download-only chromium || { apt_get update && apt_get install --download-only chromium; }
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=5 "$@"
}

await_chromium() {
    if [ -z "$chromium_installing" ]; then return; fi
    while kill -0 "$chromium_installing" 2>/dev/null && [ "$(date +%s)" -lt "$chromium_until" ]; do sleep 0.2; done
    if kill -0 "$chromium_installing" 2>/dev/null; then
        echo "chromium is not installed yet; the tests go on without it ($chromium_log)" >&2
    elif wait "$chromium_installing"; then
        rm -f "$chromium_log"
    else
        echo "chromium cannot be installed: $(tail -n 1 "$chromium_log"); the tests of the pages are skipped ($chromium_log)" >&2
    fi
    return 0
}
