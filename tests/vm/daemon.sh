#!/bin/sh
# Runs the program itself, from camera to MQTT, in a Linux guest that may be broken: any virtual machine
# booted by systemd, with the kernel's vivid driver loaded, udev, v4l2-ctl, mosquitto, mosquitto_sub, python3, and root.
#
#   ANY_VM sh tests/vm/daemon.sh ANDON MODEL
#
# ANDON is the program (a stripped copy loads faster), MODEL a small model, best the one that tests/tiny_model.rs writes.
# WEBCAM is a command that plugs in a simulated USB webcam with JPEG and runs until it is ended; at SIGUSR1 it stalls and
# resumes, at SIGUSR2 it is unplugged for a while, at SIGHUP it cuts its next ten pictures in half. Without it the
# webcam's part is left out.
# CYCLES says how often each camera is unplugged in a row, 50 times unless it is set.
# Prints a line for each check, with the seconds that it took where there is a limit; fails if one of them failed.
set -u
[ $# -eq 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ -d /run/systemd/system ] || { echo "daemon.sh: the guest is not booted by systemd" >&2; exit 2; }
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
messages=$work/messages
failed=0
trap 'kill $(jobs -p) 2>/dev/null' EXIT

now() { date +%s.%N; }
say() { printf '%-4s  %-58s %s\n' "$1" "$2" "${3-}"; [ "$1" = ok ] || failed=1; }

# check WHAT COMMAND...: whether the command succeeds; what it printed is shown.
check() {
  what=$1
  shift
  if "$@" > "$work/out" 2>&1; then say ok "$what"; else say FAIL "$what"; fi
  sed 's/^/        /' "$work/out"
}

# event: what `within` measures from.
event() { since=$(now) from=$(($(stat -c %s "$messages") + 1)); }

# heard SECONDS AFTER TOPIC REGEX: waits for a message with this topic and text that came after that time; $took says how
# long after the event that was.
heard() {
  after=$2 topic=andon/$device/$3 regex=$4
  give_up=$(($(date +%s) + $1))
  took=
  while [ -z "$took" ] && [ "$(date +%s)" -lt $give_up ]; do
    took=$(tail -c "+$from" "$messages" 2> /dev/null | awk -v since="$since" -v after="$after" -v topic="$topic" \
      -v regex="$regex" '$1 >= after && $3 == topic && $0 ~ regex {printf "%.1f", $1 - since; exit}')
    [ -n "$took" ] || sleep 0.2
  done
}

# within SECONDS WHAT TOPIC REGEX: such a message came so soon after the event; $early is set where it may have come before this
# script had looked at its clock.
early=
within() {
  limit=$1 what=$2
  heard $((limit + 10)) "${early:-$since}" "$3" "$4"
  if [ -n "$took" ] && awk "BEGIN {exit !($took <= $limit)}"; then
    say ok "$device: $what" "$took s (at most $limit)"
  else
    say FAIL "$device: $what" "${took:-never} (at most $limit s)"
    grep -F " $topic " "$messages" | grep -v /detections | tail -n 3
  fi
}

# reason LEAF: why, as the last message with this topic says.
reason() { grep -F " andon/$device/$1 " "$messages" | tail -n 1 | sed 's/.*"reasons*":\[*\("[^]}]*"\).*/        \1/'; }

retained() { mosquitto_sub -C 1 -W 3 -F '%r %p' -t "$1" | grep -q "^1 .*$2"; }

# settings SOURCE KEYS: a configuration of the device with one camera.
settings() {
  printf '[device]\nid = "%s"\n[model]\npath = "%s"\n[[camera]]\nid = "infeed"\nsource = "v4l2:%s"\n%s\n' \
    "$device" "$model" "$1" "$2"
}

# ---- One camera, whose driver is told by stall, resume, unplug and plug what to do.

vivid_stall() { v4l2-ctl -d "$link" -c percentage_of_dropped_buffers=100; }
vivid_resume() { v4l2-ctl -d "$link" -c percentage_of_dropped_buffers=0; }
vivid_unplug() { echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind; }
vivid_plug() { echo vivid.0 > /sys/bus/platform/drivers/vivid/bind; }
webcam_stall() { kill -USR1 "$webcam"; }
webcam_resume() { kill -USR1 "$webcam"; }
webcam_unplug() { kill -USR2 "$webcam"; }
webcam_plug() { :; }

# await_link: begins to wait until the camera's link has gone and is back; back: waits for that, and measures from it.
await_link() {
  rm -f "$work/back"
  (
    while [ -e "$link" ]; do sleep 0.05; done
    until [ -e "$link" ]; do sleep 0.05; done
    now > "$work/back"
  ) &
}
back() {
  waited=0
  while [ ! -s "$work/back" ] && [ $waited -lt 100 ]; do sleep 0.2; waited=$((waited + 1)); done
  since=$(cat "$work/back")
}

# replug WHAT: unplugs, notes when the camera's link is back, and plugs in again.
replug() {
  await_link
  event
  "${device}_unplug"
  within 5 "$1: absent" infeed/status '"state":"absent"'
  reason infeed/status
  within 5 "$1: the device is degraded" status '"state":"degraded".*infeed'
  from=$(($(stat -c %s "$messages") + 1)) early=1
  # So long that it is tried again at the slowest pace.
  sleep 4
  "${device}_plug"
  back
  within 3 "$1: live again" infeed/status '"state":"live"'
  within 5 "$1: the device is online" status '"state":"online"'
  within 3 "$1: detections again" infeed/detections '"frame":'
  early=
}

# held: how many descriptors and threads the daemon has.
held() { echo "$(ls /proc/$daemon/fd | wc -l) descriptors, $(ls /proc/$daemon/task | wc -l) threads"; }

# cycles COUNT: unplugs and plugs in again and again. Noticed and published within three seconds, which is what the shortest
# stall takes and a second more; frames again within three seconds of the return.
cycles() {
  : > "$work/cycles"
  cycle=0
  while [ $cycle -lt "$1" ]; do
    cycle=$((cycle + 1))
    await_link
    event
    "${device}_unplug"
    heard 10 "$since" infeed/status '"state":"absent"'
    absent=$took
    from=$(($(stat -c %s "$messages") + 1))
    "${device}_plug"
    back
    heard 10 0 infeed/status '"state":"live"'
    live=$took
    heard 10 0 infeed/detections '"frame":'
    echo "${absent:-never} ${live:-never} ${took:-never}" >> "$work/cycles"
    [ $cycle -ne 1 ] || held_first=$(held)
  done
  set -- $(awk '{for (i = 1; i <= 3; i++) if ($i == "never" || ($i + 0 > max[i] + 0 && max[i] != "never")) max[i] = $i}
    END {print NR, max[1], max[2], max[3]}' "$work/cycles")
  check "$1 times unplugged: absent within 3 s, at the most $2" awk "BEGIN {exit !(\"$2\" != \"never\" && $2 <= 3)}"
  check "$1 times back: live within 3 s, at the most $3" awk "BEGIN {exit !(\"$3\" != \"never\" && $3 <= 3)}"
  check "$1 times back: frames within 3 s, at the most $4" awk "BEGIN {exit !(\"$4\" != \"never\" && $4 <= 3)}"
  check "held after the first: $held_first; and now: $(held)" [ "$held_first" = "$(held)" ]
}

# sees CONTROLS REASON SECONDS: vivid shows a picture by which the camera is blind within so many seconds, then its own again.
sees() {
  event
  v4l2-ctl -d "$link" -c "$1"
  within "$3" "$1: blind" infeed/status "\"state\":\"blind\".*$2"
  reason infeed/status
  within "$3" "$1: the device is degraded" status '"state":"degraded".*infeed'
  event
  within 2 "$1: detections go on" infeed/detections '"frame":'
  event
  v4l2-ctl -d "$link" -c osd_text_mode=0,test_pattern=0
  within 3 "$1: live again" infeed/status '"state":"live"'
}

# camera KEYS: the camera $device at $link.
camera() {
  settings "$link" "$1" > "$work/$device.toml"
  echo "== $device: $link -> $(readlink -f "$link")"
  andon devices > "$work/devices" 2>&1
  check 'devices lists it' grep -F "v4l2:$link" "$work/devices"
  check 'check says ok' andon check --config "$work/$device.toml"
  event
  andon run --config "$work/$device.toml" 2> "$work/$device.log" &
  daemon=$!
  within 15 'the device is online' status '"state":"online"'
  within 15 'the camera is live' infeed/status '"state":"live"'
  within 15 'things are found in frames' infeed/detections '"frame":.*"detections":.{"'

  event
  "${device}_stall"
  within 5 'stall: stalled' infeed/status '"state":"stalled"'
  reason infeed/status
  within 5 'stall: the device is degraded' status '"state":"degraded".*infeed'
  # So long that it is opened again in vain.
  sleep 14
  event
  "${device}_resume"
  within 5 'stall: live again' infeed/status '"state":"live"'
  within 5 'stall: the device is online' status '"state":"online"'
  within 5 'stall: detections again' infeed/detections '"frame":'

  replug unplugged
  node=$(readlink -f "$link")
  sleep 1000 < "$node" &
  holder=$!
  replug 'back under another number'
  kill $holder
  check "it was $node and is another now" [ "$(readlink -f "$link")" != "$node" ]
  cycles "${CYCLES:-50}"

  if [ "$device" = vivid ]; then
    # The text on its picture is what moves in it.
    sees osd_text_mode=2 'same picture' 14
    sees osd_text_mode=2,test_pattern=5 'is dark' 6
    sees osd_text_mode=2,test_pattern=6 'over-exposed' 6
    sees osd_text_mode=2,test_pattern=9 'one even area' 6
  fi

  if [ "$device" = webcam ]; then
    event
    kill -HUP "$webcam"
    sleep 2
    event
    within 5 'ten cut pictures: detections go on' infeed/detections '"frame":'
    check 'cut pictures are counted' grep 'damaged frames skipped' "$work/$device.log"
    (while sleep 0.1; do kill -HUP "$webcam"; done) &
    cutting=$!
    event
    within 5 'only cut pictures: blind' infeed/status '"state":"blind"'
    reason infeed/status
    kill $cutting
    event
    within 5 'whole pictures: live again' infeed/status '"state":"live"'
  fi
  check 'it is the same process' kill -0 $daemon
  event
  kill -TERM $daemon
  within 5 'stopped' status '"state":"stopped"'
  wait $daemon
  check "its exit code is 0, not $?" [ $? -eq 0 ]
  check 'no panic' sh -c "! grep -E 'panicked|failed unexpectedly' $work/$device.log"
  sed 's/^/        /' "$work/$device.log"
}

# ---- As a service.

show() { systemctl show -P "$1" andon; }

# drop_in TEXT: what differs from the unit, for the next start.
drop_in() {
  mkdir -p /etc/systemd/system/andon.service.d
  printf '[Service]\n%s\n' "$1" > /etc/systemd/system/andon.service.d/test.conf
  systemctl daemon-reload
}

# started WHAT SYSTEMCTL_VERB STATUS: starts the service, which is ready when it knows how its cameras are.
started() {
  event
  systemctl "$2" andon
  status="$(show ActiveState): $(show StatusText)"
  took=$(awk "BEGIN {printf \"%.1f s\", $(now) - $since}")
  case $status in
    "active: $3"*) say ok "$1: ready" "$took, $status";;
    *) say FAIL "$1: ready" "$took, $status, $(show Result)";;
  esac
}

