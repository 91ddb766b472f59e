-- Comes before each script but clear.lua.
--
-- KEYS  1 the peer: a hash       2 its recorded answers: a hash       3 the floor of its bucket: a string
-- ARGV  1 prefix of the channels of nodes       2 the sealed peer, for nodes that are woken
--
-- Fields of the peer. Times are milliseconds of the server's clock.
--   n  number of the last claim         o  token of the claim that is held       f  its fingerprint
--   s  its start                        l  end of its lease                      a  set if it is abandoned
--   x  set if it must not be remembered p  token of the claim it displaced,
--                                            kept if the claim is released
--   c  end of the cooldown              d  token of the claim that was completed last
--   w  ids of the nodes that wait, 8 bytes each
--   m<fingerprint>  a memory: kind (p processed, s superseded), end, colon, number of its claim
--
-- Numbers and times have up to 16 digits. Lua's tostring keeps 14, so they are formatted by text().

local function text(number)
    return string.format('%.0f', number)
end

local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)

local fields = {}
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
end
local floor = tonumber(redis.call('GET', KEYS[3]) or 0)
local last = tonumber(fields.n or 0)
-- All numbers of a peer up to the floor are cleared.
local is_cleared = fields.n and last <= floor
if is_cleared then
    fields = {}
end

local touched = {}
local has_touched_memories = false
local function put(field, value)
    fields[field] = value
    touched[field] = true
end

local function memory(value)
    local kind, till, number = string.match(value, '^(%a)(%d+):(%d+)$')
    return { kind = kind, till = tonumber(till), number = number }
end

local function put_memory(fingerprint, kind, till, number)
    put('m' .. fingerprint, kind .. text(till) .. ':' .. number)
    has_touched_memories = true
end

-- Returns the memories by fingerprint.
local function memories()
    local found = {}
    for field, value in pairs(fields) do
        if string.sub(field, 1, 1) == 'm' then
            found[string.sub(field, 2)] = memory(value)
        end
    end
    return found
end

local function drop_memory(fingerprint)
    put('m' .. fingerprint, nil)
    has_touched_memories = true
    redis.call('HDEL', KEYS[2], fingerprint)
end

-- Forgets what the claim with this number superseded.
local function drop_marks(number)
    for fingerprint, known in pairs(memories()) do
        if known.kind == 's' and known.number == number then
            drop_memory(fingerprint)
        end
    end
end

-- Returns whether the memory `a` is older than `b`. Marks of a claim are older than what it has processed.
local function is_older(a, b)
    if a.number ~= b.number then
        return tonumber(a.number) < tonumber(b.number)
    end
    if a.kind ~= b.kind then
        return a.kind == 's'
    end
    return a.till < b.till
end

-- Drops memories that are over, and the oldest until there is room for one more next to `kept`.
local function prune(kept)
    local live = {}
    for fingerprint, known in pairs(memories()) do
        if known.till <= now then
            drop_memory(fingerprint)
        elseif fingerprint ~= kept then
            known.fingerprint = fingerprint
            live[#live + 1] = known
        end
    end
    table.sort(live, is_older)
    for i = 1, #live - 15 do
        drop_memory(live[i].fingerprint)
    end
end

local function node_of(token)
    return string.sub(token, 1, 8)
end

local function notify(node, message)
    redis.call('PUBLISH', ARGV[1] .. node, message)
end

-- A node waits at most once. More than 8 nodes would make the hash a big one for the server; the others ask again.
local function add_waiting(node)
    local waiting = fields.w or ''
    for i = 1, #waiting, 8 do
        if string.sub(waiting, i, i + 7) == node then
            return
        end
    end
    if #waiting < 64 then
        put('w', waiting .. node)
    end
end

local function wake()
    local waiting = fields.w or ''
    for i = 1, #waiting, 8 do
        notify(string.sub(waiting, i, i + 7), 'w' .. ARGV[2])
    end
    put('w', nil)
end

local function end_claim()
    for _, field in ipairs({ 'o', 'f', 's', 'l', 'a', 'x' }) do
        put(field, nil)
    end
    wake()
end

-- The end of the lease, for which the number and the last completion outlive the claim: replies may be lost.
local lease_end = tonumber(fields.l or now)

-- The first write of a script is refused when the memory of the server is full, unless it frees memory. Later ones are
-- not refused. This one frees none, as no field has this name, but lets work that runs end.
local function allow_writes()
    redis.call('HDEL', KEYS[1], '')
end

-- Returns the deadline of the peer before this call.
local function kept_until()
    return now + redis.call('PTTL', KEYS[1])
end

-- Writes the fields that changed. The peer expires with its latest deadline, which is at least `deadline`.
local function commit(deadline)
    local written, removed = {}, {}
    for field in pairs(touched) do
        if fields[field] then
            written[#written + 1] = field
            written[#written + 1] = fields[field]
        else
            removed[#removed + 1] = field
        end
    end
    if #written > 0 then
        redis.call('HSET', KEYS[1], unpack(written))
    end
    if #removed > 0 then
        redis.call('HDEL', KEYS[1], unpack(removed))
    end
    local latest = 0
    for _, known in pairs(memories()) do
        latest = math.max(latest, known.till)
    end
    if has_touched_memories then
        redis.call('PEXPIREAT', KEYS[2], text(latest))
    end
    latest = math.max(latest, deadline, tonumber(fields.c or 0))
    redis.call('PEXPIREAT', KEYS[1], text(latest))
end
