#!/usr/bin/env bash
# Best prices as server-sent events, with curl.
# Usage: sse.sh [SYMBOL,SYMBOL...]      MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
set -euo pipefail

url=${MARKETSTREAM_URL:-http://127.0.0.1:8080}
symbols=${1:-EUR/USD,AAPL}

# A server in development mode gives a token to whoever asks; in production your own back end does.
token=${MARKETSTREAM_TOKEN:-$(curl -fsS "$url/dev/token" | sed 's/.*"token":"\([^"]*\)".*/\1/')}

# -N: print each event as it comes. -G puts the encoded symbols into the query.
exec curl -fsSN -G "$url/market-data/stream" --data-urlencode "symbols=$symbols" -H "Authorization: Bearer $token"
