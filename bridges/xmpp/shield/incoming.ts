/**
 * Stanzas that another domain sent sealed: who says so is proven, batches are put in order, and each
 * stanza is handed on once.
 *
 * ```text
 *   xmpp/shield/in/DOMAIN/EPOCH            →  JSON: the next number, numbers that were skipped, last use
 *   xmpp/shield/in/DOMAIN/EPOCH/done/N/I   →  stanza I of batch N was handled; goes with its batch
 *   xmpp/shield/in/DOMAIN/EPOCH/held/N/P   →  piece P of batch N, whose turn has not come
 * ```
 *
 * The mark of a stanza is written in the one batch that keeps its message for its receiver, so that a
 * crash between two stanzas neither loses nor doubles one.
 */
import { utf8, utf8Decode } from '../../../crypto/bytes.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Clock, KvOperation, KvStore, Timer } from '../../../protocol/ports.ts'
import { sleep } from '../../../protocol/timers.ts'
import { Along } from '../along.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { StanzaTarget } from '../ports.ts'
import { RateTable } from '../s2s/rate-table.ts'
import { mayBounce, StanzaError, toError } from '../stanza-errors.ts'
import type { XmlElement } from '../xml/element.ts'
import { formatPiece, parsePiece, readBatch } from './batch.ts'
import type { Piece } from './batch.ts'
import { marked } from './label.ts'
import type { DomainProofs } from './proofs.ts'
import { isLasting } from './shield-link.ts'

const prefix = 'xmpp/shield/in/'

export interface IncomingParts {
  readonly clock: Clock
  readonly kv: KvStore
  readonly proofs: DomainProofs
  readonly target: StanzaTarget
  isOurs(domain: string): boolean
  /** Nothing is taken from it: blocked, or it has to come in the open. */
  isRefused(domain: string): boolean
  /** An answer that says why something was not taken. */
  answer(stanza: XmlElement): Promise<void>
  told(domain: string, facts: Readonly<Record<string, unknown>>, message: string): void
}

interface Epoch {
  readonly key: string
  next: number
  /** Passed over when they did not come; taken when they come late. */
  skipped: number[]
  usedAtMs: number
  /** Pieces whose turn has not come, by number and piece. */
  readonly held: Map<number, Map<number, Piece>>
  /** Of batches that were begun: which of their stanzas are done. */
  readonly done: Map<number, Set<number>>
  turn: Promise<void>
  /** Runs while something waits for a batch before it. */
  gap?: Timer | undefined
}

/** Its account is not known to speak for the domain, and may be later: the carrier brings it again. */
class NotProven extends Error {}

export class ShieldIncoming {
  readonly #parts: IncomingParts
  readonly #epochs = new Map<string, Promise<Epoch>>()
  readonly #senderRates: RateTable
  readonly #domainRates: RateTable
  #isStopped = false

