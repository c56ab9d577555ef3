#!/usr/bin/env bash
# All tests this machine can run, and what it cannot. `make test` calls it;
# arguments go to go test. With CI=true leaving anything out is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

left_out=$(mktemp)
trap 'rm -f "$left_out"' EXIT
export HERMES_LEFT_OUT=$left_out

leave_out() {
	if [ "${CI:-}" = true ]; then
		printf 'CI must run this: %s\n' "$1" >&2
		exit 1
	fi
	printf '%s\n' "$1" >> "$left_out"
}

flags=(-shuffle=on -timeout=20m)
if [ "$(go env CGO_ENABLED)" = 1 ] && command -v "$(go env CC)" > /dev/null; then
	flags+=(-race)
else
	leave_out "the race detector: it needs a C compiler (apt-get install gcc libc6-dev) and CGO_ENABLED=1"
fi

go vet ./...
(cd test/compat && go vet ./... && go test -shuffle=on "$@" ./...)
(cd test/browser && go vet ./...)
if command -v chromium-headless-shell > /dev/null; then
	(cd test/browser && go test -shuffle=on "$@" ./...)
else
	leave_out "test/browser: it needs a browser (apt-get install --no-install-recommends chromium-headless-shell)"
fi
status=0
go test "${flags[@]}" "$@" ./... || status=$?

if [ -s "$left_out" ]; then
	printf '\nLeft out, because this machine cannot run it:\n'
	sort -u "$left_out" | sed 's/^/  /'
fi
exit "$status"
