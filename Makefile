# Everything a developer runs. `make` alone lists the targets.
#   PYTHON=python3.12   the interpreter of a new .venv (3.11 or newer)
#   JOBS=4              processes that pytest uses
#   ARGS='-k conv'      more arguments for pytest
#   MINUTES=5           how long `make fuzz` and `make random-builds` take
#   SEED=               the number of a random build, to repeat it

PYTHON ?= python3
# One more than there are processors: many tests wait for a server, an emulator's clock or a disk.
JOBS   ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)))
ARGS   ?=
MINUTES ?= 10
SEED   ?=

BIN    := .venv/bin
READY  := .venv/.ready
DEMO   := .venv/.demo
APT    := apt-get -o DPkg::Lock::Timeout=600
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup system boards test check lint docs site demo personalise voice meter-digits examples sensor-drift patient-ecg predictive-maintenance bench-field-labels bench-field-maintenance continual-digits personal-voice language fleet bench-field-continual bench-features bench-accuracy bench-same-rate bench-rates bench-epochs bench-few-samples bench-search bench-speed bench-host bench-arm64 bench-methods bench-cliffs bench-step-time bench-kernel-costs bench-flash bench-size bench-compile-time bench-stack bench-memory bench-constant-channels bench-sequences bench-reversible bench-language bench-placement bench-loss bench-fleet bench-merge bench-interchange bench-sharding bench-fleet-learning bench-privacy bench-field-lifetime bench-field-meters bench-field-costs random-builds fuzz models mutants parity golden clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: system $(READY)  ## create .venv with the package and what its tests need; install the compilers of boards and QEMU

test: setup  ## run every test
	$(PYTEST) $(ARGS)

check: lint  ## the inner loop, under two minutes: lint, unit and operator tests
	$(PYTEST) -m "not slow" tests/unit tests/ops $(ARGS)

lint: setup  ## ruff, its formatting, and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

random-builds: setup boards  ## build, train and compare models, methods, cores and options drawn at random (MINUTES=10; SEED= repeats a fault)
	$(BIN)/python -W ignore benchmarks/random_builds.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: setup  ## look for inputs that break the importers, and what devices read (MINUTES=10, half for each)
	$(BIN)/python tests/fuzz/importers.py --minutes $$(( ($(MINUTES) + 1) / 2 )) --seed $$(date +%s) --keep build/fuzz $(ARGS)
	$(BIN)/python tests/fuzz/c/run.py --minutes $$(( ($(MINUTES) + 1) / 2 ))

demo: boards $(DEMO)  ## train a digit classifier on a new writer's digits, in the memory of a microcontroller
	$(BIN)/python examples/digits/run.py

personalise: boards $(DEMO)  ## one emulated board learns two speakers, a second one of another core takes an adapter over
	$(BIN)/python examples/personalise/run.py

voice: boards $(DEMO)  ## from the samples of a microphone to a personalised word, on an emulated board
	$(BIN)/python examples/voice/run.py

continual-digits: boards $(DEMO)  ## an emulated board learns new digits one after another, and keeps those before
	$(BIN)/python examples/continual_digits/run.py

personal-voice: boards $(DEMO)  ## an emulated board learns its owner's voice and words, and keeps understanding others
	$(BIN)/python examples/personal_voice/run.py

language: boards $(DEMO)  ## a language model learns another author's text on an emulated board, in 160 KB
	$(BIN)/python examples/language/run.py

meter-digits: boards $(DEMO)  ## a reader of meters learns one that it never saw, and forgets none of the others
	$(BIN)/python examples/meter_digits/run.py

fleet: boards $(DEMO)  ## two emulated boards and eight host clients learn together over Flower
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[demo,federated]'
	$(BIN)/python examples/federated/fleet.py

sensor-drift: boards $(DEMO)  ## sensors have drifted: an emulated board adapts without labels, a few judge
	$(BIN)/python examples/sensor_drift/run.py

patient-ecg: boards $(DEMO)  ## another patient's heart: without labels, then with twenty, on an emulated board
	$(BIN)/python examples/patient_ecg/run.py

predictive-maintenance: boards $(DEMO)  ## a bearing on another machine: an autoencoder and its alarm adapt on an emulated board
	$(BIN)/python examples/predictive_maintenance/run.py

examples: demo personalise voice meter-digits continual-digits personal-voice sensor-drift patient-ecg predictive-maintenance  ## run the examples, one after the other

bench-field-meters: setup  ## what 30 and 100 images of a meter bring, beside other methods and central training (long)
	$(BIN)/python benchmarks/field_meters.py --write docs/field

bench-features: setup  ## how near front ends in integers are to float64, and what they cost
	$(BIN)/python benchmarks/features.py

bench-field-continual: setup  ## batches, speakers and classes that come one after another: replay beside naive and joint training
	$(BIN)/python benchmarks/continual.py --write docs/field

bench-accuracy: setup  ## accuracy of every method and optimizer beside float training, on every scenario (long)
	$(BIN)/python benchmarks/accuracy.py --all --draws 3 --write docs/accuracy.md

