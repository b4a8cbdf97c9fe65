/**
 * What Redis runs for us: Lua, because a script is the one thing in Redis that may look before it
 * writes without anybody between. So quota, duplicate and tombstone checks, positions and usage are
 * one atomic step, however many processes share the database. Redis writes the effects of a script
 * to its log as one transaction: after a crash a step is there wholly or not at all.
 *
 * Keys, each behind the prefix of the store; `box` and `id` are 32 raw bytes:
 *
 * ```text
 *   meta                HASH  schema, migrating, id (of this database), number (last position or
 *                             version given), items, bytes
 *   links               HASH  process → token of the connection that may write for it
 *   boxes               ZSET  box by number, in order of creation
 *   box-ends            ZSET  box by end
 *   box:<box>           HASH  itemsMax, bytesMax, ends, items, bytes
 *   slot:<box>          HASH  id → "i <position> <bytes> <end>", or of a tombstone "t <proof> 0 <end>"
 *   order:<box>         ZSET  id by position
 *   body:<box>          HASH  id → body
 *   acked:<box>         ZSET  ids of tombstones
 *   proof:<box>         HASH  number → proof, shared by the tombstones of one acknowledgement
 *   proof-uses:<box>    HASH  number → tombstones that refer to it
 *   mail-ends           ZSET  id box by end: the order of a digest
 *   ack-ends            ZSET  id box by end
 *   kv-keys             ZSET  keys in order
 *   kv-rows             HASH  key → "<version> <end>"
 *   kv-values           HASH  key → value, CRC-32 of key and value
 *   kv-ends             ZSET  key by end
 *   files, file-ends    ZSET  file boxes, as boxes and box-ends
 *   file:<box>          HASH  itemsMax, bytesMax, ends, items, bytes
 *   piece-of:<box>      HASH  id → number
 *   piece:<box>         HASH  number → id, body
 * ```
 *
 * What ends stands in an index of ours by its end ("inf": never), not under a TTL of Redis: time is
 * the clock of whoever asks, and nothing may go before it. When a box is dropped, index members of
 * what was in it stay until their time; they say nothing without their slot.
 *
 * The scripts name keys that they work out themselves, so this cannot run on a Redis cluster.
 */
import { enterText, makeScript, sameSchema } from './redis-schema.ts'
import { readOperations } from './redis-scripts-read.ts'
import { writeOperations } from './redis-scripts-write.ts'

/** Arguments of every script: prefix, time, process, token; then what it is to do. */
const common = `
local prefix, now = ARGV[1], tonumber(ARGV[2])
local call, never = redis.call, math.huge
local meta = prefix .. 'meta'

local function number(text)
  if text == 'inf' then return never end
  return tonumber(text)
end

local function whole(value) return string.format('%.0f', value) end

local function key(kind, box) return prefix .. kind .. ':' .. box end

local function slot_of(box, id)
  local text = call('HGET', key('slot', box), id)
  if not text then return nil end
  local kind, count, bytes, ends = string.match(text, '^(%a) (%d+) (%d+) (%S+)$')
  return { kind = kind, number = count, bytes = tonumber(bytes), ends = number(ends), ends_text = ends }
end

local function row_of(kind, box)
  local row = call('HMGET', key(kind, box), 'itemsMax', 'bytesMax', 'ends', 'items', 'bytes')
  if not row[1] then return nil end
  return {
    text = row, items_max = number(row[1]), bytes_max = number(row[2]), ends = number(row[3]),
    items = tonumber(row[4]), bytes = tonumber(row[5]),
  }
end

local function is_live(kind, box)
  local ends = call('HGET', key(kind, box), 'ends')
  return ends and number(ends) > now
end

local ops = {}
`

/** One operation; its answer is the script's. */
const runOne = `
return ops[ARGV[5]](6, #ARGV)
`

/**
 * A group of them, { name, count of arguments, arguments } each, and an answer { 0, value } or
 * { 1, message } each. One that fails does so alone.
 *
 * The token keeps out what a connection that was given up still had under way: a server that was
 * frozen reads it when it wakes, after what the next connection wrote (redis-link.ts).
 */
const runGroup = `
if call('HGET', prefix .. 'links', ARGV[3]) ~= ARGV[4] then
  return redis.error_reply('FENCED another connection writes for this process')
end
local answers, at = {}, 5
while ARGV[at] do
  local last = at + 1 + tonumber(ARGV[at + 1])
  local done, value = pcall(ops[ARGV[at]], at + 2, last)
  if done then answers[#answers + 1] = { 0, value }
  else answers[#answers + 1] = { 1, type(value) == 'table' and value.err or tostring(value) } end
  at = last + 1
end
return answers
`

export const scripts = {
  enter: makeScript(' flags=allow-oom', enterText),
  read: makeScript(' flags=no-writes', common, sameSchema, readOperations, runOne),
  /** Refused with OOM, before it begins, when Redis is at its memory limit. */
  write: makeScript('', common, sameSchema, writeOperations, runGroup),
  /** For what makes room. */
  writeWhenFull: makeScript(' flags=allow-oom', common, sameSchema, writeOperations, runGroup),
} as const

/** As the scripts want numbers and times. */
export function luaNumber(value: number): string {
  return value === Infinity ? 'inf' : String(value)
}

/** A number as the scripts give it. */
export function fromLua(text: string): number {
  return text === 'inf' ? Infinity : Number(text)
}
