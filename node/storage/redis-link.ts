/**
 * The connection to Redis: one at a time, made anew by itself, with an end to every wait.
 *
 * ```text
 *   dial ── settings checked ── token entered ──► up ── error, time-out ──► away ── pause ──► dial
 * ```
 *
 * Nothing is queued while Redis is away and nothing is sent twice: who asks hears STORE_AWAY, and
 * what was under way may have been done or not. So the driver's own queue and reconnecting are off;
 * with them a write could be done after its caller had given up.
 *
 * It could be done late all the same: a server that was frozen finds the old connection's bytes when
 * it wakes, maybe after it served the next connection. Therefore each connection enters a fresh
 * token for this process (`scripts.enter`), and writes under an older one are refused.
 *
 * Errors carry the first word of what Redis or the driver said, never the rest: Redis quotes the
 * arguments of a command it does not know, and AUTH may be one.
 */
import { hex } from '../../crypto/bytes.ts'
import { assert, errorCode, OpenIMError } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import { sleep, within } from '../../protocol/timers.ts'
import type { Log } from '../ports.ts'
import { driverReason, loadRedis, makeClient, pauseMs, replyWord } from './redis-client.ts'
import type { RedisAddress, RedisClient, RedisModule } from './redis-client.ts'
import { migrate, migrations, schemaVersion } from './redis-schema.ts'
import type { RedisScript } from './redis-schema.ts'
import { scripts } from './redis-scripts.ts'
import { awayError, readSettings, settingsError } from './redis-settings.ts'
import { isTlsRefusal, tlsError } from './tls-refusal.ts'

export interface RedisLinkComponents {
  /** Of waiting and trying again. */
  readonly paceClock: Clock
  readonly random: Random
  readonly log: Log
}

export interface RedisLinkOptions {
  readonly address: RedisAddress
  /** Before every key. */
  readonly prefix: string
  readonly allowNonDurable: boolean
}

export type RedisArgument = string | Buffer

/** Replies by which a server says that it cannot serve now, or not us. */
const awayWords: ReadonlySet<string> = new Set([
  'LOADING', 'BUSY', 'READONLY', 'MASTERDOWN', 'MISCONF', 'NOREPLICAS', 'NOAUTH', 'NOPERM',
  // Ours (redis-scripts.ts).
  'FENCED', 'SCHEMA',
])
/** Replies by which it says that this user is not right. */
const accessWords: ReadonlySet<string> = new Set(['WRONGPASS', 'NOAUTH', 'NOPERM', 'ERR'])

export class RedisLink {
  readonly #components: RedisLinkComponents
  readonly #options: RedisLinkOptions
  readonly #redis: RedisModule
  /** Names this process among those that share the database. */
  readonly process: string
  #client: RedisClient | undefined
  #token = ''
  /** Its id: a server that comes back empty or with other data is not taken for the one that went. */
  #database: string | undefined
  #undurable: readonly string[] = []
  /** Why it is away. */
  #reason = 'no connection yet'
  readonly #closing = new AbortController()

  private constructor(components: RedisLinkComponents, options: RedisLinkOptions, redis: RedisModule) {
    this.#components = components
    this.#options = options
    this.#redis = redis
    this.process = hex(components.random.bytes(8))
  }

  /**
   * Waits for a Redis that is loading: node and database often start together.
   * @throws STORE_DRIVER, STORE_AWAY, STORE_ACCESS, STORE_SETTINGS, STORE_NEWER
   */
  static async open(components: RedisLinkComponents, options: RedisLinkOptions): Promise<RedisLink> {
    const { paceClock, log } = components
    const link = new RedisLink(components, options, await loadRedis())
    const endMs = paceClock.monotonicMs() + limits.databaseLoadMs
    for (let tries = 0; ; tries++) {
      try {
        await link.#dial()
        return link
      } catch (error) {
        const { details } = error as OpenIMError
        if (details['isLoading'] !== true || paceClock.monotonicMs() >= endMs) throw error
        if (tries === 0) log.info({}, 'Redis is loading its data; waiting for it')
        await sleep(paceClock, pauseMs(components.random, tries))
      }
    }
  }

  get isUp(): boolean {
    return this.#client !== undefined
  }

  /** Why a power cut may take what was said to be stored; empty: it may not. */
  get undurable(): readonly string[] {
    return this.#undurable
  }

