/**
 * A room as its state machine sees it: who is in it, what it keeps, and what one stanza did. No input
 * or output here: a turn takes a stanza and leaves in its outcome the stanzas to be sent and what is
 * to be written first (`local-room.ts` does both).
 *
 * ```text
 *   turn ──► presence.ts  join, part, nick, status ──┐
 *       ├──► messages.ts  speech, private, invites ──┼──► outcome: stanzas, record changed?,
 *       └──► requests.ts  admin, owner, disco, iq ───┘             to be archived, ended?
 * ```
 */
import { hex, utf8 } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import { xmppLimits } from '../limits.ts'
import { Jid } from '../jid.ts'
import { StanzaError } from '../stanza-errors.ts'
import type { XmlElement } from '../xml/element.ts'
import { nickKey } from './nickname.ts'
import { rank } from './record.ts'
import type { Affiliation, RoomRecord } from './record.ts'
import { sizeOf } from './size.ts'

export type Role = 'none' | 'visitor' | 'participant' | 'moderator'

/** A person under a nick, with one session or several. */
export interface Occupant {
  nick: string
  role: Role
  /** Bare JID. */
  readonly bare: string
  /** By full JID: the last presence each sent, without an address. */
  readonly sessions: Map<string, XmlElement>
}

export interface HistoryEntry {
  readonly id: string
  readonly atMs: number
  readonly message: XmlElement
}

export interface ArchivedMessage {
  readonly id: string
  readonly peer: Jid
  readonly message: XmlElement
}

/** What one stanza did. */
export interface Outcome {
  /** In this order, once what is below is durable. */
  readonly stanzas: XmlElement[]
  isRecordChanged: boolean
  readonly archived: ArchivedMessage[]
  /** The room is gone: record and archive are erased. */
  isDestroyed: boolean
}

export interface Turn {
  readonly room: Room
  readonly stanza: XmlElement
  readonly from: Jid
  readonly to: Jid
  readonly nowMs: number
  readonly out: Outcome
  /** Of the room's archive. */
  nextId(): string
  /** The archived message that the stanza names, to take it back (XEP-0424, XEP-0425). */
  readonly named: XmlElement | undefined
}

export class Room {
  readonly jid: Jid
  readonly record: RoomRecord
  /** By key of the nick. */
  readonly #occupants = new Map<string, Occupant>()
  readonly #bySession = new Map<string, Occupant>()
  /** Oldest first. */
  readonly history: HistoryEntry[] = []
  #historySize = 0

  constructor(jid: Jid, record: RoomRecord) {
    this.jid = jid
    this.record = record
  }

  get occupants(): readonly Occupant[] {
    return [...this.#occupants.values()]
  }

  get size(): number {
    return this.#occupants.size
  }

  byNick(nick: string): Occupant | undefined {
    return this.#occupants.get(nickKey(nick))
  }

  /** By the full JID of one of their sessions. */
  bySession(jid: Jid): Occupant | undefined {
    return this.#bySession.get(jid.toString())
  }

  ofPerson(bare: string): Occupant[] {
    return this.occupants.filter((one) => one.bare === bare)
  }

  add(occupant: Occupant, session: Jid, presence: XmlElement): void {
    if (!occupant.sessions.has(session.toString())
      && occupant.sessions.size >= xmppLimits.roomSessionsPerNickMax) {
      throw new StanzaError('resource-constraint', 'too many of your devices are in the room')
    }
    // The one that spoke last is shown.
    occupant.sessions.delete(session.toString())
    occupant.sessions.set(session.toString(), presence)
    this.#occupants.set(nickKey(occupant.nick), occupant)
    this.#bySession.set(session.toString(), occupant)
  }

  /** Gives whether it was their last session. */
  removeSession(occupant: Occupant, session: string): boolean {
    occupant.sessions.delete(session)
    this.#bySession.delete(session)
    if (occupant.sessions.size > 0) return false
    this.#occupants.delete(nickKey(occupant.nick))
    return true
  }

  remove(occupant: Occupant): void {
    for (const session of occupant.sessions.keys()) this.#bySession.delete(session)
    this.#occupants.delete(nickKey(occupant.nick))
  }

  rename(occupant: Occupant, nick: string): void {
    this.#occupants.delete(nickKey(occupant.nick))
    occupant.nick = nick
    this.#occupants.set(nickKey(nick), occupant)
  }

  clear(): void {
    this.#occupants.clear()
    this.#bySession.clear()
  }

  /** A ban of a whole domain counts where nothing is said of the person. */
  affiliation(bare: string): Affiliation {
    const { affiliations } = this.record
    return affiliations.get(bare) ?? affiliations.get(bare.slice(bare.indexOf('@') + 1)) ?? 'none'
  }

  /** @throws StanzaError `resource-constraint` */
  setAffiliation(bare: string, affiliation: Affiliation): void {
    const { affiliations } = this.record
    if (affiliation === 'none') {
      affiliations.delete(bare)
      return
    }
    const isFull = !affiliations.has(bare) && affiliations.size >= xmppLimits.roomAffiliationsMax
    if (isFull || Buffer.byteLength(bare) > xmppLimits.roomAffiliationJidBytesMax) {
      throw new StanzaError('resource-constraint', 'the room has no place for another affiliation')
    }
    affiliations.set(bare, affiliation)
  }

  /** What somebody of this affiliation is when they come in (§5.1.2). */
  defaultRole(affiliation: Affiliation): Role {
    if (rank(affiliation) >= rank('admin')) return 'moderator'
    if (affiliation === 'member' || !this.record.config.isModerated) return 'participant'
    return 'visitor'
  }

  /** XEP-0421: the same for all visits of a person to this room, and nothing elsewhere. */
  occupantId(bare: string): string {
    return hex(crypto.hmacSha256(this.record.secret, utf8(`occupant ${bare}`))).slice(0, 40)
  }

  /** Tells the sessions of an asker apart in what is asked of an occupant, without their address. */
  sessionTag(session: string): string {
    return hex(crypto.hmacSha256(this.record.secret, utf8(`session ${session}`))).slice(0, 24)
  }

  remember(entry: HistoryEntry): void {
    this.history.push(entry)
    this.#historySize += sizeOf(entry.message)
    const { roomHistoryMax, roomHistoryCharactersMax } = xmppLimits
    while (this.history.length > roomHistoryMax || this.#historySize > roomHistoryCharactersMax) {
      this.#historySize -= sizeOf(this.history.shift()!.message)
    }
  }

  forget(id: string): void {
    const at = this.history.findIndex((entry) => entry.id === id)
    if (at === -1) return
    for (const { message } of this.history.splice(at, 1)) this.#historySize -= sizeOf(message)
  }

  jidOf({ nick }: Pick<Occupant, 'nick'>): Jid {
    return this.jid.withResource(nick)
  }
}

export function newOutcome(): Outcome {
  return { stanzas: [], isRecordChanged: false, archived: [], isDestroyed: false }
}

/** The occupant that sends. @throws StanzaError `not-acceptable` (§7.4) */
export function sender({ room, from }: Turn): Occupant {
  const occupant = room.bySession(from)
  if (occupant === undefined) throw new StanzaError('not-acceptable', 'you are not in the room')
  return occupant
}
