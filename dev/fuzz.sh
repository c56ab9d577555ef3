#!/usr/bin/env bash
# Runs every fuzz target for a while: dev/fuzz.sh [TIME], 10s each by default.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}

while read -r package; do
	while read -r target; do
		printf '%s %s, %s\n' "$package" "$target" "$time"
		go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" "$package"
	done < <(go test -list='^Fuzz' "$package" | grep '^Fuzz' || true)
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)
