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
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Built as for the tests (dependencies optimized, and andon too), so that both commands share one build.
.PHONY: demo
demo: deps ## build andon and run the line: MODEL=yolo.onnx SOURCE=a camera, folder or URL
	@test -n "$(MODEL)" -a -n "$(SOURCE)" || { \
	  echo 'make demo: say which model and which pictures, as in: make demo MODEL=yolo.onnx SOURCE=images/' >&2; exit 2; }
	cargo build --locked
	target/debug/andon run --model '$(MODEL)' --source '$(SOURCE)'

.PHONY: test
test: deps test-deps ## everything that continuous integration runs
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	cargo test --locked

# Where `make agree` puts the peers and what they answer.
PEERS := target/peers

.PHONY: agree
agree: deps ## compare with OpenCV, onnxruntime and Ultralytics themselves (downloads them; ASSETS=a folder with models/ and data/)
	python3 -m venv $(PEERS)/venv
	$(PEERS)/venv/bin/pip install -q 'pillow<13' numpy onnx onnxruntime onnxslim opencv-python-headless ultralytics
	$(PEERS)/venv/bin/python tests/peers/letterbox.py $(PEERS)/opencv
	ANDON_OPENCV_DIR=$(PEERS)/opencv cargo test --locked --test main opencv -- --nocapture
	$(PEERS)/venv/bin/python tests/peers/ultralytics_heads.py $(PEERS)/ultralytics
	ANDON_YOLO_DIR=$(PEERS)/ultralytics cargo test --locked --test main yolo -- --nocapture
ifneq ($(ASSETS),)
	$(PEERS)/venv/bin/python tests/peers/ort.py $(PEERS)/ort \
	  --images $(wildcard $(ASSETS)/data/images/*.jpg) --models $(wildcard $(ASSETS)/models/*.onnx)
	ANDON_ORT_DIR=$(PEERS)/ort cargo test --locked --test main onnxruntime -- --nocapture
endif

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
