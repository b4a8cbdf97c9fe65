/**
 * What a contact still wants from the network: an open inbox, a request, an answer, a new card, a
 * repaired session, waiting texts. Nothing of it is remembered here: a look at the contact tells,
 * so a crash forgets nothing. One errand run per contact at a time; what fails is tried again
 * with doubling pauses.
 */
import type { Result } from '../../crypto/errors.ts'
import { jittered } from '../../crypto/random.ts'
import { limits } from '../limits.ts'
import type { Timer } from '../ports.ts'
import type { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import type { Inboxes } from './inboxes.ts'
import type { Introductions } from './introductions.ts'
import type { Outbox } from './outbox.ts'
import type { ReceiptsDue } from './receipts-due.ts'
import type { ContactId } from './records.ts'
import { cardTarget } from './sealing.ts'
import type { Sending } from './sending.ts'

export interface ErrandParts {
  readonly book: ContactBook
  readonly inboxes: Inboxes
  readonly introductions: Introductions
  readonly outbox: Outbox
  readonly sending: Sending
  readonly receipts: ReceiptsDue
}

interface Errand {
  /** Asked for again while it ran. */
  isAgain: boolean
  isRunning: boolean
  failures: number
  retry: Timer | undefined
}

export class Errands {
  readonly #context: Context
  readonly #parts: ErrandParts
  readonly #errands = new Map<ContactId, Errand>()
  readonly #queue = new Set<ContactId>()
  /** The node knows their inboxes in this session. */
  #opened = new Set<ContactId>()
  #running = 0
  #isOpen = false

  constructor(context: Context, parts: ErrandParts) {
    this.#context = context
    this.#parts = parts
  }

  /** A new session: every inbox is opened again, everything is looked at again. */
  reset(): void {
    this.#isOpen = true
    this.#opened = new Set()
    for (const errand of this.#errands.values()) {
      errand.retry?.cancel()
      errand.retry = undefined
      errand.failures = 0
    }
    this.pokeAll()
  }

  stop(): void {
    this.#isOpen = false
    this.#queue.clear()
    for (const errand of this.#errands.values()) errand.retry?.cancel()
    this.#errands.clear()
  }

  pokeAll(): void {
    for (const { id } of this.#parts.book.all()) this.poke(id)
  }

  /** Look at this contact soon. */
  poke(id: ContactId): void {
    if (!this.#isOpen) return
    const errand = this.#errands.get(id) ?? {
      isAgain: false, isRunning: false, failures: 0, retry: undefined,
    }
    this.#errands.set(id, errand)
    errand.retry?.cancel()
    errand.retry = undefined
    if (errand.isRunning) errand.isAgain = true
    else this.#queue.add(id)
    this.#next()
  }

  /** A card changed: the network gets a moment to settle, then the contact is told. */
  pokeLater(id: ContactId): void {
    this.#context.clock.after(limits.cardSettleMs, () => this.poke(id))
  }

  forget(id: ContactId): void {
    this.#opened.delete(id)
    this.#errands.get(id)?.retry?.cancel()
    this.#errands.delete(id)
  }

  #next(): void {
    while (this.#running < limits.errandsMax) {
      const [id] = this.#queue
      if (id === undefined) return
      this.#queue.delete(id)
      this.#running++
      void this.#run(id)
    }
  }

  async #run(id: ContactId): Promise<void> {
    const errand = this.#errands.get(id)
    if (errand !== undefined) {
      errand.isRunning = true
      errand.isAgain = false
      const problem = await this.#attempt(id)
      errand.isRunning = false
      if (this.#isOpen && this.#errands.get(id) === errand) this.#conclude(id, errand, problem)
    }
    this.#running--
    this.#next()
  }

  #conclude(id: ContactId, errand: Errand, problem: string | undefined): void {
    if (errand.isAgain) {
      this.#queue.add(id)
    } else if (problem === undefined) {
      this.#errands.delete(id)
    } else {
      const pauseMs = Math.min(limits.errandMaxMs, limits.errandMinMs * 2 ** errand.failures++)
      this.#context.log.debug({ code: problem, pauseMs }, 'an errand has to be done again')
      errand.retry = this.#context.clock.after(
        jittered(this.#context.random, pauseMs, 0.3),
        () => this.poke(id),
      )
    }
  }

  /** The code of what is left to do, if anything is. One step that fails holds up only its own. */
  async #attempt(id: ContactId): Promise<string | undefined> {
    try {
      const opened = await this.#open(id)
      if (!opened.ok) return opened.code
      let problem: string | undefined
      for (const step of [this.#request, this.#answer, this.#tell, this.#repair, this.#send]) {
        const result = await step.call(this, id)
        if (!result.ok) problem ??= result.code
      }
      return problem
    } catch (error) {
      this.#context.log.warn({ err: error }, 'an errand failed')
      return 'ERRAND_FAILED'
    }
  }

  async #open(id: ContactId): Promise<Result<undefined>> {
    const opened = this.#opened
    if (opened.has(id) || this.#parts.book.get(id) === undefined) return done
    const result = await this.#parts.inboxes.open(id)
    if (result.ok) opened.add(id)
    return result
  }

  async #request(id: ContactId): Promise<Result<undefined>> {
    const introduction = this.#parts.book.get(id)?.introduction
    if (introduction === undefined || !this.#parts.introductions.isRequestDue(introduction)) return done
    return await this.#parts.introductions.request(id)
  }

  async #answer(id: ContactId): Promise<Result<undefined>> {
    return this.#parts.book.get(id)?.isAnswerDue === true ? await this.#parts.introductions.answer(id) : done
  }

  async #tell(id: ContactId): Promise<Result<undefined>> {
    const contact = this.#parts.book.get(id)
    // Before they have answered there is nobody to tell; the answer makes this errand run again.
    if (contact?.card === undefined || contact.toldSequence >= contact.box.sequence) return done
    return await this.#parts.introductions.tellCard(id)
  }

  async #repair(id: ContactId): Promise<Result<undefined>> {
    const contact = this.#parts.book.get(id)
    if (contact === undefined || !this.#parts.introductions.isRepairDue(contact)) return done
    return await this.#parts.introductions.repair(id)
  }

  async #send(id: ContactId): Promise<Result<undefined>> {
    const { book, outbox, receipts, sending } = this.#parts
    const card = book.get(id)?.card
    if (card === undefined) return done
    receipts.retry(id)
    while (sending.isWaiting(id) && await sending.flush(id));
    const { box } = cardTarget(card)
    while (await sending.repeat(id, () => outbox.misplaced(id, box)));
    // A page at a time: their receipts may only be slow.
    await sending.repeat(id, () => outbox.unconfirmed(id, 'due'))
    return done
  }
}

const done: Result<undefined> = { ok: true, value: undefined }
