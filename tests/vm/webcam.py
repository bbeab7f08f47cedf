#!/usr/bin/env python3
"""A USB webcam in software, for the machine that tests/vm/vm starts: the kernel's own uvcvideo driver talks to it, through
its virtual USB host controller (vhci-hcd), so that it can be plugged in and unplugged, stall and send damaged pictures.

    webcam.py [--rates 30,15] [--away SECONDS] PICTURE.jpg...

The pictures, all of one size, are sent in turn as MJPEG; as YUYV it sends grey levels that change. Runs as root until it is
ended. It understands the signals USR1 (the stream stalls, or goes on), USR2 (unplugged, and plugged in again after --away
seconds), HUP (the next ten pictures come cut in half) and TERM (unplugged for good).
"""

import argparse
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

CONTROLLER = "/sys/devices/platform/vhci_hcd.0/"
HIGH_SPEED = 3
# USB units of time: 100 ns.
TICKS_PER_SECOND = 10_000_000
# What the driver asks for at once; a payload is never longer.
PAYLOAD_BYTES = 16384
STREAM_ENDPOINT = 0x81
MJPEG, YUYV = 1, 2

# USB/IP, the protocol of the virtual controller.
SUBMIT, UNLINK, RETURN_SUBMIT, RETURN_UNLINK = 1, 2, 3, 4
HEADER_BYTES = 48
STALL, CONNECTION_RESET = -32, -104


def jpeg_size(data):
    """Width and height, from the start-of-frame segment."""
    at = 2
    while at + 9 < len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker in (0xFFC0, 0xFFC1, 0xFFC2):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length
    sys.exit("webcam.py: a picture is no JPEG")


def class_descriptor(*parts):
    """A class-specific interface descriptor, as in the USB Video Class 1.0."""
    body = b"".join(part if isinstance(part, bytes) else bytes([part]) for part in parts)
    return bytes([len(body) + 2, 0x24]) + body


def frame_descriptor(subtype, width, height, intervals):
    size = width * height * 2
    bits_per_second = size * 8 * TICKS_PER_SECOND // intervals[0]
    return class_descriptor(
        subtype,
        1,
        0,
        struct.pack("<HHIIIIB", width, height, bits_per_second, bits_per_second, size, intervals[0], len(intervals)),
        struct.pack(f"<{len(intervals)}I", *intervals),
    )


def descriptors(width, height, intervals):
    """The descriptors of the device and of its only configuration: a camera, and a bulk endpoint that streams."""
    yuy2 = b"YUY2\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    formats = class_descriptor(6, MJPEG, 1, 1, 1, 0, 0, 0, 0) + frame_descriptor(7, width, height, intervals)
    formats += class_descriptor(4, YUYV, 1, yuy2, 16, 1, 0, 0, 0, 0) + frame_descriptor(5, width, height, intervals)
    camera_terminal = class_descriptor(2, 1, struct.pack("<H", 0x0201), 0, 0, bytes(6), 2, bytes(2))
    output_terminal = class_descriptor(3, 2, struct.pack("<H", 0x0101), 0, 1, 0)
    terminals = camera_terminal + output_terminal
    control = class_descriptor(1, struct.pack("<HHIBB", 0x0100, 13 + len(terminals), 48_000_000, 1, 1)) + terminals
    stream = class_descriptor(1, 2, struct.pack("<H", 15 + len(formats)), STREAM_ENDPOINT, 0, 2, 0, 0, 0, 1, 0, 0)
    body = (
        bytes([8, 11, 0, 2, 14, 3, 0, 0])  # the two interfaces belong together
        + bytes([9, 4, 0, 0, 0, 14, 1, 0, 0])
        + control
        + bytes([9, 4, 1, 0, 1, 14, 2, 0, 0])
        + stream
        + formats
        + struct.pack("<BBBBHB", 7, 5, STREAM_ENDPOINT, 2, 512, 0)
    )
    configuration = struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 250) + body
    device = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 239, 2, 1, 64, 0x1D6B, 0x0102, 0x0100, 1, 2, 3, 1)
    return device, configuration


def string_descriptor(index):
    strings = {1: "andon", 2: "Simulated webcam", 3: "0001"}
    text = b"\x09\x04" if index == 0 else strings.get(index, "").encode("utf-16le")
    return bytes([len(text) + 2, 3]) + text


