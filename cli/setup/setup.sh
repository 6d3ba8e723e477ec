#!/bin/sh
# Installs what is missing for building and running from a clone: Debian packages (as root), npm packages, the native build.
# Quick when nothing is missing. GANTRY_SETUP=all also installs what the tests and the bench compare with.
set -eu
cd "$(dirname "$0")/../.."

# What every build needs; a driver's own packages are in its build.json.
build_packages="build-essential cmake ninja-build pkg-config libmnl-dev libisal-dev libzstd-dev libbz2-dev liblzma-dev libssl-dev musl-tools libatomic1 procps"
# There may be no Node yet: the set, and what its drivers need, are plain enough for sed.
for driver in $(sed -n 's/.*"\([a-z]*\/[a-z0-9-]*\)".*/\1/p' "${GANTRY_DRIVERS:-drivers/set.json}"); do
  [ ! -f "drivers/$driver/build.json" ] ||
    build_packages="$build_packages $(tr -d '\n' <"drivers/$driver/build.json" | sed -n 's/.*"debian": *\[\([^]]*\)\].*/\1/p' | tr -d '",')"
done
trial_packages="docker-registry busybox-static docker.io"
test_packages="$build_packages $trial_packages runc crun python3-docker libgtest-dev libgmock-dev clang-format clang-tidy nftables iproute2 skopeo umoci podman etcd-server etcd-client"
want="$build_packages"
case "${GANTRY_SETUP:-build}" in
  trial) want="$want $trial_packages" ;;
  all) want="$test_packages" ;;
esac

if command -v dpkg-query >/dev/null 2>&1; then
  missing=""
  for package in $want; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
      echo "setup: these Debian packages are missing and only root can install them:$missing" >&2
      exit 1
    fi
    echo "setup: installing$missing"
    # A daemon that a package brings must not start by itself: what needs one here starts it on its own socket and roots.
    made_policy=""
    if [ ! -e /usr/sbin/policy-rc.d ]; then
      printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
      chmod 755 /usr/sbin/policy-rc.d
      made_policy=1
    fi
    result=0
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null; } || result=$?
    [ -z "$made_policy" ] || rm -f /usr/sbin/policy-rc.d
    [ "$result" = 0 ] || { echo "setup: installing packages failed" >&2; exit "$result"; }
  fi
fi

# npm may be any version that Node 20 or later brings; what runs the engine is the Node that the lock file names.
if [ ! -x node_modules/.bin/node ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "setup: installing npm packages"
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi
version=$(node_modules/.bin/node --version)
case "$version" in
  v2[6-9].* | v[3-9][0-9].*) ;;
  *) echo "setup: Node 26 or later is needed and npm installed $version" >&2; exit 1 ;;
esac

sh cli/setup/build.sh
