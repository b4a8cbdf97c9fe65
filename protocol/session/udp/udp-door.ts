/**
 * A node's end of all UDP links, sans I/O: every datagram of the door's sockets comes here, and all
 * that leaves goes out through `send` (DESIGN §4). It shakes hands as the node of the door key, finds
 * the connection of a packet by its id, and hands over proven links.
 *
 * ```text
 *   initiation ─► busy? ─ no ──────────────► Noise ─► response ─► first packet that authenticates
 *                  │ yes, no good cookie ▲             (kept 10 s)          │
 *                  ▼                     │                                  ▼
 *               cookie reply ──► said again with it                  connection, link
 *
 *   data ─► known id ─► connection               data ─► unknown id ─► reset
 * ```
 *
 * Addresses of datagrams can be forged, so until a device has answered from its address it is sent
 * at most one datagram, and a smaller one, for each that came; what the node keeps of it is bounded
 * by the tallies and ten seconds. When many handshakes are under way or many begin in a second, an
 * address must be proven with a cookie before the node computes anything. A handshake that failed
 * keeps its place for the ten seconds too: trying again and again is bounded like anything else.
 *
 * Resets are sent to addresses that may be forged as well: few a second, 25 bytes for at least 48.
 */
import { equalBytes, hex, utf8 } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import { NoiseHandshake } from '../../../crypto/noise.ts'
import type { DhKeyPair } from '../../../crypto/provider.ts'
import type { Random } from '../../../crypto/random.ts'
import { encode } from '../../codec/struct.ts'
import { limits } from '../../limits.ts'
import type { Clock, MessageLink, Timer } from '../../ports.ts'
import { TokenBucket } from '../../token-bucket.ts'
import { privateStreamLink } from '../stream-link.ts'
import { CookieJar } from './cookie-jar.ts'
import { UdpCounters } from './counters.ts'
import type { DropReason } from './counters.ts'
import {
  connectionIdBytes, connectionIdOf, cookieReplyCodec, decodeInitiation, isData, packetTypes, resetCodec,
  resetTokenBytes, responseCodec, responsePayloadCodec, udpPrologue,
} from './packets.ts'
import type { Initiation } from './packets.ts'
import type { UdpAddress } from './path-keeper.ts'
import { UdpConnection } from './udp-connection.ts'

/** Where a datagram came from. */
export interface DoorAddress extends UdpAddress {
  /** The household for bounds per address. */
  readonly group: string
}

/** A bound in all and per group; node/connectors/address-tally.ts is one. */
export interface Tally {
  enter(group: string): boolean
  leave(group: string): void
}

export interface UdpDoorComponents<A extends DoorAddress> {
  readonly clock: Clock
  readonly random: Random
  readonly doorKey: DhKeyPair
  readonly connections: Tally
  readonly handshakes: Tally
  send(datagram: Uint8Array, to: A): void
}

export interface UdpAccepted<A> {
  readonly link: MessageLink
  readonly deviceKey: Uint8Array
  readonly address: A
}

/** A handshake whose device has not shown that it got the response, or one that failed. */
interface Pending<A extends DoorAddress> {
  readonly key: string
  readonly group: string
  readonly noise: Uint8Array
  readonly response: Uint8Array
  readonly connection: UdpConnection<A> | undefined
  readonly expiry: Timer
}

interface Open<A extends DoorAddress> {
  readonly connection: UdpConnection<A>
  readonly group: string
  link: MessageLink | undefined
}

export class UdpDoor<A extends DoorAddress> {
  readonly counters = new UdpCounters()
  readonly #components: UdpDoorComponents<A>
  readonly #accept: (accepted: UdpAccepted<A>) => void
  readonly #cookies: CookieJar
  readonly #resetKey: Uint8Array
  readonly #beginnings: TokenBucket
  readonly #resets: TokenBucket
  /** By address and the device's connection id. */
  readonly #pending = new Map<string, Pending<A>>()
  /** By our connection id, those with a pending handshake included. */
  readonly #connections = new Map<string, Open<A>>()
  #idle = Promise.withResolvers<void>()
  #stopped = false

