/**
 * Where a node sends a connection's packets: a device's address may change in the middle of it
 * (DESIGN §4, RFC 9000 §9). An authentic packet, newer than all others, from a new address makes
 * that address a candidate. It is sent a challenge and nothing else, and never more bytes than came
 * from it; the answer, from the same address, makes it the address. Until then everything goes to
 * the old one, so whoever sends copies of a device's packets from elsewhere moves nothing.
 *
 * ```text
 *   current ──newer packet from elsewhere──► candidate ──answer from there──► current
 *      ▲                                         │
 *      └── newer packet from current, or no answer to four challenges
 * ```
 */
import { equalBytes } from '../../../crypto/bytes.ts'
import type { Random } from '../../../crypto/random.ts'
import { limits } from '../../limits.ts'
import { challengeBytes } from './frames.ts'

/** Whatever the socket needs to send there; two are the same when their keys are. */
export interface UdpAddress {
  readonly key: string
}

const challengesMax = 4

interface Candidate<A> {
  readonly address: A
  readonly data: Uint8Array
  received: number
  sent: number
  challenges: number
  dueMs: number
}

export class PathKeeper<A extends UdpAddress> {
  readonly #random: Random
  #address: A
  #candidate: Candidate<A> | undefined

  constructor(random: Random, address: A) {
    this.#random = random
    this.#address = address
  }

  get address(): A {
    return this.#address
  }

  /** An authentic packet came. @param newest it has the highest counter so far */
  heard(from: A, packet: { newest: boolean, bytes: number }, nowMs: number): void {
    const candidate = this.#candidate
    if (from.key === this.#address.key) {
      if (packet.newest) this.#candidate = undefined
    } else if (candidate?.address.key === from.key) {
      candidate.received += packet.bytes
    } else if (packet.newest) {
      const data = this.#random.bytes(challengeBytes)
      const received = packet.bytes
      this.#candidate = { address: from, data, received, sent: 0, challenges: 0, dueMs: nowMs }
    }
  }

  /** When `takeChallenge` has something to say, budget permitting. */
  get deadlineMs(): number | undefined {
    const candidate = this.#candidate
    return candidate !== undefined && this.#affordable(candidate) ? candidate.dueMs : undefined
  }

  /** The challenge to send now, in a packet of `limits.udpPacketBytesMin` bytes. */
  takeChallenge(nowMs: number): { to: A, data: Uint8Array } | undefined {
    const candidate = this.#candidate
    if (candidate === undefined || candidate.dueMs > nowMs || !this.#affordable(candidate)) return undefined
    if (candidate.challenges === challengesMax) {
      this.#candidate = undefined
      return undefined
    }
    candidate.dueMs = nowMs + limits.udpRetryMs * 2 ** candidate.challenges
    candidate.challenges++
    candidate.sent += limits.udpPacketBytesMin
    return { to: candidate.address, data: candidate.data }
  }

  /** Whether this answer moves the connection. */
  answered(from: A, data: Uint8Array): boolean {
    const candidate = this.#candidate
    if (candidate === undefined || candidate.challenges === 0) return false
    if (candidate.address.key !== from.key || !equalBytes(candidate.data, data)) return false
    this.#address = candidate.address
    this.#candidate = undefined
    return true
  }

  #affordable({ received, sent }: Candidate<A>): boolean {
    return sent + limits.udpPacketBytesMin <= received
  }
}
