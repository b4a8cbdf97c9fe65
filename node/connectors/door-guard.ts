/**
 * Who may come in at a door for devices, and what became of them. Strangers can reach a door, so
 * until a device has proven its key it costs one connection and one handshake, in bounded numbers,
 * rate and time; what is over a bound is closed without an answer, for an answer would be work, too.
 *
 * ```text
 *   connection ──admit──► Visit ──handshake──► proven link ──► accept
 *        │ over a bound     │ 10 s without a proven device
 *        ▼                  ▼
 *      closed             closed
 * ```
 *
 * A reverse proxy brings everybody from one address: trusted ones are not counted per address.
 * Alternative weighed: believing `X-Forwarded-For`. Refused: it is a header that only HTTP has, and
 * a proxy that does not set it would hand strangers a way to choose their address.
 */
import type { DhKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, MessageLink, Timer } from '../../protocol/ports.ts'
import type { ByteTransport } from '../../protocol/session/byte-transport.ts'
import type { NoiseChannelOptions } from '../../protocol/session/noise-channel.ts'
import { openStreamLink } from '../../protocol/session/stream-link.ts'
import { TokenBucket } from '../../protocol/token-bucket.ts'
import type { AcceptedLink, Log } from '../ports.ts'
import { addressGroup, AddressTally } from './address-tally.ts'

export interface DoorComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** X25519; devices know its public half from the invite or a pin. */
  readonly doorKey: DhKeyPair
}

/** What a door did since it opened, and what it holds now. */
export interface DoorCounters {
  readonly accepted: number
  /** Over a bound of connections, of handshakes under way, of the rate. */
  readonly refusedConnections: number
  readonly refusedHandshakes: number
  readonly refusedRate: number
  readonly handshakesFailed: number
  /** Closed because they broke a rule of their transport: floods, oversize, text. */
  readonly abused: number
  readonly proven: number
  readonly open: number
}

/** One connection that was let in; each is left once. */
export interface Visit {
  readonly group: string
  readonly isTrusted: boolean
  /** For people: `192.0.2.7:51234`. */
  readonly remote: string
  /** A device has proven its key: the deadline is off. */
  proven(): void
  leave(): void
}

export type Accept = (accepted: AcceptedLink) => void

export class DoorGuard {
  readonly #components: DoorComponents
  readonly #transport: string
  readonly #trusted: ReadonlySet<string>
  readonly #connections = new AddressTally(limits.connectionsMax, limits.connectionsPerAddressMax)
  readonly #handshakes = new AddressTally(limits.handshakesMax, limits.handshakesPerAddressMax)
  readonly #rate: TokenBucket
  /** The least recently seen go first. */
  readonly #rates = new Map<string, TokenBucket>()
  readonly #links = new Set<MessageLink>()
  readonly #counts = {
    accepted: 0, refusedConnections: 0, refusedHandshakes: 0, refusedRate: 0,
    handshakesFailed: 0, abused: 0, proven: 0,
  }

  constructor(
    components: DoorComponents,
    options: { transport: string, trustedProxies?: readonly string[] },
  ) {
    this.#components = components
    this.#transport = options.transport
    this.#trusted = new Set((options.trustedProxies ?? []).map(addressGroup))
    this.#rate = new TokenBucket(components.clock, {
      perSecond: limits.connectsPerSecond, burst: limits.connectsBurst,
    })
  }

  get counters(): DoorCounters {
    return { ...this.#counts, open: this.#links.size }
  }

  /** `undefined`: close it. `late` runs when no device was proven in time. */
  admit(
    from: { address: string | undefined, port?: number | undefined },
    late: () => void,
  ): Visit | undefined {
    const { address } = from
    const group = address === undefined ? undefined : addressGroup(address)
    if (group === undefined) return this.#refuse(address, 'refusedConnections')
    const isTrusted = this.#trusted.has(group)
    if (!this.#withinRate(group, isTrusted)) return this.#refuse(address, 'refusedRate')
    if (!this.#connections.enter(group, isTrusted)) return this.#refuse(address, 'refusedConnections')
    this.#counts.accepted++
    const deadline = this.#components.clock.after(limits.handshakeMs, late)
    return this.#visit({ group, isTrusted, remote: `${address}:${from.port ?? 0}`, deadline })
  }

  /**
   * Shakes hands over a fresh transport and hands the link on. Settles when that is decided: true
   * when a device was proven. One connection may carry many (HTTP/2).
   */
  async shakeHands(
    visit: Visit,
    stream: { bytes: ByteTransport, framing: NoiseChannelOptions['framing'] },
    accept: Accept,
  ): Promise<boolean> {
    const { clock, random, doorKey, log } = this.#components
    if (!this.#handshakes.enter(visit.group, visit.isTrusted)) {
      this.#refuse(visit.remote, 'refusedHandshakes')
      stream.bytes.destroy()
      return false
    }
    const { bytes, framing } = stream
    let link: MessageLink | undefined
    const opened = await openStreamLink({ clock, bytes }, {
      transport: this.#transport, framing, own: doorKey, random,
      gone: () => { if (link !== undefined) this.#links.delete(link) },
    })
    this.#handshakes.leave(visit.group)
    if (!opened.ok) {
      this.#counts.handshakesFailed++
      log.debug({ remote: visit.remote, code: opened.code }, 'device handshake failed')
      return false
    }
    link = opened.value.link
    this.#counts.proven++
    this.#links.add(link)
    visit.proven()
    accept({ link, deviceKey: opened.value.peerKey, remote: visit.remote })
    return true
  }

  /** Somebody broke a rule of the transport and is being closed. */
  abuse(remote: string, what: string): void {
    this.#counts.abused++
    this.#components.log.debug({ remote, what }, 'connection closed for abuse')
  }

  /** Every open link, orderly. */
  closeLinks(): void {
    for (const link of this.#links) link.close('CONNECTOR_STOPPED')
  }

  #visit(known: { group: string, isTrusted: boolean, remote: string, deadline: Timer }): Visit {
    const { group, isTrusted, remote, deadline } = known
    let isLeft = false
    return {
      group,
      isTrusted,
      remote,
      proven: () => deadline.cancel(),
      leave: () => {
        if (isLeft) return
        isLeft = true
        deadline.cancel()
        this.#connections.leave(group)
      },
    }
  }

  #withinRate(group: string, isTrusted: boolean): boolean {
    if (!isTrusted && !this.#rateOf(group).take(1)) return false
    return this.#rate.take(1)
  }

  #rateOf(group: string): TokenBucket {
    const bucket = this.#rates.get(group) ?? new TokenBucket(this.#components.clock, {
      perSecond: limits.connectsPerAddressPerSecond, burst: limits.connectsPerAddressBurst,
    })
    this.#rates.delete(group)
    this.#rates.set(group, bucket)
    if (this.#rates.size > limits.connectRatesMax) this.#rates.delete(this.#rates.keys().next().value!)
    return bucket
  }

  #refuse(remote: string | undefined, count: keyof DoorGuard['counters'] & `refused${string}`): undefined {
    this.#counts[count]++
    this.#components.log.debug({ remote, count }, 'connection over a bound closed')
  }
}
