/**
 * The model of many devices that talk through sessions over a bad network and on bad machines.
 * Each message is read once, or its receiver reports that it cannot read it; what becomes of each
 * is said beforehand by the twin (session-twin.ts), to the very code of a refusal.
 *
 * ```text
 *   send      encrypt for every device │ persist │ hand over each │ (acknowledged: forget)
 *   receive   decrypt                  │ persist │ acknowledge
 *                                      └─ a crash may come at every bar: memory is lost, the disk
 *                                         stays; what was persisted is handed over again
 * ```
 *
 * The network loses, doubles, reorders and alters; sessions begin on both sides at once and anew;
 * with `restores` a device goes back to an older disk now and then. What it cannot read then is
 * reported, and a new session, at most one per pair in `restSteps`, heals the pair.
 */
import * as assert from 'uvu/assert'
import type { Random } from '../../../crypto/random.ts'
import { initialHeaderBytes } from '../../../crypto/handshake/initial-header.ts'
import { ratchetLimits } from '../../../crypto/ratchet/limits.ts'
import { randomChoice, randomInteger, seededRandom } from '../../helpers/seeded-random.ts'
import { Device, nativeKit } from './session-device.ts'
import type { Disk, Kit, Packet } from './session-device.ts'

export interface SessionWorldOptions {
  readonly seed: string
  readonly parties: number
  readonly devicesEach?: number
  /** Devices go back to older disks. */
  readonly restores: boolean
  /** Backends in turn; Node's alone unless given. */
  readonly kits?: readonly Kit[]
  /** For keys; the seed alone unless given. Not part of what the seed repeats. */
  readonly keyRandom?: Random
}

export interface SessionCounts {
  sent: number
  read: number
  /** By code; what came for the first time and could not be read. */
  reported: Record<string, number>
  /** Came again and were refused. */
  duplicates: number
  /** Given up by their sender, or forgotten by a sender that went back. */
  lost: number
  altered: number
  crashes: number
  restores: number
  handshakes: number
  repairs: number
}

const perMille = 1_000
/** A message is overtaken by fewer others than this, so that its chain is still known. */
const windowPackets = 12
const inboundMax = 40
const crashPerMille = 4
/** Of the same pair, counted in steps of the world. */
const restSteps = 200
/** A backup is no older than this. */
const backupSteps = 8_000
/** Ids behind the newest that are still on some disk or wire. */
const rememberedIds = 30_000
const replayedMax = 20
/** One shows what is broken and mends it; the second mends what the first mended from one side only. */
const healingRounds = 2

export class SessionWorld {
  readonly counts: SessionCounts = {
    sent: 0, read: 0, reported: {}, duplicates: 0, lost: 0, altered: 0, crashes: 0, restores: 0,
    handshakes: 0, repairs: 0,
  }

  readonly devices: Device[] = []
  readonly #random: Random
  readonly #parties: number
  readonly #restores: boolean
  readonly #backups = new Map<Device, { disk: Disk, step: number }>()
  /** Promised by their senders, and neither read, reported nor lost. */
  readonly #open = new Map<number, Packet>()
  readonly #replayed: Packet[] = []
  #step = 0
  #nextId = 1
  #isCalm = false

  constructor(options: SessionWorldOptions) {
    const { seed, parties, devicesEach = 2, kits = [nativeKit] } = options
    this.#random = seededRandom(seed)
    this.#parties = parties
    this.#restores = options.restores
    const random = options.keyRandom ?? seededRandom(`${seed} keys`)
    for (let at = 0; at < parties * devicesEach; at++) {
      const party = Math.floor(at / devicesEach)
      const name = `${'ABC'[party]}${1 + at % devicesEach}`
      this.devices.push(new Device({ name, party, kit: kits[at % kits.length]!, random }))
    }
  }

  /** Until so many messages were sent. */
  run(messages: number): void {
    const until = this.counts.sent + messages
    while (this.counts.sent < until) this.#tick()
  }

