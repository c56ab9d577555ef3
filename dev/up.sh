#!/usr/bin/env bash
# Two agents that answer with your own words, supervised in the foreground.
# `make up` calls it; what is in the home already is left as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
hermes=./build/hermes
home=${1:-./home}

# The echo provider needs no key and asks nobody.
configure() {
	(umask 077 && printf 'model:\n  provider: echo\n' > "$1/config.yaml")
}

if [ ! -e "$home/SOUL.md" ] && [ ! -e "$home/config.yaml" ]; then
	(umask 077 && mkdir -p "$home")
	configure "$home"
fi
if [ ! -e "$home/profiles/coder" ]; then
	said=$("$hermes" --home "$home" profile create coder 2>&1) || {
		printf '%s\n' "$said" >&2
		exit 1
	}
	configure "$home/profiles/coder"
fi

port() { "$hermes" --home "$home" profile show "$1" | sed -n 's/^port: //p'; }
cat <<TXT
default   http://127.0.0.1:$(port default)
coder     http://127.0.0.1:$(port coder)

In another terminal:
  curl http://127.0.0.1:$(port coder)/v1/chat/completions -H 'Content-Type: application/json' \\
       -d '{"messages": [{"role": "user", "content": "are you there?"}]}'
  $hermes --home $home status
  $hermes --home $home gateway stop coder
  $hermes --home $home why coder
Ctrl-C ends it; the next \`make up\` brings default and coder back up.

TXT
exec "$hermes" --home "$home" up default coder
