#!/bin/sh
# Makes a .deb of Tukad for this machine's Debian and architecture: everything inside, so that it
# installs on a gateway without internet.
#   sh deploy/deb.sh [FOLDER]        writes FOLDER/tukad_VERSION_ARCH.deb (default: dist)
# Make it on the Debian that the gateways run (Raspberry Pi OS 12 or 13): it carries an environment
# of that release's Python.
set -eu
cd "$(dirname "$0")/.."
OUT=${1:-dist}
say() { printf 'deb: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

command -v dpkg-deb >/dev/null 2>&1 || die "dpkg-deb is missing: this is not a Debian"
SYSTEM_PYTHON=${PYTHON:-/usr/bin/python3}
[ -x "$SYSTEM_PYTHON" ] || die "$SYSTEM_PYTHON is missing: sudo apt install python3"
[ -x .tools/bin/uv ] || sh deploy/setup.sh
UV=.tools/bin/uv
export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 UV_LINK_MODE=copy
[ ! -s /etc/ssl/certs/ca-certificates.crt ] || export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
arch=$(dpkg --print-architecture)
minor=$("$SYSTEM_PYTHON" -c 'import sys; print(sys.version_info[1])')
[ "$minor" -ge 11 ] || die "Python 3.$minor is too old: Debian 12 or 13 is needed"
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
    export SOURCE_DATE_EPOCH
fi

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 0755 "$stage"
root="$stage/opt/tukad"
mkdir -p "$root" "$stage/usr/bin" "$stage/lib/systemd/system" "$stage/etc/tukad" \
    "$stage/usr/share/doc/tukad" "$stage/DEBIAN"

say "installing into the package"
"$UV" venv -q --relocatable --python "$SYSTEM_PYTHON" "$root/venv"
"$UV" pip sync -q --python "$root/venv/bin/python" --require-hashes deploy/runtime.lock
"$UV" pip install -q --python "$root/venv/bin/python" --no-deps .
# The agent may not write there, so what it imports is compiled here.
"$root/venv/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash \
    -s "$root" -p /opt/tukad "$root/venv/lib" >/dev/null || true
ln -s ../../opt/tukad/venv/bin/tukad "$stage/usr/bin/tukad"
cp deploy/tukad-gateway.service deploy/atcs/tukad-junction@.service "$stage/lib/systemd/system/"
cp deploy/gateway.example.toml "$stage/etc/tukad/"
cp LICENSE "$stage/usr/share/doc/tukad/copyright"
cp docs/*.md README.md "$stage/usr/share/doc/tukad/"
mkdir -p "$stage/usr/share/doc/tukad/atcs"
cp deploy/atcs/*.toml "$stage/usr/share/doc/tukad/atcs/"
cp deploy/first-boot.sh "$stage/usr/share/doc/tukad/"

size=$(du -sk "$stage" | cut -f1)
cat > "$stage/DEBIAN/control" <<END
Package: tukad
Version: $version
Architecture: $arch
Maintainer: Tukad maintainers <tukad@localhost>
Installed-Size: $size
Depends: python3 (>= 3.$minor), python3 (<< 3.$((minor + 1))), passwd
Recommends: mosquitto, systemd-timesyncd | time-daemon
Section: net
Priority: optional
Description: gateway of a smart city: flood alarms, trackers, sirens, signals
 Takes Modbus and LoRaWAN in, makes every reading durable, raises alarms with the
 internet down, and forwards compressed by MQTT. tukad gateway --help shows more.
END
echo /etc/tukad/gateway.example.toml > "$stage/DEBIAN/conffiles"
cat > "$stage/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    getent passwd tukad >/dev/null ||
        useradd --system --home-dir /var/lib/tukad --shell /usr/sbin/nologin --user-group tukad
    for group in dialout gpio; do
        ! getent group "$group" >/dev/null || usermod -a -G "$group" tukad
    done
    install -d -o tukad -g tukad -m 0750 /var/lib/tukad
    chgrp tukad /etc/tukad && chmod 0750 /etc/tukad
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl enable -q tukad-gateway.service
        if [ -f /etc/tukad/gateway.toml ]; then
            systemctl restart tukad-gateway.service || true
        fi
    elif command -v systemctl >/dev/null; then
        systemctl enable -q tukad-gateway.service || true
    fi
    if [ ! -f /etc/tukad/gateway.toml ]; then
        echo "tukad: write /etc/tukad/gateway.toml (sample beside it), check it with" >&2
        echo "tukad:   tukad gateway check /etc/tukad/gateway.toml" >&2
        echo "tukad: and start it with  systemctl start tukad-gateway" >&2
    fi
fi
END
cat > "$stage/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl stop tukad-gateway.service || true
fi
END
cat > "$stage/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
# Readings and keys in /var/lib/tukad and /etc/tukad stay, also on purge: remove them by hand.
rm -f /etc/systemd/system/multi-user.target.wants/tukad-gateway.service
[ ! -d /run/systemd/system ] || systemctl daemon-reload || true
[ "$1" != purge ] || echo "tukad: kept: /var/lib/tukad /etc/tukad" >&2
END
chmod 0755 "$stage/DEBIAN/postinst" "$stage/DEBIAN/prerm" "$stage/DEBIAN/postrm"

mkdir -p "$OUT"
file="$OUT/tukad_${version}_$arch.deb"
say "packing"
dpkg-deb --root-owner-group -Zxz -z3 --build "$stage" "$file" >/dev/null
say "wrote $file ($(du -h "$file" | cut -f1)). On the gateway: sudo apt install ./$(basename "$file")"