  constructor(components: UdpDoorComponents<A>, accept: (accepted: UdpAccepted<A>) => void) {
    this.#components = components
    this.#accept = accept
    this.#cookies = new CookieJar(components)
    const { clock, doorKey } = components
    // The same after a restart: that is when resets are needed.
    this.#resetKey = crypto.hkdf({
      secret: doorKey.exportSecret(), salt: new Uint8Array(0), info: utf8('openim udp reset v1'), length: 32,
    })
    this.#beginnings = new TokenBucket(clock, {
      perSecond: limits.udpHandshakesPerSecond, burst: limits.udpHandshakesPerSecond,
    })
    this.#resets = new TokenBucket(clock, {
      perSecond: limits.udpResetsPerSecond, burst: limits.udpResetsPerSecond,
    })
  }

  /** Proven links that are open. */
  get open(): number {
    return this.#connections.size - [...this.#pending.values()].filter((one) => one.connection).length
  }

  /** Handshakes under way, failed ones of the last seconds included. */
  get pending(): number {
    return this.#pending.size
  }

  /** One datagram, which is ours now. */
  receive(datagram: Uint8Array, from: A): void {
    this.counters.datagramsIn++
    this.counters.bytesIn += datagram.length
    const dropped = this.#take(datagram, from)
    if (dropped !== undefined) this.counters.dropped[dropped]++
  }

  /** Closes every link in good order; settles when all are gone. */
  async stop(): Promise<void> {
    this.#stopped = true
    for (const pending of [...this.#pending.values()]) this.#forget(pending)
    if (this.#connections.size === 0) return
    for (const { link } of this.#connections.values()) link?.close('CONNECTOR_STOPPED')
    await this.#idle.promise
  }

  #take(datagram: Uint8Array, from: A): DropReason | undefined {
    if (isData(datagram)) return this.#takeData(datagram, from)
    if (datagram[0] !== packetTypes.initiation) return 'shape'
    this.counters.unprovenBytesIn += datagram.length
    const decoded = decodeInitiation(datagram)
    return decoded.ok ? this.#takeInitiation(decoded.value, from) : 'initiation'
  }

  // ── Data ──────────────────────────────────────────────────────────────────────────────────

  #takeData(datagram: Uint8Array, from: A): DropReason | undefined {
    const id = connectionIdOf(datagram)
    const known = this.#connections.get(hex(id))
    if (known !== undefined) return known.connection.receive(datagram, from)
    if (!this.#stopped && this.#resets.take(1)) {
      this.counters.resets++
      this.counters.unprovenBytesIn += datagram.length
      this.#sendUnproven(encode(resetCodec, { type: 5, nodeId: id, token: this.#resetToken(id) }), from)
    }
    return 'unknown'
  }

  #resetToken(id: Uint8Array): Uint8Array {
    return crypto.hmacSha256(this.#resetKey, id).slice(0, resetTokenBytes)
  }

  // ── Handshakes ────────────────────────────────────────────────────────────────────────────

  #takeInitiation(initiation: Initiation, from: A): DropReason | undefined {
    if (this.#stopped) return 'bound'
    const { deviceId, noise, cookie } = initiation
    const key = `${from.key} ${hex(deviceId)}`
    const known = this.#pending.get(key)
    if (known !== undefined) return this.#repeat(known, noise, from)
    if (this.#isBusy && !this.#cookies.isGood(cookie, from.key, deviceId)) {
      this.counters.cookies++
      const fresh = this.#cookies.bake(from.key, deviceId)
      this.#sendUnproven(encode(cookieReplyCodec, { type: 3, deviceId, cookie: fresh }), from)
      return undefined
    }
    const { connections, handshakes } = this.#components
    if (!connections.enter(from.group)) return 'bound'
    if (!handshakes.enter(from.group)) {
      connections.leave(from.group)
      return 'bound'
    }
    return this.#answer(initiation, key, from)
  }

  /** Said again because our response is late or lost: the same answer costs nothing. */
  #repeat(known: Pending<A>, noise: Uint8Array, from: A): DropReason | undefined {
    if (known.response.length === 0 || !equalBytes(known.noise, noise)) return 'initiation'
    this.#sendUnproven(known.response, from)
    return undefined
  }

  get #isBusy(): boolean {
    return this.#pending.size >= limits.udpCookieHandshakes || !this.#beginnings.take(1)
  }

  #answer({ deviceId, noise }: Initiation, key: string, from: A): DropReason | undefined {
    const { clock, random, doorKey } = this.#components
    const handshake = new NoiseHandshake({
      pattern: 'IK', role: 'responder', prologue: udpPrologue(deviceId), own: doorKey, random,
    })
    const read = handshake.read(noise)
    const isEmpty = read.ok && read.value.length === 0
    const base = { key, group: from.group, noise: noise.slice() }
    if (!isEmpty) {
      const expiry = clock.after(limits.handshakeMs, () => this.#forget(this.#pending.get(key)))
      this.#pending.set(key, { ...base, response: new Uint8Array(0), connection: undefined, expiry })
      return 'initiation'
    }
    const nodeId = this.#freshId()
    const payload = encode(responsePayloadCodec, { nodeId, resetToken: this.#resetToken(nodeId) })
    const response = encode(responseCodec, { type: 2, deviceId, noise: handshake.write(payload) })
    const { send, receive } = handshake.split()
    const deviceKey = handshake.remoteStaticKey!
    const id = hex(nodeId)
    const open: Open<A> = {
      group: from.group,
      link: undefined,
      connection: new UdpConnection({ clock, random, counters: this.counters }, {
        role: 'node', keys: { send, receive }, peerId: deviceId.slice(), address: from,
      }, {
        send: (datagram, to) => this.#send(datagram, to),
        confirmed: () => this.#confirmed(key, { open, deviceKey, address: from }),
        stuck: () => {},
        gone: () => this.#gone(id),
      }),
    }
    this.#connections.set(id, open)
    const expiry = clock.after(limits.handshakeMs, () => this.#forget(this.#pending.get(key)))
    this.#pending.set(key, { ...base, response, connection: open.connection, expiry })
    this.#sendUnproven(response, from)
    return undefined
  }

  #freshId(): Uint8Array {
    for (;;) {
      const id = this.#components.random.bytes(connectionIdBytes)
      if (!this.#connections.has(hex(id))) return id
    }
  }

  /** The device got the response, so it has the key and is at its address. */
  #confirmed(key: string, proven: { open: Open<A>, deviceKey: Uint8Array, address: A }): void {
    const { open, deviceKey, address } = proven
    const pending = this.#pending.get(key)!
    pending.expiry.cancel()
    this.#pending.delete(key)
    this.#components.handshakes.leave(pending.group)
    this.counters.handshakes++
    const { clock } = this.#components
    open.link = privateStreamLink({ clock, bytes: open.connection }, { transport: 'udp' })
    this.#accept({ link: open.link, deviceKey, address })
  }

  /** A handshake that came to nothing. */
  #forget(pending: Pending<A> | undefined): void {
    if (pending === undefined) return
    pending.expiry.cancel()
    this.#pending.delete(pending.key)
    this.#components.handshakes.leave(pending.group)
    if (pending.connection === undefined) this.#components.connections.leave(pending.group)
    else pending.connection.destroy()
  }

  #gone(id: string): void {
    const open = this.#connections.get(id)!
    this.#connections.delete(id)
    this.#components.connections.leave(open.group)
    if (this.#connections.size === 0 && this.#stopped) this.#idle.resolve()
  }

  // ── Out ───────────────────────────────────────────────────────────────────────────────────

  #send(datagram: Uint8Array, to: A): void {
    this.counters.datagramsOut++
    this.counters.bytesOut += datagram.length
    this.#components.send(datagram, to)
  }

  #sendUnproven(datagram: Uint8Array, to: A): void {
    this.counters.unprovenBytesOut += datagram.length
    this.#send(datagram, to)
  }
}
