-- ARGV  3 token       4 fingerprint       5 lease       6 set if the answer is wanted
--       7 how long a displaced offer is remembered; empty to displace none

local token, fingerprint, lease, window = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[7])

local value = fields['m' .. fingerprint]
local known = value and memory(value)
if known and known.till > now then
    if known.kind == 's' then
        return { 'superseded', known.till - now }
    end
    local answer = ARGV[6] ~= '' and redis.call('HGET', KEYS[2], fingerprint)
    return { 'processed', known.till - now, tonumber(known.number), answer }
end

local holder = fields.o
if holder == token then
    return { 'admitted', last, fields.p or false }
end

-- A claim that was released leaves the stop of the one that it displaced to the next.
local is_displaced, displaced = false, not holder and fields.p
if holder then
    local left = lease_end - now
    local is_same = fields.f == fingerprint
    if left > 0 and (is_same or not (fields.a or window)) then
        -- An offer that wants no answer is refused, and does not wait for the claim.
        if is_same and fields.a and ARGV[6] ~= '' then
            put('a', nil)
        end
        add_waiting(node_of(token))
        if next(touched) then
            allow_writes()
            commit(kept_until())
        end
        if is_same then
            return { 'in_flight', left }
        end
        return { 'busy', left, math.max(now - fields.s, 0) }
    end
    is_displaced = left > 0 and not fields.a
elseif not window and tonumber(fields.c or 0) > now then
    return { 'cooling_down', fields.c - now }
end

-- Rises through the loss of all data, as time goes on, and while the clock stands still or steps back.
local number = text(math.max(last + 1, floor + 1, micros))
if is_displaced then
    -- A node stops its own claim before it supersedes it, but that claim may have waited for another one.
    displaced = node_of(holder) == node_of(token) and fields.p or holder
    -- The marks of the loser name the newest claim from now on.
    for marked, mark in pairs(memories()) do
        if mark.kind == 's' and mark.number == fields.n then
            put_memory(marked, 's', mark.till, number)
        end
    end
    prune(fields.f)
    put_memory(fields.f, 's', now + window, number)
elseif holder then
    drop_marks(fields.n)
end
wake()
put('n', number)
put('o', token)
put('f', fingerprint)
put('s', text(now))
put('l', text(now + lease))
put('a', nil)
put('x', nil)
put('p', displaced or nil)
if is_cleared then
    redis.call('DEL', KEYS[1], KEYS[2])
end
commit(now + 2 * lease)
if holder then
    notify(node_of(holder), 'l' .. (is_displaced and 's' or 't') .. holder)
end
return { 'admitted', tonumber(number), displaced or false }
