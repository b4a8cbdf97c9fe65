/**
 * Lua of what changes the store (redis-scripts.ts has the keys and what stands around it). Each
 * operation reads its arguments from `ARGV[from]` to `ARGV[to]`; what happened to an id before comes
 * first, then why it cannot be taken, as in every store.
 */
const shared = `
-- 'inf' is in no index.
local function index(name, member, ends)
  if ends == 'inf' then call('ZREM', prefix .. name, member)
  else call('ZADD', prefix .. name, ends, member) end
end

local function count(box, items, bytes)
  call('HINCRBY', key('box', box), 'items', items)
  call('HINCRBY', key('box', box), 'bytes', bytes)
  call('HINCRBY', meta, 'items', items)
  call('HINCRBY', meta, 'bytes', bytes)
end

local function next_number() return call('HINCRBY', meta, 'number', 1) end

-- A box of mail or a file box: its limits, and its place in the order of boxes when it is new.
local function set_box(kind, list, ends_index, from)
  local box, ends = ARGV[from], ARGV[from + 3]
  if call('HSETNX', key(kind, box), 'items', 0) == 1 then
    call('HSET', key(kind, box), 'bytes', 0)
    call('ZADD', prefix .. list, next_number(), box)
  end
  call('HSET', key(kind, box), 'itemsMax', ARGV[from + 1], 'bytesMax', ARGV[from + 2], 'ends', ends)
  index(ends_index, box, ends)
  return 0
end
`

const mail = `
local function remove(box, id, slot)
  call('HDEL', key('slot', box), id)
  call('ZREM', key('order', box), id)
  call('HDEL', key('body', box), id)
  call('ZREM', prefix .. 'mail-ends', id .. box)
  count(box, -1, 0 - slot.bytes)
end

-- A tombstone, and its proof with the last that refers to it.
local function forget(box, id, slot)
  call('HDEL', key('slot', box), id)
  call('ZREM', key('acked', box), id)
  call('ZREM', prefix .. 'ack-ends', id .. box)
  if call('HINCRBY', key('proof-uses', box), slot.number, -1) <= 0 then
    call('HDEL', key('proof-uses', box), slot.number)
    call('HDEL', key('proof', box), slot.number)
  end
end

local function drop(box)
  local row = row_of('box', box)
  call('ZREM', prefix .. 'boxes', box)
  call('ZREM', prefix .. 'box-ends', box)
  if not row then return false end
  call('HINCRBY', meta, 'items', 0 - row.items)
  call('HINCRBY', meta, 'bytes', 0 - row.bytes)
  -- Given back in the background, however full the box was.
  call('UNLINK', key('box', box), key('slot', box), key('order', box), key('body', box),
    key('acked', box), key('proof', box), key('proof-uses', box))
  return true
end

local function put(box, id, ends, body)
  local row = row_of('box', box)
  if not row or row.ends <= now then return 'no-box' end
  local slot = slot_of(box, id)
  if slot and slot.kind == 't' and slot.ends > now then return 'acknowledged' end
  if slot and slot.kind == 'i' then return 'duplicate' end
  if number(ends) <= now then return 'expired' end
  if row.items >= row.items_max or row.bytes + #body > row.bytes_max then return 'over-quota' end
  if slot then forget(box, id, slot) end
  local position = whole(next_number())
  call('HSET', key('slot', box), id, 'i ' .. position .. ' ' .. #body .. ' ' .. ends)
  call('ZADD', key('order', box), position, id)
  call('HSET', key('body', box), id, body)
  index('mail-ends', id .. box, ends)
  count(box, 1, #body)
  return 'stored'
end

-- { box, id, end, body } each
function ops.put(from, to)
  local answers = {}
  for at = from, to, 4 do
    answers[#answers + 1] = put(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
  end
  return answers
end

-- box, end, proof, ids
function ops.acknowledge(from, to)
  local box, ends, proof = ARGV[from], ARGV[from + 1], nil
  if call('EXISTS', key('box', box)) == 0 then return 0 end
  local found = 0
  for at = from + 3, to do
    local id = ARGV[at]
    local slot, kept = slot_of(box, id), now
    if slot and slot.kind == 'i' then
      remove(box, id, slot)
      found = found + 1
    elseif slot then kept = math.max(now, slot.ends) end
    if number(ends) > kept then
      if slot and slot.kind == 't' then forget(box, id, slot) end
      if not proof then
        proof = whole(next_number())
        call('HSET', key('proof', box), proof, ARGV[from + 2])
      end
      call('HINCRBY', key('proof-uses', box), proof, 1)
      call('HSET', key('slot', box), id, 't ' .. proof .. ' 0 ' .. ends)
      call('ZADD', key('acked', box), 0, id)
      index('ack-ends', id .. box, ends)
    end
  end
  return found
end

-- box, itemsMax, bytesMax, end
function ops.set_box(from) return set_box('box', 'boxes', 'box-ends', from) end

function ops.drop_box(from)
  drop(ARGV[from])
  return 0
end

-- An item whose body is damaged: box, id, position. Nothing if somebody was faster.
function ops.damaged(from)
  local slot = slot_of(ARGV[from], ARGV[from + 1])
  if slot and slot.kind == 'i' and slot.number == ARGV[from + 2] then
    remove(ARGV[from], ARGV[from + 1], slot)
  end
  return 0
end

-- end, budget; answers how many went and how many were looked at
function ops.expire(from)
  local ends, budget, gone, seen = ARGV[from], tonumber(ARGV[from + 1]), 0, 0
  local function due(name)
    local members = call('ZRANGEBYSCORE', prefix .. name, '-inf', ends, 'LIMIT', 0, budget - gone)
    seen = seen + #members
    return members
  end
  for _, box in ipairs(due('box-ends')) do
    if drop(box) then gone = gone + 1 end
  end
  for name, kind in pairs({ ['mail-ends'] = 'i', ['ack-ends'] = 't' }) do
    for _, member in ipairs(due(name)) do
      local id, box = string.sub(member, 1, 32), string.sub(member, 33)
      local slot = slot_of(box, id)
      call('ZREM', prefix .. name, member)
      if slot and slot.kind == kind and slot.ends <= number(ends) then
        if kind == 'i' then remove(box, id, slot) else forget(box, id, slot) end
        gone = gone + 1
      end
    end
  end
  return { gone, seen }
end
`

