/**
 * A room of this node: gives its state machine one stanza after the other, writes what it changed, and
 * sends what it said once that is durable.
 *
 * ```text
 *   receive ─► turn (one at a time) ─► outcome ─► one batch: archive, record ─┐ group commit of all
 *                                          └── stanzas, in the order of turns ◄┘
 * ```
 *
 * The next turn does not wait for the write of the last, so a room takes more than one message a sync.
 * Nor does it wait for what is sent to be taken: what comes back of it (bounces) is a turn again.
 */
import { utf8 } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import type { Log } from '../../../node/ports.ts'
import type { Clock, KvOperation, KvStore } from '../../../protocol/ports.ts'
import type { Archive } from '../archive/archive.ts'
import { answerQuery, archiveMetadata, queryForm } from '../archive/mam.ts'
import type { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { Route } from '../ports.ts'
import type { RateTable } from '../s2s/rate-table.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { onMessage } from './messages.ts'
import { namedBy } from './moderation.ts'
import { mucNs } from './names.ts'
import { shutDown } from './ownership.ts'
import type { RoomPort } from './ports.ts'
import { isMove, onPresence } from './presence.ts'
import { encodeRecord } from './record.ts'
import { mayReadArchive, onIq } from './requests.ts'
import { newOutcome } from './room.ts'
import type { Outcome, Room, Turn } from './room.ts'

export interface LocalRoomParts {
  readonly kv: KvStore
  readonly clock: Clock
  readonly log: Log
  readonly archive: Archive
  readonly route: Route
  /** Of each person: everything, and what is told to all as a move. */
  readonly rates: { readonly stanzas: RateTable, readonly moves: RateTable }
  /** It is no more: destroyed, or what it has in memory is not what could be kept. */
  readonly ended: (room: LocalRoom, why: 'destroyed' | 'broken') => void
}

export class LocalRoom implements RoomPort {
  readonly #room: Room
  readonly #parts: LocalRoomParts
  /** Settles with the last turn. */
  #turns: Promise<unknown> = Promise.resolve()
  /** Settles when the stanzas of the last turn began their way. */
  #begun: Promise<unknown> = Promise.resolve()
  #isLoaded = false
  #isBegun = false
  #isEnded = false
  /** Not in the store yet. */
  #isNew: boolean

  constructor(room: Room, parts: LocalRoomParts, { isNew }: { isNew: boolean }) {
    this.#room = room
    this.#parts = parts
    this.#isNew = isNew
  }

  get jid(): Jid {
    return this.#room.jid
  }

  get isListed(): boolean {
    return this.#room.record.config.isPublic && !this.#room.record.isLocked
  }

  get name(): string {
    return this.#room.record.config.name
  }

  get creator(): string {
    return this.#room.record.creator
  }

  get archiveOwner(): string {
    return `room-${this.#room.record.id}`
  }

  get key(): string {
    return roomKey(this.jid.local)
  }

  async receive(stanza: XmlElement, ends: { readonly from: Jid, readonly to: Jid }): Promise<void> {
    try {
      this.#assertRate(stanza, ends)
    } catch (error) {
      // Whoever made it was too fast to come in.
      if (this.#isNew && !this.#isBegun) this.#end()
      throw error
    }
    this.#isBegun = true
    if (stanza.name === 'iq' && ends.to.resource === '' && stanza.childOf(ns.mam) !== undefined) {
      await this.#query(stanza, ends)
      return
    }
    const turn = this.#turns.then(() => this.#turn(stanza, ends))
    this.#turns = turn.catch(() => {})
    const { sent, refusal } = await turn
    await sent
    if (refusal !== undefined) throw refusal
  }

  /** Tells who is there that the service stops. */
  async stop(): Promise<void> {
    await this.#turns
    this.#isEnded = true
    const out = newOutcome()
    shutDown({ room: this.#room, out })
    await this.#sent(out)
  }

  #assertRate(stanza: XmlElement, { from, to }: { readonly from: Jid, readonly to: Jid }): void {
    const { type } = stanza.attrs
    if (type === 'error' || type === 'result' || type === 'unavailable') return
    const { stanzas, moves } = this.#parts.rates
    const isMoving = stanza.name === 'presence'
      && isMove(this.#room, stanza, { from: from.toString(), nick: to.resource })
    if (stanzas.take(from.bare) && (!isMoving || moves.take(from.bare))) return
    throw new StanzaError('resource-constraint', 'too much at a time for this room: wait a little')
  }

  async #turn(
    stanza: XmlElement, { from, to }: { readonly from: Jid, readonly to: Jid },
  ): Promise<{ readonly sent: Promise<void>, readonly refusal: unknown }> {
    if (this.#isEnded) throw new StanzaError('item-not-found', 'the room is no more')
    await this.#load()
    const { archive, clock } = this.#parts
    const room = this.#room
    const wanted = namedBy(stanza)
    const named = wanted === undefined ? undefined : await archive.find(this.archiveOwner, wanted)
    const out = newOutcome()
    const turn: Turn = {
      room, stanza, from, to, out, named, nowMs: clock.now(),
      nextId: () => archive.nextId(this.archiveOwner),
    }
    let refusal: unknown
    try {
      if (stanza.name === 'presence') onPresence(turn)
      else if (stanza.name === 'message') onMessage(turn)
      else onIq(turn)
    } catch (error) {
      // What was done before it was refused is done.
      refusal = error
    }
    if (room.size === 0 && room.record.isLocked) out.isDestroyed = true
    const sent = this.#commit(out)
    // Awaited by the caller; the turn is over.
    sent.catch(() => {})
    return { sent, refusal }
  }

  /** What was said before this process, and the last id of the archive. */
  async #load(): Promise<void> {
    if (this.#isLoaded) return
    const { archive } = this.#parts
    const owner = this.archiveOwner
    await archive.load(owner)
    const { entries } = await archive.query(owner, {}, { max: xmppLimits.roomHistoryMax, before: '' })
    const by = this.jid.toString()
    for (const { id, atMs, message } of entries) {
      if (message.child('retracted', mucNs.retract) !== undefined) continue
      const shown = message.without((child) => child.is('x', mucNs.user))
        .plus(el(ns.stanzaIds, 'stanza-id', { by, id }))
      this.#room.remember({ id, atMs, message: shown })
    }
    this.#isLoaded = true
  }

  async #commit(out: Outcome): Promise<void> {
    if (out.isDestroyed) this.#end()
    const written = this.#write(out)
    written.catch(() => {})
    await this.#sent(out, written)
  }

  #end(): void {
    this.#isEnded = true
    this.#parts.ended(this, 'destroyed')
  }

  async #write(out: Outcome): Promise<void> {
    const { archive, kv, log } = this.#parts
    const owner = this.archiveOwner
    const operations: KvOperation[] = out.isDestroyed ? [] : out.archived.flatMap(
      (entry) => archive.operations(owner, entry),
    )
    const isRecordChanged = out.isDestroyed ? !this.#isNew : out.isRecordChanged || this.#isNew
    if (isRecordChanged) operations.push(out.isDestroyed ? { type: 'delete', key: this.key } : {
      type: 'put', key: this.key, value: utf8(encodeRecord(this.#room.record)),
    })
    if (operations.length === 0) return
    this.#isNew = false
    try {
      await kv.write(operations)
    } catch (err) {
      log.error({ err, room: this.jid.toString() }, 'a room could not keep what happened in it')
      for (const { id } of out.archived) this.#room.forget(id)
      if (isRecordChanged) await this.#break()
      throw new StanzaError('resource-constraint', 'the room could not keep this')
    }
  }

  /** What it has in memory is not what is kept: everybody comes in anew, to what is. */
  async #break(): Promise<void> {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#parts.ended(this, 'broken')
    const out = newOutcome()
    shutDown({ room: this.#room, out })
    for (const stanza of out.stanzas) void this.#parts.route(stanza)
  }

  async #sent(out: Outcome, written: Promise<void> = Promise.resolve()): Promise<void> {
    const { route } = this.#parts
    const begun = Promise.all([this.#begun, written]).then(() => ({
      routes: out.stanzas.map((stanza) => route(stanza)),
    }))
    this.#begun = begun.catch(() => {})
    await Promise.all((await begun).routes)
  }

  async #query(stanza: XmlElement, { from }: { readonly from: Jid }): Promise<void> {
    const { archive, route } = this.#parts
    const { type, id } = stanza.attrs
    if (type !== 'get' && type !== 'set') return
    if (!mayReadArchive(this.#room, from)) {
      throw new StanzaError('forbidden', 'the archive is for those who may come in')
    }
    const payload = stanza.childOf(ns.mam)!
    let answer: XmlElement
    if (payload.name === 'query' && type === 'set') {
      // What is being said now is in it.
      await this.#begun
      const owner = this.archiveOwner
      const { messages, fin } = await answerQuery(archive, payload, { owner, from: this.jid, to: from })
      for (const message of messages) await route(this.#visible(message))
      answer = fin
    } else if (payload.name === 'query') answer = queryForm()
    else if (payload.name === 'metadata') answer = await archiveMetadata(archive, this.archiveOwner)
    else throw new StanzaError('feature-not-implemented')
    await route(el(ns.client, 'iq', { type: 'result', id, from: this.jid.toString(), to: from.toString() },
      answer))
  }

  /** Without real addresses, where the room does not show them any more. */
  #visible(message: XmlElement): XmlElement {
    if (this.#room.record.config.whois === 'anyone') return message
    return within(message, ['result', 'forwarded', 'message'],
      (inner) => inner.without((child) => child.is('x', mucNs.user)))
  }
}

export function roomKey(local: string): string {
  return `muc/${crypto.sha256Hex(utf8(local)).slice(0, 32)}`
}

/** The same with the element at the end of a path of names changed. */
function within(
  element: XmlElement, [name, ...rest]: readonly string[], change: (inner: XmlElement) => XmlElement,
): XmlElement {
  if (name === undefined) return change(element)
  return element.withChildren(element.children.map((child) =>
    typeof child !== 'string' && child.name === name ? within(child, rest, change) : child))
}
