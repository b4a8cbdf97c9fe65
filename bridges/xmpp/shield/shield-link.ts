/**
 * Stanzas for one other domain: written down, then sealed to the service account of its node, or given
 * to s2s, whichever policy and proof allow.
 *
 * ```text
 *   push ─▶ batch (durable) ─▶ which way? ─┬─ sealed: its account is proven and known ─▶ carrier
 *                                          ├─ s2s: it has no shield, and is not pinned
 *                                          └─ wait: asked again, until the patience of a stanza ends
 * ```
 *
 * While it is being found out which way, stanzas wait, so that they stay in order and none goes in the
 * open that could have gone sealed. What is sealed waits in the other account's mailbox while its node
 * is off. Requests and presence are of use for a minute; then whoever asked is told.
 */
import { errorCode } from '../../../crypto/errors.ts'
import type { MessageId } from '../../../protocol/ids.ts'
import type { Clock, Timer } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { S2sFailure } from '../s2s/failure.ts'
import type { XmlElement } from '../xml/element.ts'
import { writeStanza } from '../xml/writer.ts'
import { batchFrameCharacters, cut, formatPiece } from './batch.ts'
import type { Carrier } from './carrier.ts'
import type { DomainProofs } from './proofs.ts'
import type { Batch, ShieldOutbox } from './shield-outbox.ts'

/** `prefer`: s2s for whoever has no shield. `require`: then not at all. */
export type ShieldMode = 'prefer' | 'require' | 'off'

export interface ShieldLinkParts {
  readonly clock: Clock
  readonly proofs: DomainProofs
  readonly carrier: Carrier
  readonly outbox: ShieldOutbox
  /** The domain that our account speaks for. */
  readonly ours: string
  /** Of this process. */
  readonly epoch: string
  mode(domain: string): ShieldMode
  /** Makes our account known to theirs. Never throws. */
  introduce(domain: string): Promise<void>
  /** The way in the open. Settles when it is durable there. */
  sendPlain(stanza: XmlElement): Promise<void>
  /** Whether stanzas for the domain still wait there: they go first. */
  isPlainBusy(domain: string): boolean
  bounce(stanza: XmlElement, why: S2sFailure): Promise<void>
  told(domain: string, facts: Readonly<Record<string, unknown>>, message: string): void
}

type Way = { readonly by: 'sealed', readonly address: string } | { readonly by: 's2s' | 'wait' | 'refuse' }

interface Pushed {
  readonly stanza: XmlElement
  readonly resolve: () => void
}

const notLate = new Set(['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed'])

/** Whether it is worth something hours later. */
export function isLasting({ name, attrs: { type } }: XmlElement): boolean {
  return name === 'message' || (name === 'presence' && notLate.has(type ?? ''))
}

export class ShieldLink {
  readonly domain: string
  readonly #parts: ShieldLinkParts
  #pushed: Pushed[] = []
  #writing: Promise<void> | undefined
  /** Not sent, in order. */
  readonly #queue: Batch[] = []
  /** Sent and not known to have arrived. */
  readonly #sent = new Set<Batch>()
  readonly #byMessage = new Map<MessageId, Batch>()
  #number = 0
  #isDue = false
  #working: Promise<void> | undefined
  #sweep: Timer | undefined
  #isSweepDue = false
  #isAgainDue = false
  #isStopped = false
  #way: Way['by'] = 'wait'
  #plainUntilMs = 0
  /** When it was first tried to seal, since the last success. */
  #triesSinceMs: number | undefined
  #introducedAtMs = Number.NEGATIVE_INFINITY
  /** Why nothing goes, for people. */
  #problem = 'its shield is not found yet'

  constructor(parts: ShieldLinkParts, domain: string) {
    this.domain = domain
    this.#parts = parts
  }

  get way(): Way['by'] {
    return this.#way
  }

  get problem(): string {
    return this.#problem
  }

