#!/usr/bin/env bash
# Makes the image IMAGE: Debian with s6 and no more than that, out of Debian's
# packages. It stands for debian:bookworm-slim where no registry can be asked.
# Takes a minute the first time, nothing once it is there; the file system is
# kept in the user's cache. Needs root, debootstrap and a Docker engine.
set -euo pipefail
image=${1:?usage: dev/debian.sh IMAGE}
suite=bookworm
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo -n "$@"
	fi
}

# Another version of this script makes another base.
version=$(sha256sum "$0" | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hermes
mkdir -p "$cache"
exec 9> "$cache/debian.lock"
flock 9 # of two that make it at a time, the second finds it made

made=$(docker image inspect --format '{{index .Config.Labels "hermes.base"}}' "$image" 2> /dev/null || true)
if [ "$made" = "$version" ]; then
	exit 0
fi
tar=$cache/debian-$suite-$(dpkg --print-architecture)-$version.tar
if [ ! -e "$tar" ]; then
	root=$(mktemp -d)
	trap 'as_root rm -rf "$root" "$tar.new"' EXIT
	as_root debootstrap --variant=minbase --include=s6 "$suite" "$root" "$mirror" >&2
	as_root find "$root"/var/cache/apt "$root"/var/lib/apt/lists "$root"/var/log "$root"/usr/share/doc \
		"$root"/usr/share/man "$root"/usr/share/locale -type f -delete
	as_root chmod 755 "$root"
	as_root tar --numeric-owner -C "$root" -cf - . > "$tar.new"
	rm -f "$cache"/debian-*.tar # of earlier versions
	mv "$tar.new" "$tar"
fi
docker import --change "LABEL hermes.base=$version" "$tar" "$image" > /dev/null
