# nibble: see `make help`.
ifeq ($(origin CC),default)
CC       := gcc
endif
AR       ?= ar
BUILD    ?= build
PREFIX   ?= /usr/local
PYTHON   ?= python3
CFLAGS   ?= -O2 -g
VERSION  := 0.1.0
SOVERSION := 0

WARN  := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes \
         -Wpointer-arith -Wcast-qual -Wvla -pedantic
# -ffp-contract=off: the order and rounding of float operations is what the source says, on every CPU.
BASE  := -std=c11 $(WARN) $(WERROR) -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno \
         -pthread -Iinclude -Ilib -MMD -MP
ALLFLAGS = $(BASE) $(CFLAGS) $(SANITIZE)
# Kernels of one instruction set; `make fuzz` leaves them plain: clang takes many minutes to
# instrument the AVX-512 ones, and none of them reads a length that a file could choose.
KERNEL_SANITIZE = $(SANITIZE)
LDLIBS := -lm -pthread

# `uname -m` where there is no compiler yet: `make test` and `make demo` install one.
ARCH := $(shell $(CC) -dumpmachine 2>/dev/null | cut -d- -f1)
ifeq ($(ARCH),)
ARCH := $(shell uname -m)
endif

# `make V=1` shows the commands.
Q := $(if $(V),,@)

# All CPUs, unless the caller said how many jobs.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 1)
endif

