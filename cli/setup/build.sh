#!/bin/sh
# Compiles the native layer and the TypeScript and bundles the programs; does nothing where nothing changed.
set -eu
cd "$(dirname "$0")/../.."
PATH="$PWD/node_modules/.bin:$PATH"
export PATH

# Beside the build's folder, which cmake-js removes when a build fails.
log=native/build.log
drivers=$(realpath "${GANTRY_DRIVERS:-drivers/set.json}")
export GANTRY_DRIVERS="$drivers"
if ! (cd native && cmake-js compile --CDGANTRY_DRIVERS="$drivers" >build.log 2>&1); then
  tail -n 60 "$log" >&2
  echo "build: the native build failed; all of it is in $log" >&2
  exit 1
fi
tsc -b

# What was built, for `version`: written again for another commit only, so that nothing that depends on it is built anew.
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
if [ -n "$commit" ] && ! grep -qs "\"$commit\"" native/build/bin/build.json; then
  printf '{"commit":"%s","time":"%s"}\n' "$commit" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >native/build/bin/build.json
fi

bundle=cli/dist/bundle/gantryd/main.js
stale=""
[ -f "$bundle" ] || stale=1
for input in cli/setup/bundle.mjs cli/setup/driver-set.mjs "$drivers" package-lock.json core/dist drivers/dist plugins/dist native/dist cli/dist; do
  [ ! -d "$input" ] || input=$input/tsconfig.tsbuildinfo
  if [ "$input" -nt "$bundle" ]; then stale=1; fi
done
# Another set may be an older file.
[ "$(tr -d ' \n' <"$drivers")" = "$(cat cli/dist/bundle/drivers.json 2>/dev/null)" ] || stale=1
[ -z "$stale" ] || node cli/setup/bundle.mjs
