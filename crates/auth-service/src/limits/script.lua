-- The rules of rule.rs once more, for Redis, which runs this in one step. A test holds them together.
--
-- KEYS: the buckets. ARGV: 'take' or 'back', a test's clock offset in milliseconds, then for each
-- bucket: 'rate' or 'growing', four numbers (of a rate: burst, interval), and a flag. Of 'take' it says:
-- only if the bucket before was empty. Of 'back': all of it, not one attempt.
-- Answers: which bucket refused (0: none), how long to wait, the time, and 1 for each that was charged.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2])

local function argument(i, n) return ARGV[2 + (i - 1) * 6 + n] end
local function number(i, n) return tonumber(argument(i, n + 1)) end
local function is_rate(i) return argument(i, 1) == 'rate' end

-- What is left of a bucket now.
local function current(i)
  local text = redis.call('GET', KEYS[i]) or '0:0'
  local first, last = string.match(text, '^(%d+):(%d+)$')
  first, last = tonumber(first or 0), tonumber(last or 0)
  if is_rate(i) then
    return math.min(math.max(first, now), now + number(i, 1) * number(i, 2)), 0
  end
  last = math.min(last, now)
  if now - last >= number(i, 4) then first = 0 end
  return first, last
end

-- Some seconds longer than it counts: the clocks need not agree.
local function write(i, first, last)
  local life = is_rate(i) and first - now or number(i, 4)
  redis.call('SET', KEYS[i], string.format('%.0f:%.0f', first, last), 'PX', math.max(life, 0) + 10000)
end

local function take(i, first, last)
  if is_rate(i) then
    local empty_at = first + number(i, 2)
    local wait = empty_at - (now + number(i, 1) * number(i, 2))
    if wait > 0 then return nil, wait end
    return { empty_at, 0 }
  end
  local wait = 0
  if first >= number(i, 1) then
    wait = math.min(number(i, 3), number(i, 2) * 2 ^ math.min(first - number(i, 1), 30))
  end
  wait = last + wait - now
  if wait > 0 then return nil, wait end
  return { first + 1, now }
end

local answer = { 0, 0, now }

if ARGV[1] == 'back' then
  for i = 1, #KEYS do
    local first, last = current(i)
    if argument(i, 6) == '1' then
      redis.call('SET', KEYS[i], '0:0', 'PX', 1)
    elseif is_rate(i) then
      write(i, math.max(first - number(i, 2), now), 0)
    else
      write(i, math.max(first - 1, 0), last)
    end
  end
  return answer
end

local taken, before_was_empty = {}, true
for i = 1, #KEYS do
  local first, last = current(i)
  local charged = argument(i, 6) == '0' or before_was_empty
  if charged then
    local state, wait = take(i, first, last)
    taken[i] = state
    if not state and wait > answer[2] then answer[1], answer[2] = i, wait end
  end
  answer[3 + i] = charged and 1 or 0
  before_was_empty = (is_rate(i) and first == now) or (not is_rate(i) and first == 0)
end
if answer[1] == 0 then
  for i = 1, #KEYS do
    if taken[i] then write(i, taken[i][1], taken[i][2]) end
  end
end
return answer
