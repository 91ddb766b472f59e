-- ARGV  3 token

local token = ARGV[3]
if fields.o == token then
    allow_writes()
    drop_marks(fields.n)
    end_claim()
    commit(lease_end)
elseif fields.p == token then
    allow_writes()
    put('p', nil)
    commit(kept_until())
    if fields.o then
        notify(node_of(fields.o), 's' .. token)
    end
end
return 1
