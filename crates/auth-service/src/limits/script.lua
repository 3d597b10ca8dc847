-- The rules of rule.rs once more, for Redis, which runs this in one step. A test holds them together.
--
-- KEYS: the buckets. ARGV: 'take' or 'settle', a test's clock offset in milliseconds, then for each
-- bucket: 'rate' or 'growing', four numbers (of a rate: burst, interval), a flag, and two times.
-- The flag of 'take' is 1: only if the bucket before was empty. Of 'settle': 0, the charge stays; 1, it is
-- given back; 2, all of the bucket is. The times are of 'settle' alone: of the charge, and of the attempt
-- before it.
-- Answers: which bucket refused (0: none), how long to wait, the time, 1 if every bucket that refused has
-- attempts in flight; then for each bucket 1 if it was charged, and the time of the attempt before.

local SPAN = 30000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2])
local span = math.floor(now / SPAN)

local function argument(i, n) return ARGV[2 + (i - 1) * 8 + n] end
local function number(i, n) return tonumber(argument(i, n + 1)) end
local function flag(i) return argument(i, 6) end
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

-- Attempts in flight that were charged in this span of time, and in the one before. In a key of its own:
-- replicas of the version before know nothing of it, and must understand the other.
local function flights(i)
  local text = redis.call('GET', KEYS[i] .. ':flying') or '0:0:0'
  local of, this, before = string.match(text, '^(%d+):(%d+):(%d+)$')
  of, this, before = tonumber(of or 0), tonumber(this or 0), tonumber(before or 0)
  if of == span then return this, before end
  if of + 1 == span then return 0, this end
  return 0, 0
end

local function write_flights(i, this, before)
  local life = this + before > 0 and 2 * SPAN or 1
  redis.call('SET', KEYS[i] .. ':flying', string.format('%.0f:%.0f:%.0f', span, this, before), 'PX', life)
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

if ARGV[1] == 'settle' then
  for i = 1, #KEYS do
    local first, last = current(i)
    local at, last_before = number(i, 6), number(i, 7)
    if flag(i) == '2' then
      redis.call('SET', KEYS[i], '0:0', 'PX', 1)
    elseif flag(i) == '1' and is_rate(i) then
      write(i, math.max(first - number(i, 2), now), 0)
    elseif flag(i) == '1' then
      if last == at then last = last_before end
      write(i, math.max(first - 1, 0), last)
    end
    local this, before = flights(i)
    local of = math.floor(at / SPAN)
    if of == span then this = math.max(this - 1, 0) end
    if of + 1 == span then before = math.max(before - 1, 0) end
    write_flights(i, this, before)
  end
  return { 0, 0, now, 0 }
end

local taken, each, before_was_empty = {}, {}, true
-- The longest wait of the buckets that refuse: of those that are decided, and of those that are not.
local decided, undecided = { 0, 0 }, { 0, 0 }
for i = 1, #KEYS do
  local first, last = current(i)
  local charged = flag(i) == '0' or before_was_empty
  if charged then
    local state, wait = take(i, first, last)
    taken[i] = state
    if not state then
      local this, before = flights(i)
      local worst = this + before > 0 and undecided or decided
      if wait > worst[2] then worst[1], worst[2] = i, wait end
    end
  end
  each[2 * i - 1], each[2 * i] = charged and 1 or 0, first == 0 and 0 or last
  before_was_empty = (is_rate(i) and first == now) or (not is_rate(i) and first == 0)
end

local worst = decided[1] > 0 and decided or undecided
local answer = { worst[1], worst[2], now, worst == undecided and 1 or 0 }
if worst[1] == 0 then
  for i = 1, #KEYS do
    if taken[i] then
      write(i, taken[i][1], taken[i][2])
      local this, before = flights(i)
      write_flights(i, this + 1, before)
    end
  end
end
for n = 1, #each do answer[4 + n] = each[n] end
return answer
