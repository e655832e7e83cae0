-- A gateway written in Neovim's Lua: one call from its beginning to its end. Prints what it saw as JSON.
local channel = vim.fn.sockconnect('tcp', '127.0.0.1:' .. vim.env.PORT, { rpc = true })

local function request(...)
  return vim.rpcrequest(channel, ...)
end

local seen = {}
local address = { gateway = 'lua', external_id = 'a84b4c76e66710@pc33' }
seen.created = request('create_session', {
  type = 'sip',
  state = 'ringing',
  gateway = 'lua',
  external_id = address.external_id,
  caller = '+15550100',
  metadata = { codec = 'opus', attempt = 1 },
})
local id = seen.created.id
vim.rpcnotify(channel, 'update_session_state', id, 'active')
seen.stale = request('update_session_state', address, 'ringing')
seen.changed = request('update_session_metadata', id, { codec = vim.NIL, ['Zoë'] = true }, { if_version = 2 })
seen.session = request('get_session', id)
seen.pongs = 0
for _ = 1, 100 do
  if request('ping') == 'pong' then
    seen.pongs = seen.pongs + 1
  end
end
local succeeded = pcall(vim.rpcrequest, channel, 'update_session_state', id, 'initializing')
seen.failed = not succeeded
seen.listed = request('list_sessions', { gateway = 'lua', fields = { 'id', 'state' } })
seen.ended = request('end_session', id, vim.NIL, { sip_code = 200 })
seen.left = request('count_sessions', { gateway = 'lua' })
io.stdout:write(vim.fn.json_encode(seen))