  /**
   * The faults end: all that is under way arrives, everybody writes to everybody, and pairs that
   * cannot read each other begin anew. After `healingRounds` of that all is read and nothing is left.
   */
  finish(): void {
    this.#isCalm = true
    for (const device of this.devices) {
      for (const packet of [...device.disk.outbox.values()]) this.#transmit(packet)
    }
    for (let round = 0; round < healingRounds; round++) {
      this.#everybodyWrites()
      for (const device of this.devices) for (const peer of [...device.broken]) this.#repair(device, peer)
      this.#deliverAll()
    }
    const before = JSON.stringify(this.counts.reported)
    this.#everybodyWrites()
    this.#everybodyWrites()
    assert.is(JSON.stringify(this.counts.reported), before, 'after the healing everything is read')
    assert.is(this.#open.size, 0, `silently lost: ${[...this.#open.keys()].slice(0, 5).join(', ')}`)
    for (const device of this.devices) assert.is(device.disk.outbox.size, 0)
  }

  #everybodyWrites(): void {
    for (const from of this.devices) this.#send(from, this.devices.filter((device) => device !== from))
    this.#deliverAll()
  }

  /** Of the largest stored session so far. */
  get bytesMax(): number {
    return Math.max(...this.devices.map((device) => device.bytesMax))
  }

  get reportedCount(): number {
    return Object.values(this.counts.reported).reduce((sum, count) => sum + count, 0)
  }

