-- SPDX-License-Identifier: MIT
-- The library from LuaJIT, as a Neovim plugin would use it: ffi.cdef of the preprocessed header, the
-- polling API, no callbacks. usage: luajit smoke.lua nibble.cdef libnibble.so model.gguf

local ffi = require("ffi")
local cdef_path, library_path, model_path = arg[1], arg[2], arg[3]
local file = assert(io.open(cdef_path))
ffi.cdef(file:read("*a"))
file:close()
local nib = ffi.load(library_path)
local C = ffi.C
local err = ffi.new("nib_error")

local function check(status)
    if status ~= 0 then error(ffi.string(nib.nib_status_str(status)) .. ": " .. ffi.string(err.text), 2) end
end

local function test(name, body)
    local ok, message = pcall(body)
    print((ok and "ok " or "not ok ") .. name .. (ok and "" or ": " .. tostring(message)))
    return ok
end

local model, session
local all = true

all = test("version", function()
    assert(bit.rshift(nib.nib_version(), 16) == 0)
    assert(bit.band(bit.rshift(nib.nib_version(), 8), 255) == 1)
end) and all

all = test("a missing file is an error that names it", function()
    local handle = ffi.new("nib_model *[1]")
    local status = nib.nib_model_open("no/such/model.gguf", nil, handle, err)
    assert(status == C.NIB_ERR_IO, "status " .. status)
    assert(ffi.string(err.text):find("no/such/model.gguf", 1, true), ffi.string(err.text))
end) and all

all = test("open and describe", function()
    local handle = ffi.new("nib_model *[1]")
    check(nib.nib_model_open(model_path, nil, handle, err))
    model = ffi.gc(handle[0], nib.nib_model_free)
    local info = ffi.new("nib_model_info")
    info.struct_size = ffi.sizeof(info)
    check(nib.nib_model_get_info(model, info))
    assert(info.n_vocab > 0 and #ffi.string(info.architecture) > 0)
end) and all

local function tokenize(text)
    local cap = #text + 16
    local ids, n = ffi.new("int32_t[?]", cap), ffi.new("size_t[1]")
    check(nib.nib_tokenize(model, text, #text, 0, ids, cap, n, err))
    return ids, tonumber(n[0])
end

all = test("text survives tokens", function()
    local text = "int main(void)\n{\n\treturn 0;\n}\n"
    local ids, n = tokenize(text)
    assert(n > 0)
    local out, len = ffi.new("char[256]"), ffi.new("size_t[1]")
    check(nib.nib_detokenize(model, ids, n, 0, out, 256, len, err))
    assert(ffi.string(out, len[0]) == text, ffi.string(out, len[0]))
end) and all

-- Completes by polling, at most 200 microseconds a call; returns the text and how many calls it took.
local function complete(prompt, max_tokens)
    local options = ffi.new("nib_complete_options")
    nib.nib_complete_options_init(options, ffi.sizeof(options))
    options.max_tokens = max_tokens
    check(nib.nib_complete_begin(session, prompt, #prompt, options, err))
    local step, parts, calls = ffi.new("nib_step"), {}, 0
    step.struct_size = ffi.sizeof(step)
    repeat
        check(nib.nib_session_step(session, 200, step, err))
        parts[#parts + 1] = ffi.string(step.text, step.text_len)
        calls = calls + 1
    until step.done == 1
    return table.concat(parts), calls, step.stop_reason
end

all = test("polling gives the text of one call", function()
    local options = ffi.new("nib_session_options")
    nib.nib_session_options_init(options, ffi.sizeof(options))
    options.n_ctx = 128
    local handle = ffi.new("nib_session *[1]")
    check(nib.nib_session_new(model, options, handle, err))
    session = ffi.gc(handle[0], nib.nib_session_free)
    local prompt = "int add(int a, int b) {"
    local polled, calls = complete(prompt, 12)
    assert(calls > 1)
    local limits = ffi.new("nib_complete_options")
    nib.nib_complete_options_init(limits, ffi.sizeof(limits))
    limits.max_tokens = 12
    local out, len = ffi.new("char[4096]"), ffi.new("size_t[1]")
    check(nib.nib_complete(session, prompt, #prompt, limits, out, 4096, len, err))
    assert(#polled > 0, "no text")
    assert(ffi.string(out, len[0]) == polled, ("%q is not %q"):format(ffi.string(out, len[0]), polled))
end) and all

all = test("a cancelled session goes on", function()
    nib.nib_session_cancel(session)
    local step = ffi.new("nib_step")
    step.struct_size = ffi.sizeof(step)
    local options = ffi.new("nib_complete_options")
    nib.nib_complete_options_init(options, ffi.sizeof(options))
    check(nib.nib_complete_begin(session, "x = ", 4, options, err))
    local status = nib.nib_session_step(session, 0, step, err)
    assert(status == C.NIB_ERR_CANCELLED, "status " .. status)
    assert(#complete("x = ", 4) > 0)
end) and all

os.exit(all and 0 or 1)
