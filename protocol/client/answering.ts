/**
 * What the other side could not read and asks for again: texts are sealed anew with the sessions
 * of now, everything else is said anew in its own way, and each envelope gets its answer.
 *
 * | the envelope                   | answer                     | and                              |
 * |--------------------------------|----------------------------|----------------------------------|
 * | a text on its way              | again, with its message id | sealed anew, in its old place    |
 * | a text that was delivered      | again, with its message id | sealed anew from the history     |
 * | a text that failed or is gone  | lost                       |                                  |
 * | a card, an answer, a question  | again                      | card and question once more      |
 * | receipts                       | again                      | (their texts come again, or are  |
 * |                                |                            | confirmed when they do)          |
 * | not ours, or not for them      | lost                       |                                  |
 * | of another device of ours      | none: that one answers     |                                  |
 *
 * Envelopes that are no longer in the outbox are filed under their expiry hour for as long as
 * somebody may ask. A contact who asks for more than `askAnswersPerHour` is not answered beyond
 * that, and asks again later. While their key is in doubt no text is sealed, so none is answered.
 */
import { limits } from '../limits.ts'
import type { AskAgainBody, AskedEnvelope } from '../message/ask-again.ts'
import type { AskReplyBody, ComesAgain } from '../message/ask-reply.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { Context } from './context.ts'
import type { Outbox } from './outbox.ts'
import { keys } from './keys.ts'
import { kinds, messageCodec, readRecord, states } from './records.ts'
import type { ContactId, Kind } from './records.ts'
import type { Sending } from './sending.ts'
import { sendBody } from './sending.ts'
import type { Turn } from './turns.ts'
import type { Unreadables } from './unreadables.ts'

export interface AnsweringParts {
  readonly outbox: Outbox
  readonly sending: Sending
  readonly unreadables: Unreadables
  /** Something is to be told. */
  readonly onNeed: (turn: Turn) => void
}

/** `later`: no answer now; it will be asked for again. */
type Answer = ComesAgain | 'lost' | 'later'

export class Answering {
  readonly #context: Context
  readonly #parts: AnsweringParts
  readonly #buckets = new Map<ContactId, TokenBucket>()
  #refused = 0

  constructor(context: Context, parts: AnsweringParts) {
    this.#context = context
    this.#parts = parts
  }

  /** Envelopes that were not answered because their contact asked for too many. */
  get refused(): number {
    return this.#refused
  }

  /** In a turn of the contact who asks. */
  async answer(turn: Turn, { envelopes }: AskAgainBody): Promise<void> {
    const again: ComesAgain[] = []
    const lost: AskReplyBody['lost'] = []
    for (const asked of new Map(envelopes.map((one) => [one.envelopeId, one])).values()) {
      const answer = this.#bucket(turn.id).take(1) ? await this.#answerOne(turn, asked) : this.#refuse()
      if (answer === 'lost') lost.push(asked.envelopeId)
      else if (answer !== 'later') again.push(answer)
    }
    if (again.length + lost.length === 0) return
    const body: AskReplyBody = { type: 'askReply', again, lost }
    sendBody(this.#context, turn, { outbox: this.#parts.outbox, kind: kinds.control, body })
  }

  async #answerOne(turn: Turn, asked: AskedEnvelope): Promise<Answer> {
    const { outbox, sending } = this.#parts
    const { envelopeId } = asked
    if (!this.#isOurs(asked)) return 'later'
    const item = outbox.find(envelopeId, turn.id)
    if (item !== undefined && item.record.kind === kinds.text) {
      const { messageId } = item.record
      return await sending.again(turn, item) ? { envelopeId, messageId } : 'later'
    }
    const filed = item?.record ?? await outbox.filed(asked)
    if (filed === undefined || filed.contact !== turn.id) return 'lost'
    if (filed.kind !== kinds.text) return this.#sayAnew(turn, asked, filed.kind)
    const { messageId } = filed
    // Sealed anew before, under another envelope: it is on its way, or will be asked for by that name.
    if (outbox.has(messageId)) return { envelopeId, messageId }
    const message = await readRecord(this.#context.kv, messageCodec, keys.message(messageId))
    if (message === undefined || message.state === states.failed) return 'lost'
    return await sending.anew(turn, { id: messageId, message }) ? { envelopeId, messageId } : 'later'
  }

  /** Sent by this device, or by none that could answer for itself. */
  #isOurs({ device }: AskedEnvelope): boolean {
    const { account, own } = this.#context
    if (device === account.deviceId) return true
    const isListed = device !== undefined && own.siblings.includes(device)
    return !isListed && (own.isPrimary || own.siblings.length === 0)
  }

  #sayAnew(turn: Turn, { envelopeId }: AskedEnvelope, kind: Kind): ComesAgain {
    if (kind === kinds.control && turn.contact !== undefined) {
      turn.contact = { ...turn.contact, toldSequence: 0 }
      this.#parts.unreadables.askSoon(turn)
      this.#parts.onNeed(turn)
    }
    return { envelopeId, messageId: undefined }
  }

  #refuse(): 'later' {
    this.#refused++
    return 'later'
  }

  #bucket(contact: ContactId): TokenBucket {
    const rate = { perSecond: limits.askAnswersPerHour / 3_600, burst: limits.askAnswersPerHour }
    const bucket = this.#buckets.get(contact) ?? new TokenBucket(this.#context.clock, rate)
    if (this.#buckets.size >= limits.cachedThreadsMax) this.#buckets.clear()
    this.#buckets.set(contact, bucket)
    return bucket
  }
}