bench-same-rate: setup  ## accuracy of integer training beside float training at the same rate
	$(BIN)/python benchmarks/same_rate.py --write docs/same_rate.md

bench-rates: setup  ## how near the default rate of each method is to its best
	$(BIN)/python benchmarks/rates.py --write docs/rates.md

bench-epochs: setup  ## what naming a number of epochs does, with the recipe and without
	$(BIN)/python benchmarks/epochs.py --write docs/epochs.md

bench-few-samples: setup  ## what becomes of a model that learns from 4 to 200 samples
	$(BIN)/python benchmarks/few_samples.py --write docs/few_samples.md

bench-search: setup  ## accuracy of what `kilotune search` chooses, beside LoRA on the last layers in the same memory
	$(BIN)/python benchmarks/search.py --write docs/search.md

bench-speed: setup  ## instructions and cycles of inference and training on every core, beside the peers and the targets
	$(BIN)/python benchmarks/speed.py --write docs/speed.md

bench-host: setup  ## milliseconds of inference and training on this computer, with vectors and with portable C
	$(BIN)/python benchmarks/host.py --write docs/host.md

bench-arm64: setup  ## instructions of the host engine on 64-bit Arm, with vectors and with portable C
	$(BIN)/python benchmarks/arm64.py --write docs/arm64.md

bench-methods: setup  ## instructions of every method on models that the limits of bench-speed were not set on
	$(BIN)/python benchmarks/methods.py --write docs/methods_on_models.md

bench-cliffs: setup  ## instructions a MAC of single layers by size, and why a slower kernel was taken
	$(BIN)/python benchmarks/cliffs.py --quick --core m3 --core m4 --core m55 --write docs/cliffs.md

bench-step-time: setup  ## instructions of a training step as the search estimates them, beside what QEMU counts
	$(BIN)/python benchmarks/step_time.py --keep build/counts --write docs/step_time.md $(ARGS)

bench-kernel-costs: setup  ## instructions of every kernel on networks of random layers, which the search estimates with; what is kept of kernels that have not changed is not counted again
	$(BIN)/python benchmarks/kernel_costs.py --keep build/counts $(ARGS)

bench-flash: setup  ## flash of training with transposed weights and with those of inference, and what a step takes
	$(BIN)/python benchmarks/flash.py --write docs/flash.md

bench-size: setup  ## flash of builds for size, beside the usual ones, and what a step takes
	$(BIN)/python benchmarks/size.py --write docs/size.md

bench-compile-time: setup  ## seconds of a processor that builds take, and how they grow with the number of layers
	$(BIN)/python benchmarks/compile_time.py --write docs/compile_time.md

bench-stack: setup  ## stack that calls may take at most, beside what they take on emulated boards
	$(BIN)/python benchmarks/stack.py --write docs/stack.md

bench-constant-channels: setup  ## what training takes without channels that are constant
	$(BIN)/python benchmarks/constant_channels.py --write docs/constant_channels.md

bench-memory: setup  ## memory of inference and training beside the peers and the targets
	$(BIN)/python benchmarks/memory.py --write docs/memory.md

bench-sequences: setup  ## memory of attention by length of a sequence, and a transformer that learns a speaker
	$(BIN)/python benchmarks/sequences.py --write docs/sequences.md

bench-language: setup  ## bits a character, memory and instructions of a language model that learns, beside float training
	$(BIN)/python benchmarks/language.py --long --keep build/language.json --write docs/language.md

bench-reversible: setup  ## memory and work of reversible networks by the number of blocks, beside checkpoints
	$(BIN)/python benchmarks/reversible.py --write docs/reversible.md

bench-sharding: setup boards  ## bytes and bits of groups of emulated boards that share the optimizer's state
	$(BIN)/python benchmarks/sharding.py --page docs/sharding.md

bench-fleet-learning: setup  ## what fleets learn together on data split by speaker, batch, patient and meter
	$(BIN)/python benchmarks/fleet_learning.py --page docs/fleet_learning.md

bench-placement: setup  ## arenas beside the least that a solver proves possible, and planning time
	$(BIN)/python benchmarks/placement.py --write docs/placement.md

bench-loss: setup  ## training loss of the integer engine beside the float engine's
	$(BIN)/python benchmarks/loss_curves.py

bench-privacy: setup  ## accuracy of a fleet of 10 to 1,000 clients against epsilon (minutes; gas sensors need KILOTUNE_DATA)
	$(BIN)/python benchmarks/privacy.py --write docs/privacy.md

bench-fleet: setup  ## what travels in a federation, what its strategies reach, and rounds of up to 10,000 simulated clients
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[test,simulation]'
	$(BIN)/python benchmarks/fleet.py --keep build/fleet.json --write docs/fleet.md

models: setup  ## which models of KILOTUNE_DATA compile, give the bits of other interpreters and can be trained
	@test -d "$${KILOTUNE_DATA:-../shared/data}/models" || { echo "the models are not part of the repository: name a folder that holds them" \
	    "in models, onnx and zoo (KILOTUNE_DATA=FOLDER make models), or try your own: kilotune models FOLDER"; exit 1; }
	KILOTUNE_DATA=$${KILOTUNE_DATA:-../shared/data}; export KILOTUNE_DATA; \
	$(BIN)/kilotune models $$KILOTUNE_DATA/models $$KILOTUNE_DATA/onnx $$KILOTUNE_DATA/zoo --write docs/models.md

