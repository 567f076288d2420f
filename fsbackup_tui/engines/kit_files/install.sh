#!/bin/sh
# Installs fsbackup from this recovery kit, without a network.
#   sh install.sh [DIRECTORY]      (default: $HOME/fsbackup)
set -eu
umask 022
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
target=${1:-$HOME/fsbackup}
version=@VERSION@

if [ -e "$target/bin/fsbackup" ]; then
    echo "fsbackup is there already: $target/bin/fsbackup" >&2
    exit 1
fi
(cd "$here" && sha256sum --check --quiet SHA256SUMS) || {
    echo "This kit is damaged: take another copy of it." >&2
    exit 1
}

# What fsbackup needs of Python and of the system's libraries, tried for real.
fits() {
    "$@" -c 'import ctypes, hashlib, lzma, sqlite3, ssl, sys, venv, zlib
sys.exit("%d.%d" % sys.version_info[:2] != "'"$version"'")' 2>/dev/null
}

python=
library=
for candidate in "python$version" python3 "/usr/bin/python$version" "/usr/local/bin/python$version"
do
    if command -v "$candidate" >/dev/null && fits "$candidate"; then
        python=$(command -v "$candidate")
        break
    fi
done
if [ -z "$python" ] && [ -f "$here/python.tar.gz" ]; then
    mkdir -p "$target"
    tar -xzf "$here/python.tar.gz" -C "$target"
    library=$target/python/lib
    LD_LIBRARY_PATH=$library
    export LD_LIBRARY_PATH
    if fits "$target/python/bin/python$version"; then
        python=$target/python/bin/python$version
    fi
fi
if [ -z "$python" ]; then
    echo "Python $version is needed (@PYTHON@), and neither this machine's" >&2
    echo "nor the kit's runs here. Install it, then run this again: it needs nothing else." >&2
    echo "  Debian, Ubuntu: apt-get install python$version     Fedora: dnf install python$version" >&2
    exit 1
fi

"$python" "$here/install_wheels.py" "$here/wheelhouse" "$target"
{
    echo '#!/bin/sh'
    [ -z "$library" ] || echo "LD_LIBRARY_PATH='$library' export LD_LIBRARY_PATH"
    echo "exec '$target/bin/python' -P -m fsbackup_tui \"\$@\""
} > "$target/bin/fsbackup"
chmod 755 "$target/bin/fsbackup"
"$target/bin/fsbackup" --version
echo "It is $target/bin/fsbackup"
