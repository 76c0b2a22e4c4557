#!/bin/sh
# Runs the scenarios of the Go SDK, or says that it does not: `go` is needed by nothing else here.
cd "$(dirname "$0")" || exit 1
if ! command -v go >/dev/null 2>&1; then
    echo "SKIPPED: compat/go needs Go 1.25 or newer, and there is no go here"
    exit 0
fi
exec go test -count=1 "$@" ./...
