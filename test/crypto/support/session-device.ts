/**
 * One device of the model (session-world.ts): sessions in memory, each beside its twin, and a disk
 * that holds what was last written. A crash empties the memory; a backup is an older disk.
 *
 * Everything that the real session does is done to the twin as well, and a difference between the
 * two ends the run.
 */
import * as assert from 'uvu/assert'
import { equalBytes, utf8, utf8Decode } from '../../../crypto/bytes.ts'
import * as prekeyFunctions from '../../../crypto/handshake/prekeys.ts'
import type {
  OwnIdentity, OwnKemPrekey, OwnOneTimePrekey, OwnSignedPrekey, PrekeyBundle, PrekeyIds, PrekeyLookup,
  RemoteIdentity,
} from '../../../crypto/handshake/types.ts'
import { crypto } from '../../../crypto/index.ts'
import type { CryptoProvider } from '../../../crypto/provider.ts'
import type { Random } from '../../../crypto/random.ts'
import { SecureSession } from '../../../crypto/secure-session.ts'
import {
  freshSecret, newTwin, twinCounts, twinDecrypt, twinEncrypt, twinInitiate, twinRespond,
} from './session-twin.ts'
import type { Outcome, TwinMessage, TwinSession } from './session-twin.ts'

/** The code under test, on one backend. */
export interface Kit {
  readonly crypto: CryptoProvider
  readonly prekeys: typeof prekeyFunctions
  readonly session: typeof SecureSession
}

export const nativeKit: Kit = { crypto, prekeys: prekeyFunctions, session: SecureSession }

/** A message from one device to one other. */
export interface Packet {
  readonly id: number
  readonly from: Device
  readonly to: Device
  readonly text: string
  readonly bytes: Uint8Array
  readonly twin: TwinMessage
  /** Copies under way. */
  copies: number
  /** Times that a later one was taken first. */
  passedOver: number
}

export interface Opened {
  readonly outcome: Outcome
  /** Prekeys that go with the batch that keeps it. */
  readonly used: PrekeyIds | undefined
}

interface Pair {
  readonly session: SecureSession
  readonly twin: TwinSession
}

interface OneTime {
  readonly prekey: OwnOneTimePrekey
  readonly kem: OwnKemPrekey
}

/** What is durable; values are never changed, only replaced. */
export interface Disk {
  readonly sessions: Map<Device, { readonly bytes: Uint8Array, readonly twin: TwinSession }>
  readonly outbox: Map<number, Packet>
  /** What became of the messages that came. */
  readonly arrived: Map<number, Outcome>
  readonly oneTime: Map<number, OneTime>
}

const ad = utf8('conversation of the model')
const lastResortId = 1

export class Device {
  readonly name: string
  readonly party: number
  readonly inbound: Packet[] = []
  /** Devices whose messages could not be read, until a new session begins. */
  readonly broken = new Set<Device>()
  readonly repairedAt = new Map<Device, number>()
  /** Largest stored session so far. */
  bytesMax = 0
  #disk: Disk = { sessions: new Map(), outbox: new Map(), arrived: new Map(), oneTime: new Map() }
  readonly #memory = new Map<Device, Pair>()
  readonly #lost = new Set<Device>()
  readonly #kit: Kit
  readonly #random: Random
  readonly #own: OwnIdentity
  readonly #signedPrekey: OwnSignedPrekey
  readonly #signedSecret = freshSecret()
  readonly #lastResort: OwnKemPrekey
  #nextPrekeyId = lastResortId + 1

  constructor(input: { name: string, party: number, kit: Kit, random: Random }) {
    const { kit, random } = input
    this.name = input.name
    this.party = input.party
    this.#kit = kit
    this.#random = random
    const own = {
      signingKeys: kit.crypto.signingKeyPair(random.bytes(32)),
      dhKeys: kit.crypto.dhKeyPair(random.bytes(32)),
    }
    this.#own = own
    this.#signedPrekey = kit.prekeys.createSignedPrekey({ own, id: lastResortId, random })
    this.#lastResort = kit.prekeys.createKemPrekey({ own, id: lastResortId, oneTime: false, random })
  }

