# `make demo` runs the line, `make test` checks everything; `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# What building takes beside Rust: libclang for the camera bindings; a C compiler, cmake and (on x86-64) nasm for libjpeg-turbo.
BUILD_PACKAGES := build-essential cmake libclang-dev $(if $(filter x86_64,$(shell uname -m)),nasm)
# What the tests run against: a real broker, a real video program.
TEST_PACKAGES := mosquitto mosquitto-clients ffmpeg python3 systemd faketime iproute2

# A password may be asked for where this is not root.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Built as for the tests (dependencies optimized, and andon too), so that both commands share one build.
.PHONY: demo
demo: deps ## build andon and run the simulated line; or MODEL=yolo.onnx SOURCE=a camera, folder or URL
	cargo build --locked
	target/debug/andon run $(if $(MODEL),--model '$(MODEL)') $(if $(SOURCE),--source '$(SOURCE)')

.PHONY: test
test: deps test-deps ## everything that continuous integration runs
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	$(MAKE) deny
	packaging/tool cargo-deb
	cargo test --locked

# Seconds that `make fuzz` takes.
FUZZ_SECONDS := 600

.PHONY: fuzz
fuzz: deps ## damaged input at random, and the engine against tract on random graphs (FUZZ_SECONDS=600 each, SEED=the first)
	ANDON_FUZZ_SECONDS=$(FUZZ_SECONDS) $(if $(SEED),ANDON_FUZZ_SEED=$(SEED)) \
	  cargo test --locked --lib for_long -- --nocapture
	ANDON_FUZZ_SECONDS=$(FUZZ_SECONDS) $(if $(SEED),ANDON_FUZZ_SEED=$(SEED)) \
	  cargo test --locked --test main -- fuzz:: damaged_files_end --nocapture

# `make chaos` takes about half an hour.
CHAOS_MESSAGES := 20000
CHAOS_KILLS := 50
CHAOS_DEVICE_KILLS := 300
CHAOS_OUTAGE_SECONDS := 600

# The network namespace of the outage takes root; without it that part says that it is skipped.
.PHONY: chaos
chaos: deps test-deps ## kill the broker and the device again and again, and (as root) swallow the network: nothing may be lost
	cargo build --locked
	ANDON_CHAOS_MESSAGES=$(CHAOS_MESSAGES) ANDON_CHAOS_KILLS=$(CHAOS_KILLS) \
	  ANDON_CHAOS_DEVICE_KILLS=$(CHAOS_DEVICE_KILLS) ANDON_CHAOS_WHOLE_KILLS=$(CHAOS_KILLS) \
	  ANDON_CHAOS_OUTAGE_SECONDS=$(CHAOS_OUTAGE_SECONDS) \
	  cargo test --locked --test main chaos:: -- --nocapture --test-threads=1

.PHONY: brokers
brokers: deps test-deps ## the device and `andon listen` with mosquitto, rumqttd and amqtt (downloads amqtt)
	$(call peers-venv,amqtt)
	ANDON_AMQTT=$(abspath $(PEERS)/venv/bin/amqtt) cargo test --locked --test main chaos::brokers -- --nocapture

# How many frames `make soak` and `make corrupt` take, and how long the decoder alone is fed.
SOAK_FRAMES := 2000000
CORRUPT_FRAMES := 100000
CORRUPT_SECONDS := 60

.PHONY: soak
soak: deps test-deps ## frames through the whole pipeline, and what the daemon holds at the end (SOAK_FRAMES=2000000)
	ANDON_SOAK_FRAMES=$(SOAK_FRAMES) cargo test --locked --test main daemon::soak -- --nocapture

.PHONY: corrupt
corrupt: deps ## damaged JPEGs through a camera's source and the decoder (CORRUPT_FRAMES=100000, CORRUPT_SECONDS=60)
	ANDON_CORRUPT_FRAMES=$(CORRUPT_FRAMES) ANDON_FUZZ_SECONDS=$(CORRUPT_SECONDS) \
	  cargo test --locked --test main sources::corrupt -- --nocapture

# Parts that `make parts` lets pass.
PARTS := 10000

.PHONY: parts
parts: deps ## parts on a simulated belt that stops, goes and backs up, judged and counted, with restarts (PARTS=10000)
	ANDON_PARTS=$(PARTS) cargo test --locked --lib station::simulation -- --nocapture --test-threads=1

