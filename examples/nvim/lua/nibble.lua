-- SPDX-License-Identifier: MIT
-- Inline code completion for Neovim, in one file. The model runs inside the editor:
-- LuaJIT loads libnibble.so, a timer gives it slices of time through nib_session_step, and the next
-- key ends the work. Worker threads run only during a slice. With Neovim older than 0.10 a suggestion in
-- the middle of a line covers the rest of the line while it is shown.
--
--     require("nibble").setup({
--         model = "model.gguf",      -- required
--         library = "libnibble.so.0", header = "nibble.h",   -- default: the repository's
--         delay_ms = 150, slice_ms = 8, max_tokens = 48, threads = 2, accept = "<Tab>",
--     })

local ffi = require("ffi")
local M = {}

local root = debug.getinfo(1, "S").source:sub(2):match("^(.*)/examples/nvim/lua/nibble%.lua$") or "."
local options = {
    library = root .. "/build/libnibble.so",
    header = root .. "/include/nibble.h",
    delay_ms = 150, -- pause in typing before a suggestion is computed
    slice_ms = 8, -- time per slice; between slices the editor handles its events
    max_tokens = 48,
    context_lines = 200, -- of text before the cursor; a third of it after
    threads = 2,
    cache_dir = nil, -- a folder for packed weights: from the second time on the model opens at once
    accept = "<Tab>",
}
local nib, session, err
local timer, namespace
local running = false -- a completion is in progress
local shown = nil -- { buffer, row, column, text } of the suggestion on the screen
local text = ""

-- The header as ffi.cdef wants it: without preprocessor lines and the C++ part.
function M.cdef(header)
    local skip, out = 0, {}
    for line in header:gmatch("[^\n]*\n?") do
        if skip > 0 then
            if line:match("^#if") then skip = skip + 1 end
            if line:match("^#endif") then skip = skip - 1 end
        elseif line:match("^#ifdef __cplusplus") then
            skip = 1
        elseif not line:match("^#") then
            out[#out + 1] = line:gsub("NIB_API ", "")
        end
    end
    return table.concat(out)
end

local function check(status)
    if status ~= 0 then error("nibble: " .. ffi.string(err.text), 0) end
end

local function load()
    local file = assert(io.open(vim.fn.expand(options.header)))
    ffi.cdef(M.cdef(file:read("*a")))
    file:close()
    nib = ffi.load(vim.fn.expand(options.library))
    err = ffi.new("nib_error")
    local model, handle = ffi.new("nib_model *[1]"), ffi.new("nib_session *[1]")
    local o = ffi.new("nib_session_options")
    nib.nib_session_options_init(o, ffi.sizeof(o))
    o.n_threads = options.threads
    local m = ffi.new("nib_model_options")
    local cache_dir = options.cache_dir and vim.fn.expand(options.cache_dir) -- lives as long as `m`
    nib.nib_model_options_init(m, ffi.sizeof(m))
    m.n_threads = options.threads
    m.cache_dir = cache_dir
    check(nib.nib_model_open(vim.fn.expand(options.model), m, model, err))
    local status = nib.nib_session_new(model[0], o, handle, err)
    nib.nib_model_free(model[0]) -- the session has its own reference
    check(status)
    session = ffi.gc(handle[0], nib.nib_session_free)
end

local function clear()
    timer:stop()
    running = false
    if shown then
        pcall(vim.api.nvim_buf_clear_namespace, shown.buffer, namespace, 0, -1)
        shown = nil
    end
end

local position = vim and vim.fn.has("nvim-0.10") == 1 and "inline" or "overlay"

local function show(place)
    local lines = vim.split(text, "\n", { plain = true })
    local below = {}
    for i = 2, #lines do below[#below + 1] = { { lines[i], "Comment" } } end
    vim.api.nvim_buf_clear_namespace(place.buffer, namespace, 0, -1)
    vim.api.nvim_buf_set_extmark(place.buffer, namespace, place.row, place.column, {
        virt_text = { { lines[1], "Comment" } }, virt_text_pos = position, virt_lines = #below > 0 and below or nil,
    })
    shown = { buffer = place.buffer, row = place.row, column = place.column, text = text }
end

-- One slice of work; the timer calls it until the completion is done.
local function slice(place)
    if not running then return end
    local step = ffi.new("nib_step")
    step.struct_size = ffi.sizeof(step)
    if nib.nib_session_step(session, options.slice_ms * 1000, step, err) ~= 0 then return clear() end
    if step.text_len > 0 then
        text = text .. ffi.string(step.text, step.text_len)
        show(place)
    end
    if step.done == 1 then
        running = false
        timer:stop()
    end
end

local function begin()
    local buffer = vim.api.nvim_get_current_buf()
    local row, column = unpack(vim.api.nvim_win_get_cursor(0))
    row = row - 1
    local above = vim.api.nvim_buf_get_lines(buffer, math.max(0, row - options.context_lines), row, false)
    local below = vim.api.nvim_buf_get_lines(buffer, row + 1, row + 1 + math.floor(options.context_lines / 3), false)
    local line = vim.api.nvim_get_current_line()
    table.insert(above, line:sub(1, column))
    table.insert(below, 1, line:sub(column + 1))
    local prefix, suffix = table.concat(above, "\n"), table.concat(below, "\n")
    local fim, o = ffi.new("nib_fim"), ffi.new("nib_complete_options")
    nib.nib_fim_init(fim, ffi.sizeof(fim))
    nib.nib_complete_options_init(o, ffi.sizeof(o))
    fim.prefix.data, fim.prefix.len = prefix, #prefix
    fim.suffix.data, fim.suffix.len = suffix, #suffix
    o.max_tokens = options.max_tokens
    o.stop_suffix = 1
    o.single_line = line:sub(column + 1):match("%S") and 1 or 0
    text = ""
    local status = nib.nib_fim_begin(session, fim, o, err) -- copies both texts
    if status ~= 0 then return end
    running = true
    local place = { buffer = buffer, row = row, column = column }
    timer:start(0, 1, vim.schedule_wrap(function() slice(place) end))
end

-- Puts the suggestion into the buffer; gives its text, or nil if there is none.
function M.accept()
    if not shown then return nil end
    local s = shown
    clear()
    local lines = vim.split(s.text, "\n", { plain = true })
    vim.api.nvim_buf_set_text(s.buffer, s.row, s.column, s.row, s.column, lines)
    local column = #lines == 1 and s.column + #lines[1] or #lines[#lines]
    vim.api.nvim_win_set_cursor(0, { s.row + #lines, column })
    return s.text
end

function M.setup(user)
    options = vim.tbl_extend("force", options, user or {})
    assert(options.model, "nibble: setup needs model = path of a GGUF file")
    timer = assert(vim.uv or vim.loop).new_timer()
    namespace = vim.api.nvim_create_namespace("nibble")
    local group = vim.api.nvim_create_augroup("nibble", { clear = true })
    vim.api.nvim_create_autocmd({ "TextChangedI", "CursorMovedI" }, { group = group, callback = function()
        if vim.bo.buftype ~= "" then return end
        clear()
        timer:start(options.delay_ms, 0, vim.schedule_wrap(function()
            if vim.api.nvim_get_mode().mode:sub(1, 1) ~= "i" then return end
            if not session then load() end
            begin()
        end))
    end })
    vim.api.nvim_create_autocmd("InsertLeave", { group = group, callback = clear })
    vim.keymap.set("i", options.accept, function()
        if not M.accept() then
            vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes(options.accept, true, false, true), "n", false)
        end
    end)
end

return M
