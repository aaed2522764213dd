# nibble: see `make help`.
CC       ?= gcc
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
LDLIBS := -lm -pthread

ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)

# ---- library: every .c of lib/, kernels of other architectures left out ---------------------------
SRC := $(wildcard lib/*.c lib/base/*.c lib/quant/*.c lib/kernels/*.c lib/kernels/ref/*.c lib/file/*.c \
         lib/token/*.c lib/model/*.c lib/nn/*.c lib/decode/*.c)
ifeq ($(ARCH),x86_64)
SRC += $(wildcard lib/kernels/x86/*.c)
endif
ifeq ($(ARCH),aarch64)
SRC += $(wildcard lib/kernels/arm/*.c)
endif
OBJ := $(SRC:%.c=$(BUILD)/%.o)

# One file per op and instruction set, compiled with that set's flags only: <op>_<isa>.c
ISA_avx2       := -mavx2 -mfma -mf16c -mbmi2
ISA_avxvnni    := $(ISA_avx2) -mavxvnni
ISA_avx512     := $(ISA_avx2) -mavx512f -mavx512bw -mavx512vl -mavx512dq
ISA_avx512vnni := $(ISA_avx512) -mavx512vnni -mavx512vbmi
ISA_amx        := $(ISA_avx512vnni) -mavx512bf16 -mamx-tile -mamx-int8 -mamx-bf16
ISA_neon       :=
ISA_dotprod    := -march=armv8.2-a+dotprod
ISA_i8mm       := -march=armv8.2-a+dotprod+i8mm
isa_flags = $(ISA_$(lastword $(subst _, ,$(basename $(notdir $(1))))))

.PHONY: all lib minimal test bench demo asan ubsan tsan fuzz install uninstall clean help
.DEFAULT_GOAL := all

all: lib $(BUILD)/nibble ## library and command line tool
lib: $(BUILD)/libnibble.a $(BUILD)/libnibble.so ## static and shared library

$(BUILD)/lib/kernels/x86/%.o: lib/kernels/x86/%.c
	@mkdir -p $(@D)
	$(CC) $(ALLFLAGS) $(call isa_flags,$<) -c $< -o $@

$(BUILD)/lib/kernels/arm/%.o: lib/kernels/arm/%.c
	@mkdir -p $(@D)
	$(CC) $(ALLFLAGS) $(call isa_flags,$<) -c $< -o $@

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALLFLAGS) -c $< -o $@

$(BUILD)/libnibble.a: $(OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/libnibble.so.$(SOVERSION): $(OBJ) lib/nibble.map
	$(CC) $(SANITIZE) -shared -Wl,-soname,libnibble.so.$(SOVERSION) -Wl,--version-script=lib/nibble.map \
	    -Wl,-z,relro,-z,now -Wl,--no-undefined $(OBJ) -o $@ $(LDLIBS)

$(BUILD)/libnibble.so: $(BUILD)/libnibble.so.$(SOVERSION)
	ln -sf libnibble.so.$(SOVERSION) $@

# ---- command line tool and examples: public header only --------------------------------------------
CLI_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard examples/cli/*.c))
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(wildcard examples/0*.c))

$(BUILD)/nibble: $(CLI_OBJ) $(BUILD)/libnibble.a
	$(CC) $(SANITIZE) $^ -o $@ $(LDLIBS)

examples: $(EXAMPLES) ## the small C programs
$(BUILD)/examples/%: $(BUILD)/examples/%.o $(BUILD)/libnibble.a
	$(CC) $(SANITIZE) $^ -o $@ $(LDLIBS)

# ---- tests: one cmocka program per test/<stage>/test_*.c, linked with the static library -----------
TEST_SRC := $(wildcard test/*/test_*.c)
TEST_BIN := $(TEST_SRC:%.c=$(BUILD)/%)
TEST_LIB := $(patsubst %.c,$(BUILD)/%.o,$(wildcard test/support/*.c))

# Test programs see internal headers (-Ilib, in BASE) and the helpers of test/support.
$(BUILD)/test/%.o: BASE += -Itest/support

$(BUILD)/test/%: $(BUILD)/test/%.o $(TEST_LIB) $(BUILD)/libnibble.a
	$(CC) $(SANITIZE) $^ -o $@ -lcmocka $(LDLIBS)

test-bins: $(TEST_BIN)

clean: ## remove the build directory
	rm -rf $(BUILD)

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