# ---- library: every .c of lib/, kernels of other architectures left out ---------------------------
SRC := $(wildcard lib/*.c lib/base/*.c lib/quant/*.c lib/kernels/*.c lib/kernels/ref/*.c lib/file/*.c \
         lib/token/*.c lib/model/*.c lib/nn/*.c lib/decode/*.c)
ifeq ($(ARCH),x86_64)
SRC += $(wildcard lib/kernels/x86/*.c lib/kernels/x86/*/*.c)
endif
ifeq ($(ARCH),aarch64)
SRC += $(wildcard lib/kernels/arm/*.c)
endif
# Other libraries' matrix products, loaded at run time; BACKENDS= leaves them out. oneDNN is compiled
# where its header is.
has_header = $(shell $(CC) -E -include $(1) -x c /dev/null >/dev/null 2>&1 && echo yes)
BACKENDS ?= openblas $(if $(call has_header,dnnl.h),onednn)
BACKENDS := $(BACKENDS)
SRC += $(foreach b,$(BACKENDS),$(wildcard lib/kernels/$(b)/*.c))
BASE += $(if $(filter onednn,$(BACKENDS)),-DNIB_WITH_ONEDNN) \
        $(if $(filter openblas,$(BACKENDS)),-DNIB_WITH_OPENBLAS)
OBJ := $(SRC:%.c=$(BUILD)/%.o)

# One file per op and instruction set, compiled with that set's flags only: <op>_<isa>.c
ISA_avx2       := -mavx2 -mfma -mf16c -mbmi2
ISA_avxvnni    := $(ISA_avx2) -mavxvnni
ISA_avx512     := $(ISA_avx2) -mavx512f -mavx512bw -mavx512vl -mavx512dq
ISA_avx512vnni := $(ISA_avx512) -mavx512vnni -mavx512vbmi
ISA_avx512bf16 := $(ISA_avx512vnni) -mavx512bf16
ISA_amx        := $(ISA_avx512bf16) -mamx-tile -mamx-int8 -mamx-bf16
ISA_neon       :=
ISA_dotprod    := -march=armv8.2-a+dotprod
ISA_i8mm       := -march=armv8.2-a+dotprod+i8mm
isa_of = $(lastword $(subst _, ,$(basename $(notdir $(1)))))
isa_flags = $(ISA_$(call isa_of,$(1)))
# No tile instruction and no VEX form of AVX-VNNI may be left: neither is a flag here.
ISA_emulated_avxvnni := $(ISA_avx2) -mavx512vnni -mavx512vl
ISA_emulated_amx     := $(ISA_avx512bf16)

# Objects made with other flags must not be linked with new ones, so every object depends on this file,
# which is written anew only when what it says changes (-Werror changes no object). While it is right it
# has nothing to run, and `make -q` can say that all is up to date.
FLAGS := $(strip $(CC) $(filter-out $(WERROR),$(BASE)) $(CFLAGS) $(SANITIZE) kernels: $(KERNEL_CFLAGS) \
         $(KERNEL_SANITIZE) $(foreach v,$(sort $(filter ISA_%,$(.VARIABLES))),$(v) $($(v))))
ifneq ($(FLAGS),$(strip $(file <$(BUILD)/flags)))
.PHONY: $(BUILD)/flags
endif
$(BUILD)/flags:
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@

.PHONY: all lib minimal test test-bins bench bench-bins bench-gemm bench-peers bench-results demo asan \
        ubsan tsan fuzz install uninstall \
        examples test-arm emulated-bins test-emulated lint format clean help
.DEFAULT_GOAL := all

all: lib tool ## library and command line tool
lib: $(BUILD)/libnibble.a $(BUILD)/libnibble.so ## static and shared library

$(BUILD)/lib/kernels/x86/%.o: lib/kernels/x86/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(CC) $(BASE) $(CFLAGS) $(KERNEL_CFLAGS) $(KERNEL_SANITIZE) $(call isa_flags,$<) -c $< -o $@

$(BUILD)/lib/kernels/arm/%.o: lib/kernels/arm/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(CC) $(BASE) $(CFLAGS) $(KERNEL_CFLAGS) $(KERNEL_SANITIZE) $(call isa_flags,$<) -c $< -o $@

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(CC) $(ALLFLAGS) -c $< -o $@

$(BUILD)/libnibble.a: $(OBJ)
	@rm -f $@
	@echo '  AR    $@'
	$(Q)$(AR) rcs $@ $^

$(BUILD)/libnibble.so.$(SOVERSION): $(OBJ) lib/nibble.map
	@echo '  LINK  $@'
	$(Q)$(CC) $(SANITIZE) -shared -Wl,-soname,libnibble.so.$(SOVERSION) -Wl,--version-script=lib/nibble.map \
	    -Wl,-z,relro,-z,now -Wl,--no-undefined $(OBJ) -o $@ $(LDLIBS)

$(BUILD)/libnibble.so: $(BUILD)/libnibble.so.$(SOVERSION)
	$(Q)ln -sf libnibble.so.$(SOVERSION) $@

# ---- command line tool and examples: public header only --------------------------------------------
CLI_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard examples/cli/*.c))
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(wildcard examples/0*.c))

.PHONY: tool
tool: $(if $(CLI_OBJ),$(BUILD)/nibble)
$(BUILD)/nibble: $(CLI_OBJ) $(BUILD)/libnibble.a
	@echo '  LINK  $@'
	$(Q)$(CC) $(SANITIZE) $^ -o $@ $(LDLIBS)

examples: $(EXAMPLES) ## the small C programs
$(BUILD)/examples/%: $(BUILD)/examples/%.o $(BUILD)/libnibble.a
	@echo '  LINK  $@'
	$(Q)$(CC) $(SANITIZE) $^ -o $@ $(LDLIBS)

# ---- tests: one cmocka program per test/<stage>/test_*.c, linked with the static library -----------
TEST_SRC := $(filter-out test/emulate/%,$(wildcard test/*/test_*.c))
TEST_BIN := $(TEST_SRC:%.c=$(BUILD)/%)
TEST_LIB := $(patsubst %.c,$(BUILD)/%.o,$(wildcard test/support/*.c))
# test/fuzz/fuzz_<name>.c is a libFuzzer target; linked with replay.c it is a cmocka program that
# feeds it the committed corpus test/fuzz/corpus/<name>/.
FUZZ_SRC := $(wildcard test/fuzz/fuzz_*.c)
REPLAY_BIN := $(FUZZ_SRC:test/fuzz/fuzz_%.c=$(BUILD)/test/fuzz/replay_%)

$(BUILD)/test/fuzz/replay_%: $(BUILD)/test/fuzz/fuzz_%.o $(BUILD)/test/fuzz/replay.o $(TEST_LIB) \
                             $(BUILD)/libnibble.a
	@echo '  LINK  $@'
	$(Q)$(CC) $(SANITIZE) $^ -o $@ $(TEST_LDFLAGS) -lcmocka $(LDLIBS)

# Test programs see internal headers (-Ilib, in BASE) and the helpers of test/support.
$(BUILD)/test/%.o: BASE += -Itest/support

$(BUILD)/test/%: $(BUILD)/test/%.o $(TEST_LIB) $(BUILD)/libnibble.a
	@echo '  LINK  $@'
	$(Q)$(CC) $(SANITIZE) $^ -o $@ $(TEST_LDFLAGS) -lcmocka $(LDLIBS)

$(BUILD)/test/%.o: BASE += -Itest

.SECONDARY: # keep the objects of programs
test-bins: $(TEST_BIN) $(REPLAY_BIN)

# The kernels of AVX-VNNI and AMX where the CPU lacks them: test/emulate has their instructions, and
# these programs are linked with a library that finds them available.
EMULATED_KERNELS := $(filter %_avxvnni.c %_amx.c,$(SRC))
EMULATED_OBJ := $(EMULATED_KERNELS:%.c=$(BUILD)/emulated/%.o) \
                $(patsubst %.c,$(BUILD)/%.o,$(wildcard test/emulate/emulate_*.c))
REPLACED_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(EMULATED_KERNELS) lib/base/cpu_found.c)
EMULATED_BIN := $(patsubst %,$(BUILD)/emulated/test/%,emulate/test_tiles kernels/test_matmul \
    kernels/test_attention kernels/test_gated decode/test_archs decode/test_forward \
    decode/test_seq2seq decode/test_batch api/test_small_stack accuracy/test_accuracy)

$(BUILD)/emulated/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  CC    $< (emulated)'
	$(Q)$(CC) $(BASE) $(CFLAGS) $(KERNEL_SANITIZE) -isystem test/emulate \
	    $(ISA_emulated_$(call isa_of,$<)) -c $< -o $@

$(BUILD)/emulated/libnibble.a: $(filter-out $(REPLACED_OBJ),$(OBJ)) $(EMULATED_OBJ)
	@rm -f $@
	@echo '  AR    $@'
	$(Q)$(AR) rcs $@ $^

$(BUILD)/emulated/test/%: $(BUILD)/test/%.o $(TEST_LIB) $(BUILD)/emulated/libnibble.a
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(Q)$(CC) $(SANITIZE) $^ -o $@ -lcmocka $(LDLIBS)

emulated-bins: $(EMULATED_BIN)

test-emulated: ## the kernels of AVX-VNNI and AMX with emulated instructions; needs AVX-512 with bf16
	@sh test/setup.sh test
	@$(MAKE) --no-print-directory emulated-bins
	@BUILD=$(BUILD) sh test/run.sh emulated

test: ## install what is missing, fetch the small model, build, run every test
	@sh test/setup.sh test
	@$(MAKE) --no-print-directory all examples test-bins bench-bins
	@if sh test/emulate/wanted.sh; then $(MAKE) --no-print-directory emulated-bins; fi
	@$(MAKE) --no-print-directory minimal
	@BUILD=$(BUILD) MINIMAL=$(BUILD_MINIMAL) CC="$(CC)" sh test/run.sh all

# ---- sanitizers: the same cmocka programs in build folders of their own ----------------------------
# vptr and friends do not exist in C; every finding ends the program, so that it cannot be missed.
ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# gcc runs out of what it grants itself to follow variables through instrumented code, and says so.
SANITIZED := -O1 -g -fno-var-tracking

asan: ## whole suite under AddressSanitizer and UndefinedBehaviorSanitizer
	@sh test/setup.sh test
	@$(MAKE) --no-print-directory BUILD=build-asan CFLAGS="$(SANITIZED)" SANITIZE="$(ASAN)" test-bins
	@BUILD=build-asan SANITIZER=asan sh test/run.sh programs

ubsan: ## whole suite under UndefinedBehaviorSanitizer alone
	@sh test/setup.sh test
	@$(MAKE) --no-print-directory BUILD=build-ubsan CFLAGS="$(SANITIZED)" \
	    SANITIZE="-fsanitize=undefined -fno-sanitize-recover=all" test-bins
	@BUILD=build-ubsan SANITIZER=ubsan sh test/run.sh programs

tsan: ## the concurrency tests under ThreadSanitizer
	@sh test/setup.sh test
	@$(MAKE) --no-print-directory BUILD=build-tsan CFLAGS="$(SANITIZED)" SANITIZE="-fsanitize=thread" \
	    test-bins
	@BUILD=build-tsan SANITIZER=tsan sh test/run.sh threads

FUZZ_SECONDS ?= 60
fuzz: ## libFuzzer on every target for FUZZ_SECONDS (default 60) each; needs clang
	@sh test/setup.sh fuzz
	@$(MAKE) --no-print-directory BUILD=build-fuzz CC=clang CFLAGS="-O1 -g" \
	    SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all" \
	    KERNEL_SANITIZE= fuzz-bins
	@BUILD=build-fuzz sh test/fuzz/run.sh $(FUZZ_SECONDS)

fuzz-bins: $(FUZZ_SRC:%.c=$(BUILD)/%.libfuzzer)
$(BUILD)/test/fuzz/%.libfuzzer: $(BUILD)/test/fuzz/%.o $(TEST_LIB) $(BUILD)/libnibble.a
	@echo '  LINK  $@'
	$(Q)$(CC) $(SANITIZE) -fsanitize=fuzzer $^ -o $@ -lcmocka $(LDLIBS)

# The emulator offers dotprod and i8mm; cmocka for AArch64 is unpacked into the build folder, so that
# the system's packages stay as they are.
ARM_ROOT := build-arm/root
test-arm: ## every test cross-compiled for AArch64, under qemu
	@sh test/setup.sh arm
	@$(MAKE) --no-print-directory BUILD=build-arm CC=aarch64-linux-gnu-gcc \
	    CFLAGS="-O2 -g -isystem $(ARM_ROOT)/usr/include" \
	    TEST_LDFLAGS="-L$(ARM_ROOT)/usr/lib/aarch64-linux-gnu" test-bins
	@BUILD=build-arm RUNNER="qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu \
	    -E LD_LIBRARY_PATH=$(ARM_ROOT)/usr/lib/aarch64-linux-gnu" sh test/run.sh programs

# ---- a library for embedding: stripped, small --------------------------------------------------------
BUILD_MINIMAL ?= build-minimal
minimal: ## stripped libnibble.so that needs only libc and libm
	@$(MAKE) --no-print-directory BUILD=$(BUILD_MINIMAL) BACKENDS= KERNEL_CFLAGS=-O2 \
	    CFLAGS="-Os -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables" \
	    LDLIBS="-Wl,--gc-sections -Wl,--as-needed -Wl,-z,noseparate-code -s -lm -pthread" \
	    $(BUILD_MINIMAL)/libnibble.so
	@ls -l $(BUILD_MINIMAL)/libnibble.so.$(SOVERSION) | awk '{print $$NF ": " $$5 " bytes"}'

# ---- benchmarks: programs of bench/programs; peak_<isa>.c with that set's flags --------------------
BENCH_SRC := $(filter-out bench/programs/llama_peer.c bench/programs/peak_%,$(wildcard bench/programs/*.c))
ifeq ($(ARCH),x86_64)
PEAK_SRC := $(wildcard bench/programs/peak_a*.c)
else
PEAK_SRC := $(filter-out bench/programs/peak_a%,$(wildcard bench/programs/peak_*.c))
endif
BENCH_MAIN := $(patsubst %,bench/programs/%.c,kernels model typing turns)
BENCH_BIN := $(BENCH_MAIN:%.c=$(BUILD)/%)
BENCH_LIB := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(BENCH_MAIN),$(BENCH_SRC)) $(PEAK_SRC))

# Random weights and activations come from the kernel tests.
BENCH_SUPPORT := $(patsubst %,$(BUILD)/test/support/%.o,matrices guard)

$(BUILD)/bench/programs/%.o: BASE += -Itest/support
$(PEAK_SRC:%.c=$(BUILD)/%.o): $(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(CC) $(BASE) $(CFLAGS) $(SANITIZE) $(call isa_flags,$<) -c $< -o $@

$(BENCH_BIN): $(BUILD)/%: $(BUILD)/%.o $(BENCH_LIB) $(BENCH_SUPPORT) $(BUILD)/libnibble.a
	@echo '  LINK  $@'
	$(Q)$(CC) $(SANITIZE) $< $(BENCH_LIB) $(BENCH_SUPPORT) $(BUILD)/libnibble.a -o $@ $(LDLIBS)

bench-bins: $(BENCH_BIN)

# ---- measuring -----------------------------------------------------------------------------------
# BENCH="--only kernels,speed --models smollm2-135m --isa avx2 --short" chooses; see bench/README.md.
BENCH ?=
bench: ## measure kernels and whole models; BENCH="--help" lists options
	@sh test/setup.sh bench
	@$(MAKE) --no-print-directory all bench-bins
	@BUILD=$(BUILD) $(PYTHON) bench/run.py ours $(BENCH)

.PHONY: bench-parts
bench-parts: ## attention and sampling alone, on every instruction set of this CPU
	@sh test/setup.sh test
	@$(MAKE) --no-print-directory $(BUILD)/test/kernels/test_attention $(BUILD)/test/decode/test_sample
	@$(BUILD)/test/kernels/test_attention --bench
	@$(BUILD)/test/decode/test_sample --bench

bench-peers: ## the same beside llama.cpp and others, by turns; LLAMA_BENCH=path adds one
	@sh test/setup.sh peers
	@$(MAKE) --no-print-directory all bench-bins
	@BUILD=$(BUILD) $(PYTHON) bench/run.py peers $(BENCH)

bench-results: ## both, then the plots and tables of docs/results.md
	@sh test/setup.sh peers
	@$(MAKE) --no-print-directory all bench-bins
	@BUILD=$(BUILD) $(PYTHON) bench/run.py results $(BENCH)

MODEL ?= qwen2.5-coder-1.5b

# Our matrix products beside oneDNN and OpenBLAS, which this program links where their headers are.
BENCH_GEMM_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard bench/gemm/*.c))
$(BUILD)/bench/gemm/%.o: BASE += -Itest/support -Ibench/programs
$(BUILD)/bench/gemm/gemm_peers.o: BASE += $(if $(call has_header,dnnl.h),-DHAVE_DNNL -fopenmp) \
    $(if $(call has_header,cblas.h),-DHAVE_OPENBLAS)

$(BUILD)/bench/gemm/gemm_bench: $(BENCH_GEMM_OBJ) $(BENCH_LIB) $(BUILD)/libnibble.a
	@echo '  LINK  $@'
	$(Q)$(CC) $^ -o $@ $(if $(call has_header,dnnl.h),-ldnnl -lgomp) \
	    $(if $(call has_header,cblas.h),-lopenblas) $(LDLIBS)

bench-gemm: ## matrix products beside oneDNN and OpenBLAS; NIB_ISA=level
	@sh test/setup.sh build
	@$(MAKE) --no-print-directory $(BUILD)/bench/gemm/gemm_bench
	@BUILD=$(BUILD) sh bench/gemm/gemm.sh

demo: ## watch a code model fill in a function; MODEL=smollm2-135m or MODEL=path
	@BUILD=$(BUILD) MODEL="$(MODEL)" MAKE="$(MAKE)" sh examples/demo.sh

# ---- installation --------------------------------------------------------------------------------
LIBDIR ?= $(PREFIX)/lib
install: all ## install header, libraries, nibble.pc and the command under PREFIX (DESTDIR honoured)
	install -d "$(DESTDIR)$(PREFIX)/include" "$(DESTDIR)$(LIBDIR)/pkgconfig" "$(DESTDIR)$(PREFIX)/bin"
	install -m 644 include/nibble.h "$(DESTDIR)$(PREFIX)/include/nibble.h"
	install -m 644 $(BUILD)/libnibble.a "$(DESTDIR)$(LIBDIR)/libnibble.a"
	install -m 755 $(BUILD)/libnibble.so.$(SOVERSION) "$(DESTDIR)$(LIBDIR)/libnibble.so.$(SOVERSION)"
	ln -sf libnibble.so.$(SOVERSION) "$(DESTDIR)$(LIBDIR)/libnibble.so"
	install -m 755 $(BUILD)/nibble "$(DESTDIR)$(PREFIX)/bin/nibble"
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'includedir=$${prefix}/include' '' \
	    'Name: nibble' 'Description: Code completion with a language model on the CPU' \
	    'Version: $(VERSION)' 'Libs: -L$${libdir} -lnibble' 'Libs.private: -lm -pthread' \
	    'Cflags: -I$${includedir}' > "$(DESTDIR)$(LIBDIR)/pkgconfig/nibble.pc"

uninstall: ## remove what install put there
	rm -f "$(DESTDIR)$(PREFIX)/include/nibble.h" "$(DESTDIR)$(PREFIX)/bin/nibble" \
	    "$(DESTDIR)$(LIBDIR)/libnibble.a" "$(DESTDIR)$(LIBDIR)/libnibble.so.$(SOVERSION)" \
	    "$(DESTDIR)$(LIBDIR)/libnibble.so" "$(DESTDIR)$(LIBDIR)/pkgconfig/nibble.pc"

# ---- the look of the source ------------------------------------------------------------------------
lint: ## formatting, include direction, licence lines, forbidden words
	@sh test/setup.sh lint
	@sh test/house/format.sh
	@sh test/house/check_source.sh

format: ## clang-format every .c file in place (headers are laid out by hand)
	git ls-files '*.c' | xargs clang-format -i

clean: ## remove the build folders
	rm -rf $(BUILD) $(BUILD_MINIMAL) build-asan build-ubsan build-tsan build-fuzz build-arm

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
