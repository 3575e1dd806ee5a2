# Sourced by scripts/demo and scripts/test: makes .venv in the checkout and installs the project into it.
# Begins on a Debian with python3 and nothing else, also under a bare PATH.

set -euo pipefail
trap 'exit 130' INT  # else what Ctrl-C ends is only a step that failed, and the next one begins
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

setup() { # setup EXTRA: the project with this extra, unless it is there already
    local stamp
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "python3 is $(python3 -V 2>&1), 3.11 or newer is needed" >&2
        exit 1
    }
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        if [ "$(id -u)" != 0 ]; then
            echo "python3 lacks venv; as root:  apt-get update && apt-get install -y python3-venv" >&2
            exit 1
        fi
        apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y python3-venv
    fi
    # A constraint from the environment also holds for what builds the packages; recent pips ask for the second name.
    # As a URI, because pip takes a blank for the end of a path.
    PIP_CONSTRAINT=$(python3 -c 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).as_uri())' "$root/constraints.txt")
    export PIP_CONSTRAINT PIP_BUILD_CONSTRAINT="$PIP_CONSTRAINT" PIP_DISABLE_PIP_VERSION_CHECK=1
    stamp="$root/.venv/.$1-$(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum | tr -d ' ')"
    if [ ! -e "$stamp" ]; then
        echo "installing into .venv …"
        python3 -m venv "$root/.venv"
        "$root/.venv/bin/python" -m pip install --quiet --editable "$root[$1]"
        touch "$stamp"
    fi
}

sqlserver() { # what the tests' SQL Server needs, and a driver of it
    "$root/.venv/bin/python" -m pip install --quiet sqlglot  # in the version that the constraints say
    "$root/.venv/bin/python" -c 'from pgconveyor.odbc import *; choose_driver(pyodbc().drivers(), None)' 2>/dev/null ||
        freetds
}

freetds() { # a driver of SQL Server, and unixODBC that pyodbc needs: installed where that may be, else an error
    has_freetds() {
        "$root/.venv/bin/python" -c 'import pyodbc, sys; sys.exit("FreeTDS" not in pyodbc.drivers())' 2>/dev/null
    }
    has_freetds || try_to_install libodbc2 tdsodbc odbcinst
    if ! has_freetds; then
        echo "FreeTDS is missing; as root:  apt-get update && apt-get install -y libodbc2 tdsodbc odbcinst" >&2
        return 1
    fi
}

try_to_install() { # packages of Debian, as root; whoever wants them looks whether they are there
    local install=(apt-get install -y -qq --no-install-recommends "$@")
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        "${install[@]}" >&2 || { apt-get update -qq >&2 && "${install[@]}" >&2; } || true
    fi
}
