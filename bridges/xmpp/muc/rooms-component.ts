/**
 * `rooms.example.org` on the wire (XEP-0045): the service itself, and each stanza to its room. Rooms
 * are behind their port, whoever keeps them.
 */
import { Jid } from '../jid.ts'
import type { Component, Route } from '../ports.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { mucNs } from './names.ts'
import type { Rooms } from './ports.ts'

export class RoomsComponent implements Component {
  readonly domain: string
  readonly #rooms: Rooms
  readonly #route: Route

  constructor({ rooms, route }: { rooms: Rooms, route: Route }, { domain }: { domain: string }) {
    this.#rooms = rooms
    this.#route = route
    this.domain = domain
  }

  async start(): Promise<void> {
    await this.#rooms.start()
  }

  /** Before the clients' streams end: occupants are told. */
  async stop(): Promise<void> {
    await this.#rooms.stop()
  }

  async receive(stanza: XmlElement): Promise<void> {
    const to = Jid.parse(stanza.attrs.to!)!
    const from = Jid.parse(stanza.attrs.from!)!
    if (to.local === '') {
      await this.#toService(stanza, to)
      return
    }
    const room = this.#rooms.find(to.local)
    if (room !== undefined) await room.receive(stanza, { from, to })
    else if (isJoin(stanza, to)) {
      const made = await this.#rooms.create(to.local, from)
      await made.receive(stanza, { from, to })
    } else if (stanza.attrs.type !== 'unavailable') {
      throw new StanzaError('item-not-found', 'there is no such room')
    }
  }

  async #toService(stanza: XmlElement, to: Jid): Promise<void> {
    const { type, id, from } = stanza.attrs
    if (stanza.name !== 'iq') {
      if (stanza.name === 'message' && type !== 'error') throw new StanzaError('service-unavailable')
      return
    }
    if (type !== 'get' && type !== 'set') return
    const [payload] = stanza.elements(undefined)
    if (payload === undefined || to.resource !== '') throw new StanzaError('bad-request')
    const answer = type === 'get' ? this.#answer(payload) : undefined
    if (answer === undefined) throw new StanzaError('service-unavailable')
    await this.#route(el(ns.client, 'iq', { type: 'result', id, from: this.domain, to: from },
      answer === 'empty' ? undefined : answer))
  }

  #answer(payload: XmlElement): XmlElement | 'empty' | undefined {
    if (payload.is('ping', mucNs.ping)) return 'empty'
    if (payload.is('query', ns.discoItems)) {
      if (payload.attrs.node !== undefined) throw new StanzaError('item-not-found', 'there is no such node')
      return el(ns.discoItems, 'query', {}, ...this.#rooms.listed().map(({ jid, name }) =>
        el(ns.discoItems, 'item', { jid: jid.toString(), name: name === '' ? jid.local : name })))
    }
    if (!payload.is('query', ns.discoInfo)) return undefined
    if (payload.attrs.node !== undefined) throw new StanzaError('item-not-found', 'there is no such node')
    return el(ns.discoInfo, 'query', {},
      el(ns.discoInfo, 'identity', { category: 'conference', type: 'text', name: 'Rooms' }),
      ...[ns.discoInfo, ns.discoItems, mucNs.muc, mucNs.ping, ns.mam, mucNs.occupantId].map(
        (one) => el(ns.discoInfo, 'feature', { var: one }),
      ))
  }
}

function isJoin(stanza: XmlElement, to: Jid): boolean {
  return stanza.name === 'presence' && stanza.attrs.type === undefined && to.resource !== ''
    && stanza.child('x', mucNs.muc) !== undefined
}
