/**
 * Own prekeys: made here, laid out at the node and the front replicas (each gets different
 * one-time keys), replaced weekly, refilled when few are left. A secret is durable before its
 * public part leaves, and goes in the very batch that opens the session it was used for.
 *
 * When one-time keys have run out, sessions begin from the signed and the last-resort prekey alone.
 * Each such session is counted (and says so itself: `weakForwardSecrecy`); after many the prekeys
 * are replaced before their week is over, since a device remembers only so many of them for each
 * other device (crypto/secure-session.ts).
 */
import { assert } from '../../crypto/errors.ts'
import { createKemPrekey, createOneTimePrekey, createSignedPrekey } from '../../crypto/handshake/prekeys.ts'
import type {
  OwnKemPrekey, OwnOneTimePrekey, PrekeyIds, PrekeyLookup,
} from '../../crypto/handshake/types.ts'
import { crypto } from '../../crypto/index.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import { decode, fixed, struct, u32, u64 } from '../codec/struct.ts'
import { expiryHour } from '../envelope.ts'
import type { ShelfHolder } from '../frame/shelf.ts'
import type { NodeId } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import { signShelf } from '../service/shelf.ts'
import { sealShelfOneTime, sealShelfStatic } from '../shelf-content.ts'
import { Batch } from './batch.ts'
import type { Context } from './context.ts'
import { keys, lastNumber } from './keys.ts'
import { readRecord } from './records.ts'
import type { Uplink } from './uplink.ts'

interface PrekeyState {
  /** Next id, for every kind alike. */
  readonly nextId: number
  /** Current signed and last-resort prekeys have this id; 0 before the first. */
  readonly currentId: number
  readonly rotatedAtMs: number
  /** Of the shelf: a higher one replaces a lower one. */
  readonly sequence: number
}

/** One X25519 and one ML-KEM-768 prekey under one id. Signatures stand on the shelf as well. */
interface PrekeyPair {
  readonly madeAtMs: number
  readonly dhSecret: Uint8Array
  readonly dhSignature: Uint8Array
  readonly kemSeed: Uint8Array
  readonly kemSignature: Uint8Array
}

const stateCodec = struct<PrekeyState>({ nextId: u32, currentId: u32, rotatedAtMs: u64, sequence: u64 })
const pairCodec = struct<PrekeyPair>({
  madeAtMs: u64, dhSecret: fixed(32), dhSignature: fixed(64), kemSeed: fixed(64), kemSignature: fixed(64),
})
/**
 * Laid out up to a rotation after it was made, handed out until the shelf's lease ends, and then in
 * an inbox until the envelope's time is over.
 */
const secretLifeMs = limits.prekeyRotationMs + limits.leaseTtlMs + limits.envelopeTtlMs
/** One-time X25519 prekeys are not signed. */
const unsigned = new Uint8Array(64)
const usesCodec = struct<{ uses: number }>({ uses: u32 })
const laidCodec = struct<{ currentId: number, listNumber: number }>({ currentId: u32, listNumber: u64 })
const fresh: PrekeyState = { nextId: 1, currentId: 0, rotatedAtMs: 0, sequence: 0 }

export class Prekeys {
  readonly #context: Context
  readonly #uplink: Uplink
  /** Sessions begun from last-resort prekeys, by their id; what was looked up is here. */
  readonly #lastResortUses = new Map<number, number>()

  constructor(context: Context, uplink: Uplink) {
    this.#context = context
    this.#uplink = uplink
  }

