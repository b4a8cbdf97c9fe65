/**
 * Which layout of keys a database has (redis-scripts.ts draws the one of now), and how an older one
 * becomes the next: forward only, in steps.
 *
 * ```text
 *   schema 1 ── first step ──► schema 2, migrating 1 ── steps ──► schema 2
 * ```
 *
 * Redis runs one script at a time, so each step has the lock that others take by hand, and two who
 * migrate at once take turns. From the first step on the layout is nobody's: who knows only the old
 * one is refused in its next script (`SCHEMA`) and hears STORE_NEWER when it connects, who knows the
 * new one helps first. What a process that dies in between left is done by the next that connects.
 */
import { createHash } from 'node:crypto'

export const schemaVersion = 1

export interface RedisScript {
  readonly text: string
  readonly sha: string
}

/** The first line says what may be: a script that Redis refuses there has changed nothing. */
export function makeScript(flags: string, ...parts: readonly string[]): RedisScript {
  const text = [`#!lua${flags}`, ...parts].join('\n')
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

export interface Migration {
  /** It ends with the schema after this one. */
  readonly from: number
  /**
   * Body of a Lua function that does a part, some thousand keys at most, and returns whether there is
   * more. `prefix` is what all keys begin with; what is done it must see in the keys themselves.
   */
  readonly step: string
}

/** One for each released schema before this one. */
export const migrations: readonly Migration[] = []

/**
 * Settles when the migration is done, by whomever.
 * @param evaluate runs a script, with the prefix as its first argument
 */
export async function migrate(
  evaluate: (script: RedisScript) => Promise<unknown>,
  { from, step }: Migration,
): Promise<void> {
  const script = makeScript('', `
local prefix, meta = ARGV[1], ARGV[1] .. 'meta'
local schema, migrating = unpack(redis.call('HMGET', meta, 'schema', 'migrating'))
if schema == '${from}' and not migrating then
  redis.call('HSET', meta, 'schema', ${from + 1}, 'migrating', ${from})
elseif migrating ~= '${from}' then return 0 end
local function step()
${step}
end
if step() then return 1 end
redis.call('HDEL', meta, 'migrating')
return 0
`)
  while (await evaluate(script) === 1);
}

/** A newer openIM may change the layout while we run. `meta` is set before it. */
export const sameSchema = `
local layout = call('HMGET', meta, 'schema', 'migrating')
if layout[1] ~= '${schemaVersion}' or layout[2] then
  return redis.error_reply('SCHEMA the layout is another one now')
end
`

/**
 * Settles whose the writes of this process are. Answers { schema, id of the database }; a schema
 * before ours wants its migration first. The id that is offered is taken where there is none;
 * without an offer nothing is made where nothing is.
 */
export const enterText = `
local meta, links = ARGV[1] .. 'meta', ARGV[1] .. 'links'
local schema = tonumber(redis.call('HGET', meta, 'schema') or 0)
if schema == 0 and ARGV[5] ~= '' then
  schema = ${schemaVersion}
  redis.call('HSET', meta, 'schema', schema, 'id', ARGV[5])
end
local migrating = redis.call('HGET', meta, 'migrating')
if migrating and schema <= ${schemaVersion} then schema = tonumber(migrating) end
if schema ~= ${schemaVersion} then return { schema, '' } end
-- What crashed did not take leave. Who is alive comes back with another token.
if redis.call('HLEN', links) > 1000 then redis.call('DEL', links) end
redis.call('HSET', links, ARGV[3], ARGV[4])
return { schema, redis.call('HGET', meta, 'id') }
`
