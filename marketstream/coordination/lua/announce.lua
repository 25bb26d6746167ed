-- Keeps what is watched at one node and tells it, in one step.
--
-- KEYS: the node's symbols.
-- ARGV: the channel, the message, its number, 1 if it is everything, milliseconds the symbols are kept, how
-- many symbols are added, those, and those that are dropped.
-- Returns 1; 0 when this does not follow on what is kept, which is then left alone: everything is needed.
local ADDED = 7
local last = ADDED + tonumber(ARGV[6]) - 1

local function each(command, first, final, value)
  -- A call takes some thousand words at most.
  for start = first, final, 1000 do
    local words = {}
    for at = start, math.min(start + 999, final) do
      words[#words + 1] = ARGV[at]
      words[#words + 1] = value
    end
    redis.call(command, KEYS[1], unpack(words))
  end
end

if ARGV[4] == '1' then
  redis.call('DEL', KEYS[1])
elseif tonumber(redis.call('HGET', KEYS[1], '') or '-1') ~= tonumber(ARGV[3]) - 1 then
  return 0
end
each('HSET', ADDED, last, '')
each('HDEL', last + 1, #ARGV, nil)
redis.call('HSET', KEYS[1], '', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
