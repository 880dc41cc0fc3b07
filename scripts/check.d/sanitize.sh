# What the sanitizer runs share: sourced by the programs of this folder, never run. Sets `root`.
# shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# The packages that are checked out already: a second scratch path need not fetch them again.
share_checkouts() { # SCRATCH
    local part
    mkdir -p "$1"
    for part in checkouts repositories artifacts workspace-state.json; do
        if [ -e "$root/.build/$part" ] && [ ! -e "$1/$part" ]; then cp -a "$root/.build/$part" "$1/"; fi
    done
}

# sanitized SANITIZER SEEDS [TEST...]: all tests and, with that many seeds for each family, all schedules, built with the sanitizer.
# Without the planted bugs, which so few seeds need not meet: scripts/test looks for those.
# Nor, among the tests, those that run a release binary (the schedules are run here, attacks by scripts/check.d/attacks), and
# those named last, regular expressions for `swift test --skip`.
# Uses .build/SANITIZER. Its options are to stand in TSAN_OPTIONS or ASAN_OPTIONS already.
sanitized() {
    local sanitizer=$1 seeds=$2 scratch=$root/.build/$1-sanitizer status=0 test
    local -a left_out=(--skip 'StreamhostTests\.(ScheduleTests|AttackTests)')
    for test in "${@:3}"; do left_out+=(--skip "$test"); done
    local -a build=(swift build --package-path "$root" --scratch-path "$scratch" --sanitize="$sanitizer")
    need_swift
    need_lua
    share_checkouts "$scratch"
    nice "${build[@]}" --build-tests || return 1
    export STREAMHOST_BINARY=$scratch/debug/streamhost
    export STREAMHOST_SCHEDULES=$scratch/debug/run-schedules
    echo "-- schedules, $seeds seeds each"
    nice "$STREAMHOST_SCHEDULES" --seeds "$seeds" --no-planted || status=1
    echo "-- tests"
    nice swift test --package-path "$root" --scratch-path "$scratch" --sanitize="$sanitizer" --skip-build \
        --no-parallel "${left_out[@]}" || status=1
    return "$status"
}
