/**
 * Lua of what only looks (redis-scripts.ts). A script, and not single commands, so that a page is
 * true for one moment: an id without its body would otherwise mean either damage or an
 * acknowledgement in between. Each takes its arguments from `ARGV[from]` on.
 */

/** A page of records ends when it holds as much; Redis serves nobody else meanwhile. */
const pageBytes = 4 * 1024 * 1024
/** Rows looked at in one step of a longer search. */
const stepRows = 200

const mail = `
-- box, after, itemsMax, bytesMax; answers { more, { id, position, end, body } … }
function ops.list(from)
  local box, after = ARGV[from], ARGV[from + 1]
  local items_max, bytes_max = number(ARGV[from + 2]), number(ARGV[from + 3])
  local entries, bytes, ids = {}, 0, nil
  if not is_live('box', box) then return { 0, entries } end
  repeat
    ids = call('ZRANGEBYSCORE', key('order', box), '(' .. after, '+inf', 'LIMIT', 0, ${stepRows})
    for _, id in ipairs(ids) do
      local slot = slot_of(box, id)
      after = slot.number
      if slot.ends > now then
        bytes = bytes + slot.bytes
        local is_full = #entries >= items_max or bytes > bytes_max
        if is_full and #entries > 0 then return { 1, entries } end
        local body = call('HGET', key('body', box), id) or ''
        entries[#entries + 1] = { id, slot.number, slot.ends_text, body }
      end
    end
  until #ids < ${stepRows}
  return { 0, entries }
end

-- box, id; answers { position, end, body }
function ops.get(from)
  local box, id = ARGV[from], ARGV[from + 1]
  local slot = is_live('box', box) and slot_of(box, id)
  if not slot or slot.kind ~= 'i' or slot.ends <= now then return false end
  return { slot.number, slot.ends_text, call('HGET', key('body', box), id) or '' }
end

-- box, id; answers the proof
function ops.tombstone(from)
  local box = ARGV[from]
  local slot = slot_of(box, ARGV[from + 1])
  if not slot or slot.kind ~= 't' or slot.ends <= now then return false end
  return call('HGET', key('proof', box), slot.number)
end

-- box, where to begin, limit; answers { id, end, proof } each
function ops.tombstones(from)
  local box, low, limit = ARGV[from], ARGV[from + 1], number(ARGV[from + 2])
  local tombstones, bytes, ids = {}, 0, nil
  repeat
    ids = call('ZRANGEBYLEX', key('acked', box), low, '+', 'LIMIT', 0, ${stepRows})
    for _, id in ipairs(ids) do
      if #tombstones >= limit or bytes > ${pageBytes} then return tombstones end
      low = '(' .. id
      local slot = slot_of(box, id)
      if slot.ends > now then
        local proof = call('HGET', key('proof', box), slot.number)
        bytes = bytes + #proof
        tombstones[#tombstones + 1] = { id, slot.ends_text, proof }
      end
    end
  until #ids < ${stepRows}
  return tombstones
end

local function boxes(kind, list, from)
  local rows = call('ZRANGEBYSCORE', prefix .. list, '(' .. ARGV[from], '+inf',
    'WITHSCORES', 'LIMIT', 0, ${stepRows})
  local found = {}
  for at = 1, #rows, 2 do
    local row = row_of(kind, rows[at])
    if row.ends > now then found[#found + 1] = { rows[at], unpack(row.text) } end
  end
  return { rows[#rows] or '', found }
end

-- after; answers { number of the last or '', { box, itemsMax, bytesMax, end, items, bytes } … }
function ops.boxes(from) return boxes('box', 'boxes', from) end

function ops.usage() return call('HMGET', meta, 'items', 'bytes') end

-- from, before, last member of the page before, count; answers { last member, its end, marks }
function ops.digest(from)
  local begin, before, last = ARGV[from], number(ARGV[from + 1]), ARGV[from + 2]
  local index, marks, live = prefix .. 'mail-ends', {}, {}
  local score, start = last ~= '' and call('ZSCORE', index, last), nil
  -- If it went meanwhile, all of its time once more: whoever asked knows what it has.
  if score and number(score) == number(begin) then start = call('ZRANK', index, last) + 1
  else start = call('ZCOUNT', index, '-inf', '(' .. begin) end
  local rows = call('ZRANGE', index, start, start + ARGV[from + 3] - 1, 'WITHSCORES')
  for at = 1, #rows, 2 do
    local member, ends = rows[at], rows[at + 1]
    if number(ends) >= before then return { '', '', marks } end
    local id, box = string.sub(member, 1, 32), string.sub(member, 33)
    if live[box] == nil then live[box] = is_live('box', box) and true or false end
    local slot = live[box] and slot_of(box, id)
    if slot and slot.kind == 'i' and slot.ends == number(ends) and slot.ends > now then
      marks[#marks + 1] = { id, box, slot.ends_text }
    end
  end
  if #rows < 2 * ARGV[from + 3] then return { '', '', marks } end
  return { rows[#rows - 1], rows[#rows], marks }
end
`

const records = `
-- key; answers { row, value }
function ops.kv_get(from)
  local row = call('HGET', prefix .. 'kv-rows', ARGV[from])
  if not row or number(string.match(row, ' (%S+)$')) <= now then return false end
  return { row, call('HGET', prefix .. 'kv-values', ARGV[from]) or '' }
end

-- 'up' or 'down', lowest and highest key as ranges have them, limit
-- answers { more, { key, row, value } … }
function ops.kv_list(from)
  local is_down, low, high = ARGV[from] == 'down', ARGV[from + 1], ARGV[from + 2]
  local limit = number(ARGV[from + 3])
  local entries, bytes, names = {}, 0, nil
  repeat
    if is_down then names = call('ZREVRANGEBYLEX', prefix .. 'kv-keys', high, low, 'LIMIT', 0, ${stepRows})
    else names = call('ZRANGEBYLEX', prefix .. 'kv-keys', low, high, 'LIMIT', 0, ${stepRows}) end
    for _, name in ipairs(names) do
      if #entries >= limit or bytes >= ${pageBytes} then return { 1, entries } end
      if is_down then high = '(' .. name else low = '(' .. name end
      local row = call('HGET', prefix .. 'kv-rows', name)
      if number(string.match(row, ' (%S+)$')) > now then
        local value = call('HGET', prefix .. 'kv-values', name) or ''
        bytes = bytes + #value
        entries[#entries + 1] = { name, row, value }
      end
    end
  until #names < ${stepRows}
  return { 0, entries }
end
`

const pieces = `
function ops.files(from) return boxes('file', 'files', from) end

function ops.piece_count(from)
  local row = row_of('file', ARGV[from])
  return row and row.ends > now and row.items or 0
end

-- box, after, itemsMax, bytesMax; answers { more, { number, piece } … }
function ops.pieces(from)
  local box, after = ARGV[from], tonumber(ARGV[from + 1])
  local items_max, bytes_max = number(ARGV[from + 2]), number(ARGV[from + 3])
  local row, entries, bytes = row_of('file', box), {}, 0
  if not row or row.ends <= now then return { 0, entries } end
  for place = after + 1, row.items do
    local length = call('HSTRLEN', key('piece', box), place)
    -- None: it was damaged.
    if length > 0 then
      bytes = bytes + length - 32
      local is_full = #entries >= items_max or bytes > bytes_max
      if is_full and #entries > 0 then return { 1, entries } end
      entries[#entries + 1] = { place, call('HGET', key('piece', box), place) }
    end
  end
  return { 0, entries }
end
`

export const readOperations = mail + records + pieces