  #tick(): void {
    this.#step++
    const device = randomChoice(this.#random, this.devices)
    const dice = randomInteger(this.#random, perMille)
    if (device.inbound.length > inboundMax || dice < 550) this.#deliverSome(device)
    else if (dice < 800) this.#talk(device)
    else if (dice < 880) this.#offer(device)
    else if (dice < 910) this.#lose(device)
    else if (dice < 925) this.#double(device)
    else if (dice < 945) this.#replay()
    else if (dice < 955) this.#forge(device)
    else if (dice < 963) this.#crash(device)
    else if (dice < 988) this.#repairSome(device)
    else if (dice < 991) this.#beginAnew(device)
    else if (dice < 992) this.#fallSilent(device)
    else if (this.#restores) this.#damage(device)
    if (this.#step % 1_000 === 0) for (const one of this.devices) one.prune(this.#nextId - rememberedIds)
  }

  // ── Sending ───────────────────────────────────────────────────────────────────────────────

  /** One to five texts for all devices of a party, the writer's own other devices among them. */
  #talk(device: Device): void {
    const party = randomInteger(this.#random, this.#parties)
    const peers = this.devices.filter((peer) =>
      peer !== device && (peer.party === party || peer.party === device.party))
    for (let i = randomInteger(this.#random, 5); i >= 0; i--) if (!this.#send(device, peers)) return
  }

  /** False: it crashed on the way. */
  #send(device: Device, peers: readonly Device[]): boolean {
    const packets: Packet[] = []
    return this.#do(device, [
      () => {
        for (const peer of peers) {
          if (!device.has(peer)) this.#initiate(device, peer)
          packets.push(this.#encrypt(device, peer))
        }
      },
      () => this.#promise(device, packets),
      ...peers.map((_, at) => () => this.#transmit(packets[at]!)),
    ])
  }

  #encrypt(device: Device, peer: Device): Packet {
    const id = this.#nextId++
    return device.encrypt(peer, { id, text: `text ${id}` })
  }

  #initiate(device: Device, peer: Device): void {
    device.initiate(peer, { isOneTime: this.#chance(900) })
    this.counts.handshakes++
  }

  /** From here on it must be read or reported. */
  #promise(device: Device, packets: readonly Packet[]): void {
    device.persist({ peers: packets.map((packet) => packet.to), outgoing: packets })
    for (const packet of packets) this.#open.set(packet.id, packet)
    this.counts.sent += packets.length
  }

  #transmit(packet: Packet): void {
    if (packet.copies > 1) return
    packet.copies++
    packet.to.inbound.push(packet)
  }

  /** What was not acknowledged goes out again. */
  #offer(device: Device): void {
    const waiting = [...device.disk.outbox.values()].filter((packet) => packet.copies === 0)
    for (const packet of waiting.slice(0, 4)) this.#transmit(packet)
  }

  #lose(device: Device): void {
    if (device.inbound.length === 0) return
    const packet = this.#take(device, randomInteger(this.#random, device.inbound.length))
    // Now and then for good: its time is over, or its sender went back and forgot it.
    if (this.#chance(300) || !packet.from.disk.outbox.has(packet.id)) this.#giveUp(packet)
  }

  #giveUp(packet: Packet): void {
    packet.from.disk.outbox.delete(packet.id)
    if (packet.copies === 0 && this.#open.delete(packet.id)) this.counts.lost++
  }

  /** Many messages of which none arrives. */
  #fallSilent(device: Device): void {
    if (!this.#chance(100)) return
    const peer = randomChoice(this.#random, this.devices.filter((one) => one !== device))
    if (!device.has(peer)) return
    for (let i = randomInteger(this.#random, 1_000); i >= 0; i--) this.#encrypt(device, peer)
    device.persist({ peers: [peer] })
  }

  // ── Receiving ─────────────────────────────────────────────────────────────────────────────

  #deliverSome(device: Device): void {
    for (let i = randomInteger(this.#random, 6); i >= 0 && device.inbound.length > 0; i--) {
      const window = device.inbound.slice(0, windowPackets)
      const overdue = window.findIndex((packet) => packet.passedOver >= windowPackets)
      const at = overdue >= 0 ? overdue : randomInteger(this.#random, window.length)
      for (const earlier of window.slice(0, at)) earlier.passedOver++
      this.#receive(device, this.#take(device, at))
    }
  }

  #deliverAll(): void {
    for (const device of this.devices) {
      while (device.inbound.length > 0) this.#receive(device, this.#take(device, 0))
    }
  }

  #take(device: Device, at: number): Packet {
    const [packet] = device.inbound.splice(at, 1)
    packet!.copies--
    return packet!
  }

  #receive(device: Device, packet: Packet): void {
    const known = device.disk.arrived.get(packet.id)
    const acknowledge = (): void => { packet.from.disk.outbox.delete(packet.id) }
    if (known !== undefined) {
      if (this.#chance(500)) this.#readAgain(device, packet)
      acknowledge()
      return
    }
    let opened: ReturnType<Device['open']>
    const isOver = this.#do(device, [
      () => { opened = device.open(packet) },
      () => this.#conclude(device, packet, opened),
      acknowledge,
    ])
    // The node still has what was not acknowledged.
    if (!isOver && !device.disk.arrived.has(packet.id)) this.#transmit(packet)
  }

  #conclude(device: Device, packet: Packet, { outcome, used }: ReturnType<Device['open']>): void {
    const { from, id } = packet
    device.persist({ peers: [from], arrived: { packet, outcome }, used })
    this.#open.delete(id)
    if (outcome === 'read') {
      this.counts.read++
      if (used !== undefined) device.broken.delete(from)
      if (this.#replayed.length < replayedMax) this.#replayed.push(packet)
      else this.#replayed[randomInteger(this.#random, replayedMax)] = packet
      return
    }
    const { reported } = this.counts
    reported[outcome] = (reported[outcome] ?? 0) + 1
    device.broken.add(from)
  }

  /** Taken over before, by this disk: whatever it is now, it is not read. */
  #readAgain(device: Device, packet: Packet): void {
    if (device.disk.arrived.get(packet.id) !== 'read') return
    const { outcome } = device.open(packet)
    this.counts.duplicates++
    if (outcome !== 'read') return
    // Last-resort prekeys stay: a handshake that the device lost with its session runs again.
    const { handshake } = packet.twin
    const isLost = device.hasLost(packet.from) && handshake?.prekeyIds.kemOneTime === false
    assert.ok(isLost, `message ${packet.id} was read twice`)
    device.forget(packet.from)
  }

