#!/bin/sh
# Installs the Debian package in a Linux guest that may be broken, uses it as an operator would, and takes it off again: any
# virtual machine booted by systemd, with the kernel's vivid driver loaded, udev, mosquitto, mosquitto_sub, and root.
#
#   ANY_VM sh tests/vm/deb.sh install ANDON.deb MODEL
#   ANY_VM sh tests/vm/deb.sh again                      on the disk as the first one left it, after another start
#
# MODEL is a small model, best the one that tests/tiny_model.rs writes.
# Prints a line for each check; fails if one of them failed.
set -u
case "${1-} $#" in 'install 3' | 'again 1') ;; *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2;; esac
[ -d /run/systemd/system ] || { echo "deb.sh: the guest is not booted by systemd" >&2; exit 2; }
work=$(mktemp -d)
config=/etc/andon/andon.toml
failed=0

say() { printf '%-4s  %s\n' "$1" "$2"; [ "$1" = ok ] || failed=1; }

# check WHAT COMMAND...: whether the command succeeds; what it printed is shown.
check() {
  what=$1
  shift
  if "$@" > "$work/out" 2>&1; then say ok "$what"; else say FAIL "$what"; fi
  sed 's/^/        /' "$work/out"
}

not() { ! "$@"; }
show() { systemctl show -P "$1" andon; }
state() { echo "$(systemctl is-enabled andon 2> /dev/null) $(show ActiveState) $(show Result)"; }
is() { [ "$1" = "$2" ] || { echo "$1, not $2"; return 1; }; }

# publishes: a new message about a frame comes from the box. A slow machine has a minute for it.
publishes() { timeout 60 mosquitto_sub -C 1 -R -t andon/box/infeed/detections | grep -o '"captured_at":"[^"]*"'; }
online() { timeout 60 mosquitto_sub -C 1 -t andon/box/status | grep -o '"state":"online"'; }

# settled: nothing more is to be started.
settled() { timeout 120 sh -c 'while systemctl list-jobs --no-legend | grep -q andon; do sleep 1; done'; }

settings() {
  cat > $config << TOML
[device]
id = "box"
[model]
path = "/var/lib/andon/tiny.onnx"
[[camera]]
id = "infeed"
source = "v4l2:/dev/v4l/by-path/platform-vivid.0-video-index0"
size = "320x180"
$1
TOML
}

install_package() {
  check 'dpkg installs it' dpkg -i "$deb"
  check 'the user may film' sh -c 'id andon | grep video'
  settled
  check 'it is enabled, and skipped as there is no camera' is "$(state)" 'enabled inactive exec-condition'
  check 'the journal says why' sh -c 'journalctl -u andon | grep "no camera in"'
  check 'only root and andon read the configuration' is "$(stat -c '%a %U %G' $config)" '640 root andon'
  check 'the model that comes along runs' andon inspect --model /usr/share/andon/bare-boards.onnx
}

use() {
  check 'a broker runs' systemctl enable --now mosquitto
  check 'the model is put where the service finds it' install -D -m 644 "$model" /var/lib/andon/tiny.onnx
  settings 'rate = 5'
  check 'it starts' systemctl restart andon
  check 'it runs' is "$(show ActiveState)" active
  check 'the box is online' online
  check 'it publishes' publishes
  check 'who it is' ps -o user=,group=,supgrp=,args= -p "$(show MainPID)"
  check 'how far it is shut in' sh -c 'systemd-analyze security andon --no-pager --threshold=15 | tail -n 1'

  pid=$(show MainPID)
  settings 'rate = 10'
  check 'reload' systemctl reload andon
  check 'it is the same process' is "$(show MainPID)" "$pid"
  check 'the camera has its new rate' timeout 30 sh -c 'until journalctl -u andon | grep "at 10 Hz"; do sleep 1; done'
  check 'it publishes' publishes
  settings 'rat = 10'
  check 'reload of a wrong configuration fails' not systemctl reload andon
  check 'it runs on' is "$(show ActiveState) $(show MainPID)" "active $pid"
  check 'it publishes' publishes
  settings 'rate = 10'
  check 'restart' systemctl restart andon
  check 'it is another process' not is "$(show MainPID)" "$pid"
  check 'it publishes' publishes
}

upgrade() {
  dpkg-deb -R "$deb" "$work/newer"
  sed -i 's/^Version: .*/&+newer/' "$work/newer/DEBIAN/control"
  dpkg-deb -Znone -b "$work/newer" "$work/newer.deb" > /dev/null
  rm -r "$work/newer"
  pid=$(show MainPID)
  sum=$(sha256sum $config)
  check 'dpkg upgrades it' dpkg -i "$work/newer.deb"
  settled
  check 'it was started again' not is "$(show MainPID)" "$pid"
  check 'it runs' is "$(state)" 'enabled active success'
  check 'the configuration is as it was' is "$(sha256sum $config)" "$sum"
  check 'it publishes' publishes
}

take_off() {
  check 'dpkg removes it' dpkg -r andon
  check 'nothing runs' not pgrep -x andon
  check 'the configuration and the state stay' test -e $config -a -e /var/lib/andon/tiny.onnx
  check 'dpkg purges it' dpkg -P andon
  check 'nothing of it is left' is "$(find /etc /var/lib/andon /usr -xdev -name '*andon*' ! -path '*/dpkg/*' 2> /dev/null)" ''
}

case $1 in
  install)
    deb=$2 model=$3
    install_package
    use
    upgrade;;
  again)
    # The service starts beside this script.
    timeout 120 sh -c 'until systemctl is-active --quiet andon; do sleep 1; done'
    check 'it runs, as nobody started it' is "$(state)" 'enabled active success'
    check 'the box is online' online
    check 'it publishes' publishes
    check 'no fault' sh -c "! journalctl -b -u andon | grep -E 'panicked|a fault in andon|Failed'"
    take_off;;
esac
[ $failed -eq 0 ] || journalctl -u andon --no-pager -o short-monotonic | tail -n 80 | cut -c 1-200 | sed 's/^/        /'
[ $failed -eq 0 ] && echo "deb.sh $1: all is well" || echo "deb.sh $1: some checks FAILED"
exit $failed
