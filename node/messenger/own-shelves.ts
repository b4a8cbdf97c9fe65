/**
 * Where the prekeys of our own devices lie: at this node and at the replicas that strangers are
 * pointed to. The device signs each holder's share; the node only brings it there.
 */
import { equalBytes, hex } from '../../crypto/bytes.ts'
import { decode, encode, fixed, struct, text, tryDecode, vector } from '../../protocol/codec/struct.ts'
import type { ShelfHolder, ShelfTakeFrame } from '../../protocol/frame/shelf.ts'
import { nodeIdCodec } from '../../protocol/ids.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { changeEntry, kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, KvStore } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import { hintKinds } from '../../protocol/service/household.ts'
import {
  shelfPutReplyCodec, shelfResults, shelfTakeReplyCodec, shelfTakeRequestCodec, verifyShelf,
} from '../../protocol/service/shelf.ts'
import type { ShelfTaken } from '../../protocol/service/shelf.ts'
import type { NodeDescriptor } from '../../protocol/node-descriptor.ts'
import type { Courier, HouseholdPort, Overlay } from '../ports.ts'
import { rankHolders, SubnetSpread } from './placement.ts'
import type { ShelfService } from './shelf-service.ts'

export const ownPrefix = 'own-shelf/'
const callOptions = { timeoutMs: 5_000, level: 0 } as const
const hourMs = 3_600_000

interface OwnShelf {
  readonly account: string
  /** Of the request boxes that strangers are pointed to. */
  readonly placement: Uint8Array
  readonly holders: NodeId[]
}
const ownShelfCodec = struct<OwnShelf>({
  account: text(128),
  placement: fixed(32),
  holders: vector(nodeIdCodec, limits.replicasMax),
})

/** A shelf and who keeps a share of it. */
export interface LaidOut {
  readonly shelfKey: Uint8Array
  readonly holders: ShelfHolder[]
}

export interface OwnShelvesComponents {
  readonly overlay: Overlay
  readonly courier: Courier
  readonly kv: KvStore
  readonly clock: Clock
  readonly shelves: ShelfService
  readonly household: HouseholdPort
}

export interface OwnShelvesOptions {
  readonly storageNodes: () => readonly NodeDescriptor[]
  /** Replicas already used for this placement key. */
  readonly holdersFor: (placement: Uint8Array) => ReadonlySet<NodeId>
}

export class OwnShelves {
  readonly #components: OwnShelvesComponents
  readonly #options: OwnShelvesOptions
  readonly #own = new Map<string, OwnShelf>()

  constructor(components: OwnShelvesComponents, options: OwnShelvesOptions) {
    this.#components = components
    this.#options = options
  }

