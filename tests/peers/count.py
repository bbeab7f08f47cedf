#!/usr/bin/env python3
"""Counts the instructions of one inference on emulated AArch64 processors: the same number at every run.

    python tests/peers/count.py --andon andon-for-aarch64 --model yolo.onnx

Runs `andon bench` twice under QEMU, once with one timed run and once with two; the difference is one inference. Cortex-A76
has the dot product (Raspberry Pi 5, Jetson Orin), Cortex-A72 has not (Raspberry Pi 4). Instructions are no time: this says
which of two programs does less, and nothing about caches or pipelines.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PLUGIN = pathlib.Path(__file__).with_name("insncount.c")


def built_plugin(folder):
    """The plugin as a library, compiled by this machine's C compiler."""
    library = os.path.join(folder, "insncount.so")
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", PLUGIN, "-o", library], check=True)
    return library


def counted(options, plugin, cpu, runs):
    """The instructions of a whole process with so many timed runs, and what it said."""
    emulator = [options.qemu, "-cpu", cpu, "-plugin", plugin]
    if options.sysroot:
        emulator += ["-L", options.sysroot]
    bench = [options.andon, "bench", "--model", options.model, "--threads", "1", "--warm-up", "1", "--json"]
    answer = subprocess.run([*emulator, *bench, "--runs", str(runs)], capture_output=True, text=True, check=False)
    number = re.search(r"^instructions (\d+)$", answer.stderr, re.MULTILINE)
    if answer.returncode != 0 or number is None:
        raise SystemExit(f"{options.qemu} -cpu {cpu}: {answer.stderr.strip() or answer.returncode}")
    return int(number.group(1)), json.loads(answer.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--andon", required=True, help="the program, built for AArch64 Linux")
    parser.add_argument("--model", required=True)
    parser.add_argument("--cpu", action="append", help="an emulated processor; repeatable")
    parser.add_argument("--qemu", default="qemu-aarch64", help="a user-mode QEMU that loads plugins: a dynamic one")
    sysroot = "/usr/aarch64-linux-gnu"
    parser.add_argument("--sysroot", default=sysroot if os.path.isdir(sysroot) else "", help="where its libraries are")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if shutil.which(options.qemu) is None:
        raise SystemExit(f"{options.qemu} is not here; install qemu-user (the static one loads no plugins)")
    for path in (options.andon, options.model):
        if not os.path.isfile(path):
            raise SystemExit(f"{path} is no file")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        plugin = built_plugin(folder)
        for cpu in options.cpu or ["cortex-a76", "cortex-a72"]:
            (once, about), (twice, _) = (counted(options, plugin, cpu, runs) for runs in (1, 2))
            rows.append({"cpu": cpu, "isa": about["isa"], "instructions": twice - once})
            if not options.json:
                print(f"{cpu:12} {about['isa']:12} {(twice - once) / 1e6:8.1f} M instructions an inference", flush=True)
    if options.json:
        json.dump({"model": pathlib.Path(options.model).stem, "rows": rows}, sys.stdout, indent=2)
        print()


if __name__ == "__main__":
    main()