  constructor(parts: IncomingParts) {
    this.#parts = parts
    const { s2sDomainRate, s2sDomainBurst, s2sSenderRate, s2sSenderBurst, s2sSendersKept } = xmppLimits
    this.#senderRates = new RateTable(parts.clock, {
      perSecond: s2sSenderRate, burst: s2sSenderBurst, namesMax: s2sSendersKept,
    })
    this.#domainRates = new RateTable(parts.clock, {
      perSecond: s2sDomainRate, burst: s2sDomainBurst, namesMax: xmppLimits.shieldPeersMax,
    })
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    for (const loading of this.#epochs.values()) {
      const epoch = await loading
      epoch.gap?.cancel()
      await epoch.turn
    }
  }

  /** A message of the account with this address. Settles when it is durable; rejects: once more later. */
  async received(address: string, text: string): Promise<void> {
    const { told } = this.#parts
    const parsed = parsePiece(text)
    if (!parsed.ok) {
      told('', { address, reason: parsed.detail }, 'a sealed message was no batch')
      return
    }
    const piece = parsed.value
    const { domain } = piece
    if (this.#parts.isRefused(domain)) {
      told(domain, { address }, 'a sealed batch of a blocked domain was dropped')
      return
    }
    if (!await this.#isProven(piece, address)) return
    const epoch = await this.#epoch(piece)
    const turn = epoch.turn.then(() => this.#take(epoch, piece))
    epoch.turn = turn.catch(() => {})
    await turn
  }

  /** @throws NotProven */
  async #isProven({ domain, takenAtMs }: Piece, address: string): Promise<boolean> {
    const { proofs, clock, told } = this.#parts
    let proof = await proofs.prove(domain)
    const isOld = proof.ok && clock.now() - proof.peer.provenAtMs > xmppLimits.shieldProveAnewMs
    if (proof.ok && proof.peer.address !== address && isOld) proof = await proofs.proveAnew(domain)
    if (proof.ok && proof.peer.address === address) return true
    // What was promised to the sender is kept for as long as its messages live.
    const isOver = clock.now() - takenAtMs > xmppLimits.shieldUnprovenMs
    if (!proof.ok && !isOver) throw new NotProven(proof.text)
    const reason = proof.ok ? `the domain names ${proof.peer.address}` : proof.text
    told(domain, { address, reason }, 'a sealed batch came from who does not speak for the domain')
    return false
  }

  // ── Order ───────────────────────────────────────────────────────────────────────────────────

  async #take(epoch: Epoch, piece: Piece): Promise<void> {
    const { number } = piece
    const isLate = number < epoch.next && epoch.skipped.includes(number)
    if (number < epoch.next && !isLate) return
    const held = epoch.held.get(number) ?? new Map<number, Piece>()
    held.set(piece.piece, piece)
    epoch.held.set(number, held)
    const isDue = isLate || number === Math.max(epoch.next, piece.base)
    if (!isDue || held.size < piece.pieces) await this.#hold(epoch, piece)
    if (isLate && held.size === piece.pieces) await this.#handle(epoch, number)
    await this.#advance(epoch, piece.base)
    this.#watch(epoch)
  }

  /** All whose turn has come. What is below `base` will not be sent. */
  async #advance(epoch: Epoch, base: number): Promise<void> {
    for (;;) {
      if (isWhole(epoch.held.get(epoch.next))) await this.#handle(epoch, epoch.next)
      else if (epoch.next < base) passOver(epoch, base)
      else if (epoch.held.size > xmppLimits.shieldHeldMax) passOver(epoch, lowestWhole(epoch))
      else return
    }
  }

  /** One that does not come keeps the others waiting for so long and no longer. */
  #watch(epoch: Epoch): void {
    if (this.#isStopped || epoch.gap !== undefined || lowestWhole(epoch) === undefined) return
    epoch.gap = this.#parts.clock.after(xmppLimits.shieldGapMs, () => {
      epoch.gap = undefined
      epoch.turn = epoch.turn.then(async () => {
        passOver(epoch, lowestWhole(epoch))
        await this.#advance(epoch, 0)
      }).catch(() => {}).then(() => this.#watch(epoch))
    })
  }

  async #hold({ key }: Epoch, piece: Piece): Promise<void> {
    const value = utf8(formatPiece(piece))
    const place = `${key}/held/${numbered(piece.number)}/${piece.piece}`
    await this.#parts.kv.write([{ type: 'put', key: place, value }])
  }

  // ── Stanzas ─────────────────────────────────────────────────────────────────────────────────

  async #handle(epoch: Epoch, number: number): Promise<void> {
    const pieces = [...epoch.held.get(number)!.values()].toSorted((a, b) => a.piece - b.piece)
    const read = readBatch(pieces.map(({ text }) => text).join(''))
    const { domain, takenAtMs } = pieces[0]!
    const done = epoch.done.get(number) ?? new Set<number>()
    epoch.done.set(number, done)
    if (read.ok) {
      const work = read.value.map(async (stanza, index) => {
        if (done.has(index)) return
        const key = `${epoch.key}/done/${numbered(number)}/${index}`
        await this.#stanza(stanza, { domain, takenAtMs, key })
        done.add(index)
      })
      const outcomes = await Promise.allSettled(work)
      const failed = outcomes.find((one) => one.status === 'rejected')
      // What was kept is marked; the carrier brings the batch again for the rest.
      if (failed !== undefined) throw failed.reason
      await this.#pace(domain, read.value.length)
    } else {
      this.#parts.told(domain, { reason: read.detail }, 'a sealed batch could not be read')
    }
    epoch.next = Math.max(epoch.next, number + 1)
    epoch.skipped = epoch.skipped.filter((one) => one !== number)
    epoch.held.delete(number)
    epoch.done.delete(number)
    await this.#settle(epoch, number, { pieces: pieces.length, stanzas: done.size })
  }

  async #stanza(stanza: XmlElement, { domain, takenAtMs, key }: {
    readonly domain: string, readonly takenAtMs: number, readonly key: string,
  }): Promise<void> {
    const { clock, kv, target, isOurs, told } = this.#parts
    const from = Jid.parse(stanza.attrs['from'] ?? '')
    const to = Jid.parse(stanza.attrs['to'] ?? '')
    const services = this.#parts.proofs.known(domain)?.services ?? []
    const isTheirs = from !== undefined && (from.domain === domain || services.includes(from.domain))
    if (!isTheirs || to === undefined || !isOurs(to.domain)) {
      const { from: claimed, to: aim } = stanza.attrs
      told(domain, { from: claimed, to: aim }, 'a sealed stanza had a wrong address')
      return
    }
    const { s2sRequestPatienceMs, shieldSkewMs } = xmppLimits
    const isLate = clock.now() - takenAtMs > s2sRequestPatienceMs + shieldSkewMs
    if (isLate && !isLasting(stanza)) return
    if (mayBounce(stanza) && !this.#senderRates.take(from.bare)) {
      const text = 'you send too much; wait a minute'
      await this.#parts.answer(toError(stanza, new StanzaError('policy-violation', { type: 'wait', text })))
      return
    }
    const along = new Along(kv, [{ type: 'put', key, value: new Uint8Array() }])
    await target.fromRemote(marked(stanza), along)
    // Requests and presence may be handled twice after a crash; a message may not.
    if (stanza.name === 'message') await along.settle()
  }

  /** The carrier brings nothing more of this account meanwhile. */
  async #pace(domain: string, stanzas: number): Promise<void> {
    let waitMs = 0
    for (let i = 0; i < stanzas; i++) waitMs = this.#domainRates.owe(domain)
    if (waitMs > 0) await sleep(this.#parts.clock, waitMs)
  }

  // ── Records ─────────────────────────────────────────────────────────────────────────────────

  async #settle(
    epoch: Epoch, number: number,
    { pieces, stanzas }: { readonly pieces: number, readonly stanzas: number },
  ): Promise<void> {
    const { kv, clock } = this.#parts
    epoch.usedAtMs = clock.now()
    const { next, skipped, usedAtMs } = epoch
    const erase = (folder: string, count: number): KvOperation[] => Array.from({ length: count }, (_, i) => (
      { type: 'delete', key: `${epoch.key}/${folder}/${numbered(number)}/${i}` }
    ))
    const value = utf8(JSON.stringify({ next, skipped, usedAtMs }))
    await kv.write([
      { type: 'put', key: epoch.key, value }, ...erase('done', stanzas), ...erase('held', pieces),
    ])
  }

  #epoch({ domain, epoch }: Piece): Promise<Epoch> {
    const key = `${prefix}${domain}/${epoch}`
    const known = this.#epochs.get(key)
    if (known !== undefined) return known
    const loading = this.#load(key, domain)
    this.#epochs.set(key, loading)
    loading.catch(() => this.#epochs.delete(key))
    return loading
  }

  async #load(key: string, domain: string): Promise<Epoch> {
    const { kv, clock } = this.#parts
    const epoch: Epoch = {
      key, next: 0, skipped: [], usedAtMs: clock.now(), held: new Map(), done: new Map(),
      turn: Promise.resolve(),
    }
    const others = new Map<string, number>()
    const stale: string[] = []
    for await (const entry of kvEntries(kv, `${prefix}${domain}/`)) {
      const [, folder, number, index] = entry.key.slice(prefix.length + domain.length + 1).split('/')
      const isThis = entry.key.startsWith(key)
      if (folder === undefined) {
        const state = JSON.parse(utf8Decode(entry.value)) as Pick<Epoch, 'next' | 'skipped' | 'usedAtMs'>
        if (isThis) Object.assign(epoch, state)
        else others.set(entry.key, state.usedAtMs)
      } else if (isThis && folder === 'done') {
        epoch.done.set(Number(number), (epoch.done.get(Number(number)) ?? new Set()).add(Number(index)))
      } else if (isThis && folder === 'held') {
        const piece = parsePiece(utf8Decode(entry.value))
        if (!piece.ok) continue
        const held = epoch.held.get(Number(number)) ?? new Map<number, Piece>()
        epoch.held.set(Number(number), held.set(Number(index), piece.value))
      }
    }
    const oldest = [...others].toSorted((a, b) => b[1] - a[1]).slice(xmppLimits.shieldEpochsKept)
    for (const [old] of oldest) stale.push(old)
    await this.#erase(stale)
    return epoch
  }

  async #erase(epochs: readonly string[]): Promise<void> {
    const { kv } = this.#parts
    for (const key of epochs) {
      this.#epochs.delete(key)
      const keys: string[] = [key]
      for await (const entry of kvEntries(kv, `${key}/`)) keys.push(entry.key)
      for (let at = 0; at < keys.length; at += xmppLimits.erasedAtOnce) {
        const some = keys.slice(at, at + xmppLimits.erasedAtOnce)
        await kv.write(some.map((one) => ({ type: 'delete', key: one })))
      }
    }
  }
}

function isWhole(held: ReadonlyMap<number, Piece> | undefined): boolean {
  const [first] = held?.values() ?? []
  return first !== undefined && held!.size === first.pieces
}

/** Of those that wait. */
function lowestWhole({ held, next }: Epoch): number | undefined {
  const numbers = [...held].filter(([number, pieces]) => number >= next && isWhole(pieces))
    .map(([number]) => number)
  return numbers.length === 0 ? undefined : Math.min(...numbers)
}

/** To the next that is there whole, and no further than `base`; at least one. */
function passOver(epoch: Epoch, base: number = epoch.next + 1): void {
  const target = Math.min(base, lowestWhole(epoch) ?? base)
  // A sender may name any number.
  const first = Math.max(epoch.next, target - xmppLimits.shieldHeldMax)
  for (let number = first; number < target; number++) epoch.skipped.push(number)
  epoch.skipped = epoch.skipped.slice(-xmppLimits.shieldHeldMax)
  epoch.next = target
}

function numbered(number: number): string {
  return String(number).padStart(16, '0')
}