class Webcam:
    """The camera; `plugged_in` is its life from plug to unplug."""

    def __init__(self, pictures, rates_hz):
        self.pictures = pictures
        self.width, self.height = jpeg_size(pictures[0])
        self.intervals = [TICKS_PER_SECOND // rate for rate in rates_hz]
        self.device, self.configuration = descriptors(self.width, self.height, self.intervals)
        self.stalled = False
        self.cut = 0
        self.unplug = False
        self.end = False

    def plug(self):
        """Takes a free port of the controller; returns our end of the wire."""
        ours, theirs = socket.socketpair()
        with open(CONTROLLER + "status", encoding="ascii") as status:
            ports = [line.split() for line in status]
        port = next(int(words[1]) for words in ports if words[0] == "hs" and words[2] == "004")
        with open(CONTROLLER + "attach", "w", encoding="ascii") as attach:
            attach.write(f"{port} {theirs.fileno()} {0x10002} {HIGH_SPEED}")
        theirs.close()
        self.waiting = []  # requests for data that have no answer yet, oldest first
        self.payloads = []  # what is left of the picture that is being sent
        self.due = None  # when the next picture is to be sent
        self.sent = 0
        self.format, self.interval = MJPEG, self.intervals[0]
        return ours

    def negotiated(self):
        size = self.width * self.height * 2
        return struct.pack("<HBBIHHHHHII", 1, self.format, 1, self.interval, 0, 0, 0, 0, 0, size, PAYLOAD_BYTES)

    def control(self, setup, data):
        """Answers a control request with bytes, or with None where the device refuses."""
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        if (kind, request) == (0x80, 6):  # get a descriptor
            if value >> 8 == 3:
                return string_descriptor(value & 0xFF)[:length]
            return {1: self.device, 2: self.configuration}.get(value >> 8, b"")[:length] or None
        if (kind, request) == (0x21, 1) and index & 0xFF == 1:  # set what is to be streamed
            asked = struct.unpack_from("<I", data, 4)[0]
            self.format = data[2] if data[2] in (MJPEG, YUYV) else MJPEG
            self.interval = min(self.intervals, key=lambda interval: abs(interval - asked))
            self.payloads, self.due = [], None
            return b""
        if kind == 0xA1 and index & 0xFF == 1 and value >> 8 in (1, 2):  # what is streamed, and what is known of it
            return {0x86: b"\3", 0x85: struct.pack("<H", 26)}.get(request, self.negotiated())[:length]
        if (kind, request) == (0x80, 0):  # status
            return b"\0\0"
        to_device, standard_or_class = kind & 0x80 == 0, kind & 0x60 in (0x00, 0x20)
        return b"" if to_device and standard_or_class else None

    def next_payloads(self):
        """The next picture, cut into payloads with their headers."""
        if self.format == MJPEG:
            data = self.pictures[self.sent % len(self.pictures)]
            if self.cut:
                self.cut, data = self.cut - 1, data[: len(data) // 2]
        else:
            data = bytes([self.sent * 4 & 0xFF, 128]) * (self.width * self.height)
        self.sent += 1
        room = PAYLOAD_BYTES - 2
        pieces = [data[at : at + room] for at in range(0, len(data), room)]
        last = len(pieces) - 1
        toggle = self.sent & 1
        return [bytes([2, 0x80 | toggle | (2 if at == last else 0)]) + piece for at, piece in enumerate(pieces)]

    def stream(self, reply):
        """Sends what is due; returns how long there is nothing to do, in seconds."""
        if not self.waiting or self.stalled:
            return 0.2
        now, interval = time.monotonic(), self.interval / TICKS_PER_SECOND
        if not self.payloads:
            self.due = self.due or now
            if now < self.due:
                return min(0.2, self.due - now)
            self.payloads = self.next_payloads()
            self.due = max(self.due + interval, now - interval)
        while self.waiting and self.payloads:
            payload = self.payloads.pop(0)
            reply(self.waiting.pop(0), 0, len(payload), payload)
        return 0

    def plugged_in(self):
        """Serves the wire until the camera is unplugged or the host lets it go."""
        wire = self.plug()

        def reply(sequence, status, length, data=b""):
            wire.sendall(struct.pack(">IIIIIiiiii8x", RETURN_SUBMIT, sequence, 0, 0, 0, status, length, 0, 0, 0) + data)

        while not (self.unplug or self.end):
            idle = self.stream(reply)
            if not select.select([wire], [], [], idle)[0]:
                continue
            head = wire.recv(HEADER_BYTES, socket.MSG_WAITALL)
            if len(head) < HEADER_BYTES:
                break
            command, sequence, _, to_host, endpoint = struct.unpack_from(">IIIII", head)
            if command == UNLINK:
                victim = struct.unpack_from(">I", head, 20)[0]
                found = victim in self.waiting
                if found:
                    self.waiting.remove(victim)
                    self.payloads, self.due = [], None
                status = CONNECTION_RESET if found else 0
                wire.sendall(struct.pack(">IIIIIi24x", RETURN_UNLINK, sequence, 0, 0, 0, status))
                continue
            length = struct.unpack_from(">i", head, 24)[0]
            data = wire.recv(length, socket.MSG_WAITALL) if not to_host and length else b""
            if endpoint:
                self.waiting.append(sequence)
                continue
            answer = self.control(head[40:48], data)
            if answer is None:
                reply(sequence, STALL, 0)
            elif to_host:
                reply(sequence, 0, len(answer), answer)
            else:
                reply(sequence, 0, length)
        wire.shutdown(socket.SHUT_RDWR)
        wire.close()

    def on_signals(self):
        def on(number, change):
            def handle(*_):
                change()
                os.write(2, f"webcam.py: {signal.Signals(number).name}\n".encode())

            signal.signal(number, handle)

        on(signal.SIGUSR1, lambda: setattr(self, "stalled", not self.stalled))
        on(signal.SIGUSR2, lambda: setattr(self, "unplug", True))
        on(signal.SIGHUP, lambda: setattr(self, "cut", 10))
        on(signal.SIGTERM, lambda: setattr(self, "end", True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="30,15", help="pictures per second that it offers")
    parser.add_argument("--away", type=float, default=2.0, metavar="SECONDS", help="how long USR2 unplugs it")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE.jpg")
    args = parser.parse_args()
    subprocess.run(["modprobe", "-a", "vhci-hcd", "uvcvideo"], check=True)
    pictures = []
    for path in args.pictures:
        with open(path, "rb") as file:
            pictures.append(file.read())
    webcam = Webcam(pictures, [int(rate) for rate in args.rates.split(",")])
    webcam.on_signals()
    while not webcam.end:
        webcam.unplug = False
        webcam.plugged_in()
        if not webcam.end:
            time.sleep(args.away)


main()