  /**
   * Runs a script; nothing of it was done when it settles with `'full'`: Redis is at its memory limit.
   * @throws STORE_AWAY, STORE_IO
   */
  async run(script: RedisScript, nowMs: number, args: readonly RedisArgument[]): Promise<unknown> {
    const client = this.#client
    if (client === undefined) throw awayError(this.#reason)
    try {
      return await this.#evaluate(client, script, { token: this.#token, nowMs, args })
    } catch (error) {
      const word = replyWord(error)
      if (word === 'OOM') return 'full'
      if (word !== undefined && !awayWords.has(word)) {
        throw new OpenIMError('STORE_IO', `Redis refused a script (${word}); see its log`)
      }
      this.#lose(client, word ?? driverReason(error))
      throw awayError(word ?? driverReason(error))
    }
  }

  /** A message to whoever listens on a channel, if Redis is there. @throws what the driver throws */
  async publish(channel: string, message: Buffer): Promise<void> {
    if (this.#client !== undefined) await this.#send(this.#client, ['PUBLISH', channel, message])
  }

  /** Waits for what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort()
    const client = this.#client
    this.#client = undefined
    this.#reason = 'closed'
    if (client === undefined) return
    await within(this.#components.paceClock, limits.databaseConnectMs, client.close().catch(() => {}))
    client.destroy()
  }

  async #evaluate(
    client: RedisClient,
    script: RedisScript,
    { token, nowMs, args }: { token: string, nowMs: number, args: readonly RedisArgument[] },
  ): Promise<unknown> {
    const rest = ['0', this.#options.prefix, String(nowMs), this.process, token, ...args]
    try {
      return await this.#send(client, ['EVALSHA', script.sha, ...rest])
    } catch (error) {
      // Redis forgets scripts at a restart, or when somebody says so. It has done nothing yet.
      if (replyWord(error) !== 'NOSCRIPT') throw error
      return await this.#send(client, ['EVAL', script.text, ...rest])
    }
  }

  async #send(client: RedisClient, args: readonly RedisArgument[]): Promise<unknown> {
    const limit = this.#components.paceClock.after(limits.databaseQueryMs, () => {
      this.#lose(client, `no answer in ${limits.databaseQueryMs} ms`)
      client.destroy()
    })
    try {
      const { BLOB_STRING } = this.#redis.RESP_TYPES
      // The driver's own limit covers only the time until a command is sent.
      return await client.sendCommand(args, { timeout: 0, typeMapping: { [BLOB_STRING]: Buffer } })
    } finally {
      limit.cancel()
    }
  }

  #lose(client: RedisClient, reason: string): void {
    if (this.#client !== client) return
    this.#client = undefined
    this.#reason = reason
    client.destroy()
    this.#components.log.warn({ code: 'STORE_AWAY' }, awayError(reason).message)
    void this.#return()
  }

  async #return(): Promise<void> {
    const { paceClock, random, log } = this.#components
    for (let tries = 0; !this.#closing.signal.aborted; tries++) {
      await sleep(paceClock, pauseMs(random, tries), this.#closing.signal)
      if (this.#closing.signal.aborted) return
      try {
        await this.#dial()
        log.info({}, 'Redis is back')
        return
      } catch (error) {
        const { code, message, details } = error as OpenIMError
        const reason = String(details['reason'] ?? message)
        // Once, and only what does not pass by itself.
        if (code !== 'STORE_AWAY' && reason !== this.#reason) log.error({ code }, message)
        this.#reason = reason
      }
    }
  }

  /** Up when it settles. */
  async #dial(): Promise<void> {
    const client = makeClient(this.#redis, this.#options.address)
    let reason = 'the connection was closed'
    client.on('error', (error: unknown) => {
      reason = replyWord(error) ?? driverReason(error)
      this.#lose(client, reason)
    })
    try {
      await this.#connect(client)
      const { undurable } = await readSettings({
        info: async () => String(await this.#send(client, ['INFO'])),
        config: async (names) => await this.#config(client, names),
      })
      if (undurable.length > 0 && !this.#options.allowNonDurable) throw settingsError(undurable.join('; '))
      const token = hex(this.#components.random.bytes(8))
      await this.#enter(client, token)
      if (this.#closing.signal.aborted || !client.isReady) throw awayError(reason)
      this.#client = client
      this.#token = token
      this.#undurable = undurable
    } catch (error) {
      client.destroy()
      throw error instanceof OpenIMError ? error : this.#dialError(error, reason)
    }
  }

  /** The driver's own limit ends when the socket is open: a frozen server still takes connections. */
  async #connect(client: RedisClient): Promise<void> {
    const limit = this.#components.paceClock.after(limits.databaseQueryMs, () => { client.destroy() })
    try {
      await client.connect()
    } finally {
      limit.cancel()
    }
  }

  async #enter(client: RedisClient, token: string): Promise<void> {
    const args = [this.#database === undefined ? hex(this.#components.random.bytes(16)) : '']
    const enter = async (): Promise<[number, Buffer]> =>
      await this.#evaluate(client, scripts.enter, { token, nowMs: 0, args }) as [number, Buffer]
    let [schema, id] = await enter()
    for (const migration of migrations) {
      if (migration.from !== schema) continue
      await migrate((script) => this.#evaluate(client, script, { token, nowMs: 0, args: [] }), migration)
      ;[schema, id] = await enter()
    }
    if (schema > schemaVersion) {
      throw new OpenIMError('STORE_NEWER',
        `the database has schema ${schema}, this openIM knows ${schemaVersion}; update openIM`)
    }
    assert(schema === 0 || schema === schemaVersion, `no migration from schema ${schema}`)
    this.#database ??= String(id)
    if (String(id) === this.#database) return
    throw new OpenIMError('STORE_CORRUPT', 'Redis came back without what it held; see its data folder, '
      + 'or stop this node and start it on the empty database')
  }

  #dialError(error: unknown, reason: string): OpenIMError {
    const word = replyWord(error)
    if (word === undefined) {
      const code = errorCode(error) ?? reason
      return isTlsRefusal(code) ? tlsError(code, error) : awayError(reason)
    }
    if (!accessWords.has(word)) return awayError(word)
    if ((error as Error).message.startsWith('ERR max number of clients')) return awayError('too many clients')
    const { user = 'default' } = this.#options.address
    return new OpenIMError('STORE_ACCESS', `Redis does not let the user ${user} in, or not do what it must `
      + `(${word}); see its ACL, the password and the number of the database`)
  }

  async #config(
    client: RedisClient,
    names: readonly string[],
  ): Promise<ReadonlyMap<string, string> | undefined> {
    try {
      const reply = await this.#send(client, ['CONFIG', 'GET', ...names]) as Buffer[]
      return new Map(names.map((name) => {
        const at = reply.findIndex((one, i) => i % 2 === 0 && String(one) === name)
        return [name, String(reply[at + 1])] as const
      }))
    } catch (error) {
      // Forbidden by ACL, or the command was renamed away.
      if (replyWord(error) === 'NOPERM' || replyWord(error) === 'ERR') return undefined
      throw error
    }
  }
}
