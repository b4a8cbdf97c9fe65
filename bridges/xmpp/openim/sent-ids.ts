/**
 * Which stanza of which device became which openIM message, for receipts, and so that what a device
 * wrote is not shown to it again from the history.
 *
 * ```text
 *   oim-sent/ACCOUNT/MESSAGEID     id and full JID of the stanza, what it asked for
 * ```
 */
import { bool, decode, encode, struct, text } from '../../../protocol/codec/struct.ts'
import type { MessageId } from '../../../protocol/ids.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { XmlElement } from '../xml/element.ts'
import { markersNs, receiptsNs } from './names.ts'

export interface SentStanza {
  /** Empty: it had none. */
  readonly stanzaId: string
  /** Full. */
  readonly from: string
  readonly wantsReceipt: boolean
  readonly wantsMarker: boolean
}
const codec = struct<SentStanza>({
  stanzaId: text(1_024), from: text(3_071), wantsReceipt: bool, wantsMarker: bool,
})

export class SentIds {
  readonly #kv: KvStore
  readonly #clock: Clock

  constructor({ kv, clock }: { kv: KvStore, clock: Clock }) {
    this.#kv = kv
    this.#clock = clock
  }

  async keep(
    account: string, { id, stanza }: { readonly id: MessageId, readonly stanza: XmlElement },
  ): Promise<void> {
    const { attrs } = stanza
    const stanzaId = Buffer.byteLength(attrs.id ?? '') > 1_024 ? '' : attrs.id ?? ''
    const value = encode(codec, {
      stanzaId,
      from: attrs.from ?? '',
      wantsReceipt: stanza.child('request', receiptsNs) !== undefined,
      wantsMarker: stanza.child('markable', markersNs) !== undefined,
    })
    const expiresAtMs = this.#clock.now() + xmppLimits.sentIdsKeptMs
    await this.#kv.write([{ type: 'put', key: keyOf(account, id), value, expiresAtMs }])
  }

  async find(account: string, id: MessageId): Promise<SentStanza | undefined> {
    const entry = await this.#kv.get(keyOf(account, id))
    return entry === undefined ? undefined : decode(codec, entry.value)
  }
}

function keyOf(account: string, id: MessageId): string {
  return `oim-sent/${account}/${id}`
}