  /** Somebody recorded a message and sends it again. */
  #replay(): void {
    const packet = this.#replayed[randomInteger(this.#random, replayedMax)]
    if (packet !== undefined) this.#transmit(packet)
  }

  #double(device: Device): void {
    const packet = device.inbound[randomInteger(this.#random, inboundMax)]
    if (packet !== undefined) this.#transmit(packet)
  }

  /** Altered, cut, sent back, or given to another device. */
  #forge(device: Device): void {
    const packet = device.inbound[randomInteger(this.#random, inboundMax)]
    if (packet === undefined) return
    const { bytes, from } = packet
    const kind = randomInteger(this.#random, 4)
    this.counts.altered++
    if (kind === 0) return from.refuse(device, bytes)
    if (kind === 1) return device.refuse(from, bytes.subarray(0, randomInteger(this.#random, bytes.length)))
    // Of a handshake that it knows, a device looks at nothing but the base key.
    const start = packet.twin.handshake === undefined ? 0 : 2 + initialHeaderBytes
    const altered = bytes.slice()
    altered[start + randomInteger(this.#random, bytes.length - start)]! ^= 1 << randomInteger(this.#random, 8)
    device.refuse(from, altered)
  }

  // ── Sessions and machines ─────────────────────────────────────────────────────────────────

  #repairSome(device: Device): void {
    for (const peer of [...device.broken]) {
      const last = device.repairedAt.get(peer) ?? -restSteps
      if (this.#step - last >= restSteps) this.#repair(device, peer)
    }
  }

  #repair(device: Device, peer: Device): void {
    device.repairedAt.set(peer, this.#step)
    this.counts.repairs++
    this.#startSession(device, peer)
  }

  /** For no reason, as after a loss that nobody noticed; now and then on both sides at once. */
  #beginAnew(device: Device): void {
    const peer = randomChoice(this.#random, this.devices.filter((one) => one !== device))
    this.#startSession(device, peer)
    if (this.#chance(300)) this.#startSession(peer, device)
  }

  #startSession(device: Device, peer: Device): void {
    const packets: Packet[] = []
    this.#do(device, [
      () => {
        this.#initiate(device, peer)
        packets.push(this.#encrypt(device, peer))
      },
      () => this.#promise(device, packets),
      () => this.#transmit(packets[0]!),
    ])
  }

  #crash(device: Device): void {
    device.crash()
    this.counts.crashes++
    for (const packet of device.disk.outbox.values()) if (this.#chance(500)) this.#transmit(packet)
  }

  /** Makes a backup, goes back to one, or loses one session to a bad disk. */
  #damage(device: Device): void {
    if (this.#chance(100)) {
      device.loseSession(randomChoice(this.#random, this.devices))
      return
    }
    const backup = this.#backups.get(device)
    if (backup === undefined || this.#step - backup.step > backupSteps) {
      this.#backups.set(device, { disk: device.backup(), step: this.#step })
      return
    }
    if (!this.#chance(300)) return
    this.#backups.delete(device)
    for (const [id, packet] of device.disk.outbox) {
      // It does not know that it wrote this.
      if (!backup.disk.outbox.has(id) && packet.copies === 0 && this.#open.delete(id)) this.counts.lost++
    }
    device.restore(backup.disk)
    this.counts.restores++
  }

  /** Steps of one piece of work; false when a crash cut it off. */
  #do(device: Device, steps: readonly (() => void)[]): boolean {
    for (const [at, step] of steps.entries()) {
      if (at > 0 && !this.#isCalm && this.#chance(crashPerMille)) {
        this.#crash(device)
        return false
      }
      step()
    }
    return true
  }

  #chance(of: number): boolean {
    return randomInteger(this.#random, perMille) < of
  }
}

/** What a stored session of a pair may take at most: kept keys, chains, archived sessions. */
export const storedBytesMax =
  (1 + ratchetLimits.archivedSessionsMax) * (36 * ratchetLimits.skippedKeysMax
    + ratchetLimits.pastChainsMax * 110 + 8_000)