# clock FLAGS: makes the kernel hold its clock for synchronized (0) or not (64), as a time daemon does.
clock() {
  python3 -c "
import ctypes, struct
timex = bytearray(208)
struct.pack_into('=I', timex, 0, 0x14)          # set status and maxerror
struct.pack_into('=q', timex, 24, 1000)
struct.pack_into('=i', timex, 40, $1)
ctypes.CDLL(None).adjtimex((ctypes.c_char * 208).from_buffer(timex))"
}

service() {
  echo "== andon.service"
  # As the Makefile installs it.
  install -D -m 644 "$root/systemd/andon.service" /etc/systemd/system/andon.service
  getent passwd andon > /dev/null || useradd --system --home-dir /var/lib/andon --shell /usr/sbin/nologin andon
  install -D -m 644 "$model" /var/lib/andon/tiny.onnx
  model=/var/lib/andon/tiny.onnx
  install -d /etc/andon
  settings "$link" 'rate = 5' > /etc/andon/andon.toml
  cameras='infeed live; '
  if [ -n "${webcam-}" ]; then
    printf '[[camera]]\nid = "outfeed"\nsource = "v4l2:%s"\nformat = "mjpeg"\n' "$webcam_link" >> /etc/andon/andon.toml
    cameras="${cameras}outfeed live; "
  fi
  systemctl daemon-reload
  check 'nothing to say against the unit' sh -c '! systemd-analyze verify andon.service 2>&1 | grep andon.service | grep -v "man andon"'

  started start start "$cameras"
  within 15 'the device is online' status '"state":"online"'
  within 15 'things are found in frames' infeed/detections '"frame":.*"detections":.{"'
  check 'who it is' ps -o user=,group=,supgrp=,args= -p "$(show MainPID)"
  event
  within 5 'the clock is not synchronized' infeed/detections '"clock":"unsynchronized"'
  mkdir -p /run/systemd/timesync
  event
  touch /run/systemd/timesync/synchronized
  within 5 'the clock is synchronized, says systemd-timesyncd' infeed/detections '"clock":"synchronized"'
  event
  rm /run/systemd/timesync/synchronized
  within 5 'the clock is not synchronized again' infeed/detections '"clock":"unsynchronized"'
  systemd-analyze security andon --no-pager 2>&1 | tail -n 1

  if [ -n "${webcam-}" ]; then
    event
    kill -USR2 "$webcam"
    within 5 'one of two unplugged: absent' outfeed/status '"state":"absent"'
    within 5 'the device is degraded' status '"state":"degraded".*outfeed'
    unplugged_since=$since unplugged_from=$from
    sleep 1
    event
    within 1 'the other one goes on' infeed/detections '"frame":'
    # It may be back already.
    since=$unplugged_since from=$unplugged_from
    within 15 'live again' outfeed/status '"state":"live"'
    within 15 'the device is online' status '"state":"online"'
  fi

  event
  kill -KILL "$(show MainPID)"
  within 5 'kill -9: offline, by the will' status '"state":"offline"'
  within 15 'kill -9: online again' status '"state":"online"'
  check 'systemd started it again' [ "$(show NRestarts)" -eq 1 ]
  event
  systemctl stop andon
  say ok 'stop took' "$(awk "BEGIN {printf \"%.1f s\", $(now) - $since}")"
  within 5 'stop: stopped' status '"state":"stopped"'
  check 'stopped is retained' retained "andon/$device/status" '"state":"stopped"'
  check 'the end was a success' [ "$(show Result)" = success ]

  # As the unit advises where chrony steers the clock.
  drop_in "$(printf 'ProtectClock=no\nSystemCallFilter=adjtimex clock_adjtime clock_adjtime64')"
  started 'the kernel may be asked for its clock' start "$cameras"
  event
  clock 0
  within 5 'the clock is synchronized, says the kernel' infeed/detections '"clock":"synchronized"'
  event
  clock 64
  within 5 'the clock is not synchronized again' infeed/detections '"clock":"unsynchronized"'
  systemctl stop andon

  drop_in 'WatchdogSec=4'
  started 'watchdog' start "$cameras"
  before=$(show NRestarts)
  sleep 10
  check 'a fed watchdog is quiet' [ "$(show NRestarts)" = "$before" ]
  event
  kill -STOP "$(show MainPID)"
  within 15 'a process that hangs is ended' status '"state":"offline"'
  within 25 'and started again' status '"state":"online"'
  check 'it was the watchdog' sh -c "journalctl -u andon | grep 'Watchdog timeout'"

  drop_in 'ReadOnlyPaths=/var/lib/andon'
  started 'a state directory that is read-only' restart 'state directory /var/lib/andon cannot be written'
  within 15 'the device is degraded' status '"state":"degraded".*state directory'
  reason status
  within 15 'the camera is live' infeed/status '"state":"live"'
  sleep 3
  check 'it stays up' [ "$(show ActiveState)$(show NRestarts)" = active0 ]
  rm -r /etc/systemd/system/andon.service.d
  systemctl daemon-reload

  settings /dev/v4l/by-path/nothing-video-index0 '' > /etc/andon/andon.toml
  started 'a camera that is missing' restart 'infeed absent; '
  within 15 'the camera is absent' infeed/status '"state":"absent".*plug the camera in'
  within 15 'the device is degraded' status '"state":"degraded".*infeed'
  reason status
  sleep 3
  check 'it stays up' [ "$(show ActiveState)$(show NRestarts)" = active0 ]

  # The box starts before any camera was ever plugged in: the kernel knows no video devices yet. By its node the camera
  # is there a moment before udev lets the group have it.
  systemctl stop andon
  if [ -n "${webcam-}" ]; then
    kill "$webcam"
    wait "$webcam"
  fi
  for module in vivid uvcvideo videobuf2_vmalloc videobuf2_dma_contig videobuf2_memops videobuf2_v4l2 videobuf2_common videodev
  do rmmod $module 2> /dev/null; done
  check 'no video driver is loaded' sh -c '! grep video4linux /proc/devices'
  settings /dev/video0 'rate = 5' > /etc/andon/andon.toml
  started 'before any camera' start 'infeed absent; '
  sleep 4
  event
  modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0
  within 8 'the first camera is live' infeed/status '"state":"live"'
  systemctl stop andon
  check 'no panic' sh -c "! journalctl -u andon | grep -E 'panicked|failed unexpectedly'"
  journalctl -u andon --no-pager -o short-monotonic | cut -c 1-200 | sed 's/^/        /'
}