  /** Stanzas that wait or are not known to have arrived. */
  get waiting(): number {
    return [...this.#queue, ...this.#sent].reduce((sum, { stanzas }) => sum + stanzas.length, 0)
  }

  get isIdle(): boolean {
    return this.#queue.length + this.#sent.size + this.#pushed.length === 0 && this.#writing === undefined
  }

  /** Stanzas may go to s2s without waiting here: that way was chosen lately, and nothing is before them. */
  get isPlain(): boolean {
    const isEmpty = this.#queue.length + this.#pushed.length === 0 && this.#writing === undefined
    return isEmpty && this.#way === 's2s' && this.#parts.clock.monotonicMs() < this.#plainUntilMs
  }

  /** What an earlier process left of it, in order. */
  async restore(batches: readonly Batch[]): Promise<void> {
    for (const batch of batches) {
      const outcomes = await Promise.all([...batch.messages].map(async (id) => {
        const outcome = await this.#parts.carrier.outcome(id)
        if (outcome === 'delivered') batch.messages.delete(id)
        return outcome
      }))
      if (outcomes.length > 0 && batch.messages.size === 0) this.#parts.outbox.done(batch)
      else if (outcomes.length > 0 && outcomes.every((one) => one === 'waiting' || one === 'delivered')) {
        this.#track(batch)
      } else {
        // As the same batch: the other end drops what it has.
        if (outcomes.length > 0) this.#again(batch)
        this.#queue.push(batch)
      }
    }
    this.wake()
  }

  /** Settles when it is written down, or went back. */
  push(stanza: XmlElement): Promise<void> {
    return new Promise((resolve) => {
      this.#pushed.push({ stanza, resolve })
      this.#beginWriting()
    })
  }

  #beginWriting(): void {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
      // Something came between its last look and its end.
      if (this.#pushed.length > 0) this.#beginWriting()
    })
  }

  /** Looks at once whether anything can go. */
  wake(): void {
    this.#isDue = true
    if (this.#isStopped) return
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined
      if (this.#isDue) this.wake()
      else this.#plan()
    })
  }

  delivered(id: MessageId): void {
    const batch = this.#byMessage.get(id)
    if (batch === undefined) return
    this.#byMessage.delete(id)
    batch.messages.delete(id)
    void this.#parts.proofs.sealed(this.domain).catch(() => {})
    if (batch.messages.size > 0) return
    this.#sent.delete(batch)
    this.#parts.outbox.done(batch)
    this.wake()
  }

  failed(id: MessageId): void {
    const batch = this.#byMessage.get(id)
    if (batch === undefined) return
    this.#forget(batch)
    void this.#giveUp(batch, `${this.domain} did not fetch it in time`)
  }

  /** Another account speaks for the domain: what the old one did not get goes to the new one. */
  sendAgain(): void {
    // What the old one refuses or takes from now on says nothing.
    this.#byMessage.clear()
    this.#isAgainDue = true
    this.wake()
  }

  #sendAgain(): void {
    this.#isAgainDue = false
    const again = [...this.#sent]
    for (const batch of again) this.#again(batch)
    this.#queue.unshift(...again)
    this.#introducedAtMs = Number.NEGATIVE_INFINITY
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#sweep?.cancel()
    await this.#writing
    await this.#working
  }

  // ── Writing down ────────────────────────────────────────────────────────────────────────────

  /** One write carries whatever came while the one before it was under way. */
  async #write(): Promise<void> {
    await Promise.resolve()
    while (this.#pushed.length > 0) {
      const pushed = this.#takeBatch()
      const stanzas = pushed.map(({ stanza }) => stanza)
      const { outbox, epoch, clock } = this.#parts
      try {
        const id = { domain: this.domain, epoch, number: this.#number++ }
        this.#queue.push(await outbox.add(id, stanzas, clock.now()))
      } catch {
        const text = 'it could not be kept here'
        for (const stanza of stanzas) await this.#bounce(stanza, 'resource-constraint', text)
      }
      for (const { resolve } of pushed) resolve()
      this.wake()
    }
  }

  /** As many as fit into one message, or one that does not. */
  #takeBatch(): Pushed[] {
    let characters = 0
    let count = 0
    for (const { stanza } of this.#pushed) {
      characters += stanza.written(writeStanza).length
      if (count > 0 && characters > xmppLimits.shieldPieceCharactersMax - batchFrameCharacters) break
      count++
    }
    return this.#pushed.splice(0, count)
  }

  // ── Which way ───────────────────────────────────────────────────────────────────────────────

  async #work(): Promise<void> {
    while (this.#isDue && !this.#isStopped) {
      this.#isDue = false
      if (this.#isAgainDue) this.#sendAgain()
      if (this.#isSweepDue) await this.#expire()
      if (this.#queue.length === 0) continue
      const way = await this.#choose()
      if (way.by !== this.#way) {
        const facts = { way: way.by, reason: this.#problem }
        this.#parts.told(this.domain, facts, 'another domain is reached another way')
      }
      this.#way = way.by
      if (way.by === 'sealed') await this.#seal(way.address)
      else if (way.by === 's2s') await this.#handOver()
      else if (way.by === 'refuse') await this.#refuse()
    }
  }

  async #choose(): Promise<Way> {
    const { proofs, carrier, clock } = this.#parts
    const mode = this.#parts.mode(this.domain)
    if (mode === 'off') return { by: 's2s' }
    const isPinned = proofs.isPinned(this.domain)
    const mayPlain = mode === 'prefer' && !isPinned
    this.#triesSinceMs ??= clock.monotonicMs()
    const proof = await proofs.prove(this.domain)
    if (!proof.ok) {
      this.#problem = proof.text
      if (mayPlain) return this.#plain()
      return { by: isPinned || proof.why === 'unreachable' ? 'wait' : 'refuse' }
    }
    // What went in the open before arrives before.
    if (mayPlain && this.#parts.isPlainBusy(this.domain)) return this.#plain()
    const { address } = proof.peer
    const state = await carrier.state(address)
    if (state === 'active') {
      this.#triesSinceMs = undefined
      this.#problem = ''
      return { by: 'sealed', address }
    }
    this.#problem = state === 'doubt' ? `the key of ${this.domain}'s node is in doubt`
      : `the node of ${this.domain} has not answered yet`
    const nowMs = clock.monotonicMs()
    if (state === 'unknown' && nowMs - this.#introducedAtMs >= xmppLimits.shieldIntroduceAgainMs) {
      this.#introducedAtMs = nowMs
      void this.#parts.introduce(this.domain).then(() => this.wake())
    }
    const isPatient = nowMs - this.#triesSinceMs < xmppLimits.shieldIntroductionMs
    return mayPlain && !isPatient ? this.#plain() : { by: 'wait' }
  }

  #plain(): Way {
    this.#plainUntilMs = this.#parts.clock.monotonicMs() + xmppLimits.shieldPlainMs
    return { by: 's2s' }
  }

  async #seal(address: string): Promise<void> {
    const { ours } = this.#parts
    while (!this.#isStopped && !this.#isAgainDue && this.#sent.size < xmppLimits.shieldWindowBatches) {
      const [batch] = this.#queue
      if (batch === undefined) return
      const { id, takenAtMs } = batch
      const texts = cut(batch.text)
      try {
        for (const [piece, text] of texts.entries()) {
          const place = { ...id, domain: ours, base: this.#base(id.epoch), piece, pieces: texts.length }
          const written = formatPiece({ ...place, takenAtMs, text })
          const message = await this.#parts.carrier.send(address, written)
          batch.messages.add(message)
          this.#byMessage.set(message, batch)
        }
      } catch (error) {
        this.#problem = `it could not be sent (${errorCode(error) ?? 'unknown reason'})`
        this.#forget(batch)
        batch.messages.clear()
        return
      }
      this.#queue.shift()
      this.#sent.add(batch)
      this.#parts.outbox.sent(batch)
    }
  }

  /** Batches below it have arrived or never will. */
  #base(epoch: string): number {
    const numbers = [...this.#sent, ...this.#queue].filter(({ id }) => id.epoch === epoch)
      .map(({ id }) => id.number)
    return numbers.reduce((least, one) => Math.min(least, one), Number.POSITIVE_INFINITY)
  }

  async #handOver(): Promise<void> {
    for (let batch; (batch = this.#queue[0]) !== undefined;) {
      for (const stanza of batch.stanzas) await this.#parts.sendPlain(stanza)
      this.#queue.shift()
      this.#parts.outbox.done(batch)
    }
  }

  async #refuse(): Promise<void> {
    for (const batch of this.#queue.splice(0)) {
      await this.#giveUp(batch, `${this.#problem}, and this server speaks with ${this.domain} sealed alone`)
    }
  }

  // ── Patience ────────────────────────────────────────────────────────────────────────────────

  #plan(): void {
    this.#sweep?.cancel()
    if (this.#isStopped || this.#queue.length + this.#sent.size === 0) return
    this.#sweep = this.#parts.clock.after(xmppLimits.shieldSweepMs, () => {
      this.#isSweepDue = true
      this.wake()
    })
  }

  async #expire(): Promise<void> {
    this.#isSweepDue = false
    const nowMs = this.#parts.clock.now()
    const { s2sMessagePatienceMs, s2sRequestPatienceMs } = xmppLimits
    for (const batch of [...this.#queue]) {
      const ageMs = nowMs - batch.waitsSinceMs
      const isOver = (stanza: XmlElement): boolean =>
        ageMs > (isLasting(stanza) ? s2sMessagePatienceMs : s2sRequestPatienceMs)
      const kept = batch.stanzas.filter((stanza) => !isOver(stanza))
      if (kept.length === batch.stanzas.length) continue
      const late = batch.stanzas.filter(isOver)
      if (kept.length > 0) await this.#parts.outbox.keepOnly(batch, kept)
      for (const stanza of late) await this.#bounce(stanza, 'remote-server-timeout', this.#problem)
      if (kept.length > 0) continue
      this.#queue.splice(this.#queue.indexOf(batch), 1)
      this.#parts.outbox.done(batch)
    }
    for (const batch of this.#sent) {
      if (batch.isLate || nowMs - batch.takenAtMs <= s2sRequestPatienceMs) continue
      batch.isLate = true
      const requests = batch.stanzas.filter(({ name }) => name === 'iq')
      for (const stanza of requests) {
        await this.#bounce(stanza, 'remote-server-timeout', `the node of ${this.domain} does not answer`)
      }
    }
  }

  async #giveUp(batch: Batch, text: string): Promise<void> {
    for (const stanza of batch.stanzas) {
      if (batch.isLate && stanza.name === 'iq') continue
      await this.#bounce(stanza, 'remote-server-timeout', text)
    }
    this.#parts.outbox.done(batch)
  }

  #bounce(stanza: XmlElement, condition: S2sFailure['condition'], text: string): Promise<void> {
    return this.#parts.bounce(stanza, { ok: false, condition, text, isLasting: true })
  }

  #again(batch: Batch): void {
    this.#forget(batch)
    batch.messages.clear()
    batch.waitsSinceMs = this.#parts.clock.now()
  }

  #track(batch: Batch): void {
    this.#sent.add(batch)
    for (const id of batch.messages) this.#byMessage.set(id, batch)
  }

  #forget(batch: Batch): void {
    this.#sent.delete(batch)
    for (const id of batch.messages) this.#byMessage.delete(id)
  }
}
