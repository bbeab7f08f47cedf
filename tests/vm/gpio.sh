#!/bin/sh
# Runs the program with lines of the box in a Linux guest that may be broken: any virtual machine with the kernel's vivid driver
# loaded, its drivers uhid and hid-cp2112, v4l2-ctl, mosquitto, mosquitto_pub, mosquitto_sub, python3, and root.
#
#   ANY_VM sh tests/vm/gpio.sh ANDON MODEL
#
# ANDON is the program (a stripped copy loads faster), MODEL a small model, best the one that tests/tiny_model.rs writes.
# tests/vm/gpio.py is the chip, and writes down what becomes of its lines. Its driver polls inputs, and falls when one is let
# go that was listened to: they come last.
# Prints a line for each check; fails if one of them failed. Parts that a slow machine serves too late go by the gate, and the
# log says so: where too few are left, that check is told as not checked.
set -u
[ $# -eq 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
messages=$work/messages
levels=$work/levels
failed=0
unchecked=0

now() { date +%s.%N; }
say() { printf '%-4s  %-62s %s\n' "$1" "$2" "${3-}"; [ "$1" = ok ] || failed=1; }

# skip WHAT WHY: what this machine was too slow for is said, and neither a success nor a failure.
skip() { printf '%-4s  %-62s %s\n' --- "not checked: $1" "$2"; unchecked=$((unchecked + 1)); }

# check WHAT COMMAND...: whether the command succeeds; what it printed is shown where not.
check() {
  what=$1
  shift
  if "$@" > "$work/out" 2>&1; then say ok "$what"; else say FAIL "$what"; sed 's/^/        /' "$work/out"; fi
}

# within SECONDS WHAT COMMAND...: whether the command succeeds some time in so many seconds.
within() {
  limit=$1 what=$2 since=$(now)
  shift 2
  until "$@" > "$work/out" 2>&1; do
    if awk "BEGIN {exit !($(now) - $since > $limit)}"; then
      say FAIL "$what" "not in $limit s"
      sed 's/^/        /' "$work/out"
      return
    fi
    sleep 0.1
  done
  say ok "$what" "$(awk "BEGIN {printf \"%.1f\", $(now) - $since}") s (at most $limit)"
}

# event: what `heard` and the like look at begins here.
event() { from=$(($(stat -c %s "$messages") + 1)) after=$(now); }
# There are pictures among the messages; they are text like the others.
heard() { tail -c "+$from" "$messages" | grep -aE "^[^ ]* andon/box/$1 .*$2"; }

# level LINE: how it is now. turns LINE [SECONDS]: how often it changed since the event, or in the first seconds from there.
level() { awk -v line="$1" '$2 == line {level = $3} END {print level}' "$levels"; }
is() { [ "$(level "$1")" = "$2" ]; }
turns() {
  awk -v line="$1" -v after="$after" -v span="${2-1e9}" \
    '$2 == line && $1 > after && $1 <= after + span {turns++} END {print turns + 0}' "$levels"
}
plug() {
  python3 "$here/gpio.py" "$levels" &
  chip=$!
}
start() {
  "$andon" run --config "$work/$1.toml" 2>> "$work/$1.log" &
  daemon=$!
}

andon=$work/andon
install -m 755 "$1" "$andon"
cp "$2" "$work/tiny.onnx"
cat > "$work/box.toml" <<TOML
[device]
id = "box"
[mqtt]
commands = ["ack"]
[model]
path = "$work/tiny.onnx"
[[camera]]
id = "infeed"
source = "v4l2:/dev/video0"
size = "320x180"
rate = 10
[[rule]]
id = "eyes"
kind = "blind"
after = 1
[[rule]]
id = "part"
kind = "verdict"
trigger = "time"
every = 3
fail_share = 0.01
confidence = 0.25
reject_after = "4500 ms"
[[output]]
id = "lamp"
line = "gpiochip0:0"
kind = "light"
[[output]]
id = "ejector"
line = "gpiochip0:1"
kind = "gate"
rule = "part"
pulse = 0.2
[[output]]
id = "release"
line = "gpiochip0:2"
kind = "relay"
within = 5
[[output]]
id = "watchdog"
line = "gpiochip0:3"
kind = "relay"
within = 5
toggle = 0.1
[[output]]
id = "upside-down"
line = "gpiochip0:4"
active = "low"
kind = "relay"
within = 5
TOML

: > "$messages"
: > "$levels"
mosquitto -p 1883 > /dev/null 2>&1 &
tries=0
until mosquitto_pub -t test -n 2> /dev/null || [ $((tries += 1)) -gt 100 ]; do sleep 0.2; done
mosquitto_sub -t '#' -F '%U %t %p' >> "$messages" &
modprobe -a uhid hid-cp2112

echo '== no chip yet'
event
check 'check says that there is none' sh -c "$andon check --config $work/box.toml > $work/said; grep 'there is no /dev/gpiochip0; ' $work/said"
start box
within 90 'it runs, degraded, and says why' heard status '"degraded".*output ..lamp.*there is no /dev/gpiochip0'
plug
within 60 'the chip comes: the device is online' heard status '"online"'
check 'it is the same process' kill -0 $daemon
[ $failed -eq 0 ] || { cat "$work/box.log" "$messages"; ls -l /dev/gpiochip*; exit 1; }

echo '== at work'
within 10 'the relay holds' is 2 1
within 10 'one that is active low does so by its low level' is 4 0
check 'the light is off' is 0 0
event
sleep 5
toggles=$(turns 3 5) standing=$(turns 2 5)
check "the watchdog line toggles ten times a second: $toggles in 5 s" [ "$toggles" -ge 40 -a "$toggles" -le 60 ]
check "the standing one does not: $standing" [ "$standing" = 0 ]
check 'check sees who has the lines' sh -c "$andon check --config $work/box.toml | grep 'gpiochip0:2, andon has it'"
sleep 14
python3 - "$messages" "$levels" "$after" "$work/box.log" > "$work/gate" <<'PYTHON'
import datetime, json, re, sys
after, near = float(sys.argv[3]), 0.1
rises, falls = [], []
for line in open(sys.argv[2]):
    at, number, level = line.split()
    if number == "1" and level in "01":
        (rises if level == "1" else falls).append(float(at))
def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


due = []
for line in open(sys.argv[1], "rb"):
    # Pictures are among the messages: bytes that may hold ends of lines.
    _, _, said = line.partition(b" andon/box/infeed/verdict/part ")
    if said:
        verdict = json.loads(said)["verdict"]
        if verdict["verdict"] == "fail" and not verdict["missed"]:
            due.append(seconds(verdict["reject"]["at"]))
served = [at for at in rises if at > after]
off = [min((at - part for part in due), key=abs, default=1e9) for at in served] or [1e9]
# The last one may lie ahead.
parts = [at for at in due if after + near < at < max(served, default=after) + near]
by = sum(all(abs(at - part) > near for at in served) for part in parts)
words = re.findall(r'\[(\S+) .*"ejector": .* went by: (\d+)', open(sys.argv[4]).read())
told = sum(int(number) for at, number in words if seconds(at) >= after)
if len(served) < 3 and told:
    print(f"{len(served)} pulses; the log says that {told} parts were judged or served too late")
    sys.exit(2)
length = [min(fall for fall in falls if fall > rise) - rise for rise in served if any(fall > rise for fall in falls)] or [0]
print(f"{len(served)} pulses, off by {max(map(abs, off)) * 1000:.1f} ms at most, "
      f"{min(length):.3f} to {max(length):.3f} s long; of {len(parts)} parts {by} went by, and the log has {told}")
sys.exit(not (len(served) >= 3 and max(map(abs, off)) < near and by <= told and 0.1 < min(length) <= max(length) < 0.3))
PYTHON
gate=$?
if [ $gate -eq 2 ]; then
  skip 'each bad part has its pulse' "$(cat "$work/gate")"
else
  check "each bad part has its pulse: $(cat "$work/gate")" [ $gate -eq 0 ]
fi

echo '== a camera that stalls'
event
v4l2-ctl -d /dev/video0 -c percentage_of_dropped_buffers=100
within 9 'the relay falls' is 2 0
within 1 'that which is active low, too' is 4 1
within 2 'the watchdog line rests' is 3 0
within 10 'the alarm is raised' heard infeed/alarm/eyes '"unacknowledged"'
event
sleep 4
blinks=$(turns 0 4)
check "the light blinks: $blinks turns in 4 s" [ "$blinks" -ge 7 -a "$blinks" -le 9 ]
check 'and the watchdog line does not move' [ "$(turns 3)" = 0 ]
event
mosquitto_pub -t andon/box/cmd/ack -m '{"camera": "infeed", "rule": "eyes"}'
within 5 'it is acknowledged' heard infeed/alarm/eyes '"acknowledged"'
within 2 'the light is on' is 0 1
event
sleep 3
check 'and stays so' [ "$(turns 0)" = 0 ]
v4l2-ctl -d /dev/video0 -c percentage_of_dropped_buffers=0
within 10 'the camera is back: the relay holds' is 2 1
within 10 'the light is off' is 0 0

echo '== ends'
event
kill -TERM $daemon
wait $daemon
ended=$?
check "SIGTERM: its exit code is $ended" [ $ended -eq 0 ]
check 'the relay fell' is 2 0
check 'that which is active low, too' is 4 1
check 'the watchdog line rests' is 3 0
start box
within 40 'it runs again' is 2 1
kill -KILL $daemon
wait $daemon 2> /dev/null
sleep 1
event
sleep 2
check "kill -9: this driver keeps the level of the relay: $(level 2)" is 2 1
check 'and the watchdog line no longer changes' [ "$(turns 3)" = 0 ]

echo '== inputs'
sed -e 's/trigger = "time"/trigger = "input"\ninput = "barrier"/' -e 's/every = 3/within = 2/' "$work/box.toml" > "$work/inputs.toml"
printf '[[input]]\nid = "barrier"\nline = "gpiochip0:7"\n' >> "$work/inputs.toml"
event
start inputs
within 40 'it runs again' heard infeed/status '"live"'
sleep 4
event
kill -USR1 $chip
within 10 'an edge opens a part, and it is judged' heard infeed/verdict/part '"fail"'
sleep 3
kill -USR1 $chip
sleep 5
check 'the other edge is none' [ "$(heard infeed/verdict/part . | wc -l)" = 1 ]
if [ "$(turns 1)" = 0 ] && grep -q '"ejector": .* went by' "$work/inputs.log"; then
  skip 'the part had its pulse' 'the log says that it was judged or served too late'
else
  check 'the part had its pulse' [ "$(turns 1)" = 2 ]
fi
check 'no panic' sh -c "! grep -hE 'panicked|failed unexpectedly' $work/*.log"
sed 's/^/        /' "$work/box.log" "$work/inputs.log"
[ $failed -eq 0 ] && echo "gpio.sh: all is well; not checked: $unchecked" || echo 'gpio.sh: some checks FAILED'
exit $failed