  /** Lays out what is missing. False when the node could not be asked: try again later. */
  async upkeep(home: NodeId): Promise<boolean> {
    const { account, own } = this.#context
    const shelfKey = account.shelfKeys.publicKey
    const placement = own.introReadKeys.publicKey
    const listNumber = own.list.list.number
    const state = await this.#current()
    const held = await this.#uplink.request({ type: 'shelfHolders', shelfKey, placement }, 'shelfHeld')
    if (!held.ok) return false
    const short = await this.#short(held.value.holders, state)
    if (short.length === 0) return true
    const puts = await this.#make(short, { home, state })
    const answer = await this.#uplink.request({ type: 'shelfPut', puts }, 'shelfHeld')
    if (!answer.ok) return false
    const batch = new Batch()
    for (const { nodeId } of answer.value.holders) {
      batch.put(keys.laid(nodeId), laidCodec, { currentId: state.currentId, listNumber })
    }
    await batch.commit(this.#context.kv)
    return answer.value.holders.length > 0
  }

  /** What a handshake needs of ours, read beforehand: the handshake itself does not wait. */
  async lookup(ids: PrekeyIds): Promise<PrekeyLookup> {
    const signed = await this.#pair('signed', ids.signedPrekeyId)
    const kem = await this.#pair(ids.kemOneTime ? 'once' : 'signed', ids.kemPrekeyId)
    if (!ids.kemOneTime) await this.lastResortUses(ids.kemPrekeyId)
    const onceId = ids.oneTimePrekeyId
    const once = onceId === undefined ? undefined : await this.#pair('once', onceId)
    const dhKeys = (pair: PrekeyPair | undefined): DhKeyPair | undefined =>
      pair && crypto.dhKeyPair(pair.dhSecret)
    return {
      signedPrekey: (id) => (id === ids.signedPrekeyId ? dhKeys(signed) : undefined),
      kemPrekey(id, oneTime) {
        const isMeant = id === ids.kemPrekeyId && oneTime === ids.kemOneTime
        return isMeant && kem !== undefined ? crypto.kemKeyPair(kem.kemSeed) : undefined
      },
      oneTimePrekey: (id) => (id === onceId ? dhKeys(once) : undefined),
    }
  }

  /** Sessions that others began from the last-resort KEM prekey of this id, the current one's if none. */
  async lastResortUses(id?: number): Promise<number> {
    const counted = id ?? (await this.#read()).currentId
    if (!this.#lastResortUses.has(counted)) {
      const stored = await readRecord(this.#context.kv, usesCodec, keys.prekey('kem', counted))
      // Somebody else may have read it meanwhile, and counted on.
      if (!this.#lastResortUses.has(counted)) this.#lastResortUses.set(counted, stored?.uses ?? 0)
    }
    return this.#lastResortUses.get(counted)!
  }

  /** One-time prekeys go with the session that used them; uses of last-resort ones are counted. */
  consume(batch: Batch, used: PrekeyIds): void {
    if (used.kemOneTime) batch.delete(keys.prekey('once', used.kemPrekeyId))
    else this.#countLastResort(batch, used.kemPrekeyId)
    if (used.oneTimePrekeyId !== undefined) batch.delete(keys.prekey('once', used.oneTimePrekeyId))
  }

  /** Drops secrets that nobody may use any more. */
  async expire(): Promise<void> {
    const oldestMs = this.#context.clock.now() - secretLifeMs
    const { currentId } = await this.#read()
    const batch = new Batch()
    for await (const entry of kvEntries(this.#context.kv, keys.prekeys)) {
      const id = lastNumber(entry.key)
      if (id === currentId || entry.key === keys.prekey('kem', id)) continue
      if (decode(pairCodec, entry.value).madeAtMs >= oldestMs) continue
      batch.delete(entry.key)
      batch.delete(keys.prekey('kem', id))
      this.#lastResortUses.delete(id)
    }
    await batch.commit(this.#context.kv)
  }

  #countLastResort(batch: Batch, id: number): void {
    const uses = (this.#lastResortUses.get(id) ?? 0) + 1
    // Counted although the batch may fail: one too many does no harm.
    this.#lastResortUses.set(id, uses)
    batch.put(keys.prekey('kem', id), usesCodec, { uses })
    this.#context.log.debug({ prekey: id, uses }, 'a session began from last-resort prekeys')
  }

  async #read(): Promise<PrekeyState> {
    return await readRecord(this.#context.kv, stateCodec, keys.meta('prekeys')) ?? fresh
  }

  #pair(kind: 'signed' | 'once', id: number): Promise<PrekeyPair | undefined> {
    return readRecord(this.#context.kv, pairCodec, keys.prekey(kind, id))
  }

  /** The state, with fresh signed prekeys when the old ones had their time. */
  async #current(): Promise<PrekeyState> {
    const { kv, clock, account, random } = this.#context
    const state = await this.#read()
    const nowMs = clock.now()
    const isWorn = await this.lastResortUses(state.currentId) >= limits.lastResortUsesMax
    const lifeMs = isWorn ? limits.prekeyRotationMinMs : limits.prekeyRotationMs
    if (state.currentId > 0 && nowMs - state.rotatedAtMs < lifeMs) return state
    const id = state.nextId
    const signed = createSignedPrekey({ own: account.identity, id, random })
    const kem = createKemPrekey({ own: account.identity, id, oneTime: false, random })
    const next: PrekeyState = { ...state, nextId: id + 1, currentId: id, rotatedAtMs: nowMs }
    const batch = new Batch()
    batch.put(
      keys.prekey('signed', id),
      pairCodec,
      pairOf(nowMs, { dh: signed, dhSignature: signed.signature, kem }),
    )
    batch.put(keys.meta('prekeys'), stateCodec, next)
    await batch.commit(kv)
    return next
  }

  /** Holders that have too few one-time keys, or a static part with older keys or devices. */
  async #short(holders: readonly ShelfHolder[], state: PrekeyState): Promise<NodeId[]> {
    const short: NodeId[] = []
    for (const { nodeId, left } of holders) {
      const laid = await readRecord(this.#context.kv, laidCodec, keys.laid(nodeId))
      const isOld = laid?.currentId !== state.currentId
        || laid.listNumber !== this.#context.own.list.list.number
      if (left <= limits.prekeysLow || isOld) short.push(nodeId)
    }
    return short.slice(0, limits.replicasMax)
  }

  /** One signed share for each holder; all secrets are durable when it settles. */
  async #make(
    holders: readonly NodeId[],
    { home, state }: { home: NodeId, state: PrekeyState },
  ): Promise<Uint8Array[]> {
    const { kv, clock, account, random } = this.#context
    const shelf = { shelfKey: account.shelfKeys.publicKey, shelfSecret: account.shelfSecret }
    const nowMs = clock.now()
    const sequence = Math.max(state.sequence + 1, nowMs)
    const batch = new Batch()
    let nextId = state.nextId
    const blob = await this.#staticBlob(state)
    const puts = holders.map((holder) => {
      const oneTime = Array.from({ length: limits.shelfOneTimePerHolder }, () => {
        const id = nextId++
        const once = createOneTimePrekey({ id, random })
        const kem = createKemPrekey({ own: account.identity, id, oneTime: true, random })
        batch.put(
          keys.prekey('once', id),
          pairCodec,
          pairOf(nowMs, { dh: once, dhSignature: unsigned, kem }),
        )
        return sealShelfOneTime({
          oneTimePrekey: { id, publicKey: once.keys.publicKey },
          oneTimeKem: { id, oneTime: true, publicKey: kem.keys.publicKey, signature: kem.signature },
        }, shelf, random)
      })
      return signShelf({
        shelfKey: shelf.shelfKey, holder, home, sequence, expiryHour: expiryHour(nowMs + limits.leaseTtlMs),
        static: blob, oneTime,
      }, account.shelfKeys)
    })
    batch.put(keys.meta('prekeys'), stateCodec, { ...state, nextId, sequence })
    await batch.commit(kv)
    return puts
  }

  async #staticBlob(state: PrekeyState): Promise<Uint8Array> {
    const { account, own, random } = this.#context
    const pair = await this.#pair('signed', state.currentId)
    assert(pair !== undefined, 'the current prekeys are in the store')
    const id = state.currentId
    return sealShelfStatic({
      deviceList: own.list.bytes,
      signedPrekey: {
        id, publicKey: crypto.dhKeyPair(pair.dhSecret).publicKey, signature: pair.dhSignature,
      },
      lastResortKem: {
        id,
        oneTime: false,
        publicKey: crypto.kemKeyPair(pair.kemSeed).publicKey,
        signature: pair.kemSignature,
      },
    }, { shelfKey: account.shelfKeys.publicKey, shelfSecret: account.shelfSecret }, random)
  }
}

function pairOf(
  madeAtMs: number,
  made: { dh: OwnOneTimePrekey, dhSignature: Uint8Array, kem: OwnKemPrekey },
): PrekeyPair {
  const { dh, dhSignature, kem } = made
  return {
    madeAtMs,
    dhSecret: dh.keys.exportSecret(),
    dhSignature,
    kemSeed: kem.keys.exportSecret(),
    kemSignature: kem.signature,
  }
}
