/**
 * What a contact still wants from the network: an open inbox, a request, an answer, a new card,
 * sessions that are missing or broken, a newer device list, waiting texts; and of the self contact,
 * what our other devices are to be told. Nothing of it is remembered here: a look at the contact tells,
 * so a crash forgets nothing. One errand run per contact at a time; what fails is tried again
 * with doubling pauses.
 */
import type { Result } from '../../crypto/errors.ts'
import { jittered } from '../../crypto/random.ts'
import type { BoxId } from '../ids.ts'
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
import type { Turns } from './turns.ts'
import type { Unreadables } from './unreadables.ts'

export interface ErrandParts {
  readonly book: ContactBook
  readonly inboxes: Inboxes
  readonly introductions: Introductions
  readonly outbox: Outbox
  readonly sending: Sending
  readonly receipts: ReceiptsDue
  readonly turns: Turns
  readonly unreadables: Unreadables
  /** What our other devices are to be told; true when it is worth calling again. */
  readonly tellSiblings: () => Promise<boolean>
  /** A contact's newest list was looked for: what waited for it is tried again. */
  readonly onList: (id: ContactId) => void
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
  /** The node knows these inboxes in this session. */
  #opened = new Set<BoxId>()
  readonly #steps: readonly ((id: ContactId) => Promise<Result<undefined>>)[]
  #running = 0
  #isOpen = false

  constructor(context: Context, parts: ErrandParts) {
    this.#context = context
    this.#parts = parts
    const { introductions } = parts
    this.#steps = [
      (id) => this.#rotate(id),
      (id) => this.#request(id),
      (id) => this.#list(id),
      (id) => introductions.reach(id),
      (id) => this.#answer(id),
      (id) => this.#tell(id),
      (id) => this.#repair(id),
      (id) => this.#ask(id),
      (id) => introductions.retire(id),
      (id) => this.#send(id),
    ]
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
    if (errand.retry !== undefined) {
      // Only what was tried in its time doubles the pause, not how often somebody asks.
      errand.failures--
      errand.retry.cancel()
      errand.retry = undefined
    }
    if (errand.isRunning) errand.isAgain = true
    else this.#queue.add(id)
    this.#next()
  }

  /** A card changed: the network gets a moment to settle, then the contact is told. */
  pokeLater(id: ContactId): void {
    // Every device of ours could tell; whoever comes first in the list does, the others if it is off.
    const delayMs = limits.cardSettleMs * (1 + this.#context.own.rank)
    this.#context.clock.after(delayMs, () => this.poke(id))
  }

  forget(id: ContactId): void {
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
        () => {
          errand.retry = undefined
          this.poke(id)
        },
      )
    }
  }

  /** The code of what is left to do, if anything is. One step that fails holds up only its own. */
  async #attempt(id: ContactId): Promise<string | undefined> {
    try {
      const opened = await this.#open(id)
      if (!opened.ok) return opened.code
      let problem: string | undefined
      for (const step of this.#steps) {
        const result = await step(id)
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
    const box = this.#parts.book.get(id)?.box.id
    if (box === undefined || opened.has(box)) return done
    const result = await this.#parts.inboxes.open(id)
    if (result.ok) opened.add(box)
    return result
  }

  async #request(id: ContactId): Promise<Result<undefined>> {
    const introduction = this.#parts.book.get(id)?.introduction
    if (introduction === undefined || !this.#parts.introductions.isRequestDue(introduction)) return done
    return await this.#parts.introductions.request(id)
  }

  async #answer(id: ContactId): Promise<Result<undefined>> {
    // One answer is enough, and only the primary is sure to have read the request.
    const isDue = this.#context.own.isPrimary && this.#parts.book.get(id)?.isAnswerDue === true
    return isDue ? await this.#parts.introductions.answer(id) : done
  }

  async #tell(id: ContactId): Promise<Result<undefined>> {
    const contact = this.#parts.book.get(id)
    // Before they have answered there is nobody to tell; the answer makes this errand run again.
    if (contact?.card === undefined || id === this.#context.own.self) return done
    if (contact.toldSequence >= contact.box.sequence) return done
    return await this.#parts.introductions.tellCard(id)
  }

  async #repair(id: ContactId): Promise<Result<undefined>> {
    const contact = this.#parts.book.get(id)
    if (contact === undefined || !this.#parts.introductions.isRepairDue(contact)) return done
    return await this.#parts.introductions.repair(id)
  }

  /** A newer list of theirs, then what waited for it. */
  async #list(id: ContactId): Promise<Result<undefined>> {
    const contact = this.#parts.book.get(id)
    if (contact === undefined || !this.#parts.introductions.isListFetchDue(contact)) return done
    const fetched = await this.#parts.introductions.fetchList(id)
    if (fetched.ok || !fetched.code.startsWith('REQUEST_')) this.#parts.onList(id)
    return fetched
  }

  async #rotate(id: ContactId): Promise<Result<undefined>> {
    const contact = this.#parts.book.get(id)
    if (contact === undefined || !this.#parts.introductions.isRotationDue(contact)) return done
    const rotated = await this.#parts.introductions.rotate(id)
    return rotated.ok ? await this.#open(id) : rotated
  }

  /** What could not be read, once there is a session to ask through. */
  async #ask(id: ContactId): Promise<Result<undefined>> {
    const { turns, unreadables } = this.#parts
    for (let asks = 0; asks < limits.asksBurst && unreadables.isAskDue(id); asks++) {
      const isAsked = await turns.run(id, (turn) => unreadables.ask(turn))
      if (!isAsked) return { ok: false, code: 'CONTACT_NOT_READY' }
    }
    return done
  }

  async #send(id: ContactId): Promise<Result<undefined>> {
    const { book, outbox, receipts, sending } = this.#parts
    const card = book.get(id)?.card
    if (card === undefined) return done
    receipts.retry(id)
    if (id === this.#context.own.self) {
      while (await this.#parts.tellSiblings());
      return done
    }
    while (sending.isWaiting(id) && await sending.flush(id));
    const { box } = cardTarget(card)
    while (await sending.repeat(id, () => outbox.misplaced(id, box)));
    // A page at a time: their receipts may only be slow.
    await sending.repeat(id, () => outbox.unconfirmed(id, 'due'))
    return done
  }
}

const done: Result<undefined> = { ok: true, value: undefined }
