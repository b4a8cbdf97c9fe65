/**
 * Brings waiting mail to one device: reads the account's inboxes in arrival order and sends
 * `deliver` frames as fast as the session takes them, never faster.
 *
 * A feed lives as long as its session and remembers how far it came; what the device has not
 * acknowledged is offered anew by the next session's feed.
 */
import { errorCode } from '../../crypto/errors.ts'
import type { DeliverFrame } from '../../protocol/frame/deliver.ts'
import type { BoxId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../../protocol/ports.ts'
import type { Log, MailboxStore } from '../ports.ts'
import type { Inboxes } from './inboxes.ts'

/** Leaves room for the frame around it within `limits.frameBytesMax`. */
const pageBytesMax = 160 * 1024
/** A store that could not be read is asked again after this. */
const retryMs = 5_000

export interface FeedDevice {
  readonly account: string
  readonly id: string
  /** Settles when the session has room again; rejects when it has ended. */
  send(frame: DeliverFrame): Promise<void>
}

export interface MailFeedComponents {
  readonly mailbox: MailboxStore
  readonly inboxes: Inboxes
  readonly clock: Clock
  readonly log: Log
}

export class MailFeed {
  readonly #components: MailFeedComponents
  readonly #device: FeedDevice
  readonly #positions = new Map<BoxId, number>()
  readonly #pending = new Set<BoxId>()
  #retry: Timer | undefined
  #running = false
  #stopped = false

  constructor(components: MailFeedComponents, device: FeedDevice) {
    this.#components = components
    this.#device = device
  }

  /** All inboxes of the account, from the beginning. */
  start(): void {
    for (const box of this.#components.inboxes.boxesOf(this.#device.account)) this.#pending.add(box)
    this.#kick()
  }

  /** There is new mail in this box. */
  wake(box: BoxId): void {
    this.#pending.add(box)
    this.#kick()
  }

  stop(): void {
    this.#stopped = true
    this.#retry?.cancel()
    this.#retry = undefined
  }

  #kick(): void {
    if (this.#running || this.#stopped || this.#retry !== undefined || this.#pending.size === 0) return
    this.#running = true
    void this.#run()
  }

  async #run(): Promise<void> {
    // Everything that arrives in the same tick shares a page.
    await Promise.resolve()
    for (const box of this.#pending) {
      if (this.#stopped) break
      this.#pending.delete(box)
      try {
        if (await this.#sendPage(box)) this.#pending.add(box)
      } catch (error) {
        this.#pending.add(box)
        this.#failed(error)
        break
      }
    }
    this.#running = false
    this.#kick()
  }

  #failed(error: unknown): void {
    if (this.#stopped) return
    const code = errorCode(error)
    if (code === 'STORE_CLOSED' || code?.startsWith('SESSION_') === true) {
      // Over: the next session starts from what is stored.
      this.stop()
      return
    }
    const { clock, log } = this.#components
    log.warn({ err: error, device: this.#device.id }, 'waiting mail could not be read')
    this.#retry = clock.after(retryMs, () => {
      this.#retry = undefined
      this.#kick()
    })
  }

  /** True when the box has more. */
  async #sendPage(box: BoxId): Promise<boolean> {
    const { mailbox, inboxes } = this.#components
    const after = this.#positions.get(box) ?? 0
    const page = { after, itemsMax: limits.depositItemsMax, bytesMax: pageBytesMax }
    const { entries, more } = await mailbox.list(box, page)
    const last = entries.at(-1)
    if (last === undefined) return false
    const left = await inboxes.unacknowledgedBy(this.#device, box, entries.map((entry) => entry.id))
    const envelopes = entries.filter((entry) => left.has(entry.id)).map((entry) => entry.body)
    if (envelopes.length > 0) await this.#device.send({ type: 'deliver', envelopes })
    this.#positions.set(box, last.position)
    return more
  }
}
