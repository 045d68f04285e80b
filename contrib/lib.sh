# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154
# What contrib/demo and contrib/check share: Debian packages, and builds. To be sourced by bash.

BUILD_PACKAGES=(gcc libc6-dev meson ninja-build pkgconf fuse3 libfuse3-dev libetpan-dev libssl-dev libsqlite3-dev zlib1g-dev
	libinih-dev libjansson-dev libseccomp-dev)
SERVER_PACKAGES=(dovecot-imapd dovecot-pop3d openssl python3)
# Packages that bring a server, and what systemd would start of it.
declare -A SERVER_UNITS=([dovecot-core]="dovecot.socket dovecot.service" [mailutils-pop3d]="mailutils-pop3d.service")

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "needs root for: $* (run as root, or install sudo)"
	fi
}

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null)" = "ii " ]
}

# apt_install NAME...: Debian starts a server as soon as it is installed. Its own way to say no is /usr/sbin/policy-rc.d;
# one that is there already is left to its owner.
apt_install() (
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'as_root rm -f $policy' EXIT
		printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null && as_root chmod 755 $policy
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
)

# disable_units UNIT...: the tests' servers are private; those of the system shall not run because of us, not after the next
# boot either.
disable_units() {
	[ -d /run/systemd/system ] || return 0
	as_root systemctl disable --quiet "$@" 2>/dev/null || true
}

# install_packages NAME...: installs those that are missing; when none is, it is done at once.
install_packages() {
	local missing=() servers=() name
	command -v dpkg-query >/dev/null || die "this script knows Debian's packages only; needed: $*"
	for name; do
		is_installed "$name" || missing+=("$name")
	done
	[ ${#missing[@]} -eq 0 ] && return
	echo "== installing: ${missing[*]}"
	for name in "${!SERVER_UNITS[@]}"; do
		is_installed "$name" || servers+=("$name")
	done
	apt_install "${missing[@]}" || die "apt-get failed"
	for name in "${servers[@]}"; do
		# shellcheck disable=SC2086  # several units
		disable_units ${SERVER_UNITS[$name]}
	done
}

# set_up DIRECTORY [MESON OPTION]...: makes the build directory, or takes it as it is.
set_up() {
	local dir=$1
	shift
	if [ -f "$dir/build.ninja" ]; then
		meson configure "$dir" "$@" >/dev/null || return
	else
		rm -rf "$dir"
		meson setup "$dir" "$top" "$@" >"$dir.log" 2>&1 || { cat "$dir.log" >&2; return 1; }
		rm -f "$dir.log"
	fi
	rm -f "$dir"/tests/mount/*.xml
}

# compile DIRECTORY [TARGET]...: builds these, or all.
compile() {
	ninja -C "$@" >"$1/build.log" 2>&1 || { cat "$1/build.log" >&2; return 1; }
}

# build DIRECTORY [MESON OPTION]...: sets it up and builds all in it.
build() {
	set_up "$@" && compile "$1"
}
