/**
 * Spam Reporting (XEP-0377 0.3.1): what people say along with a block (XEP-0191). Kept for the owner of
 * the node, who reads it by `openim xmpp reports`; nothing of it goes to other servers.
 *
 * ```text
 *   report/TIME-RANDOM      one report; the oldest goes when there are too many
 * ```
 */
import { hex } from '../../../crypto/bytes.ts'
import type { Random } from '../../../crypto/random.ts'
import { decode, encode, oneOf, struct, text, u64, vector } from '../../../protocol/codec/struct.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import type { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

export const reportingNs = 'urn:xmpp:reporting:1'
const reasons = ['urn:xmpp:reporting:spam', 'urn:xmpp:reporting:abuse'] as const
const prefix = 'report/'

export interface Report {
  readonly atMs: number
  /** Bare JID of ours. */
  readonly by: string
  readonly about: string
  readonly reason: 'spam' | 'abuse'
  /** In the reporter's words; may be empty. */
  readonly text: string
  /** Archive ids of messages, in the reporter's archive or elsewhere. */
  readonly messages: readonly string[]
}

interface ReportRecord {
  readonly atMs: number
  readonly by: string
  readonly about: string
  readonly reason: number
  readonly text: string
  readonly messages: string[]
}
const reportCodec = struct<ReportRecord>({
  atMs: u64, by: text(3_071), about: text(3_071), reason: oneOf([0, 1], 'reason'),
  text: text(xmppLimits.reportTextCharactersMax * 4),
  messages: vector(text(256), xmppLimits.reportMessagesMax),
})

/** What a report in a block's item says. @throws StanzaError `bad-request` for a reason that is none */
export function parseReport(item: XmlElement): Pick<Report, 'reason' | 'text' | 'messages'> | undefined {
  const report = item.child('report', reportingNs)
  if (report === undefined) return undefined
  const reason = reasons.find((one) => one === report.attrs.reason)
  if (reason === undefined) throw new StanzaError('bad-request', 'a report says that it is spam or abuse')
  const messages = report.elements('stanza-id', ns.stanzaIds).map(({ attrs }) => attrs.id ?? '')
  return {
    reason: reason === reasons[0] ? 'spam' : 'abuse',
    text: [...report.childText('text') ?? ''].slice(0, xmppLimits.reportTextCharactersMax).join(''),
    messages: messages.filter((id) => id !== '' && id.length <= 64).slice(0, xmppLimits.reportMessagesMax),
  }
}

export class Reports {
  readonly #kv: KvStore
  readonly #clock: Clock
  readonly #random: Random

  constructor({ kv, clock, random }: { kv: KvStore, clock: Clock, random: Random }) {
    this.#kv = kv
    this.#clock = clock
    this.#random = random
  }

  async add(by: Jid, about: Jid, report: Pick<Report, 'reason' | 'text' | 'messages'>): Promise<void> {
    const atMs = this.#clock.now()
    const value = encode(reportCodec, {
      ...report, atMs, by: by.bare, about: about.toString(), messages: [...report.messages],
      reason: report.reason === 'spam' ? 0 : 1,
    })
    const most = xmppLimits.reportsMax
    const kept = await this.#kv.list({ prefix, limit: most })
    const key = `${prefix}${String(atMs).padStart(15, '0')}-${hex(this.#random.bytes(8))}`
    await this.#kv.write([
      { type: 'put', key, value },
      ...kept.length < most ? [] : [{ type: 'delete', key: kept[0]!.key } as const],
    ])
  }

  /** The oldest first. */
  async list(): Promise<Report[]> {
    const reports: Report[] = []
    for await (const { value } of kvEntries(this.#kv, prefix)) {
      const { reason, ...rest } = decode(reportCodec, value)
      reports.push({ ...rest, reason: reason === 0 ? 'spam' : 'abuse' })
    }
    return reports
  }
}
