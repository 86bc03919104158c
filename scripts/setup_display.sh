#!/bin/sh
# Install the system libraries that Qt needs to open a window, and a virtual display for machines without a screen.
#
# Only Debian and its relatives are handled; elsewhere, and without the right to install, it says what is wanted.
set -eu

PACKAGES="xvfb xauth libegl1 libgl1 libopengl0 libglx-mesa0 libgl1-mesa-dri libdbus-1-3 libfontconfig1 libglib2.0-0
    libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0
    libxcb-shape0 libxcb-xfixes0 libxcb-xinerama0 libxcb-xinput0"

say() { printf '%s\n' "$*" >&2; }

[ "$(uname -s)" = Linux ] || exit 0 # macOS brings everything

if ! command -v apt-get >/dev/null; then
    say "Tests of windows need Xvfb and the xcb libraries of Qt. Install them with your package manager if such tests fail."
    exit 0
fi
# shellcheck disable=SC2086 # a list of words
dpkg -s $PACKAGES >/dev/null 2>&1 && exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    say "Tests of windows need some system libraries. Install them once with:"
    say "sudo apt-get install --no-install-recommends" $PACKAGES
    exit 0
fi
say "Installing the system libraries of Qt and a virtual display."
$as_root apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $PACKAGES >/dev/null
