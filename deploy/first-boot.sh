#!/bin/sh
# First boot of a gateway on Raspberry Pi OS (12 or 13): from a fresh card to a running agent.
#
# Put onto the boot partition of the card (FAT, readable on any computer), in a folder `tukad`:
#   first-boot.sh               this file
#   tukad_VERSION_arm64.deb     made by deploy/deb.sh
#   gateway.toml                the configuration
#   *.keys, *.pem, *.password   what it refers to (moved away from here, mode 0640)
# and have it run once: on Raspberry Pi OS 13 by cloud-init (deploy/user-data.yaml), on 12 by
# `sudo sh /boot/firmware/tukad/first-boot.sh`. It may run again: done steps change nothing.
#
# TUKAD_ROOT=/mnt/card runs it against a card's file system instead of this machine's.
set -eu
ROOT=${TUKAD_ROOT:-}
say() { printf 'tukad first boot: %s\n' "$*"; }
die() { printf 'tukad first boot: %s\n' "$*" >&2; exit 1; }

BOOT=
for folder in "$ROOT/boot/firmware" "$ROOT/boot"; do
    [ -d "$folder/tukad" ] && { BOOT=$folder; break; }
done
[ -n "$BOOT" ] || die "there is no folder tukad on the boot partition ($ROOT/boot/firmware)"
[ -n "$ROOT" ] || [ "$(id -u)" = 0 ] || die "must run as root: sudo sh $0"
FROM=$BOOT/tukad
IS_LIVE=; [ -n "$ROOT" ] || IS_LIVE=yes

# 1. The hardware watchdog: a hung kernel starts again by itself.
config=$BOOT/config.txt
if [ -f "$config" ]; then
    for line in dtparam=watchdog=on dtparam=spi=on enable_uart=1; do
        grep -qx "$line" "$config" || { printf '%s\n' "$line" >> "$config"; say "config.txt: $line"; }
    done
fi
mkdir -p "$ROOT/etc/systemd/system.conf.d" "$ROOT/etc/systemd/journald.conf.d"
cat > "$ROOT/etc/systemd/system.conf.d/tukad.conf" <<'END'
[Manager]
RuntimeWatchdogSec=15
RebootWatchdogSec=2min
END

# 2. Spare the card: a bounded journal, nothing swapped onto it.
cat > "$ROOT/etc/systemd/journald.conf.d/tukad.conf" <<'END'
[Journal]
Storage=persistent
SystemMaxUse=200M
SyncIntervalSec=5min
END
if [ -n "$IS_LIVE" ] && systemctl -q is-enabled dphys-swapfile 2>/dev/null; then
    systemctl -q disable --now dphys-swapfile && say "swap on the card is off"
fi

# 3. The time of this place; the agent says how each reading's time is known.
zone=${TUKAD_ZONE:-Asia/Makassar}
if [ -f "$ROOT/usr/share/zoneinfo/$zone" ]; then
    ln -sfn "/usr/share/zoneinfo/$zone" "$ROOT/etc/localtime"
    printf '%s\n' "$zone" > "$ROOT/etc/timezone"
fi

# 4. The package, without internet.
deb=$(ls "$FROM"/tukad_*.deb 2>/dev/null | sort -V | tail -n 1 || true)
if [ -n "$deb" ] && [ -n "$IS_LIVE" ]; then
    say "installing $(basename "$deb")"
    dpkg -i "$deb" || die "the package does not fit here: is it made for $(dpkg --print-architecture) and this Debian?"
elif [ -z "$deb" ] && ! [ -e "$ROOT/usr/bin/tukad" ]; then
    die "there is no tukad_*.deb in $FROM"
fi

# 5. Configuration and secrets: away from the partition that any computer reads.
mkdir -p "$ROOT/etc/tukad"
moved=
for file in "$FROM"/*; do
    name=$(basename "$file")
    case "$name" in
    *.deb | *.sh | *.yaml | '*') continue ;;
    esac
    cp "$file" "$ROOT/etc/tukad/$name.new"
    chmod 0640 "$ROOT/etc/tukad/$name.new"
    [ -z "$IS_LIVE" ] || chgrp tukad "$ROOT/etc/tukad/$name.new"
    sync
    mv "$ROOT/etc/tukad/$name.new" "$ROOT/etc/tukad/$name"
    rm -f "$file"
    moved="$moved $name"
done
[ -z "$moved" ] || say "to /etc/tukad:$moved"
[ -f "$ROOT/etc/tukad/gateway.toml" ] ||
    die "there is no gateway.toml: put one into $FROM and run this again"

# 6. Check, start, and say how it went where a technician looks: on the card.
[ -n "$IS_LIVE" ] || { say "done"; exit 0; }
if problem=$(tukad gateway check --quiet /etc/tukad/gateway.toml 2>&1); then
    systemctl daemon-reload
    systemctl enable -q --now tukad-gateway.service
    sleep 3
    result=$(tukad gateway status /etc/tukad/gateway.toml 2>&1 || true)
    printf 'BERHASIL / OK\n\n%s\n' "$result" > "$FROM/result.txt"
    say "the agent runs; the watchdog works from the next boot on"
else
    printf 'GAGAL / FAILED\n\n%s\n' "$problem" > "$FROM/result.txt"
    die "$problem"
fi
