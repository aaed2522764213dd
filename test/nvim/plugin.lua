-- SPDX-License-Identifier: MIT
-- Run inside `nvim --headless`: types into a buffer, waits for a suggestion, accepts it.
-- NIBBLE_MODEL and NIBBLE_LIBRARY name what to load.
local nibble = require("nibble")
nibble.setup({ model = vim.env.NIBBLE_MODEL, library = vim.env.NIBBLE_LIBRARY, delay_ms = 10,
    max_tokens = 6, threads = 1 })

local function finish(ok, message)
    io.stdout:write("\n" .. (ok and "ok " or "not ok ") .. message .. "\n")
    vim.cmd("qa!")
end

vim.api.nvim_buf_set_lines(0, 0, -1, false, { "", "", "def g(self):", "    return self" })
local namespace = vim.api.nvim_create_namespace("nibble")
local started = vim.loop.hrtime()
local timer = vim.loop.new_timer()

local function check_accepted(before, text)
    local line = vim.api.nvim_get_current_line()
    local all = table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n")
    local left = #vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, {})
    if left ~= 0 then return finish(false, "the suggestion stays on the screen after accepting it") end
    if not all:find(before .. text, 1, true) then
        return finish(false, ("suggestion %q is not in the buffer, line %q"):format(text, line))
    end
    finish(true, "a suggestion appears while typing and is accepted")
end

timer:start(50, 50, vim.schedule_wrap(function()
    if (vim.loop.hrtime() - started) / 1e9 > 60 then return finish(false, "no suggestion in 60 s") end
    local marks = vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { details = true })
    if #marks == 0 then return end
    timer:stop()
    local before = vim.api.nvim_get_current_line()
    local text = nibble.accept()
    vim.schedule(function() check_accepted(before, text) end)
end))
vim.api.nvim_input("idef f(self, x):<CR>return se")
