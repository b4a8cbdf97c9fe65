/**
 * UDP doors and devices over a bad network in virtual time: datagrams are lost, doubled, delayed,
 * overtake each other, wait in a queue that is too short, and devices change their address. One
 * seed, one run.
 */
import { crypto } from '../../crypto/index.ts'
import { utf8 } from '../../crypto/bytes.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { randomFraction } from '../../crypto/random.ts'
import type { Result } from '../../crypto/errors.ts'
import type { MessageLink } from '../../protocol/ports.ts'
import { UdpDevice } from '../../protocol/session/udp/udp-device.ts'
import { UdpDoor } from '../../protocol/session/udp/udp-door.ts'
import type { DoorAddress, Tally, UdpAccepted } from '../../protocol/session/udp/udp-door.ts'
import { seededRandom } from './seeded-random.ts'
import { VirtualClock } from './virtual-clock.ts'

export interface PathOptions {
  readonly delayMs?: number
  /** Added by chance, so that datagrams overtake each other. */
  readonly jitterMs?: number
  readonly lossRate?: number
  readonly duplicateRate?: number
  /** What the path carries, and what waits for it; the rest is dropped. */
  readonly bytesPerMs?: number
  readonly queueBytes?: number
}

/** One direction. */
export class Path {
  readonly #clock: VirtualClock
  readonly #random: Random
  readonly #options: PathOptions
  #freeAtMs = 0
  datagrams = 0
  bytes = 0
  lost = 0
  /** Of the queue. */
  overflowed = 0

  constructor(clock: VirtualClock, random: Random, options: PathOptions) {
    this.#clock = clock
    this.#random = random
    this.#options = options
  }

  carry(datagram: Uint8Array, deliver: (datagram: Uint8Array) => void): void {
    const { delayMs = 0, jitterMs = 0, lossRate = 0, duplicateRate = 0 } = this.#options
    const { bytesPerMs, queueBytes = 64_000 } = this.#options
    this.datagrams++
    this.bytes += datagram.length
    let queuedMs = 0
    if (bytesPerMs !== undefined) {
      const nowMs = this.#clock.monotonicMs()
      const freeAtMs = Math.max(this.#freeAtMs, nowMs)
      if ((freeAtMs - nowMs) * bytesPerMs > queueBytes) {
        this.overflowed++
        return
      }
      this.#freeAtMs = freeAtMs + datagram.length / bytesPerMs
      queuedMs = this.#freeAtMs - nowMs
    }
    if (randomFraction(this.#random) < lossRate) {
      this.lost++
      return
    }
    const copies = randomFraction(this.#random) < duplicateRate ? 2 : 1
    for (let i = 0; i < copies; i++) {
      const copy = datagram.slice()
      this.#clock.after(queuedMs + delayMs + jitterMs * randomFraction(this.#random), () => deliver(copy))
    }
  }
}

export function udpAddress(text: string): DoorAddress {
  return { key: text, group: text.split(':')[0]! }
}

export function udpKeys(name: string): DhKeyPair {
  return crypto.dhKeyPair(crypto.sha256(utf8(name)))
}

/** Counts, and lets everybody in. */
export class OpenTally implements Tally {
  entered = 0
  most = 0

  enter(): boolean {
    this.most = Math.max(this.most, ++this.entered)
    return true
  }

  leave(): void {
    this.entered--
  }
}

/** A door whose datagrams go wherever the test says. */
export class WorldDoor {
  readonly door: UdpDoor<DoorAddress>
  readonly accepted: UdpAccepted<DoorAddress>[] = []
  readonly connections = new OpenTally()
  readonly handshakes = new OpenTally()

  constructor(
    clock: VirtualClock,
    send: (datagram: Uint8Array, to: DoorAddress) => void,
    options: {
      seed?: string, random?: Random, doorKey?: DhKeyPair, connections?: Tally, handshakes?: Tally
    } = {},
  ) {
    const { seed = 'door', connections = this.connections, handshakes = this.handshakes } = options
    const { random = seededRandom(seed), doorKey = udpKeys('door') } = options
    this.door = new UdpDoor({ clock, random, doorKey, connections, handshakes, send }, (accepted) => {
      this.accepted.push(accepted)
    })
  }
}

/** A device that sends from an address that it may change. */
export class WorldDevice {
  readonly device: UdpDevice
  readonly settled: Promise<Result<MessageLink>>
  address: string
  stuck = 0
  gone = false

  constructor(
    clock: VirtualClock,
    send: (datagram: Uint8Array, from: string) => void,
    options: { address?: string, seed?: string, nodeKey?: Uint8Array, own?: DhKeyPair } = {},
  ) {
    const { address = '192.0.2.1:1000', seed = address, nodeKey = udpKeys('door').publicKey } = options
    this.address = address
    const { promise, resolve } = Promise.withResolvers<Result<MessageLink>>()
    this.settled = promise
    const own = options.own ?? udpKeys(seed)
    this.device = new UdpDevice({ clock, random: seededRandom(`device ${seed}`) }, { own, nodeKey }, {
      send: (datagram) => send(datagram, this.address),
      settled: resolve,
      stuck: () => this.stuck++,
      gone: () => { this.gone = true },
    })
  }
}

/** One door and devices behind a path each way. Datagrams to an address nobody has now are lost. */
export class UdpWorld {
  readonly clock = new VirtualClock()
  readonly up: Path
  readonly down: Path
  readonly door: WorldDoor
  readonly devices: WorldDevice[] = []
  /** Everything that was sent, for those who watch the wire. */
  readonly seenUp: { readonly datagram: Uint8Array, readonly from: string }[] = []
  readonly seenDown: { readonly datagram: Uint8Array, readonly to: string }[] = []
  watched = false
  readonly #seed: string

  constructor(seed: string, options: PathOptions & { up?: PathOptions } = {}) {
    this.#seed = seed
    this.up = new Path(this.clock, seededRandom(`${seed} up`), { ...options, ...options.up })
    this.down = new Path(this.clock, seededRandom(`${seed} down`), options)
    const send = (datagram: Uint8Array, to: DoorAddress): void => this.toDevice(datagram, to.key)
    this.door = new WorldDoor(this.clock, send, { seed: `${seed} door` })
  }

  device(address = '192.0.2.1:1000'): WorldDevice {
    const device = new WorldDevice(this.clock, (datagram, from) => this.toDoor(datagram, from), {
      address, seed: `${this.#seed} ${address}`,
    })
    this.devices.push(device)
    return device
  }

  toDoor(datagram: Uint8Array, from: string): void {
    if (this.watched) this.seenUp.push({ datagram: datagram.slice(), from })
    this.up.carry(datagram, (copy) => this.door.door.receive(copy, udpAddress(from)))
  }

  toDevice(datagram: Uint8Array, to: string): void {
    if (this.watched) this.seenDown.push({ datagram: datagram.slice(), to })
    this.down.carry(datagram, (copy) => {
      this.devices.find(({ address, gone }) => address === to && !gone)?.device.receive(copy)
    })
  }

  /** Two ends of one link, and the device that has one of them. */
  async link(address?: string): Promise<{ device: WorldDevice, atDevice: MessageLink, atNode: MessageLink }> {
    const device = this.device(address)
    device.device.start()
    const settled = await this.clock.until(device.settled, { withinMs: 60_000 })
    if (!settled.ok) throw new Error(`${settled.code}: ${settled.detail}`)
    const { accepted } = this.door
    for (let i = 0; accepted.length === 0 && i < 10_000; i++) await this.clock.advance(10)
    return { device, atDevice: settled.value, atNode: accepted.pop()!.link }
  }
}
