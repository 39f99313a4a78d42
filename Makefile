# SPDX-License-Identifier: GPL-2.0-or-later
#
# Thin: what is to be done is in configure, in meson's and QEMU's builds, and
# in the programs of scripts/ and tests/.  "make help" lists the targets.

BUILD ?= build
# For the first configure of a build folder; later ones repeat their options.
CONFIGURE_OPTIONS ?=
MATRIX = 10.2 10.0

ifneq ($(words $(BUILD)).$(words $(CURDIR)).$(findstring :,$(BUILD)$(CURDIR)),1.1.)
$(error BUILD=$(BUILD) in $(CURDIR): QEMU needs paths without blanks and colons)
endif

MAKEFLAGS += --no-print-directory
.NOTPARALLEL:           # ninja and the kernel's make use all processors

export P2P_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/qemu-p2p
export P2P_BUILD := $(abspath $(BUILD))
export P2P_LAB_QEMU := $(P2P_BUILD)/qemu/qemu-system-x86_64
# Another python or meson that comes first on PATH may lack what QEMU needs.
export PATH := /usr/bin:$(PATH)
# Build folders share compiled objects, here and in other checkouts.
export CCACHE_DIR := $(P2P_CACHE)/ccache
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1

QEMU_PROGRAMS = qemu-system-x86_64 qemu-img
RUN_TESTS = tests/run --build $(BUILD)

.PHONY: build
build: $(BUILD)/config.mk
	@scripts/build-step $(BUILD)/native
	@scripts/build-step $(BUILD)/qemu $(QEMU_PROGRAMS)

.PHONY: help
help:
	@echo 'make               build QEMU and our programs'
	@echo 'make demo          show what it does, in the lab'
	@echo 'make check         run all tests'
	@echo 'make check-unit    the core and the build tools (a minute)'
	@echo 'make check-qtest   QEMU, driven register by register (minutes)'
	@echo 'make check-lab     real VFIO behind an emulated IOMMU (minutes)'
	@echo 'make check-guest   disks of a guest Linux, and a p2p-bridge in one (minutes)'
	@echo 'make walk          100,000 random events with AddressSanitizer (half an hour)'
	@echo 'make fuzz          fuzz the core, and the p2p-bridge in QEMU (an hour)'
	@echo 'make check-matrix  build and test with all QEMU versions: $(MATRIX)'
	@echo 'make qtests        build what the qtests and the lab run'
	@echo 'make bench         measure against peers; results in $(BUILD)/bench'
	@echo 'make lab           a shell in the lab'
	@echo 'make install       install QEMU and qemu-p2p (PREFIX=, DESTDIR=)'
	@echo 'make deps          install what building and testing need'
	@echo 'make clean         remove what was compiled'
	@echo 'make distclean     remove the build folder'
	@echo
	@echo 'BUILD=DIR builds in DIR instead of build; ./configure --help has more.'
	@echo 'tests/run NAME runs one test (tests/run --names lists them).'

# --- Setting up

.PHONY: deps
deps:
	@scripts/install-deps

