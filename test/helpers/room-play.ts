/**
 * Rooms with played occupants: the component of the bridge on a memory store and a clock of the test,
 * and a route that writes down what each address is sent. Time goes on by itself between stanzas, so
 * that nobody is held back by rates; a test of rates stops it.
 */
import { silentLog } from '../../node/ports.ts'
import { memoryKv } from '../../protocol/memory-kv.ts'
import type { KvStore } from '../../protocol/ports.ts'
import { Archive } from '../../bridges/xmpp/archive/archive.ts'
import { LocalRooms } from '../../bridges/xmpp/muc/local-rooms.ts'
import { mucNs } from '../../bridges/xmpp/muc/names.ts'
import { RoomsComponent } from '../../bridges/xmpp/muc/rooms-component.ts'
import { mayBounce, StanzaError, toError } from '../../bridges/xmpp/stanza-errors.ts'
import { el } from '../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../bridges/xmpp/xml/element.ts'
import { ns } from '../../bridges/xmpp/xml/names.ts'
import { seededRandom } from './seeded-random.ts'
import { VirtualClock } from './virtual-clock.ts'

export const roomJid = 'tea@rooms.a.test'

export class RoomPlay {
  readonly kv: KvStore
  readonly clock = new VirtualClock()
  readonly component: RoomsComponent
  /** Between two stanzas. */
  stepMs = 10_000
  readonly #sent: XmlElement[] = []
  #ids = 0

  private constructor(kv: KvStore) {
    this.kv = kv
    const { clock } = this
    const route = async (stanza: XmlElement): Promise<void> => { this.#sent.push(stanza) }
    const archive = new Archive({ kv, clock })
    const rooms = new LocalRooms(
      { kv, clock, random: seededRandom('rooms'), log: silentLog, archive, route },
      { domain: 'rooms.a.test', creatorsDomain: 'a.test', isArchiving: true },
    )
    this.component = new RoomsComponent({ rooms, route }, { domain: 'rooms.a.test' })
  }

  static async open(kv: KvStore = memoryKv()): Promise<RoomPlay> {
    const play = new RoomPlay(kv)
    await play.component.start()
    return play
  }

  /** What was sent since the last time: to one address, or to all. */
  taken(to?: string): XmlElement[] {
    const found = this.#sent.filter(({ attrs }) => to === undefined || attrs.to === to)
    const rest = this.#sent.filter((one) => !found.includes(one))
    this.#sent.splice(0, this.#sent.length, ...rest)
    return found
  }

  /** A refusal is sent back, as the host does it. */
  async send(stanza: XmlElement): Promise<void> {
    if (this.stepMs > 0) await this.clock.advance(this.stepMs)
    try {
      await this.component.receive(stanza)
    } catch (error) {
      if (!(error instanceof StanzaError)) throw error
      if (mayBounce(stanza)) this.#sent.push(toError(stanza, error))
    }
  }

  /** Full JID, nick. */
  async join(from: string, nick: string, ...inside: readonly XmlElement[]): Promise<XmlElement[]> {
    this.taken(from)
    await this.send(el(ns.client, 'presence', { from, to: `${roomJid}/${nick}` },
      el(mucNs.muc, 'x', {}, ...inside)))
    return this.taken(from)
  }

  async leave(from: string, nick: string): Promise<void> {
    await this.send(el(ns.client, 'presence', { from, to: `${roomJid}/${nick}`, type: 'unavailable' }))
  }

  async say(from: string, text: string, ...more: readonly XmlElement[]): Promise<void> {
    await this.send(el(ns.client, 'message', { from, to: roomJid, type: 'groupchat', id: text },
      el(ns.client, 'body', {}, text), ...more))
  }

  /** The answer, an error too. */
  async ask(from: string, type: 'get' | 'set', payload: XmlElement, to = roomJid): Promise<XmlElement> {
    const id = `ask ${++this.#ids}`
    await this.send(el(ns.client, 'iq', { from, to, type, id }, payload))
    const answer = this.#sent.find(({ name, attrs }) => name === 'iq' && attrs.to === from && attrs.id === id)
    if (answer === undefined) throw new Error(`no answer to ${id}`)
    this.#sent.splice(this.#sent.indexOf(answer), 1)
    return answer
  }

  /** An instant room of `ann@a.test/1` under the nick Ann, with fields of its form set. */
  async made(fields: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.join('ann@a.test/1', 'Ann')
    await this.configure(fields)
    this.taken()
  }

  async configure(fields: Readonly<Record<string, string>>): Promise<XmlElement> {
    const form = el(ns.dataForm, 'x', { type: 'submit' }, ...Object.entries(fields).map(([name, value]) =>
      el(ns.dataForm, 'field', { var: `muc#roomconfig_${name}` }, el(ns.dataForm, 'value', {}, value))))
    return await this.ask('ann@a.test/1', 'set', el(mucNs.owner, 'query', {}, form))
  }

  /** By Ann, unless somebody else is named. */
  async admin(item: Readonly<Record<string, string>>, from = 'ann@a.test/1'): Promise<XmlElement> {
    return await this.ask(from, 'set', el(mucNs.admin, 'query', {}, el(mucNs.admin, 'item', item)))
  }
}

/** Status codes of a stanza. */
export function codes(stanza: XmlElement | undefined): number[] {
  const found = stanza?.child('x', mucNs.user)?.elements('status') ?? []
  return found.map(({ attrs }) => Number(attrs.code))
}

export function itemOf(stanza: XmlElement | undefined): Readonly<Record<string, string>> {
  return stanza?.child('x', mucNs.user)?.child('item')?.attrs ?? {}
}

/** The condition of an error; `none`: it is none. */
export function condition(stanza: XmlElement | undefined): string {
  return stanza?.child('error')?.elements(undefined)[0]?.name ?? 'none'
}

export function bodies(stanzas: readonly XmlElement[]): string[] {
  return stanzas.map((stanza) => stanza.childText('body')).filter((text) => text !== undefined)
}
