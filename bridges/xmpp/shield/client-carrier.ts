/**
 * Carries batches as messages of an openIM account (protocol/client/api.ts) that nobody else uses: each
 * is a text, the account's history is what came and is not handled yet, and a durable cursor for each
 * contact says how far it is. So a message is durable here before its sender is told `delivered`, and
 * comes again after a crash until its handler settled.
 */
import type { ClientApi, ClientEvent } from '../../../protocol/client/api.ts'
import { errorCode } from '../../../crypto/errors.ts'
import { formatAddress } from '../../../protocol/address.ts'
import type { MessageId } from '../../../protocol/ids.ts'
import { parseInvite } from '../../../protocol/invite.ts'
import type { Clock, Timer } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { Carrier, CarrierListener, PeerState } from './carrier.ts'

const pageEntries = 50

interface Follow {
  isDue: boolean
  running: Promise<void> | undefined
  retry: Timer | undefined
}

export class ClientCarrier implements Carrier {
  readonly address: string
  readonly #client: ClientApi
  readonly #clock: Clock
  readonly #log: { info(facts: object, message: string): void }
  readonly #follows = new Map<string, Follow>()
  #listener: CarrierListener | undefined
  #unsubscribe: (() => void) | undefined

  constructor({ client, clock, log }: {
    readonly client: ClientApi, readonly clock: Clock,
    readonly log: { info(facts: object, message: string): void },
  }, address: string) {
    this.address = address
    this.#client = client
    this.#clock = clock
    this.#log = log
  }

  async start(listener: CarrierListener): Promise<void> {
    this.#listener = listener
    this.#unsubscribe = this.#client.on((event) => this.#event(event))
    for (const { address } of await this.#client.contacts()) this.#look(address)
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    this.#listener = undefined
    for (const { retry } of this.#follows.values()) retry?.cancel()
    await Promise.all([...this.#follows.values()].map(({ running }) => running))
  }

  async invite(): Promise<string> {
    const { uri } = await this.#client.invite({ expiresInMs: xmppLimits.shieldInviteMs })
    return uri
  }

  inviter(invite: string): string | undefined {
    const read = parseInvite(invite, this.#clock.now())
    return read.ok ? formatAddress(read.value.rootKey) : undefined
  }

  async add(invite: string): Promise<void> {
    try {
      await this.#client.add(invite)
    } catch (error) {
      if (errorCode(error) !== 'CONTACT_EXISTS') throw error
    }
  }

  async state(address: string): Promise<PeerState> {
    try {
      const { trust, state } = await this.#client.contact(address)
      return trust === 'changed' ? 'doubt' : state
    } catch (error) {
      if (errorCode(error) === 'CONTACT_UNKNOWN') return 'unknown'
      throw error
    }
  }

  async remove(address: string): Promise<void> {
    try {
      await this.#client.remove(address)
    } catch (error) {
      if (errorCode(error) !== 'CONTACT_UNKNOWN') throw error
    }
  }

  async send(address: string, text: string): Promise<MessageId> {
    return (await this.#client.send(address, text)).id
  }

  async outcome(id: MessageId): Promise<'waiting' | 'delivered' | 'failed' | 'unknown'> {
    const status = await this.#client.status(id)
    if (status === undefined) return 'unknown'
    if (status.state === 'failed') return 'failed'
    return status.state === 'delivered' || status.state === 'read' ? 'delivered' : 'waiting'
  }

  #event(event: ClientEvent): void {
    if (event.type === 'status') {
      const { id, state } = event.status
      if (state === 'delivered' || state === 'read') this.#listener?.delivered(id)
      else if (state === 'failed') this.#listener?.failed(id)
    } else if (event.type === 'contact') {
      this.#listener?.changed(event.contact.address)
      this.#look(event.contact.address)
    } else if (event.type === 'trust') {
      this.#addressed(event.contact, (address) => this.#listener?.changed(address))
    } else if (event.type === 'message' && event.entry.direction === 'in') {
      this.#addressed(event.entry.contact, (address) => this.#look(address))
    }
  }

  /** Events name contacts as people do. One that is gone meanwhile is nobody's concern. */
  #addressed(name: string, then: (address: string) => void): void {
    void this.#client.contact(name).then(({ address }) => then(address), () => {})
  }

  #look(address: string): void {
    const follow = this.#follows.get(address) ?? { isDue: false, running: undefined, retry: undefined }
    this.#follows.set(address, follow)
    follow.isDue = true
    follow.retry?.cancel()
    follow.retry = undefined
    follow.running ??= this.#read(address, follow).catch((error: unknown) => {
      this.#log.info({ address, err: error }, 'a sealed batch could not be taken yet')
      if (this.#listener === undefined) return
      follow.retry = this.#clock.after(xmppLimits.shieldRetryMs, () => this.#look(address))
    }).finally(() => {
      follow.running = undefined
      // Something came between its last look and its end.
      if (follow.isDue && follow.retry === undefined) this.#look(address)
    })
  }

  async #read(address: string, follow: Follow): Promise<void> {
    while (follow.isDue && this.#listener !== undefined) {
      follow.isDue = false
      for (;;) {
        const after = await this.#client.cursor(address)
        const entries = await this.#client.history({
          after, contact: address, direction: 'in', limit: pageEntries,
        })
        if (entries.length === 0) break
        for (const { text, unreadable, file } of entries) {
          // Without a listener it comes again at the next start.
          if (this.#listener === undefined) return
          const isText = unreadable === undefined && file === undefined
          if (isText) await this.#listener.received(address, text)
        }
        await this.#client.setCursor(address, entries.at(-1)!.cursor)
      }
    }
  }
}
