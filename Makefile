# `make demo` runs the line, `make test` checks everything; `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# What building takes beside Rust: libclang for the camera bindings; a C compiler, cmake and (on x86-64) nasm for libjpeg-turbo.
BUILD_PACKAGES := build-essential cmake libclang-dev $(if $(filter x86_64,$(shell uname -m)),nasm)
# What the tests run against: a real broker, a real video program.
TEST_PACKAGES := mosquitto mosquitto-clients ffmpeg

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
	cargo test --locked

# Seconds that `make fuzz` takes.
FUZZ_SECONDS := 600

.PHONY: fuzz
fuzz: deps ## compare the engine with tract on graphs made at random (FUZZ_SECONDS=600, SEED=the first of them)
	ANDON_FUZZ_SECONDS=$(FUZZ_SECONDS) $(if $(SEED),ANDON_FUZZ_SEED=$(SEED)) \
	  cargo test --locked --lib random_graphs_for_long -- --nocapture

# Where the peers are put, and what they answer.
PEERS := target/peers
PEERS_PYTHON := $(PEERS)/venv/bin/python

# Installs Python packages for what is run by PEERS_PYTHON.
define peers-venv
python3 -m venv $(PEERS)/venv
$(PEERS)/venv/bin/pip install -q $(1)
endef

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
	@$(call install,build-essential qemu-user)
	python3 tests/peers/count.py --andon '$(ANDON)' --model '$(MODEL)'

.PHONY: pipeline
pipeline: ## estimate the cycles of the ARM kernels with models of their pipelines: ANDON=andon for AArch64
	@test -n "$(ANDON)" || { echo 'make pipeline: say which program, as in: make pipeline ANDON=andon-aarch64' >&2; exit 2; }
	@$(call install,llvm binutils-aarch64-linux-gnu)
	python3 tests/peers/pipeline.py --andon '$(ANDON)'

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
	getent passwd andon >/dev/null || $(SUDO) useradd --system --home-dir /var/lib/andon --shell /usr/sbin/nologin andon
	test -e /etc/andon/andon.toml || $(SUDO) install -D -m 644 andon.toml /etc/andon/andon.toml
	@echo 'Edit /etc/andon/andon.toml, then: andon check --config /etc/andon/andon.toml && systemctl enable --now andon'

.PHONY: deps
deps: ## install what building takes (Debian and Ubuntu packages)
	@command -v cargo >/dev/null || { echo 'make: no Rust here; install it from https://rustup.rs, then try again' >&2; exit 1; }
	@$(call install,$(BUILD_PACKAGES))

.PHONY: test-deps
test-deps: ## install what the tests run against
	@$(call install,$(TEST_PACKAGES))

# Installs those of the packages that are missing, and says which.
define install
missing=$$(for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q ' installed' || echo $$p; done); \
if [ -n "$$missing" ]; then \
  echo "make: installing" $$missing; \
  $(SUDO) apt-get update -q || true; \
  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q --no-install-recommends $$missing; \
fi
endef
