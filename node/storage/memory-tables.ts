/**
 * What a memory store holds: the state that survives a crash (memory-store.ts adds time, group
 * commit and loss). Plain synchronous tables; each method is one atomic step.
 *
 * Speed matters more than elegance of asymptotics: a simulation runs hundreds of these, most with
 * a few thousand records, so expiry scans a whole store, but only when something in it can have
 * expired.
 */
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import type {
  BoxLimits, BoxUsage, DigestRange, MailboxEntry, MailboxItem, MailMark, PutResult, Tombstone,
} from '../ports.ts'
import { compareMarks, isInDigest } from './checks.ts'

type Grave = Omit<Tombstone, 'id'>

interface Box {
  limits: BoxLimits
  bytes: number
  /** In arrival order. */
  readonly items: Map<EnvelopeId, MailboxEntry>
  readonly tombstones: Map<EnvelopeId, Grave>
}

export class MailTable {
  readonly #boxes = new Map<BoxId, Box>()
  #nextPosition = 1
  #items = 0
  #bytes = 0
  /** Nothing expires before this. */
  #nextExpiryMs = Infinity

  usage(): BoxUsage {
    return { items: this.#items, bytes: this.#bytes }
  }

  setBox(id: BoxId, limits: BoxLimits): void {
    const box = this.#boxes.get(id)
    this.#expectExpiry(limits.expiresAtMs)
    if (box === undefined) this.#boxes.set(id, { limits, bytes: 0, items: new Map(), tombstones: new Map() })
    else box.limits = limits
  }

  dropBox(id: BoxId): void {
    const box = this.#boxes.get(id)
    if (box === undefined) return
    this.#boxes.delete(id)
    this.#items -= box.items.size
    this.#bytes -= box.bytes
  }

  boxes(nowMs: number): { box: BoxId, limits: BoxLimits, usage: BoxUsage }[] {
    const out: { box: BoxId, limits: BoxLimits, usage: BoxUsage }[] = []
    for (const [box, { limits, items, bytes }] of this.#boxes) {
      if (limits.expiresAtMs > nowMs) out.push({ box, limits, usage: { items: items.size, bytes } })
    }
    return out
  }

  put(item: MailboxItem, nowMs: number): PutResult {
    const box = this.#liveBox(item.box, nowMs)
    if (box === undefined) return 'no-box'
    const tombstone = box.tombstones.get(item.id)
    if (tombstone !== undefined && tombstone.expiresAtMs > nowMs) return 'acknowledged'
    if (box.items.has(item.id)) return 'duplicate'
    if (item.expiresAtMs <= nowMs) return 'expired'
    const bytes = box.bytes + item.body.length
    if (box.items.size >= box.limits.itemsMax || bytes > box.limits.bytesMax) return 'over-quota'
    box.tombstones.delete(item.id)
    box.items.set(item.id, { ...item, position: this.#nextPosition++ })
    box.bytes = bytes
    this.#items++
    this.#bytes += item.body.length
    this.#expectExpiry(item.expiresAtMs)
    return 'stored'
  }

  list(
    id: BoxId,
    page: { after: number, itemsMax: number, bytesMax: number, nowMs: number },
  ): { entries: MailboxEntry[], more: boolean } {
    const entries: MailboxEntry[] = []
    let bytes = 0
    for (const entry of this.#liveBox(id, page.nowMs)?.items.values() ?? []) {
      if (entry.position <= page.after || entry.expiresAtMs <= page.nowMs) continue
      bytes += entry.body.length
      const full = entries.length >= page.itemsMax || bytes > page.bytesMax
      if (full && entries.length > 0) return { entries, more: true }
      entries.push({ ...entry, body: entry.body.slice() })
    }
    return { entries, more: false }
  }

  get(id: BoxId, item: EnvelopeId, nowMs: number): MailboxEntry | undefined {
    const entry = this.#liveBox(id, nowMs)?.items.get(item)
    if (entry === undefined || entry.expiresAtMs <= nowMs) return undefined
    return { ...entry, body: entry.body.slice() }
  }

  acknowledge(id: BoxId, ids: readonly EnvelopeId[], tombstone: Grave & { nowMs: number }): number {
    const box = this.#boxes.get(id)
    if (box === undefined) return 0
    const { expiresAtMs, proof, nowMs } = tombstone
    let found = 0
    for (const item of ids) {
      if (this.#removeItem(box, item)) found++
      const kept = box.tombstones.get(item)?.expiresAtMs ?? nowMs
      if (expiresAtMs > kept) box.tombstones.set(item, { expiresAtMs, proof })
    }
    this.#expectExpiry(expiresAtMs)
    return found
  }

  tombstone(id: BoxId, item: EnvelopeId, nowMs: number): Uint8Array | undefined {
    const tombstone = this.#boxes.get(id)?.tombstones.get(item)
    return tombstone === undefined || tombstone.expiresAtMs <= nowMs ? undefined : tombstone.proof.slice()
  }

  tombstones(
    id: BoxId,
    page: { after?: EnvelopeId, limit: number, nowMs: number },
  ): Tombstone[] {
    const live = [...this.#liveBox(id, page.nowMs)?.tombstones ?? []]
      .filter(([item, { expiresAtMs }]) => expiresAtMs > page.nowMs && item > (page.after ?? ''))
    return live.sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, page.limit)
      .map(([item, { expiresAtMs, proof }]) => ({ id: item, expiresAtMs, proof: proof.slice() }))
  }

  expire(nowMs: number, budget: number): number {
    if (nowMs < this.#nextExpiryMs) return 0
    let gone = 0
    let nextExpiryMs = Infinity
    /** Counts what has expired against the budget, and remembers when the rest will. */
    const due = (expiresAtMs: number): boolean => {
      if (expiresAtMs <= nowMs && gone < budget) {
        gone++
        return true
      }
      nextExpiryMs = Math.min(nextExpiryMs, expiresAtMs)
      return false
    }
    for (const [id, box] of this.#boxes) {
      if (due(box.limits.expiresAtMs)) {
        this.dropBox(id)
        continue
      }
      for (const item of box.items.values()) if (due(item.expiresAtMs)) this.#removeItem(box, item.id)
      for (const [item, { expiresAtMs }] of box.tombstones) if (due(expiresAtMs)) box.tombstones.delete(item)
    }
    this.#nextExpiryMs = nextExpiryMs
    return gone
  }

  /** All of them, in order. */
  digest(range: DigestRange, nowMs: number): MailMark[] {
    const marks: MailMark[] = []
    for (const [box, { limits, items }] of this.#boxes) {
      if (limits.expiresAtMs <= nowMs) continue
      for (const { id, expiresAtMs } of items.values()) {
        const mark = { box, id, expiresAtMs }
        if (expiresAtMs > nowMs && isInDigest(mark, range)) marks.push(mark)
      }
    }
    return marks.sort(compareMarks)
  }

  #liveBox(id: BoxId, nowMs: number): Box | undefined {
    const box = this.#boxes.get(id)
    return box !== undefined && box.limits.expiresAtMs > nowMs ? box : undefined
  }

  #removeItem(box: Box, id: EnvelopeId): boolean {
    const entry = box.items.get(id)
    if (entry === undefined) return false
    box.items.delete(id)
    box.bytes -= entry.body.length
    this.#items--
    this.#bytes -= entry.body.length
    return true
  }

  #expectExpiry(expiresAtMs: number): void {
    this.#nextExpiryMs = Math.min(this.#nextExpiryMs, expiresAtMs)
  }
}
