#!/bin/sh
# `npm run test:vm`: the tests that another kernel can prove (cgroup v2 alone, AppArmor, device-mapper, IPsec, ipvlan, criu), in a
# throw-away VM. Arguments are test files; by default those that touch cgroups, encrypted networks and ipvlan links, and then, in a
# VM whose process 1 is systemd (VM_SYSTEMD=1), those that speak with it. The VM emulates its processor: times are many times this
# machine's.
# The repository is shared read-only, so nothing may be written below it: build first (npm run build).
set -eu
cd "$(dirname "$0")/../.."
if [ $# -eq 0 ]; then
  sh test/vm/run.sh test/e2e/smoke.test.ts test/integration/runtime.test.ts test/integration/runtime-*.test.ts test/security \
    drivers/runtime drivers/network/overlay/encryption.test.ts drivers/network/ipvlan
  VM_SYSTEMD=1 exec sh test/vm/run.sh test/integration/runtime-systemd.test.ts
fi
VM_PACKAGES="docker.io docker-registry libisal2 libmnl0 libzstd1 libatomic1 libssl3 criu systemd" exec test/vm/run-in-vm ${VM_SYSTEMD:+-s} \
  -r "$PWD" -m 4096 -t "${VM_SECONDS:-7200}" -e GANTRY_SLOW=20 -e TMPDIR=/var/tmp -- \
  sh -c 'export GANTRY_VITEST_FLAGS="--configLoader runner --cache=false --fsModuleCache=false"; cp -a /usr/sbin/docker-registry /usr/bin 2>/dev/null; export PATH="'"$PWD"'/node_modules/.bin:$PATH"; exec node node_modules/vitest/vitest.mjs run --config test/vitest.config.ts $GANTRY_VITEST_FLAGS "$@"' sh "$@"