const records = `
local function remove_record(name)
  call('HDEL', prefix .. 'kv-rows', name)
  call('HDEL', prefix .. 'kv-values', name)
  call('ZREM', prefix .. 'kv-keys', name)
  call('ZREM', prefix .. 'kv-ends', name)
end

local function version_of(name)
  local text = call('HGET', prefix .. 'kv-rows', name)
  if not text then return 0 end
  local version, ends = string.match(text, '^(%d+) (%S+)$')
  return number(ends) > now and tonumber(version) or 0
end

-- count of checks, { key, version } each, then { 'put', key, end, value } or { 'delete', key } each
function ops.kv_write(from, to)
  local changes = from + 1 + 2 * tonumber(ARGV[from])
  for at = from + 1, changes - 1, 2 do
    if version_of(ARGV[at]) ~= tonumber(ARGV[at + 1]) then return 0 end
  end
  local at = changes
  while at <= to do
    local name = ARGV[at + 1]
    if ARGV[at] == 'put' then
      local ends = ARGV[at + 2]
      call('HSET', prefix .. 'kv-rows', name, whole(next_number()) .. ' ' .. ends)
      call('HSET', prefix .. 'kv-values', name, ARGV[at + 3])
      call('ZADD', prefix .. 'kv-keys', 0, name)
      index('kv-ends', name, ends)
      at = at + 4
    else
      remove_record(name)
      at = at + 2
    end
  end
  return 1
end

-- end, budget
function ops.kv_expire(from)
  local names = call('ZRANGEBYSCORE', prefix .. 'kv-ends', '-inf', ARGV[from], 'LIMIT', 0, ARGV[from + 1])
  for _, name in ipairs(names) do remove_record(name) end
  return #names
end
`

const pieces = `
local function drop_file(box)
  call('UNLINK', key('file', box), key('piece-of', box), key('piece', box))
  call('ZREM', prefix .. 'files', box)
  call('ZREM', prefix .. 'file-ends', box)
end

-- box, itemsMax, bytesMax, end
function ops.set_file(from) return set_box('file', 'files', 'file-ends', from) end

function ops.drop_file(from)
  drop_file(ARGV[from])
  return 0
end

-- box, bytes around each piece, then { id, body } each
function ops.put_pieces(from, to)
  local box, around, answers = ARGV[from], tonumber(ARGV[from + 1]), {}
  local row = row_of('file', box)
  for at = from + 2, to, 2 do
    local id, body = ARGV[at], ARGV[at + 1]
    local bytes = #body + around
    local answer = 'stored'
    if not row or row.ends <= now then answer = 'no-box'
    elseif call('HEXISTS', key('piece-of', box), id) == 1 then answer = 'duplicate'
    elseif row.items >= row.items_max or row.bytes + bytes > row.bytes_max then answer = 'over-quota'
    else
      row.items, row.bytes = row.items + 1, row.bytes + bytes
      call('HSET', key('piece-of', box), id, row.items)
      call('HSET', key('piece', box), row.items, id .. body)
      call('HSET', key('file', box), 'items', row.items, 'bytes', whole(row.bytes))
    end
    answers[#answers + 1] = answer
  end
  return answers
end

-- A piece that is damaged: box, number. Its id may be put again, behind the others.
function ops.damaged_piece(from)
  local box, place = ARGV[from], ARGV[from + 1]
  if call('HDEL', key('piece', box), place) == 0 then return 0 end
  -- What its id was does not stand in it for certain.
  local ids = call('HGETALL', key('piece-of', box))
  for at = 1, #ids, 2 do
    if ids[at + 1] == place then call('HDEL', key('piece-of', box), ids[at]) end
  end
  return 0
end

function ops.expire_files(from)
  local boxes = call('ZRANGEBYSCORE', prefix .. 'file-ends', '-inf', ARGV[from])
  for _, box in ipairs(boxes) do drop_file(box) end
  return #boxes
end

-- The store was closed: its process writes no more.
function ops.leave(from)
  call('HDEL', prefix .. 'links', ARGV[from])
  return 0
end
`

export const writeOperations = shared + mail + records + pieces
