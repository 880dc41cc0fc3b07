# Shared by the scripts of this folder: sourced, never run. Sets `root`, the top of the package.
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf 'streamhost: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# The comment block at the top of the script that runs is its help.
usage() { awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "this needs root, and there is no sudo: $*"
        return 1
    fi
}

# install_packages PACKAGE...: by apt-get; its output is shown only when it fails.
install_packages() {
    local log status=0
    command -v apt-get >/dev/null || { say "please install: $*"; return 1; }
    say "installing $* (apt-get)"
    log=$(mktemp)
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" \
        </dev/null >"$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then # the package lists may be missing or old
        status=0
        { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends "$@"; } </dev/null >>"$log" 2>&1 || status=$?
    fi
    if [ "$status" -ne 0 ]; then
        cat "$log" >&2
        say "could not install $*"
    fi
    rm -f "$log"
    return "$status"
}

need_swift() {
    command -v swift >/dev/null || die "there is no 'swift' on the PATH: install Swift 6.3 from swift.org"
}

# Asks the compiler, which knows its multiarch folders: it answers with a full path, or with the bare name.
has_lua() {
    local archive compiler=clang
    command -v clang >/dev/null || compiler=cc
    archive=$("$compiler" -print-file-name=liblua5.4.a 2>/dev/null || true)
    [ -f /usr/include/lua5.4/lua.h ] && [ "${archive#/}" != "$archive" ] && [ -f "$archive" ]
}

need_lua() {
    has_lua && return
    install_packages liblua5.4-dev || exit 1
    has_lua || die "liblua5.4-dev is installed, but its header or its static library is not where clang looks"
}

# Lua's own program: tests compare our library functions with its.
need_lua_program() {
    command -v lua5.4 >/dev/null && return
    install_packages lua5.4 || exit 1
}

# Builds .build/release/streamhost. Its output is shown only when it fails; a terminal shows its last line.
build_release() {
    local log status=0 build
    need_swift
    need_lua
    build=(swift build --package-path "$root" -c release --static-swift-stdlib --product streamhost)
    log=$(mktemp)
    if [ -x "$root/.build/release/streamhost" ]; then
        say "bringing the release build up to date"
    else
        say "building for release; the first time takes a few minutes"
    fi
    if [ -t 2 ]; then
        "${build[@]}" </dev/null 2>&1 | tee "$log" | while IFS= read -r line; do
            printf '\r\033[K%.78s' "$line" >&2
        done || status=$?
        printf '\r\033[K' >&2
    else
        "${build[@]}" </dev/null >"$log" 2>&1 || status=$?
    fi
    [ "$status" -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    [ "$status" -eq 0 ] || die "the build failed"
}
