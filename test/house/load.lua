-- SPDX-License-Identifier: MIT
-- Declares the whole public header to LuaJIT's FFI and calls the library: luajit load.lua LIBRARY
local ffi = require "ffi"
local text = assert(io.open("include/nibble.h")):read "*a"
-- LuaJIT's parser knows C declarations, not the preprocessor.
text = text:gsub("/%*.-%*/", ""):gsub("\n[ \t]*#[^\n]*", "")
text = text:gsub('extern "C" {', ""):gsub("\n}%s*$", "\n"):gsub("NIB_API", "")
ffi.cdef(text)
local lib = ffi.load(arg[1])
assert(lib.nib_version() == 0x000100, "version " .. lib.nib_version())
assert(ffi.string(lib.nib_status_str(-2)) == "out of memory")
local options = ffi.new "nib_model_options"
lib.nib_model_options_init(options, ffi.sizeof(options))
assert(options.struct_size == ffi.sizeof(options))
local model, err = ffi.new "nib_model *[1]", ffi.new "nib_error[1]"
assert(lib.nib_model_open("no such file", options, model, err) == -20)
assert(ffi.string(err[0].text):find("no such file", 1, true))
