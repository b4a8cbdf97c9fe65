/**
 * Hints between processes by PUBLISH and SUBSCRIBE: short messages to all who listen on one channel,
 * ourselves too. Redis keeps none of them; whoever is not connected misses them.
 *
 * Listening takes a connection of its own, made when the first asks for it, made anew while
 * somebody does, gone with the last.
 */
import { limits } from '../../protocol/limits.ts'
import { sleep } from '../../protocol/timers.ts'
import type { StoreHints } from '../ports.ts'
import { driverReason, loadRedis, makeClient, pauseMs, replyWord } from './redis-client.ts'
import type { RedisAddress, RedisClient } from './redis-client.ts'
import type { RedisLink, RedisLinkComponents } from './redis-link.ts'
import { bytesOf } from './redis-values.ts'

/** Messages on their way; more are lost, for the next will come soon. */
const sendingMax = 256

type Listener = (message: Uint8Array) => void

export class RedisHints implements StoreHints {
  readonly #components: RedisLinkComponents & { readonly link: RedisLink }
  readonly #address: RedisAddress
  readonly #channel: string
  readonly #listeners = new Set<Listener>()
  #sending = 0
  /** Of the connection that listens; aborted with the last listener. */
  #listening: AbortController | undefined
  #isForbidden = false
  #isClosed = false

  constructor(
    components: RedisLinkComponents & { readonly link: RedisLink },
    { address, prefix }: { readonly address: RedisAddress, readonly prefix: string },
  ) {
    this.#components = components
    this.#address = address
    // Channels are the server's, not the database's.
    this.#channel = `${prefix}hints:${address.database ?? 0}`
  }

  publish(message: Uint8Array): void {
    if (message.length > limits.storeHintBytesMax || this.#sending >= sendingMax) return
    this.#sending++
    this.#components.link.publish(this.#channel, bytesOf(message.slice()))
      .catch((error: unknown) => { this.#complain(error) })
      .finally(() => { this.#sending-- })
  }

  listen(listener: Listener): () => void {
    // Of its own, so that one function may listen twice.
    const own: Listener = (message) => { listener(message) }
    this.#listeners.add(own)
    if (this.#listening === undefined && !this.#isClosed) {
      this.#listening = new AbortController()
      void this.#hear(this.#listening.signal)
    }
    return () => {
      this.#listeners.delete(own)
      if (this.#listeners.size === 0) this.#stop()
    }
  }

  /** With the store: nobody hears anything from now on. */
  close(): void {
    this.#isClosed = true
    this.#stop()
  }

  #stop(): void {
    this.#listeners.clear()
    this.#listening?.abort()
    this.#listening = undefined
  }

  async #hear(signal: AbortSignal): Promise<void> {
    const { paceClock, random } = this.#components
    for (let tries = 0; !signal.aborted; tries++) {
      try {
        await this.#hearOnce(signal, () => { tries = 0 })
      } catch (error) {
        this.#complain(error)
      }
      await sleep(paceClock, pauseMs(random, tries), signal)
    }
  }

  /** Settles when the connection ends. */
  async #hearOnce(signal: AbortSignal, connected: () => void): Promise<void> {
    const client = makeClient(await loadRedis(), this.#address)
    const ended = new Promise<void>((resolve) => {
      client.on('error', () => { resolve() })
      client.on('end', () => { resolve() })
      signal.addEventListener('abort', () => { resolve() })
    })
    try {
      await Promise.race([this.#subscribe(client, connected), ended])
      if (!signal.aborted) await ended
    } finally {
      client.destroy()
    }
  }

  async #subscribe(client: RedisClient, connected: () => void): Promise<void> {
    await client.connect()
    await client.subscribe(this.#channel, (message: Buffer) => {
      if (message.length > limits.storeHintBytesMax) return
      for (const listener of this.#listeners) listener(new Uint8Array(message))
    }, true)
    connected()
  }

  /** Once: whoever has no right to it goes on without. */
  #complain(error: unknown): void {
    const word = replyWord(error)
    if (word !== 'NOPERM' || this.#isForbidden) return
    this.#isForbidden = true
    this.#components.log.warn({ code: 'STORE_ACCESS' },
      `Redis does not allow hints (${word ?? driverReason(error)}); mail is found later without them`)
  }
}
