#!/bin/sh
# One way in for every npm script: what is missing is set up first, then the job runs on the Node that the lock file names.
set -eu
cd "$(dirname "$0")/../.."
job=$1
shift
case "$job" in
  demo) level=trial ;;
  test | bench | test-vm | lint) level=all ;;
  *) level=build ;;
esac
GANTRY_SETUP=$level sh cli/setup/setup.sh
PATH="$PWD/node_modules/.bin:$PATH"
export PATH
case "$job" in
  demo) exec node cli/setup/demo.mjs "$@" ;;
  test) exec node test/run.mjs "$@" ;;
  bench) exec node test/bench/main.mjs "$@" ;;
  test-vm) exec sh test/vm/run.sh "$@" ;;
  lint)
    oxlint
    oxfmt --check
    git ls-files 'native/*.cc' 'native/*.h' | xargs clang-format --dry-run --Werror
    # Only what changed is looked at; with --all every source is.
    node test/tidy.mjs "$@"
    ;;
  *)
    echo "run.sh: unknown job $job" >&2
    exit 2
    ;;
esac
