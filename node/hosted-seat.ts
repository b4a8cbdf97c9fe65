/**
 * The seat of the hosted account in a household: its client runs in exactly one process, which
 * holds the lease `account/ADDRESS`, and begins in another one seconds after that process is gone.
 * All that the client writes is fenced, so one that slept and wakes cannot spoil ratchets that its
 * successor has moved on; it is stopped as soon as its process notices.
 */
import type { Client } from '../protocol/client/client.ts'
import { errorCode, OpenIMError } from '../crypto/errors.ts'
import type { Clock, KvStore, Timer } from '../protocol/ports.ts'
import type { Household } from './household/household.ts'
import type { Lease } from './household/lease.ts'
import type { Log } from './ports.ts'

/** A client that could not be opened (the database was away) is tried again after this. */
const retryMs = 5_000

export interface HostedSeatComponents {
  readonly clock: Clock
  readonly household: Household
  /** Its corner of the store, which it may write to while `fence` lets it. */
  readonly corner: (fence: (kv: KvStore) => KvStore) => KvStore
  readonly log: Log
  /** Reads the account, or makes it; the client is not started (hosted-account.ts). */
  readonly open: (kv: KvStore) => Promise<Client>
}

export class HostedSeat {
  readonly #components: HostedSeatComponents
  readonly #lease: Lease
  #client: Client | undefined
  /** Comings and goings, one after the other. */
  #turn: Promise<void> = Promise.resolve()
  #retry: Timer | undefined
  #isStopped = false
  #failure: unknown
  #listener: ((client: Client) => void) | undefined

  constructor(components: HostedSeatComponents, options: { readonly address: string }) {
    this.#components = components
    this.#lease = components.household.lease(`account/${options.address}`, {
      held: () => this.#next(() => this.#sit()),
      lost: () => this.#next(() => this.#rise()),
    })
  }

  /** Told of each client that begins here, before it starts. Set once. */
  listen(listener: (client: Client) => void): void {
    this.#listener = listener
  }

  /**
   * Settles when it is known whether the account is hosted here, once the household has begun.
   * @throws ACCOUNT_RETIRED, ACCOUNT_CORRUPT
   */
  async begun(): Promise<void> {
    await this.#lease.step().catch(() => {})
    await this.#turn
    const code = errorCode(this.#failure)
    if (code?.startsWith('ACCOUNT_') === true) throw this.#failure
  }

  get isHere(): boolean {
    return this.#client !== undefined
  }

  /** @throws HOUSEHOLD_ELSEWHERE */
  get client(): Client {
    if (this.#client !== undefined) return this.#client
    const { holder } = this.#lease
    const message = holder === undefined
      ? 'no process of the household hosts the account yet; try again in a few seconds'
      : `the process with the node id ${holder} hosts the account; ask there`
    throw new OpenIMError('HOUSEHOLD_ELSEWHERE', message, { details: { holder: holder ?? '' } })
  }

  /** Gives the lease back when the client has stopped, so that the next one begins with all of it. */
  async stop(): Promise<void> {
    this.#retry?.cancel()
    this.#isStopped = true
    await this.#next(() => this.#rise())
    await this.#lease.stop()
    await this.#turn
  }

  async #sit(): Promise<void> {
    if (!this.#lease.isHeld || this.#client !== undefined || this.#isStopped) return
    const { corner, open } = this.#components
    const client = await open(corner((kv) => this.#lease.fenced(kv)))
    if (!this.#lease.isHeld) {
      await client.stop()
      return
    }
    this.#failure = undefined
    this.#client = client
    this.#listener?.(client)
    await client.start()
  }

  async #rise(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.stop()
  }

  #next(work: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(work).catch((error: unknown) => {
      const { log, clock } = this.#components
      this.#failure = error
      this.#retry?.cancel()
      if (!this.#isStopped) this.#retry = clock.after(retryMs, () => void this.#next(() => this.#sit()))
      log.warn({ err: error, code: errorCode(error) }, 'the hosted account could not be moved')
    })
    return this.#turn
  }
}
