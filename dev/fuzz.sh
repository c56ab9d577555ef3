#!/usr/bin/env bash
# Runs every fuzz target for a while: dev/fuzz.sh [TIME], 10s each by default.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}

# fuzz runs one target. The time is for finding: Go would take up to a minute of
# it to make an input smaller that is only interesting. Go's own fuzzer may call
# the end of its time a failure (a worker was in the middle of an input): one
# with no failing input is none.
fuzz() { # fuzz PACKAGE TARGET
	go test -run='^$' -fuzz="^$2\$" -fuzztime="$time" -fuzzminimizetime=100x "$1" > "$said" 2>&1 && status=0 || status=$?
	if [ "$status" -ne 0 ] && grep -q '^ *context deadline exceeded$' "$said" && ! grep -q 'Failing input' "$said"; then
		sed '/^--- FAIL/,$d' "$said"
		printf 'its time was over in the middle of an input\n'
		return 0
	fi
	cat "$said"
	return "$status"
}

said=$(mktemp)
trap 'rm -f "$said"' EXIT
while read -r package; do
	while read -r target; do
		printf '%s %s, %s\n' "$package" "$target" "$time"
		fuzz "$package" "$target"
	done < <(go test -list='^Fuzz' "$package" | grep '^Fuzz' || true)
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)
