/**
 * The port of rooms. The component on the wire (`rooms-component.ts`) knows rooms only through it, so
 * that rooms of another make stand behind the same domain: today those of this node
 * (`local-rooms.ts`), later groups of openIM that GroupMan keeps (MLS), whose members write from
 * openIM and from XMPP alike.
 */
import type { Jid } from '../jid.ts'
import type { XmlElement } from '../xml/element.ts'

/** What everybody may know of a room that is listed. */
export interface RoomSummary {
  readonly jid: Jid
  readonly name: string
}

export interface RoomPort {
  readonly jid: Jid
  /**
   * A stanza to the room or to an occupant; `from` is proven. What it is answered with goes by the
   * `Route` that the rooms were made with. Settles when what it changed is durable and what it sends is
   * on its way; stanzas take effect in the order of the calls.
   * @throws StanzaError what the sender is told
   */
  receive(stanza: XmlElement, ends: { readonly from: Jid, readonly to: Jid }): Promise<void>
}

export interface Rooms {
  /** `undefined`: there is none. */
  find(local: string): RoomPort | undefined
  /** A room nobody is in yet; its creator has to come in next. @throws StanzaError who may not, or no more */
  create(local: string, creator: Jid): Promise<RoomPort>
  /** Those that are listed in service discovery. */
  listed(): readonly RoomSummary[]
  start(): Promise<void>
  /** Occupants are told (status 332). Idempotent. */
  stop(): Promise<void>
}
