# Sourced by scripts/test: promtool, which a test of /metrics asks what it thinks of them.
# shellcheck shell=bash

# Takes that one program out of Debian's package, without installing it, where it is missing and can be had, in the
# background, and waits for it a minute at most. Never fails: without it the test is skipped, and says so.
# Usage: begin_promtool; …; await_promtool
promtool_coming=
begin_promtool() {
    promtool_place="$root/build"
    if command -v promtool >/dev/null || [ -x "$promtool_place/promtool" ]; then return; fi
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then return; fi
    promtool_log=$(mktemp -t gpujobs-promtool.XXXXXX) || return 0
    (
        set -euo pipefail
        work=$(mktemp -d -t gpujobs-promtool.XXXXXX)
        trap 'rm -rf "$work"' EXIT
        cd "$work"
        timeout "${GPUJOBS_PROMTOOL_SECONDS:-60}" bash -c \
            'apt-get -q download prometheus || { [ "$(id -u)" = 0 ] && apt-get -q update && apt-get -q download prometheus; }'
        dpkg -x ./*.deb .
        mkdir -p "$promtool_place"
        mv usr/bin/promtool "$promtool_place/promtool"
    ) </dev/null >"$promtool_log" 2>&1 &
    promtool_coming=$!
}

await_promtool() {
    if [ -z "$promtool_coming" ]; then return; fi
    if wait "$promtool_coming"; then
        rm -f "$promtool_log"
    else
        echo "promtool cannot be had: $(tail -n 1 "$promtool_log"); its test is skipped ($promtool_log)" >&2
    fi
    return 0
}
