/**
 * The rooms that this node keeps itself: their records are read at the start, what was said in one
 * when somebody comes in.
 */
import { hex, utf8Decode } from '../../../crypto/bytes.ts'
import type { Random } from '../../../crypto/random.ts'
import type { Log } from '../../../node/ports.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import type { Archive } from '../archive/archive.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { Route } from '../ports.ts'
import { RateTable } from '../s2s/rate-table.ts'
import { StanzaError } from '../stanza-errors.ts'
import { defaultConfig } from './config.ts'
import { LocalRoom } from './local-room.ts'
import type { LocalRoomParts } from './local-room.ts'
import type { RoomPort, Rooms, RoomSummary } from './ports.ts'
import { decodeRecord } from './record.ts'
import type { RoomConfig, RoomRecord } from './record.ts'
import { Room } from './room.ts'

export interface LocalRoomsParts {
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly archive: Archive
  readonly route: Route
}

export interface LocalRoomsOptions {
  /** Of the rooms: `rooms.example.org`. */
  readonly domain: string
  /** Whose accounts may make rooms. */
  readonly creatorsDomain: string
  readonly isArchiving: boolean
}

export class LocalRooms implements Rooms {
  readonly #parts: LocalRoomsParts
  readonly #options: LocalRoomsOptions
  readonly #defaults: RoomConfig
  readonly #rooms = new Map<string, LocalRoom>()
  readonly #roomParts: LocalRoomParts
  #isRunning = false

  constructor(parts: LocalRoomsParts, options: LocalRoomsOptions) {
    const { kv, clock, log, archive, route } = parts
    this.#parts = parts
    this.#options = options
    this.#defaults = { ...defaultConfig, isArchiving: options.isArchiving }
    const namesMax = xmppLimits.s2sSendersKept
    this.#roomParts = {
      kv, clock, log, archive, route,
      rates: {
        stanzas: new RateTable(clock, {
          perSecond: xmppLimits.roomStanzaRate, burst: xmppLimits.roomStanzaBurst, namesMax,
        }),
        moves: new RateTable(clock, {
          perSecond: xmppLimits.roomJoinRate, burst: xmppLimits.roomJoinBurst, namesMax,
        }),
      },
      ended: (room, why) => this.#ended(room, why),
    }
  }

  async start(): Promise<void> {
    const { kv, log } = this.#parts
    for await (const { key, value } of kvEntries(kv, 'muc/')) {
      const record = decodeRecord(utf8Decode(value), this.#defaults)
      if (record === undefined) log.error({ key }, 'the record of a room is damaged')
      else this.#rooms.set(record.local, this.#made(record, { isNew: false }))
    }
    this.#isRunning = true
  }

  async stop(): Promise<void> {
    if (!this.#isRunning) return
    this.#isRunning = false
    await Promise.all([...this.#rooms.values()].map((room) => room.stop()))
    this.#rooms.clear()
  }

  find(local: string): RoomPort | undefined {
    if (!this.#isRunning) {
      throw new StanzaError('recipient-unavailable', 'the rooms are closed for a moment')
    }
    return this.#rooms.get(local)
  }

  async create(local: string, creator: Jid): Promise<RoomPort> {
    const { domain, creatorsDomain } = this.#options
    if (creator.domain !== creatorsDomain || creator.local === '') {
      throw new StanzaError('not-allowed', `rooms here are for people of ${creatorsDomain} to make`)
    }
    const jid = Jid.parseStrict(`${local}@${domain}`)
    if (jid === undefined || [...local].length > xmppLimits.localpartCharactersMax) {
      throw new StanzaError('not-acceptable', 'a room cannot have this name')
    }
    const theirs = [...this.#rooms.values()].filter((room) => room.creator === creator.bare)
    if (theirs.length >= xmppLimits.roomsPerCreatorMax || this.#rooms.size >= xmppLimits.roomsMax) {
      throw new StanzaError('resource-constraint', 'there are too many rooms: destroy one that nobody uses')
    }
    const { random } = this.#parts
    const room = this.#made({
      id: hex(random.bytes(8)), local: jid.local, creator: creator.bare, secret: random.bytes(32),
      config: this.#defaults, affiliations: new Map([[creator.bare, 'owner']]),
      subject: undefined, isLocked: true,
    }, { isNew: true })
    this.#rooms.set(jid.local, room)
    return room
  }

  listed(): readonly RoomSummary[] {
    return [...this.#rooms.values()].filter(({ isListed }) => isListed)
  }

  #made(record: RoomRecord, options: { isNew: boolean }): LocalRoom {
    const jid = new Jid(record.local, this.#options.domain)
    return new LocalRoom(new Room(jid, record), this.#roomParts, options)
  }

  #ended(room: LocalRoom, why: 'destroyed' | 'broken'): void {
    if (this.#rooms.get(room.jid.local) === room) this.#rooms.delete(room.jid.local)
    const work = why === 'destroyed' ? this.#eraseArchive(room.archiveOwner) : this.#reload(room)
    const { log } = this.#parts
    work.catch((err: unknown) => {
      log.error({ err, room: room.jid.toString() }, 'a room that ended left something')
    })
  }

  async #eraseArchive(owner: string): Promise<void> {
    const all = { beforeMs: 2 ** 47, budget: xmppLimits.erasedAtOnce }
    while (await this.#parts.archive.expire(owner, all) > 0);
  }

  async #reload(room: LocalRoom): Promise<void> {
    const row = await this.#parts.kv.get(room.key)
    const record = row === undefined ? undefined : decodeRecord(utf8Decode(row.value), this.#defaults)
    if (record === undefined || this.#rooms.has(record.local) || !this.#isRunning) return
    this.#rooms.set(record.local, this.#made(record, { isNew: false }))
  }
}