  get identity(): RemoteIdentity {
    return { signingKey: this.#own.signingKeys.publicKey, dhKey: this.#own.dhKeys.publicKey }
  }

  get disk(): Disk {
    return this.#disk
  }

  has(peer: Device): boolean {
    return this.#memory.has(peer) || this.#disk.sessions.has(peer)
  }

  crash(): void {
    this.#memory.clear()
  }

  /** Without a batch: what was done in memory with this peer is gone. */
  forget(peer: Device): void {
    this.#memory.delete(peer)
  }

  /** A bad block: the session is gone, the marks of what arrived are not. */
  loseSession(peer: Device): void {
    this.#memory.delete(peer)
    this.#disk.sessions.delete(peer)
    this.#lost.add(peer)
  }

  hasLost(peer: Device): boolean {
    return this.#lost.has(peer)
  }

  backup(): Disk {
    const { sessions, outbox, arrived, oneTime } = this.#disk
    return {
      sessions: new Map(sessions),
      outbox: new Map(outbox),
      arrived: new Map(arrived),
      oneTime: new Map(oneTime),
    }
  }

  restore(disk: Disk): void {
    this.crash()
    this.#disk = disk
  }

  /** What a stranger gets; secrets of one-time prekeys are durable before. */
  #bundle(isOneTime: boolean): { bundle: PrekeyBundle, prekeyIds: PrekeyIds } {
    const { identity } = this
    const signed = this.#signedPrekey
    const signedPrekey = { id: signed.id, publicKey: signed.keys.publicKey, signature: signed.signature }
    const publicKem = ({ id, oneTime, keys, signature }: OwnKemPrekey): PrekeyBundle['kemPrekey'] =>
      ({ id, oneTime, publicKey: keys.publicKey, signature })
    if (!isOneTime) {
      const prekeyIds = { signedPrekeyId: signed.id, kemPrekeyId: lastResortId, kemOneTime: false }
      return { bundle: { identity, signedPrekey, kemPrekey: publicKem(this.#lastResort) }, prekeyIds }
    }
    const id = this.#nextPrekeyId++
    const random = this.#random
    const prekey = this.#kit.prekeys.createOneTimePrekey({ id, random })
    const kem = this.#kit.prekeys.createKemPrekey({ own: this.#own, id, oneTime: true, random })
    this.#disk.oneTime.set(id, { prekey, kem })
    const oneTimePrekey = { id, publicKey: prekey.keys.publicKey }
    return {
      bundle: { identity, signedPrekey, kemPrekey: publicKem(kem), oneTimePrekey },
      prekeyIds: { signedPrekeyId: signed.id, kemPrekeyId: id, kemOneTime: true, oneTimePrekeyId: id },
    }
  }

  /** In memory only. */
  initiate(peer: Device, options: { isOneTime: boolean }): void {
    const { bundle, prekeyIds } = peer.#bundle(options.isOneTime)
    const existing = this.#load(peer)
    const begun = this.#kit.session.initiate({
      own: this.#own, bundle, random: this.#random, ...existing && { existing: existing.session },
    })
    assert.ok(begun.ok, 'a bundle of the model is a good one')
    const twin = existing?.twin ?? newTwin()
    twinInitiate(twin, { signedPrekey: peer.#signedSecret, prekeyIds })
    this.#memory.set(peer, { session: begun.value, twin })
    this.broken.delete(peer)
  }

  /** In memory only; `persist` before it leaves. */
  encrypt(peer: Device, content: { id: number, text: string }): Packet {
    const pair = this.#load(peer)!
    const twin = twinEncrypt(pair.twin)
    const bytes = pair.session.encrypt({ plaintext: utf8(content.text), ad, random: this.#random })
    // The handshake goes along until the first answer.
    assert.is(bytes[0], twin.handshake === undefined ? 2 : 1)
    return { ...content, from: this, to: peer, bytes, twin, copies: 0, passedOver: 0 }
  }

  /** In memory only: what became of it, which the twin said before, and what to persist with it. */
  open(packet: Packet): Opened {
    const { from, twin: message } = packet
    const before = this.#load(from)
    const twin = before?.twin ?? newTwin()
    const existing = before?.session
    if (existing === undefined && message.handshake === undefined) return unknown
    let expected: Opened = { outcome: twinDecrypt(twin, message), used: undefined }
    let result = existing?.decrypt({ message: packet.bytes, ad })
    if (result === undefined || expected.outcome === 'SESSION_HANDSHAKE') {
      expected = twinRespond(twin, message, (ids) => this.#holds(ids))
      const responded = this.#respond(packet.bytes, from, existing)
      if (responded.ok) this.#memory.set(from, { session: responded.value.session, twin })
      result = responded.ok ? { ok: true, value: responded.value.plaintext } : responded
    }
    assert.is(result.ok ? 'read' : result.code, expected.outcome, this.#story(packet))
    if (result.ok) assert.is(utf8Decode(result.value), packet.text)
    return expected
  }

  /** Bytes that must be refused, and leave no trace. */
  refuse(from: Device, bytes: Uint8Array): void {
    const pair = this.#load(from)
    const before = pair?.session.serialize()
    const read = pair?.session.decrypt({ message: bytes, ad })
    assert.not.ok(read?.ok === true, 'altered, reflected or misdirected bytes were read')
    if (read === undefined || (!read.ok && read.code === 'SESSION_HANDSHAKE')) {
      assert.not.ok(this.#respond(bytes, from, pair?.session).ok, 'an altered handshake was taken')
    }
    if (pair === undefined || before === undefined) return
    assert.ok(equalBytes(pair.session.serialize(), before), 'a refusal left a trace')
  }

  /** One batch. */
  persist(change: {
    peers: readonly Device[]
    outgoing?: readonly Packet[]
    arrived?: { readonly packet: Packet, readonly outcome: Outcome }
    used?: PrekeyIds | undefined
  }): void {
    const { sessions, outbox, arrived, oneTime } = this.#disk
    for (const peer of change.peers) {
      const pair = this.#memory.get(peer)
      if (pair === undefined) continue
      const bytes = pair.session.serialize()
      this.#compare(pair.twin, bytes.length)
      sessions.set(peer, { bytes, twin: structuredClone(pair.twin) })
    }
    for (const packet of change.outgoing ?? []) outbox.set(packet.id, packet)
    if (change.arrived !== undefined) arrived.set(change.arrived.packet.id, change.arrived.outcome)
    if (change.used?.oneTimePrekeyId !== undefined) oneTime.delete(change.used.oneTimePrekeyId)
  }

  /** Forgets what nobody can deliver any more. */
  prune(oldestId: number): void {
    for (const id of this.#disk.arrived.keys()) {
      if (id >= oldestId) break
      this.#disk.arrived.delete(id)
    }
  }

  #load(peer: Device): Pair | undefined {
    const known = this.#memory.get(peer)
    const stored = this.#disk.sessions.get(peer)
    if (known !== undefined || stored === undefined) return known
    const pair = { session: this.#kit.session.deserialize(stored.bytes), twin: structuredClone(stored.twin) }
    this.#memory.set(peer, pair)
    return pair
  }

  #respond(
    message: Uint8Array, from: Device, existing?: SecureSession,
  ): ReturnType<typeof SecureSession.respond> {
    return this.#kit.session.respond({
      own: this.#own, message, ad, prekeys: this.#lookup, remote: from.identity, ...existing && { existing },
    })
  }

  #holds(ids: PrekeyIds): boolean {
    return !ids.kemOneTime || this.#disk.oneTime.has(ids.kemPrekeyId)
  }

  get #lookup(): PrekeyLookup {
    const { oneTime } = this.#disk
    return {
      signedPrekey: (id) => (id === lastResortId ? this.#signedPrekey.keys : undefined),
      kemPrekey: (id, isOneTime) =>
        (isOneTime ? oneTime.get(id)?.kem.keys : id === lastResortId ? this.#lastResort.keys : undefined),
      oneTimePrekey: (id) => oneTime.get(id)?.prekey.keys,
    }
  }

  /** The stored form holds the keys that the twin names, and little besides. */
  #compare(twin: TwinSession, bytes: number): void {
    const { sessions, pending, chains, missing, seen } = twinCounts(twin)
    const least = 36 * missing + 37 * seen + 1_262 * pending + 41 * chains
    const most = least + 300 + sessions * sessionBytesMax + chains * chainBytesMax
    const counts = JSON.stringify({ sessions, pending, chains, missing, seen })
    const story = `${bytes} bytes are stored, expected ${least} to ${most} for ${counts}`
    assert.ok(bytes >= least && bytes <= most, story)
    this.bytesMax = Math.max(this.bytesMax, bytes)
  }

  #story({ id, from, twin }: Packet): string {
    const { handshake, chain, number, previousCount } = twin
    return `message ${id} from ${from.name} to ${this.name}: chain ${chain.id}, number ${number}, `
      + `${previousCount} before${handshake === undefined ? '' : `, handshake ${handshake.base}`}`
  }
}

/** A session (with keys of a KEM step) without its chains and keys of missing messages; a chain. */
const sessionBytesMax = 3_600
const chainBytesMax = 40
const unknown: Opened = { outcome: 'SESSION_UNKNOWN', used: undefined }