# Power cuts that `make power-cut` simulates.
POWER_CUTS := 100000

.PHONY: power-cut
power-cut: deps ## cut the power of the outbox POWER_CUTS=100000 times, fail its disk at every call, turn bits in its file
	ANDON_CRASH_STATES=$(POWER_CUTS) cargo test --locked --test main power_cut -- --nocapture
	ANDON_FAULT_STRIDE=1 cargo test --locked --test main outbox::faults -- --nocapture
	ANDON_FLIPS=20000 cargo test --locked --test main outbox::damage -- --nocapture
	ANDON_WEAR_SECONDS=120 cargo test --locked --test main outbox::wear -- --nocapture

# Where the peers are put, and what they answer.
PEERS := target/peers
PEERS_PYTHON := $(PEERS)/venv/bin/python

# Installs Python packages in an environment of their own.
define venv
packaging/install python3 python3-venv
python3 -m venv $(1)
$(1)/bin/pip install -q $(2)
endef

# The same for what is run by PEERS_PYTHON.
peers-venv = $(call venv,$(PEERS)/venv,$(1))

# Of its own: Home Assistant wants other versions of packages than the peers do.
HOME_ASSISTANT := target/home-assistant

.PHONY: home-assistant
home-assistant: ## show what a box announces to Home Assistant's own schemas and templates (downloads it)
	$(call venv,$(HOME_ASSISTANT),homeassistant jsonschema)
	$(HOME_ASSISTANT)/bin/python tests/home_assistant.py