install -m 755 "$1" /usr/bin/andon
install -m 644 "$2" "$work/tiny.onnx"
model=$work/tiny.onnx
mosquitto -p 1883 > /dev/null 2>&1 &
sleep 1
: > "$messages"
mosquitto_sub -t '#' -F '%U %r %t %p' >> "$messages" &
udevadm settle
vivid=/dev/v4l/by-path/platform-vivid.0-video-index0
[ -e $vivid ] || { echo "daemon.sh: no $vivid; load vivid" >&2; exit 2; }

device=vivid link=$vivid
camera "$(printf 'size = "320x180"\nrate = 10')"

if [ -n "${WEBCAM-}" ]; then
  $WEBCAM 2> /dev/null &
  webcam=$!
  waited=0
  while ! ls /dev/v4l/by-id/*-video-index0 > /dev/null 2>&1 && [ $waited -lt 20 ]; do sleep 1; waited=$((waited + 1)); done
  device=webcam link=$(ls /dev/v4l/by-id/*-video-index0 | head -n 1)
  webcam_link=$link
  camera "$(printf 'format = "mjpeg"\nrate = 15')"
fi

device=box link=$vivid
service
[ $failed -eq 0 ] && echo 'daemon.sh: all is well' || echo 'daemon.sh: some checks FAILED'
exit $failed
