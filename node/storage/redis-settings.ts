/**
 * What a Redis must be set to before it may hold mail, asked for at every connection, because a
 * server may come back with other settings than it went with.
 *
 * | setting                         | must be      | else                                              |
 * |---------------------------------|--------------|---------------------------------------------------|
 * | `appendonly`                    | `yes`        | a restart loses what came after the last snapshot |
 * | `appendfsync`                   | `always`     | a power cut takes up to two seconds               |
 * | `no-appendfsync-on-rewrite`     | `no`         | the same, while the log is rewritten              |
 * | `maxmemory-policy`              | `noeviction` | mail is thrown away when memory runs short        |
 * | version                         | 7 or later   | scripts cannot say what they may do               |
 * | cluster                         | off          | scripts reach one node's keys only                |
 * | role                            | master       | nothing can be written                            |
 *
 * The first four make a store that says "stored" and means it; `allowNonDurable` does without, and
 * says so in `health()`. Where `CONFIG GET` is not allowed to us, `INFO` says too little to vouch.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { ErrorDetails } from '../../crypto/errors.ts'

/** Asks the server; undefined: it does not allow the question. */
export interface SettingsQuestions {
  info(): Promise<string>
  config(names: readonly string[]): Promise<ReadonlyMap<string, string> | undefined>
}

export interface ServerSettings {
  /** Why what it says to be stored may be lost all the same, in words; empty: it is durable. */
  readonly undurable: readonly string[]
}

const wanted = [
  ['appendonly', 'yes'],
  ['appendfsync', 'always'],
  ['no-appendfsync-on-rewrite', 'no'],
  ['maxmemory-policy', 'noeviction'],
] as const
const versionMin = 7

/** @throws STORE_AWAY while it loads or is a replica, STORE_SETTINGS for what can never work */
export async function readSettings(ask: SettingsQuestions): Promise<ServerSettings> {
  const info = new Map((await ask.info()).split('\r\n').map((line) => {
    const at = line.indexOf(':')
    return [line.slice(0, at), line.slice(at + 1)] as const
  }))
  const version = info.get('redis_version') ?? '0'
  if (Number.parseInt(version, 10) < versionMin) {
    throw settingsError(`Redis ${version} is too old; version ${versionMin} or later is needed`)
  }
  if (info.get('cluster_enabled') === '1') {
    throw settingsError('this is a Redis cluster; openIM needs a single server')
  }
  if (info.get('loading') === '1') throw awayError('it is still loading its data', { isLoading: true })
  if (info.get('role') !== 'master') throw awayError('it is a replica, which takes no writes')
  return { undurable: await findUndurable(info, ask) }
}

async function findUndurable(info: ReadonlyMap<string, string>, ask: SettingsQuestions): Promise<string[]> {
  const config = await ask.config(wanted.map(([name]) => name))
  if (config !== undefined) {
    return wanted.flatMap(([name, value]) => {
      const found = config.get(name)
      return found === value ? [] : [`${name} is ${found ?? 'unknown'} and must be ${value}`]
    })
  }
  const policy = info.get('maxmemory_policy')
  return [
    ...info.get('aof_enabled') === '1' ? [] : ['appendonly is no and must be yes'],
    ...policy === 'noeviction' ? [] : [`maxmemory-policy is ${policy} and must be noeviction`],
    'appendfsync cannot be seen: allow this user CONFIG GET (ACL: +config|get)',
  ]
}

export function settingsError(reason: string): OpenIMError {
  return new OpenIMError('STORE_SETTINGS', `Redis may not hold mail: ${reason}`)
}

/** @param reason who or what is to blame, without anything that came with the request */
export function awayError(reason: string, details: ErrorDetails = {}): OpenIMError {
  const message = `Redis does not answer (${reason}); see that it runs, the node goes on by itself`
  return new OpenIMError('STORE_AWAY', message, { details: { reason, ...details } })
}
