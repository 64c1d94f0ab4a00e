#!/usr/bin/env bash
# Plays the interleavings of delivery with the model checker, whose lock replaces the standard library's (`--cfg shuttle`).
# Arguments name tests; without one, all of them.
#
# Only this crate gets the flag: by RUSTFLAGS, every dependency would be built a second time. It works that way too:
#   RUSTFLAGS="--cfg shuttle" cargo test --target-dir target/shuttle -p doorstep-application --lib interleavings
set -euo pipefail
cd "$(dirname "$0")/.."

built="$(cargo rustc --package doorstep-application --lib --profile test --message-format json-render-diagnostics -- --cfg shuttle)"
tests="$(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' <<<"$built")"
[ -x "$tests" ] || { echo "the tests were not built" >&2; exit 1; }
cd application
"$tests" "${@:-interleavings}"