  /** Reads all; again when another process may have changed them. */
  async start(): Promise<void> {
    for await (const entry of kvEntries(this.#components.kv, ownPrefix)) {
      this.#own.set(entry.key.slice(ownPrefix.length), decode(ownShelfCodec, entry.value))
    }
  }

  /** Another process may have changed this one. */
  async refresh(key: string): Promise<void> {
    const entry = await this.#components.kv.get(ownPrefix + key)
    if (entry !== undefined) this.#own.set(key, decode(ownShelfCodec, entry.value))
  }

  isOwn(shelfKey: string): boolean {
    return this.#own.has(shelfKey)
  }

  accountOf(shelfKey: string): string | undefined {
    return this.#own.get(shelfKey)?.account
  }

  /**
   * Where this shelf should lie: here first, then the front replicas.
   * @param shelf.placement as the device said it last, when absent
   */
  async holders(
    account: string,
    shelf: { readonly shelfKey: Uint8Array, readonly placement?: Uint8Array },
  ): Promise<ShelfHolder[]> {
    const { shelfKey } = shelf
    const key = hex(shelfKey)
    const { overlay, shelves } = this.#components
    const known = this.#own.get(key)
    const placement = shelf.placement?.slice() ?? known?.placement ?? shelfKey
    if (known === undefined || !equalBytes(known.placement, placement)) {
      await this.#save(key, (stored) => ({ account, placement, holders: stored?.holders ?? [] }))
    }
    const chosen = this.#choose(placement)
    const held = new Set(known?.holders)
    const here: ShelfHolder = { nodeId: overlay.nodeId, left: await shelves.left(shelfKey) }
    // What is left elsewhere is not known; a holder that kept a share counts as full.
    const left = (nodeId: NodeId): number => (held.has(nodeId) ? limits.shelfOneTimePerHolder : 0)
    return [here, ...chosen.map((nodeId) => ({ nodeId, left: left(nodeId) }))]
  }

  /** Brings each share to its holder; returns those that keep one. */
  async put(account: string, puts: readonly Uint8Array[]): Promise<LaidOut> {
    const holders: ShelfHolder[] = []
    let shelfKey = new Uint8Array(32)
    await Promise.all(puts.map(async (bytes) => {
      const verified = verifyShelf(bytes)
      if (!verified.ok) return
      shelfKey = verified.value.shelfKey.slice()
      const kept = await this.#putAt(verified.value.holder, bytes)
      if (kept) holders.push({ nodeId: verified.value.holder, left: verified.value.oneTime.length })
    }))
    const { overlay } = this.#components
    const elsewhere = holders.map((holder) => holder.nodeId).filter((nodeId) => nodeId !== overlay.nodeId)
    const known = this.#own.get(hex(shelfKey))
    if (holders.length > 0) {
      await this.#save(hex(shelfKey), (stored = known) => ({
        account,
        placement: stored?.placement ?? shelfKey,
        holders: [...new Set([...elsewhere, ...stored?.holders ?? []])].slice(0, limits.replicasMax),
      }))
    }
    return { shelfKey, holders }
  }

  /** Takes prekeys of somebody else, from the first holder that has a one-time key, else any. */
  async take(frame: Pick<ShelfTakeFrame, 'shelfKey' | 'holders'>): Promise<ShelfTaken | undefined> {
    let best: ShelfTaken | undefined
    for (const holder of frame.holders) {
      const taken = await this.#takeAt(holder, frame.shelfKey)
      if (taken?.oneTime !== undefined) return taken
      best ??= taken
    }
    return best
  }

  #choose(placement: Uint8Array): NodeId[] {
    const { household, clock } = this.#components
    const chosen = new Set(this.#options.holdersFor(placement))
    const candidates = this.#options.storageNodes()
    const spread = new SubnetSpread()
    const nowHour = Math.floor(clock.now() / hourMs)
    for (const descriptor of rankHolders({ key: placement, candidates, nowHour })) {
      if (chosen.size >= limits.replicas) break
      if (household.isMember(descriptor.nodeId) || !spread.admits(descriptor)) continue
      spread.add(descriptor)
      chosen.add(descriptor.nodeId)
    }
    return [...chosen].slice(0, limits.replicasMax - 1)
  }

  async #putAt(holder: NodeId, bytes: Uint8Array): Promise<boolean> {
    const { overlay, courier, shelves } = this.#components
    if (holder === overlay.nodeId) return (await shelves.put(overlay.nodeId, bytes)) === shelfResults.kept
    const answer = await courier.call(holder, services.shelfPut, bytes, callOptions)
    if (!answer.ok) return false
    const reply = tryDecode(shelfPutReplyCodec, answer.value)
    return reply.ok && reply.value.result === shelfResults.kept
  }

  async #takeAt(holder: NodeId, shelfKey: Uint8Array): Promise<ShelfTaken | undefined> {
    const { overlay, courier, shelves } = this.#components
    if (holder === overlay.nodeId) return shelves.take(shelfKey)
    const body = encode(shelfTakeRequestCodec, { shelfKey })
    const answer = await courier.call(holder, services.shelfTake, body, callOptions)
    if (!answer.ok) return undefined
    const reply = tryDecode(shelfTakeReplyCodec, answer.value)
    return reply.ok ? reply.value.taken : undefined
  }

  async #save(key: string, change: (stored: OwnShelf | undefined) => OwnShelf): Promise<void> {
    const { kv, household } = this.#components
    await changeEntry(kv, ownPrefix + key, (value) => {
      const shelf = change(value === undefined ? this.#own.get(key) : decode(ownShelfCodec, value))
      this.#own.set(key, shelf)
      return encode(ownShelfCodec, shelf)
    })
    household.tell({ kind: hintKinds.changed, subject: ownPrefix + key })
  }
}
