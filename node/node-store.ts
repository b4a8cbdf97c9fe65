/**
 * The store of a node as its rooms and its account see it: every record sealed with the data key
 * of `keys.bin`, and damaged ones set aside (protocol/client/salvage.ts).
 *
 * ```text
 *   rooms of the node     hosted account           names on disk
 *     salvage ''            salvage 'client/'        home/… out/… lent/…   damaged/…
 *          └──── sealedKv ────┘                      client/…              client/damaged/…
 *                   │                                hosted/ID/…           hosted/ID/damaged/…
 *                   │
 *              Store (level)        mail is not sealed again: its senders did that
 * ```
 *
 * The rooms' records hold secrets, too (read seeds of the inboxes this node is home to) and tell
 * who writes to whom, so they get no lesser treatment than the account's own. What stays readable
 * on a stolen disk: names of records, sizes, times of change, and the envelopes as others hold them.
 */
import type { Random } from '../crypto/random.ts'
import { decode } from '../protocol/codec/struct.ts'
import { scopedKv, sealedKv } from '../protocol/client/kv.ts'
import { damagedCodec, damagedPrefix, salvagingKv } from '../protocol/client/salvage.ts'
import { kvEntries } from '../protocol/kv.ts'
import type { Clock, KvStore } from '../protocol/ports.ts'
import type { Log, Store } from './ports.ts'
import { assertFilled } from './store-archive.ts'

const accountScope = 'client/'
const hostedScope = 'hosted/'
/** Told by the doctor for so long. */
const damageKeptMs = 30 * 86_400_000

/** Without these an account or its keys would be made anew, and the person be somebody else. */
const vitalOfAccount = /^(account$|own\/)/
const vitalOfRooms = /^(client\/|hosted\/|hosted-account\/)/

export interface DamagedRecord {
  /** As on disk. */
  readonly name: string
  readonly foundAtMs: number
}

export interface NodeStore {
  /** For the rooms. Closing it closes the database. */
  readonly store: Store
  /** The hosted account's own corner. */
  readonly account: KvStore
  /** The same for a process of a household, which may write there only while `fence` lets it. */
  accountUnder(fence: (kv: KvStore) => KvStore): KvStore
  /** That of another hosted account (hosted-accounts.ts). */
  hosted(id: string, fence?: (kv: KvStore) => KvStore): KvStore
  /** Nothing is written to records meanwhile, so that they are of one moment: for a backup. */
  still<T>(work: () => Promise<T>): Promise<T>
  /** What was set aside in the last 30 days. */
  damaged(): Promise<DamagedRecord[]>
}

export interface NodeStoreComponents {
  readonly store: Store
  /** 32 bytes, copied. */
  readonly dataKey: Uint8Array
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** @throws STORE_SEAL with another store's key, before any change; STORE_UNFINISHED, STORE_CORRUPT */
export async function openNodeStore(components: NodeStoreComponents): Promise<NodeStore> {
  const { store, dataKey, clock, random, log } = components
  await assertFilled(store)
  const gate = new WriteGate()
  const { kv } = store
  const gated: KvStore = {
    get: (key) => kv.get(key),
    list: (range) => kv.list(range),
    write: (operations) => gate.pass(() => kv.write(operations)),
    expire: (nowMs, budget) => gate.pass(() => kv.expire(nowMs, budget)),
  }
  const sealed = sealedKv({ kv: gated, key: dataKey, random })
  const salvaging = (scope: string, isVital: (name: string) => boolean): KvStore =>
    salvagingKv({ kv: sealed, clock }, {
      scope,
      isVital,
      onSetAside: (name, code) => {
        log.error({ code, record: scope + name }, 'a damaged record was set aside')
      },
    })
  const account = salvaging(accountScope, (name) => vitalOfAccount.test(name))
  const rooms = salvaging('', (name) => vitalOfRooms.test(name))
  // With another key all records look damaged: this one tells, and is never set aside.
  await account.get(`${accountScope}account`)
  const marks: [KvStore, string][] = [[rooms, damagedPrefix], [account, accountScope + damagedPrefix]]
  const hostedCorners = new Map<string, KvStore>()
  for (const [kv, prefix] of marks) await forgetOld(kv, { prefix, beforeMs: clock.now() - damageKeptMs })
  return {
    store: {
      mailbox: store.mailbox,
      pieces: store.pieces,
      kv: rooms,
      ...store.hints === undefined ? {} : { hints: store.hints },
      ...store.health === undefined ? {} : { health: () => store.health!() },
      close: () => store.close(),
    },
    account: scopedKv(account, accountScope),
    accountUnder: (fence) => scopedKv(fence(account), accountScope),
    hosted(id, fence = (kv) => kv) {
      const scope = `${hostedScope}${id}/`
      let corner = hostedCorners.get(id)
      if (corner === undefined) {
        corner = salvaging(scope, (name) => vitalOfAccount.test(name))
        hostedCorners.set(id, corner)
        marks.push([corner, scope + damagedPrefix])
      }
      return scopedKv(fence(corner), scope)
    },
    still: (work) => gate.still(work),
    async damaged() {
      const found: DamagedRecord[] = []
      for (const [kv, prefix] of marks) {
        for await (const { key, value } of kvEntries(kv, prefix)) {
          found.push({ name: key.replace(damagedPrefix, ''), ...decode(damagedCodec, value) })
        }
      }
      return found
    },
  }
}

/** Lets writes pass, but for moments in which all that began have ended and others wait. */
class WriteGate {
  #closed: Promise<void> | undefined
  readonly #underWay = new Set<Promise<unknown>>()

  async pass<T>(write: () => Promise<T>): Promise<T> {
    while (this.#closed !== undefined) await this.#closed
    const writing = write()
    this.#underWay.add(writing)
    try {
      return await writing
    } finally {
      this.#underWay.delete(writing)
    }
  }

  async still<T>(work: () => Promise<T>): Promise<T> {
    while (this.#closed !== undefined) await this.#closed
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#closed = promise
    try {
      await Promise.allSettled(this.#underWay)
      return await work()
    } finally {
      this.#closed = undefined
      resolve()
    }
  }
}

async function forgetOld(
  kv: KvStore,
  { prefix, beforeMs }: { prefix: string, beforeMs: number },
): Promise<void> {
  for await (const { key, value } of kvEntries(kv, prefix)) {
    const { foundAtMs } = decode(damagedCodec, value)
    if (foundAtMs < beforeMs) await kv.write([{ type: 'delete', key }])
  }
}
