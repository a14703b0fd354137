-- Command: Redis commands with any number of arguments, where Lua's unpack holds about 7,990.
-- Uses: nothing
-- Gives: send, ask
local CHUNK = 4000 -- even, so that pairs stay together

local function send(command, key, args, flag)
  for from = 1, #args, CHUNK do
    local to = math.min(from + CHUNK - 1, #args)
    if flag then
      redis.call(command, key, flag, unpack(args, from, to))
    else
      redis.call(command, key, unpack(args, from, to))
    end
  end
end

-- For a command that answers one item per member. A key that does not exist is not asked.
local function ask(command, key, members)
  if #members == 0 or redis.call('EXISTS', key) == 0 then return {} end
  if #members <= CHUNK then return redis.call(command, key, unpack(members)) end
  local all = {}
  for from = 1, #members, CHUNK do
    local part = redis.call(command, key, unpack(members, from, math.min(from + CHUNK - 1, #members)))
    for i = 1, #part do all[from + i - 1] = part[i] end
  end
  return all
end

return { send = send, ask = ask }