# A change in any of these can change how QEMU is staged or set up; changes in
# meson's files are ninja's business.
$(BUILD)/config.mk: configure overlay/apply overlay/edits \
                    $(wildcard overlay/*.mak) | deps
	@if [ -x $(BUILD)/config.status ]; then \
	    $(BUILD)/config.status; \
	else \
	    ./configure --builddir=$(BUILD) $(CONFIGURE_OPTIONS); \
	fi

.PHONY: kernel
kernel: | deps
	@MAKEFLAGS= tests/lab/kernel/build > /dev/null

# --- Tests

# The same QEMU without the overlay, which ours must not differ from as long as
# there is no group.
export P2P_STOCK_QEMU := $(P2P_BUILD)/stock/qemu/qemu-system-x86_64

.PHONY: stock
stock: $(BUILD)/config.mk
	@if [ -x $(BUILD)/stock/config.status ]; then \
	    $(BUILD)/stock/config.status; \
	else \
	    ./configure --without-overlay --builddir=$(BUILD)/stock \
	        "--with-qemu=$$(sed -n 's/^QEMU_ORIGIN = //p' $(BUILD)/config.mk)"; \
	fi
	@scripts/build-step $(BUILD)/stock/qemu qemu-system-x86_64

.PHONY: qtests
qtests: build
	@scripts/build-step $(BUILD)/qemu $$($(RUN_TESTS) --targets)

.PHONY: check check-unit check-qtest check-lab check-guest
check: build qtests stock kernel
	@$(RUN_TESTS)

check-unit: $(BUILD)/config.mk
	@scripts/build-step $(BUILD)/native
	@$(RUN_TESTS) --suite unit

check-qtest: qtests stock
	@$(RUN_TESTS) --suite qtest

check-lab: qtests kernel
	@$(RUN_TESTS) --suite lab

check-guest: qtests kernel
	@$(RUN_TESTS) --suite guest

# EVENTS= and SEED=: how many events, and which.
.PHONY: walk
export EVENTS SEED
walk: $(BUILD)/config.mk
	@if [ -x $(BUILD)/asan/config.status ]; then \
	    $(BUILD)/asan/config.status; \
	else \
	    ./configure --sanitize --builddir=$(BUILD)/asan \
	        "--with-qemu=$$(sed -n 's/^QEMU_ORIGIN = //p' $(BUILD)/config.mk)"; \
	fi
	@tests/qtest/run-walk $(BUILD)/asan

# FUZZ_SECONDS=: for each target.  What was found to be worth trying is kept.
.PHONY: fuzz
export FUZZ_SECONDS
fuzz: $(BUILD)/config.mk
	@scripts/build-step $(BUILD)/native
	@if [ -x $(BUILD)/fuzz/config.status ]; then \
	    $(BUILD)/fuzz/config.status; \
	else \
	    ./configure --fuzz --builddir=$(BUILD)/fuzz \
	        "--with-qemu=$$(sed -n 's/^QEMU_ORIGIN = //p' $(BUILD)/config.mk)"; \
	fi
	@tests/fuzz/run-long $(BUILD)

.PHONY: check-matrix
check-matrix: $(BUILD)/config.mk
	@MAKE="$(MAKE)" scripts/check-matrix $(BUILD) $(MATRIX)

# --- Benches

.PHONY: bench bench-deps
bench: bench-deps build stock kernel
	@tests/bench/run $(BUILD)

bench-deps:
	@scripts/install-deps --bench

# --- The lab

.PHONY: demo lab
demo: build kernel
	@scripts/build-step $(BUILD)/qemu tests/p2p/qtest/p2p-demo
	@tests/lab/demo

lab: build kernel
	@tests/lab/lab

# --- Installing and cleaning

# As set up by configure; PREFIX= on the command line comes first.
PREFIX = $(shell sed -n 's/^PREFIX = //p' $(BUILD)/config.mk)

# All of QEMU's install that our set of devices uses; firmware is Debian's.
# Hooks name the program by its place, so another PREFIX sets that up anew.
.PHONY: install
install: build
	@meson configure $(BUILD)/native "-Dprefix=$(PREFIX)"
	@scripts/build-step $(BUILD)/native
	meson install -C $(BUILD)/native --no-rebuild --quiet
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install $(QEMU_PROGRAMS:%=$(BUILD)/qemu/%) "$(DESTDIR)$(PREFIX)/bin"

.PHONY: clean distclean
clean:
	@for folder in $(BUILD)/native $(BUILD)/qemu $(BUILD)/stock/qemu \
	    $(BUILD)/asan/qemu; do \
	    [ ! -e $$folder/build.ninja ] || \
	        scripts/build-step $$folder -t clean; \
	done
	@rm -rf $(BUILD)/tests

distclean:
	@if [ -e $(BUILD)/config.status ] || [ -d $(BUILD)/qemu-src ]; then \
	    rm -rf $(BUILD); \
	fi
