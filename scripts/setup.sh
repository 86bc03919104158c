#!/bin/sh
# Install napari-sam2 for development in .venv: `sh scripts/setup.sh base|dev|all`.
#
# PYTHON=/path/to/python3 chooses the interpreter. On Linux the build of torch without CUDA is taken where it can be had:
# it is a tenth of the size, and computes the same on a CPU.
set -eu
cd "$(dirname "$0")/.."

CPU_INDEX=https://download.pytorch.org/whl/cpu
extra=${1:-base}
torch=$(sed -n 's/^torch==/&/p' constraints-dev.txt)
python=.venv/bin/python

say() { printf '%s\n' "$*" >&2; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    say "napari-sam2 needs Python 3.11 or newer with its venv module, and found none. Install one (on Debian and Ubuntu:" \
        "apt-get install python3-venv), or name one: make PYTHON=/path/to/python3."
    return 1
}

pip() { "$python" -m pip --disable-pip-version-check "$@"; }

# Version that a plain install would take, without downloading it; empty if pip is too old to tell.
plain_torch_version() {
    pip install --quiet --dry-run --ignore-installed --no-deps --only-binary :all: --report - "$torch" 2>/dev/null |
        "$python" -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])' 2>/dev/null || true
}

install_cpu_torch() {
    "$python" -c 'from importlib.metadata import version; version("torch")' 2>/dev/null && return 0
    case $(plain_torch_version) in *+cpu) return 0 ;; esac
    pip install --quiet --retries 1 --timeout 15 --no-deps --index-url "$CPU_INDEX" "$torch" 2>/dev/null && return 0
    say "The CPU build of $torch cannot be had from $CPU_INDEX, so the one with CUDA is installed: several gigabytes to" \
        "download. If that is too much, stop here with Ctrl-C, install any torch in .venv yourself, and start again."
}

if ! "$python" -m pip --version >/dev/null 2>&1; then
    found=$(find_python)
    say "Making .venv with $found ($("$found" --version))."
    "$found" -m venv --clear .venv
fi
say "Installing napari-sam2 ($extra) in .venv; the first time this takes some minutes."
[ "$(uname -s)" != Linux ] || install_cpu_torch # elsewhere the plain build has no CUDA
case $extra in
    base) target=. ;;
    *) target=.[$extra] ;;
esac
pip install --quiet --constraint constraints-dev.txt --editable "$target"
