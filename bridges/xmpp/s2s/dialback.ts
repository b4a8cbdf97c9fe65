/**
 * Server dialback (XEP-0220): keys after XEP-0185, and the elements of the exchange.
 *
 * ```text
 *   originating A                      receiving B                     authoritative A'
 *     db:result from=A to=B KEY  ───▶
 *                                       db:verify from=B to=A id KEY ───▶
 *                                     ◀─── db:verify from=A to=B id type=valid
 *     ◀───  db:result from=B to=A type=valid
 *
 *   KEY = hex(HMAC-SHA-256(hex(SHA-256(secret)), "B A id"))       id: of the stream that B opened to A
 * ```
 *
 * The id is B's and fresh for each stream, so a key proves one pair on one stream. Nothing is remembered
 * to check a key of ours; whose answer is awaited is remembered by who asked (s2s-verify).
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

export const dialbackNs = 'jabber:server:dialback'
export const dialbackFeatureNs = 'urn:xmpp:features:dialback'

/** A key is 64 digits; others' may differ, but not by much. */
const keyCharactersMax = 256

export interface DialbackPair {
  /** Who gets the stanzas, and made the id. */
  readonly receiving: string
  /** Who wants to send them. */
  readonly originating: string
  readonly id: string
}

/** Our keys. The secret lives as long as the process: a stream never outlives it. */
export class DialbackKeys {
  readonly #hashedSecret: string

  constructor(secret: Uint8Array) {
    this.#hashedSecret = createHash('sha256').update(secret).digest('hex')
  }

  key({ receiving, originating, id }: DialbackPair): string {
    return createHmac('sha256', this.#hashedSecret).update(`${receiving} ${originating} ${id}`).digest('hex')
  }

  isKey(pair: DialbackPair, key: string): boolean {
    const own = Buffer.from(this.key(pair))
    const given = Buffer.from(key)
    return own.length === given.length && timingSafeEqual(own, given)
  }
}

/** The key in an element, or `undefined` when it can be none. */
export function keyIn(element: XmlElement): string | undefined {
  const key = element.text.trim()
  return key !== '' && key.length <= keyCharactersMax ? key : undefined
}

export function dialbackResult(from: string, to: string, key: string): XmlElement {
  return el(dialbackNs, 'result', { from, to }, key)
}

/** The answer to `result` or `verify`. */
export function dialbackAnswer(
  request: XmlElement,
  type: 'valid' | 'invalid',
): XmlElement {
  const { from, to, id } = request.attrs
  return el(dialbackNs, request.name, { from: to, to: from, id, type })
}

/** Refused for a reason that is not the key (XEP-0220 §2.4). */
export function dialbackError(
  request: XmlElement,
  { condition, type, text }: { readonly condition: string, readonly type: string, readonly text: string },
): XmlElement {
  const { from, to, id } = request.attrs
  return el(dialbackNs, request.name, { from: to, to: from, id, type: 'error' },
    el(ns.client, 'error', { type },
      el(ns.stanzaErrors, condition), el(ns.stanzaErrors, 'text', { 'xml:lang': 'en' }, text)))
}
