#!/usr/bin/env python3
"""Times andon and what a user would pick instead, in turns within one run, on the models given.

    pip install onnxruntime openvino numpy            (ncnn with pnnx, and MNN, are timed too where they are installed)
    python tests/peers/peers.py --andon target/release/andon --reference yolo.onnx yolo-int8-qdq.onnx --isa avx2

--reference is the float model: onnxruntime runs it, and every other time is divided by that one. andon runs the reference
and each model, each once more for every --isa; onnxruntime runs them all too; the other peers run the reference.
OpenVINO runs as it comes (bf16 where the processor has it) and held to f32.

Everybody has a turn in each round: a few runs that are not timed, then the timed ones. andon is a process of its own in
each turn (`andon bench --json`), so its loading and warming up are outside of what is timed, as are the peers'. Between
turns nothing runs, so that threads that still spin for one do not slow down the next.

The table has for each row the least time; that time divided by the reference's least with as many threads; and the
median over rounds of the row's median divided by the reference's in the same round, which a machine that drifts disturbs
least. `speed-up` compares a row with itself with the fewest threads, in these two ways. `memory` and `first` are andon's
own figures: its peak resident memory, and the time from the start of loading to the first result.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

# Rest between two turns; thread pools stop spinning well within it.
REST_SECONDS = 0.05


class Andon:
    """The program under test, one process a turn."""

    def __init__(self, program, model, threads, isa=None):
        self.command = [program, "bench", "--model", str(model), "--threads", str(threads), "--json"]
        self.environment = {**os.environ, **({"ANDON_ISA": isa} if isa else {})}
        self.about = None

    def turn(self, warm_up, runs):
        """The least and the median time in ms."""
        command = [*self.command, "--warm-up", str(warm_up), "--runs", str(runs)]
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            raise RuntimeError(answer.stderr.strip())
        found = json.loads(answer.stdout)
        if self.about is None:
            self.about = found
        self.about["rss_bytes"] = max(self.about["rss_bytes"] or 0, found["rss_bytes"] or 0) or None
        self.about["first_result_ms"] = min(self.about["first_result_ms"], found["first_result_ms"])
        return found["latency_ms"]["min"], found["latency_ms"]["median"]


class Peer:
    """A runtime in this process: a function that runs the model once."""

    def __init__(self, run):
        self.run = run

    def turn(self, warm_up, runs):
        """The least and the median time in ms."""
        for _ in range(1 + warm_up):
            self.run()
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self.run()
            times.append((time.perf_counter() - start) * 1e3)
        return min(times), statistics.median(times)


def random_input(shape):
    """Numbers in 0..1 each, the same for everybody; every engine does the same work whatever they are."""
    return numpy.random.default_rng(0).random(shape, dtype=numpy.float32)


def onnxruntime(model, threads):
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    tensor = random_input(given.shape)
    return lambda: session.run(None, {given.name: tensor})


def openvino(model, threads, precision=None):
    import openvino as runtime

    config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    compiled = runtime.Core().compile_model(str(model), "CPU", config)
    request = compiled.create_infer_request()
    tensor = random_input(list(compiled.inputs[0].shape))
    return lambda: request.infer({0: tensor})


def input_shape(model):
    import onnx

    return [dim.dim_value for dim in onnx.load(model).graph.input[0].type.tensor_type.shape.dim]


def tool(name):
    """A program that came with a package of this Python."""
    return os.path.join(os.path.dirname(sys.executable), name)


def ncnn(model, threads):
    import ncnn as runtime

    net = runtime.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "m.onnx").symlink_to(model.resolve())
        subprocess.run([tool("pnnx"), "m.onnx"], cwd=folder, check=True, capture_output=True)
        net.load_param(str(folder / "m.ncnn.param"))
        net.load_model(str(folder / "m.ncnn.bin"))
    tensor = runtime.Mat(random_input(input_shape(model))[0]).clone()
    given, wanted = net.input_names()[0], net.output_names()[0]

    def run():
        extractor = net.create_extractor()
        extractor.input(given, tensor)
        extractor.extract(wanted)

    return run


def mnn(model, threads):
    import MNN.expr
    import MNN.nn
    import onnx

    graph = onnx.load(model).graph
    manager = MNN.nn.create_runtime_manager(({"precision": "high", "backend": 0, "numThread": threads},))
    names = [graph.input[0].name], [graph.output[0].name]
    with tempfile.TemporaryDirectory() as folder:
        converted = os.path.join(folder, "m.mnn")
        convert = [tool("mnnconvert"), "-f", "ONNX", "--modelFile", str(model), "--MNNModel", converted]
        subprocess.run([*convert, "--bizCode", "x"], check=True, capture_output=True)
        net = MNN.nn.load_module_from_file(converted, *names, runtime_manager=manager)
    tensor = random_input(input_shape(model))
    fed = MNN.expr.convert(MNN.expr.const(tensor, list(tensor.shape), MNN.expr.NCHW), MNN.expr.NC4HW4)
    return lambda: net.forward([fed])[0].read()


# What runs the float model beside onnxruntime: name, the module that it needs, how it is made ready.
PEERS = [
    ("openvino", "openvino", openvino),
    ("openvino-f32", "openvino", lambda model, threads: openvino(model, threads, "f32")),
    ("mnn", "MNN", mnn),
    ("ncnn", "ncnn", ncnn),
]

REFERENCE = "onnxruntime"


class Row:
    """One contestant with a model and a number of threads, and the times of its turns."""

    def __init__(self, name, model, threads, contestant):
        self.name, self.model, self.threads, self.contestant = name, model, threads, contestant
        self.least = []
        self.medians = []

    def take_turn(self, warm_up, runs):
        least, median = self.contestant.turn(warm_up, runs)
        self.least.append(least)
        self.medians.append(median)

    def over(self, other):
        """This row's time divided by another's: of the least of all, and the median over the rounds."""
        in_rounds = [own / theirs for own, theirs in zip(self.medians, other.medians)]
        return min(self.least) / min(other.least), statistics.median(in_rounds)


def contestants(options, threads):
    """Whoever is to be timed: (name, model, how it is made ready), the reference first."""
    models = [options.reference, *options.models]
    for model in models:
        yield REFERENCE, model, lambda model=model: Peer(onnxruntime(model, threads))
    for isa in [None, *options.isa]:
        for model in models:
            name = f"andon {isa}" if isa else "andon"
            yield name, model, lambda model=model, isa=isa: Andon(options.andon, model, threads, isa)
    for name, _, make in options.peers:
        yield name, options.reference, lambda make=make: Peer(make(options.reference, threads))


def installed(wanted):
    """Those of the wanted peers (all, where nobody says) that this Python has."""
    peers = [peer for peer in PEERS if wanted is None or peer[0] in wanted]
    for name, module, _ in peers:
        if importlib.util.find_spec(module) is None:
            tell(f"{name} is left out: {module} is not installed")
    return [peer for peer in peers if importlib.util.find_spec(peer[1]) is not None]


def made_ready(options, threads):
    """A row for each contestant that can run."""
    rows = []
    for name, model, make in contestants(options, threads):
        try:
            contestant = make()
            contestant.turn(0, 1)
            rows.append(Row(name, model, threads, contestant))
        except Exception as cause:  # A peer that cannot take this model is a finding; the others go on.
            if name.startswith("andon") or (name, model) == (REFERENCE, options.reference):
                raise
            tell(f"{name} cannot run {model.name}: {(str(cause).splitlines() or [repr(cause)])[0][:120]}")
    return rows


def result(row, rows):
    """What is printed of a row: against the reference with as many threads, and against itself with the fewest."""
    reference = next(other for other in rows if other.threads == row.threads)
    fewest = next(other for other in rows if (other.name, other.model) == (row.name, row.model))
    of_min, in_rounds = row.over(reference)
    about = getattr(row.contestant, "about", None)
    return {
        "name": row.name,
        "model": row.model.stem,
        "threads": row.threads,
        "min_ms": round(min(row.least), 2),
        "median_ms": round(statistics.median(row.medians), 2),
        "ratio_of_min": round(of_min, 3),
        "ratio_in_rounds": round(in_rounds, 3),
        "speed_up": None if fewest is row else [round(1 / ratio, 2) for ratio in row.over(fewest)],
        **({key: about[key] for key in ANDON_KEYS} if about else {}),
    }


ANDON_KEYS = ["isa", "int8_convolutions", "convolutions", "rss_bytes", "first_result_ms"]


def table(results):
    width = max(len(row["model"]) for row in results)
    yield (
        f"{'runtime':16} {'model':{width}} threads   min ms  median  ÷ min  ÷ round  speed-up  {'runs on':12}"
        f" {'int8':>7}  memory    first"
    )
    for row in results:
        speed_up = "{:.2f} {:.2f}".format(*row["speed_up"]) if row["speed_up"] else ""
        line = (
            f"{row['name']:16} {row['model']:{width}} {row['threads']:7} {row['min_ms']:8.2f} {row['median_ms']:7.2f}"
            f" {row['ratio_of_min']:6.3f} {row['ratio_in_rounds']:8.3f} {speed_up:>9}"
        )
        if "isa" in row:
            convolutions = f"{row['int8_convolutions']}/{row['convolutions']}"
            memory = f"{row['rss_bytes'] / 1e6:.0f} MB" if row["rss_bytes"] else "?"
            line += f"  {row['isa']:12} {convolutions:>7} {memory:>7} {row['first_result_ms']:5.0f} ms"
        yield line.rstrip()


def numbers(text):
    return [int(part) for part in text.split(",")]


def tell(text):
    print(text, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=pathlib.Path, help="other files of the same network")
    parser.add_argument("--andon", required=True, help="the program")
    parser.add_argument("--reference", required=True, type=pathlib.Path, help="the float model")
    parser.add_argument("--threads", default="1,2", type=numbers, help="numbers of threads: 1,2")
    parser.add_argument("--isa", default=[], action="append", help="an instruction set for more rows of andon; repeatable")
    parser.add_argument("--peers", type=lambda text: text.split(","), help="only these beside onnxruntime; '' for none")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=7, help="timed runs in a turn")
    parser.add_argument("--warm-up", type=int, default=2, help="runs before them, after a first one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    options.peers = installed(options.peers)
    rows = [row for threads in sorted(options.threads) for row in made_ready(options, threads)]
    for _ in range(options.rounds):
        for row in rows:
            row.take_turn(options.warm_up, options.runs)
            time.sleep(REST_SECONDS)
    results = [result(row, rows) for row in rows]
    if options.json:
        print(json.dumps({"reference": options.reference.stem, "rows": results}, indent=2))
    else:
        print("\n".join(table(results)))


if __name__ == "__main__":
    main()
