/**
 * The location database as the rest of the node sees it: publish the records of our accounts,
 * find those of others (DESIGN §5). Three small parts share the work: holder, publisher, resolver.
 */
import { errorCode } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import type { Clock, KvStore } from '../../protocol/ports.ts'
import type { Courier, Log, Overlay } from '../ports.ts'
import { LocationHolder } from './location-holder.ts'
import { LocationPublisher } from './location-publisher.ts'
import { LocationResolver } from './location-resolver.ts'

/** The hint is tried before the look-up, so it must not cost much when it is stale. */
const hintTimeoutMs = 3_000

export interface LocationDBComponents {
  readonly overlay: Overlay
  readonly courier: Courier
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

export class LocationDB {
  readonly #components: LocationDBComponents
  readonly #holder: LocationHolder
  readonly #publisher: LocationPublisher
  readonly #resolver: LocationResolver

  constructor(components: LocationDBComponents) {
    this.#components = components
    this.#holder = new LocationHolder(components)
    this.#publisher = new LocationPublisher({ ...components, holder: this.#holder })
    this.#resolver = new LocationResolver({ ...components, holder: this.#holder })
  }

  /** Reads what is stored; before the overlay takes calls, or an old record could pass for news. */
  async load(): Promise<void> {
    await this.#holder.load()
    await this.#publisher.load()
  }

  /** Begins to publish; call when the overlay runs. */
  start(): void {
    this.#publisher.start()
  }

  async stop(): Promise<void> {
    await this.#publisher.stop()
  }

  /** Fewest nodes that keep one of `records`; they are carried on until they lapse. */
  publish(records: readonly Uint8Array[]): Promise<number> {
    return this.#publisher.publish(records)
  }

  /**
   * The newest record under the first key that has one.
   *
   * @param hint multiaddr from an invite, dialled first so that a node that knows nobody yet can
   *   meet somebody; or empty
   */
  async locate(blindedKeys: readonly Uint8Array[], hint = ''): Promise<Uint8Array[]> {
    if (hint !== '') await this.#meet(hint)
    for (const key of blindedKeys) {
      const record = await this.#resolver.find(key)
      // The keys are the same person's, of neighbouring days, best guess first.
      if (record !== undefined) return [record]
    }
    return []
  }

  async #meet(hint: string): Promise<void> {
    const { overlay, log } = this.#components
    try {
      await overlay.dial(hint, { timeoutMs: hintTimeoutMs })
    } catch (error) {
      log.debug({ code: errorCode(error) }, 'the hint of an invite does not answer')
    }
  }

  get holders(): number {
    return this.#publisher.holders
  }

  get held(): number {
    return this.#holder.size
  }

  /** More nodes became known: records that lack holders may find them. */
  onDirectoryGrew(): void {
    this.#publisher.soon()
  }
}
