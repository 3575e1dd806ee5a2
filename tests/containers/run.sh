#!/usr/bin/env bash
# run.sh [pytest arguments]: the SQL tests in a container, started by testcontainers; no registry is needed.
# Where no engine answers, root on Debian gets one that runs for this script only and leaves nothing behind.
# Without an engine the tests are not run, which is a failure only if REQUIRE_CONTAINERS=1.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
image=pgconveyor-test/postgres:18
cgroup=pgconveyor-test-$$
[ -n "${PYTHON:-}" ] || { [ -x .venv/bin/python ] && PYTHON=$PWD/.venv/bin/python; } || PYTHON=python3
export PYTHON
state=
# What dockerd makes and leaves; and of that, what was not there before.
traces=(/sys/class/net/docker0 /run/docker /run/containerd /etc/docker/key.json /etc/docker /opt/containerd)
left=()

answers() {
    command -v docker >/dev/null && timeout 10 docker info >/dev/null 2>&1
}

not_run() {
    {
        echo '**********************************************************************'
        echo '***  THE TESTS IN CONTAINERS DID NOT RUN'
        echo "***  $1"
        echo '**********************************************************************'
    } >&2
    echo "containers: NOT RUN ($1)"
    [ "${REQUIRE_CONTAINERS:-0}" != 1 ] || exit 1
    exit 0
}

install_engine() {
    export DEBIAN_FRONTEND=noninteractive
    local install=(apt-get install -y -qq --no-install-recommends docker.io)
    "${install[@]}" >&2 || { apt-get update -qq >&2 && "${install[@]}" >&2; }
}

start_engine() {
    state=$(mktemp -d)
    local path
    for path in "${traces[@]}"; do
        [ -e "$path" ] || left+=("$path")
    done
    export DOCKER_HOST=unix://$state/socket
    # No rules in iptables and no forwarding: docker's own proxy serves the port, on loopback only.
    setsid dockerd -H "$DOCKER_HOST" --data-root "$state/data" --exec-root "$state/exec" \
        --pidfile "$state/pid" --cgroup-parent "/$cgroup" \
        --ip 127.0.0.1 --iptables=false --ip6tables=false --ip-forward=false \
        >"$state/log" 2>&1 </dev/null &
    engine=$!
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        answers && return
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$state/log" >&2
    return 1
}

remove_containers() {
    docker ps -aq --filter label=org.testcontainers=true --filter "ancestor=$image" |
        xargs -r docker rm -fv >/dev/null
}

stop_engine() {
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
    awk -v state="$state/" 'index($2, state) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount || true
    find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null || true
    local path
    for path in "${left[@]}"; do
        case $path in
        /sys/class/net/*) [ ! -e "$path" ] || "$PYTHON" "$here/remove_bridge.py" "${path##*/}" || true ;;
        *) rm -rf --one-file-system "$path" ;;
        esac
    done
    rm -rf --one-file-system "$state"
}

clean_up() {
    ! answers || remove_containers || true
    [ -z "$state" ] || stop_engine
}
trap clean_up EXIT

if ! answers; then
    [ "$(id -u)" = 0 ] || not_run 'no container engine answers, and only root can start one'
    if ! command -v dockerd >/dev/null; then
        command -v apt-get >/dev/null || not_run 'no container engine answers, and there is no apt-get'
        install_engine || not_run 'apt-get cannot install docker.io'
    fi
    answers || start_engine || not_run 'dockerd does not start here'
fi

# An engine may answer and still be unable to work, in a chroot for one: ask it for the least before it is relied on.
docker image inspect "$image" >/dev/null 2>&1 || "$here/make_image.sh" "$image" ||
    not_run 'the engine cannot take an image'
docker run --rm "$image" id >/dev/null || not_run 'the engine cannot run a container'
PGTEST_PROVIDER=docker PGTEST_IMAGE=$image "$PYTHON" -m pytest tests/db -n 0 "$@"
