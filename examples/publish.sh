#!/usr/bin/env bash
# Publishes a few quotes of two sources through the command line, one JSON object a line.
# Usage: publish.sh [SYMBOL]            MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
set -euo pipefail

url=${MARKETSTREAM_URL:-http://127.0.0.1:8080}
symbol=${1:-DEMO}

# A server in development mode gives a token to whoever asks; it needs the scope market:publish.
export MARKETSTREAM_TOKEN=${MARKETSTREAM_TOKEN:-$(curl -fsS "$url/dev/token" | sed 's/.*"token":"\([^"]*\)".*/\1/')}

quotes() {
    for step in 1 2 3; do
        printf '{"symbol":"%s","source":"left","bid":10.0%s,"bidSize":100,"ask":10.09,"askSize":50}\n' "$symbol" "$step"
        printf '{"symbol":"%s","source":"right","bid":10.00,"bidSize":300,"ask":10.0%s,"askSize":80}\n' "$symbol" "$((9 - step))"
        sleep 0.2
    done
}

# Lines are sent as they come; a quote without `timestamp` gets the server's time.
quotes | marketstream publish --url "$url"
