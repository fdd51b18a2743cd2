#!/usr/bin/env bash
# Unpacks the arm64 builds of the libraries that Lethe links into DIR, for cmake/aarch64.cmake.
#
#   tools/make_aarch64_root.sh DIR
#
# Uses apt's configured sources with an index of its own beside DIR, so the packages installed on
# this machine, and its list of architectures, stay as they are; needs no root. Does nothing when
# DIR already holds this list.
set -euo pipefail

root=${1:?usage: tools/make_aarch64_root.sh DIR}
packages="libfmt-dev libfmt9 libsimdjson-dev libsimdjson14 libicu-dev libicu72 libpcre2-dev
  libpcre2-8-0 libboost1.81-dev libedit-dev libedit2 libbsd0 libmd0 libtinfo6 liburing-dev liburing2
  libgtest-dev libgmock-dev
  nlohmann-json3-dev libcli11-dev"
packages=$(echo $packages)  # one line
if [[ -f $root/packages && $(<"$root/packages") == "$packages" ]]; then
  exit 0
fi

rm -rf "$root" "$root.apt"
mkdir -p "$root" "$root.apt"/{lists,cache}/partial "$root.apt/debs"
apt=$(cd "$root.apt" && pwd)
touch "$apt/status"
options=(-q -o APT::Architecture=arm64 -o APT::Architectures::=arm64
  -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status"
  -o Dir::Cache="$apt/cache" -o APT::Sandbox::User="$(id -un)")
echo "Fetching arm64 packages: $packages"
apt-get "${options[@]}" update </dev/null
# shellcheck disable=SC2086  # packages is a list
(cd "$apt/debs" && apt-get "${options[@]}" download $packages </dev/null)
for deb in "$apt"/debs/*.deb; do
  dpkg-deb -x "$deb" "$root"
done
echo "$packages" >"$root/packages"
rm -rf "$apt"
