"""What is done with the shop stream on the server itself, in one step each, so that no crash falls between.

allow-oom: a server that is full must take these steps too, or nothing could drain it.
"""

from typing import Final

#: A stream whose last id this is takes no more entries, ever: each id must be greater than the last. Whoever may add
#: entries may choose their ids.
GREATEST_ID: Final = b"18446744073709551615-18446744073709551615"

#: Moves up to ARGV[2] messages of the lists KEYS[2..] into the stream KEYS[1], where they are read, claimed and
#: acknowledged as all else is. A message stays in its list while the stream is closed.
TAKE_SUBMITTED: Final = """#!lua flags=allow-oom
local left = tonumber(ARGV[2])
for at = 2, #KEYS do
    while left > 0 and redis.call('TYPE', KEYS[at]).ok == 'list' do
        local added = redis.pcall('XADD', KEYS[1], '*', ARGV[1], redis.call('LINDEX', KEYS[at], -1))
        if type(added) == 'table' then
            return
        end
        redis.call('RPOP', KEYS[at])
        left = left - 1
    end
end
"""

#: Adds an answer to the stream KEYS[1], which is then kept for ARGV[1] seconds, with about ARGV[2] of its last entries.
#: One step, so that nothing but a stream is ever made to end.
ADD_REPLY: Final = """#!lua
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""

#: Copies the stream KEYS[1], if its last id is ARGV[1], to KEYS[2] under new ids, gives that the group ARGV[2], and
#: puts it in the place of the old one. Says how many entries there were; nil for a stream that is not closed. Lua
#: passes on some thousand values at once: of an entry with more fields what counts is kept, the event ARGV[3] and what
#: goes with it, ARGV[4..], or, without an event, all of it as one JSON text, for intake to park.
RENEW_STREAM: Final = """#!lua flags=allow-oom
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local last
for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then
        last = info[at + 1]
    end
end
if last ~= ARGV[1] then
    return nil
end

local function narrowed(fields)
    local found = {}
    for at = 1, #fields, 2 do
        found[fields[at]] = fields[at + 1]
    end
    if not found[ARGV[3]] then
        return {ARGV[3], cjson.encode(fields)}
    end
    local kept = {}
    for at = 3, #ARGV do
        if found[ARGV[at]] then
            kept[#kept + 1] = ARGV[at]
            kept[#kept + 1] = found[ARGV[at]]
        end
    end
    return kept
end

redis.call('DEL', KEYS[2])
local moved, from = 0, '-'
repeat
    local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 100)
    for _, entry in ipairs(entries) do
        local fields = entry[2]
        if #fields > 4000 then
            fields = narrowed(fields)
        end
        redis.call('XADD', KEYS[2], '*', unpack(fields))
        from = '(' .. entry[1]
        moved = moved + 1
    end
until #entries == 0 or from == '(' .. ARGV[1]
redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[2], '0', 'MKSTREAM')
redis.call('RENAME', KEYS[2], KEYS[1])
return moved
"""
