#!/bin/sh
# Runs the camera tests in a Linux guest that may be broken: any virtual machine with the kernel's vivid driver loaded,
# v4l2-ctl installed, and root.
#
#   ANY_VM sh tests/vm/camera.sh BINARY...
#
# BINARY is a compiled test binary of this package (target/debug/deps/main-…, andon-…; stripped copies load faster).
# WEBCAM is a command that plugs in a simulated USB webcam of 640×480 at 30 Hz, understands the signals that
# tests/v4l2/webcam.rs sends, and runs until it is ended; without it the webcam's tests are left out.
# With udev in the guest the cameras are opened by their links under /dev/v4l, without by one in /tmp.
set -u
[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
status=0

# run DRIVER NODE LINKS BINARY...: the tests of one camera, by the first link that matches, or by one of ours.
run() {
  driver=$1 node=$2 links=$3
  shift 3
  for link in $links; do [ -e "$link" ] && break; done
  if [ ! -e "$link" ]; then
    link=/tmp/camera
    ln -sfn "$node" $link
  fi
  echo "== $driver: $link -> $(readlink -f "$link")"
  for binary in "$@"; do
    ANDON_TEST_CAMERA=$link "$binary" v4l2 --nocapture --test-threads 1 || status=1
  done
}

waited=0
while [ ! -e /dev/video0 ] && [ $waited -lt 10 ]; do sleep 1; waited=$((waited + 1)); done
[ -e /dev/video0 ] || { echo "camera.sh: no /dev/video0; load vivid" >&2; exit 1; }
[ -d /run/udev ] && udevadm settle 2>/dev/null

run vivid /dev/video0 '/dev/v4l/by-path/platform-vivid.0-video-index0' "$@"

for binary in "$@"; do
  cp "$binary" /tmp/forbidden && chmod 755 /tmp/forbidden
  ANDON_TEST_FORBIDDEN_CAMERA=$(ls /dev/video* | head -n1) setpriv --reuid 65534 --regid 65534 --clear-groups \
    /tmp/forbidden may_not_be_opened --nocapture || status=1
done

# only VARIABLE TEST BINARY...: a test that needs vivid to be something else.
only() {
  variable=$1 test=$2
  shift 2
  for binary in "$@"; do
    env "$variable=$(ls /dev/video* | head -n1)" "$binary" "$test" --nocapture || status=1
  done
}

webcam_only='n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0'
modprobe -r vivid && modprobe vivid $webcam_only multiplanar=2 && sleep 1
only ANDON_TEST_MULTIPLANAR_CAMERA separate_planes "$@"
modprobe -r vivid && modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x3 && sleep 1
only ANDON_TEST_GRID_CAMERA taken_from_a_grid "$@"
modprobe -r vivid

if [ -n "${WEBCAM-}" ]; then
  $WEBCAM &
  webcam=$!
  waited=0
  while ! ls /dev/video* > /dev/null 2>&1 && [ $waited -lt 20 ]; do sleep 1; waited=$((waited + 1)); done
  sleep 1
  [ -d /run/udev ] && udevadm settle 2>/dev/null
  export ANDON_TEST_WEBCAM_PID=$webcam
  run uvcvideo "$(ls /dev/video* | head -n1)" '/dev/v4l/by-id/*-video-index0' "$@"
  webcam_link=$link
  kill $webcam
  wait $webcam
  # Another camera takes the number that the webcam had.
  modprobe vivid $webcam_only && sleep 1
  [ -d /run/udev ] && udevadm settle 2>/dev/null
  case $webcam_link in
    /dev/v4l/*)
      for binary in "$@"; do
        ANDON_TEST_UNPLUGGED_CAMERA=$webcam_link "$binary" never_replaced --nocapture || status=1
      done;;
  esac
fi
exit $status