parity: setup  ## the bits after training on every emulated core, sizes of firmware, a lossy line (ten minutes)
	$(BIN)/python benchmarks/parity.py --write docs/parity.md

bench-field-lifetime: setup  ## a year of a device from real data: drift, adaptation, guard, resets, wear of the flash (five minutes)
	$(BIN)/python -W ignore benchmarks/field_lifetime.py --write docs/field/lifetime.md

bench-field-labels: setup  ## what adaptation without labels brings, and a gate of a few labels
	$(BIN)/python benchmarks/field_labels.py --write docs/field

bench-field-maintenance: setup  ## an autoencoder and its alarm on machines that they were not made for
	$(BIN)/python benchmarks/field_maintenance.py --write docs/field

bench-field-costs: setup  ## what adapting the model of each example takes and brings, beside usual fine-tuning
	$(BIN)/python -W ignore benchmarks/field_costs.py --write docs/field/costs.md

bench-merge: setup  ## what merging an adapter into plain weights costs in accuracy
	$(BIN)/python benchmarks/merge.py --write docs/merge.md

bench-interchange: setup  ## LoRA trained in float elsewhere, quantised on import: accuracy before and after
	$(BIN)/python benchmarks/interchange.py --write docs/interchange.md

docs: setup  ## write docs/reference anew from docstrings, headers and the registry of operators
	$(BIN)/python docs/generate $(ARGS)

site: setup  ## build the site of all pages into build/site, with every link checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

mutants: setup  ## plant small bugs in adapters, agent, planner and emitter, and see which of them the tests notice (an hour)
	PYTHONPATH=tests nice $(BIN)/python -m mutation --sample 150 --write docs/reliability.md $(ARGS)

golden: setup  ## write the expected texts of tests/golden and tests/passes anew; read the diff before committing
	$(BIN)/python -m pytest tests/golden tests/passes --snapshot-update $(ARGS)

clean:  ## remove everything that is made, .venv included
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	cd examples/own_firmware && rm -rf model build .pio
	find . -name .git -prune -o \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +

# What pip cannot install. As root on a system with apt it is installed, elsewhere named: the tests that need it are
# skipped and say so. Another program that installs at the same time is waited for.
system: NEEDS := boards riscv clang arm64
boards: NEEDS := boards
system boards:
	@missing=""; \
	if [ ! -x $(BIN)/python ] && ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then missing="$$missing python3-venv"; fi; \
	command -v arm-none-eabi-gcc >/dev/null || missing="$$missing gcc-arm-none-eabi"; \
	echo '#include <string.h>' | arm-none-eabi-gcc -E - >/dev/null 2>&1 || missing="$$missing libnewlib-arm-none-eabi"; \
	command -v qemu-system-arm >/dev/null || missing="$$missing qemu-system-arm"; \
	case "$(NEEDS)" in *riscv*) \
	    command -v riscv64-unknown-elf-gcc >/dev/null || missing="$$missing gcc-riscv64-unknown-elf"; \
	    echo '#include <string.h>' | riscv64-unknown-elf-gcc --specs=picolibc.specs -E - >/dev/null 2>&1 || missing="$$missing picolibc-riscv64-unknown-elf"; \
	    command -v qemu-system-riscv32 >/dev/null || missing="$$missing qemu-system-riscv";; \
	esac; \
	case "$(NEEDS)" in *arm64*) \
	    echo '#include <string.h>' | aarch64-linux-gnu-gcc -E - >/dev/null 2>&1 || missing="$$missing gcc-aarch64-linux-gnu libc6-dev-arm64-cross"; \
	    command -v qemu-aarch64 >/dev/null || missing="$$missing qemu-user";; \
	esac; \
	case "$(NEEDS)" in *clang*) \
	    test -e "$$(clang -print-file-name=libclang_rt.fuzzer-$$(uname -m).a 2>/dev/null)" || missing="$$missing clang libclang-rt-dev";; \
	esac; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing$$missing"; \
	    $(APT) update -q && DEBIAN_FRONTEND=noninteractive $(APT) install -qy --no-install-recommends $$missing; \
	else \
	    echo "missing:$$missing (on Debian: apt install$$missing); going on without"; \
	fi

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is missing or older than 3.11: make setup PYTHON=python3.12, for example"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	    { echo "no virtual environment: on Debian, apt install python3-venv (for another Python, pythonX.Y-venv)"; rm -rf .venv; exit 1; }

# An editable install follows the sources by itself, so only the files that describe the package make it stale.
$(READY): pyproject.toml setup.py | $(BIN)/python
	@echo "installing the package and what its tests need into .venv (one to three minutes)"
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=24'
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[test,demo]'
	@touch $@ $(DEMO)

# What the examples need: a small part of what the tests do.
$(DEMO): pyproject.toml setup.py | $(BIN)/python
	@echo "installing the package and what its examples need into .venv"
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=24'
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@