# The pictures of ASSETS.
IMAGES = $(wildcard $(ASSETS)/data/images/*.jpg)

.PHONY: agree
agree: deps ## compare with OpenCV, onnxruntime and Ultralytics themselves (downloads them; ASSETS=a folder with models/ and data/)
	$(call peers-venv,'pillow<13' numpy onnx onnxruntime onnxslim opencv-python-headless ultralytics)
	$(PEERS_PYTHON) tests/peers/letterbox.py $(PEERS)/opencv
	ANDON_OPENCV_DIR=$(PEERS)/opencv cargo test --locked --test main opencv -- --nocapture
	$(PEERS_PYTHON) tests/peers/ultralytics_heads.py $(PEERS)/ultralytics
	ANDON_YOLO_DIR=$(PEERS)/ultralytics cargo test --locked --test main yolo -- --nocapture
ifneq ($(ASSETS),)
	$(PEERS_PYTHON) tests/peers/ort.py $(PEERS)/ort \
	  --images $(IMAGES) --models $(wildcard $(ASSETS)/models/*.onnx)
	ANDON_ORT_DIR=$(PEERS)/ort cargo test --locked --test main agrees_with_onnxruntime -- --nocapture
	$(MAKE) agree-int8
endif

# The models of ASSETS that the int8 targets are about.
INT8 := $(ASSETS)/models/yolo26n-coco-int8-qdq.onnx $(ASSETS)/models/yolo26n-coco-int8-qoperator.onnx

.PHONY: agree-int8
agree-int8: need-assets deps ## compare int8 files with onnxruntime over 64 pictures: ASSETS=a folder with models/ and data/
	$(call peers-venv,numpy onnxruntime opencv-python-headless)
	rm -rf $(PEERS)/pool
	$(PEERS_PYTHON) tests/peers/agree_int8.py $(PEERS)/pool --images $(IMAGES) --models $(INT8)
	ANDON_ORT_POOL_DIR=$(PEERS)/pool cargo test --locked --test main pooled -- --nocapture

.PHONY: agree-val
agree-val: deps ## compare `andon val` with Ultralytics and pycocotools: MODEL=yolo.onnx DATA=data.yaml, and perhaps SPLIT=val
	@test -n "$(MODEL)" -a -n "$(DATA)" || { \
	  echo 'make agree-val: say which model and dataset, as in: make agree-val MODEL=yolo.onnx DATA=boards/data.yaml' >&2; exit 2; }
	$(call peers-venv,ultralytics pycocotools onnxruntime)
	$(if $(ANDON),,cargo build --locked)
	$(PEERS_PYTHON) tests/peers/val.py compare --andon $(PROGRAM) --model '$(MODEL)' --data '$(DATA)' --split '$(or $(SPLIT),val)'

.PHONY: golden-val
golden-val: ## ask Ultralytics and pycocotools again about the made-up detections that the tests know
	$(call peers-venv,ultralytics pycocotools)
	$(PEERS_PYTHON) tests/peers/val.py golden tests/golden/eval.json

.PHONY: agree-quantize
agree-quantize: need-assets deps ## quantize YOLO26n and compare int8 with float over 64 other pictures: ASSETS=…
	cargo build --locked
	$(call peers-venv,numpy onnxruntime opencv-python-headless)
	rm -rf $(PEERS)/quantize
	$(PEERS_PYTHON) tests/peers/agree_quantize.py $(PEERS)/quantize --andon $(PROGRAM) --images $(IMAGES) \
	  --model $(ASSETS)/models/yolo26n-coco.onnx

# The program that is timed; without ANDON= the one that the demo and the tests build, which is optimized as well.
PROGRAM := $(or $(ANDON),target/debug/andon)

.PHONY: peers
peers: need-assets deps ## time andon and its peers in turns: ASSETS=…, and perhaps ANDON=program ISA=avx2
	$(if $(ANDON),,cargo build --locked)
	$(call peers-venv,numpy onnx onnxruntime opencv-python-headless openvino)
	$(PEERS_PYTHON) tests/peers/quantize_static.py $(PEERS)/int8 --images $(IMAGES) \
	  --models $(ASSETS)/models/yolov8n-coco.onnx
	$(PEERS_PYTHON) tests/peers/quantize_static.py $(PEERS)/int8 --images $(IMAGES) \
	  --models $(ASSETS)/models/yolox-nano-coco-416.onnx --percentile 99.99
	$(TIMED) --reference $(ASSETS)/models/yolo26n-coco.onnx $(ASSETS)/models/yolo26n-coco-int8-qdq.onnx
	$(TIMED) --reference $(ASSETS)/models/yolov8n-coco.onnx $(PEERS)/int8/yolov8n-coco-int8-qdq.onnx
	$(TIMED) --reference $(ASSETS)/models/yolox-nano-coco-416.onnx $(PEERS)/int8/yolox-nano-coco-416-int8-qdq.onnx

TIMED = $(PEERS_PYTHON) tests/peers/peers.py --andon $(PROGRAM) $(addprefix --isa ,$(ISA))

.PHONY: count
count: ## count instructions on emulated ARM processors: ANDON=andon for AArch64 MODEL=yolo.onnx
	@test -n "$(ANDON)" -a -n "$(MODEL)" || { \
	  echo 'make count: say which program and which model, as in: make count ANDON=andon-aarch64 MODEL=yolo.onnx' >&2; exit 2; }
	@packaging/install build-essential qemu-user
	python3 tests/peers/count.py --andon '$(ANDON)' --model '$(MODEL)'

.PHONY: pipeline
pipeline: ## estimate the cycles of the ARM kernels with models of their pipelines: ANDON=andon for AArch64
	@test -n "$(ANDON)" || { echo 'make pipeline: say which program, as in: make pipeline ANDON=andon-aarch64' >&2; exit 2; }
	@packaging/install llvm binutils-aarch64-linux-gnu
	python3 tests/peers/pipeline.py --andon '$(ANDON)'

# With BYTETRACK= a checkout of ifzhang/ByteTrack the original is asked as well as the package.
.PHONY: tracks
tracks: deps ## ask ByteTrack again how often things get another number in the scenes that the tests know (BYTETRACK=a checkout)
	$(call peers-venv,'supervision<0.28' $(if $(BYTETRACK),scipy lap))
	ANDON_SCENES_OUT=$(PEERS)/tracks cargo test --locked --test main the_scenes_are_written
	$(PEERS_PYTHON) tests/track/reference.py $(PEERS)/tracks tests/golden/tracks.json $(if $(BYTETRACK),--original '$(BYTETRACK)')

.PHONY: need-assets
need-assets:
	@test -n "$(ASSETS)" || { echo 'make: say ASSETS=a folder with models/ and data/images/' >&2; exit 2; }

.PHONY: build
build: deps ## build target/release/andon
	cargo build --release --locked

.PHONY: install
install: build ## install the program, the unit and a configuration on this machine
	$(SUDO) install -D -m 755 target/release/andon /usr/bin/andon
	$(SUDO) install -D -m 644 systemd/andon.service /etc/systemd/system/andon.service
	getent passwd andon >/dev/null || \
	  $(SUDO) useradd --system --user-group --groups video --home-dir /var/lib/andon --shell /usr/sbin/nologin andon
	@# Addresses of network cameras may hold passwords.
	test -e /etc/andon/andon.toml || $(SUDO) install -D -m 640 -g andon andon.toml /etc/andon/andon.toml
	@echo 'Edit /etc/andon/andon.toml, then: sudo andon check --config /etc/andon/andon.toml && sudo systemctl enable --now andon'
	@echo 'A package that is installed later brings its own unit: remove /etc/systemd/system/andon.service then, which hides it.'

# ---- Packages, other processors, and virtual machines.

# What packages are for, and how they are built: PROFILE=dev takes what the tests have built, and is as fast.
ARCH := $(shell dpkg --print-architecture 2>/dev/null)
PROFILE := release

.PHONY: deny
deny: ## check the licences and the origin of everything that is linked
	packaging/tool cargo-deny
	PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo deny --locked check licenses bans sources

.PHONY: deb
deb: deps ## make target/debian/andon_…_ARCH.deb: ARCH=amd64, arm64 or armhf
	packaging/deb $(ARCH) $(PROFILE)

.PHONY: arm
arm: deps ## build for AArch64 and ARMv7, and run the tests of the library there, under QEMU
	tests/arm/cargo aarch64 test --locked --lib
	tests/arm/cargo aarch64 run --locked -- detect --model models/bare-boards.onnx --format text line:count=3
	tests/arm/cargo armv7 test --locked --lib
	tests/arm/cargo armv7 run --locked -- detect --model models/bare-boards.onnx --format text line:count=3

.PHONY: container
container: deps ## make a container image of a static program and nothing else, with buildah
	packaging/container $(PROFILE)

# How often each camera is unplugged in a row.
CYCLES := 50
VM_PICTURES = target/vm/picture-*.jpg

.PHONY: vm
vm: deps ## film with andon in a virtual machine: cameras that stall, go and come back; the service (CYCLES=50; root makes its image)
	tests/vm/prepare
	tests/vm/vm --systemd --seconds 3600 '$(CURDIR)' 'CYCLES=$(CYCLES) WEBCAM="tests/vm/webcam.py $(VM_PICTURES)" \
	  sh tests/vm/daemon.sh target/vm/andon target/vm/tiny.onnx'

.PHONY: vm-camera
vm-camera: deps ## run the tests of capture in a virtual machine with cameras (root makes its image)
	tests/vm/prepare
	tests/vm/vm --systemd --seconds 1800 '$(CURDIR)' 'WEBCAM="tests/vm/webcam.py $(VM_PICTURES)" \
	  sh tests/vm/camera.sh target/vm/tests'

.PHONY: vm-gpio
vm-gpio: deps ## drive a light, a gate and a relay in a virtual machine with a GPIO chip, and listen to a barrier (root makes its image)
	tests/vm/prepare
	tests/vm/vm --seconds 900 '$(CURDIR)' 'sh tests/vm/gpio.sh target/vm/andon target/vm/tiny.onnx'

.PHONY: vm-deb
vm-deb: deps ## install, use, upgrade, boot again and remove the package in a virtual machine: ARCH=amd64 or arm64 (root makes its image)
	tests/vm/prepare
	rm -f target/vm/disk
	deb=$$(packaging/deb $(ARCH) $(PROFILE) | tail -n 1); \
	  tests/vm/vm --systemd --arch $(ARCH) --disk target/vm/disk '$(CURDIR)' \
	    "sh tests/vm/deb.sh install $$deb target/vm/tiny.onnx"
	tests/vm/vm --systemd --arch $(ARCH) --disk target/vm/disk '$(CURDIR)' 'sh tests/vm/deb.sh again'
	rm -f target/vm/disk

.PHONY: deps
deps: ## install what building takes (Debian and Ubuntu packages)
	@command -v cargo >/dev/null || { echo 'make: no Rust here; install it from https://rustup.rs, then try again' >&2; exit 1; }
	@packaging/install $(BUILD_PACKAGES)

.PHONY: test-deps
test-deps: ## install what the tests run against
	@packaging/install $(TEST_PACKAGES)
