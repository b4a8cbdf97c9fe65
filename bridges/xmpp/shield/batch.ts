/**
 * What goes from one service account to the other: stanzas in batches, each batch in one piece or, where
 * a stanza is larger than a message may be, in several.
 *
 * ```text
 *   xmpp/1 SP domain SP epoch SP number SP base SP piece SP pieces SP taken LF text
 *
 *   domain   whose stanzas these are
 *   epoch    16 hex digits, drawn by each process of the sender at its start
 *   number   of the batch, from 0 in its epoch
 *   base     no batch below this one is still to come
 *   piece    from 0, of `pieces`
 *   taken    when the stanzas were taken from their senders, milliseconds since 1970
 *   text     (of all pieces together) <stanzas xmlns='jabber:client'> stanzas </stanzas>
 * ```
 *
 * A carrier may bring a message again, or late; epoch and number put the batches in order and tell a
 * batch from its double. It is text, because that is what stanzas are; the reader is the gate that
 * stands before streams of other servers, with all its limits.
 */
import type { Result } from '../../../crypto/errors.ts'
import { xmppLimits } from '../limits.ts'
import { ElementBuilder } from '../xml/builder.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { writeStanza } from '../xml/writer.ts'

export interface BatchId {
  readonly domain: string
  readonly epoch: string
  readonly number: number
}

export interface Piece extends BatchId {
  readonly base: number
  readonly piece: number
  readonly pieces: number
  readonly takenAtMs: number
  readonly text: string
}

const version = 'xmpp/1'
/** Longer than any line that a sender of ours writes. */
const lineCharactersMax = 400
const number = '(0|[1-9][0-9]{0,15})'
const lineForm = new RegExp(
  `^${version} ([a-z0-9.-]{1,253}) ([0-9a-f]{16}) ${number} ${number} ${number} ${number} ${number}$`,
)
const stanzaNames: readonly string[] = ['message', 'presence', 'iq']

export function formatPiece(piece: Piece): string {
  const { domain, epoch, number, base, pieces, takenAtMs, text } = piece
  return `${[version, domain, epoch, number, base, piece.piece, pieces, takenAtMs].join(' ')}\n${text}`
}

/** Refuses with SHIELD_BATCH: it is none. */
export function parsePiece(message: string): Result<Piece> {
  const end = message.slice(0, lineCharactersMax).indexOf('\n')
  const fields = lineForm.exec(message.slice(0, Math.max(0, end)))
  if (fields === null) return refused('it has no line before the stanzas that can be read')
  const [, domain, epoch, ...rest] = fields
  const [number = 0, base = 0, piece = 0, pieces = 0, takenAtMs = 0] = rest.map(Number)
  const isGood = [number, base, takenAtMs].every(Number.isSafeInteger)
    && base <= number && piece < pieces && pieces <= xmppLimits.shieldPiecesMax
  if (!isGood) return refused('its numbers do not fit each other')
  const text = message.slice(end + 1)
  return { ok: true, value: { domain: domain!, epoch: epoch!, number, base, piece, pieces, takenAtMs, text } }
}

/** A batch's text in pieces of which each fits into a message. */
export function cut(text: string): string[] {
  const pieces: string[] = []
  for (let at = 0; at < text.length;) {
    let end = at + xmppLimits.shieldPieceCharactersMax
    // Both halves of a character stay together, or neither could be written as UTF-8.
    if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end--
    pieces.push(text.slice(at, end))
    at = end
  }
  return pieces
}

const [before, after] = [`<stanzas xmlns='${ns.client}'>`, '</stanzas>']
/** Of a batch beside its stanzas. */
export const batchFrameCharacters = before.length + after.length

export function writeBatch(stanzas: readonly XmlElement[]): string {
  return `${before}${stanzas.map(writeStanza).join('')}${after}`
}

/** Refuses with SHIELD_BATCH. */
export function readBatch(text: string): Result<readonly XmlElement[]> {
  const stanzas: XmlElement[] = []
  let problem: string | undefined
  let isWhole = false
  const builder = new ElementBuilder({
    root(root) {
      if (!root.is('stanzas', ns.client)) problem = 'it is no list of stanzas'
    },
    element(element) {
      if (element.ns !== ns.client || !stanzaNames.includes(element.name)) problem ??= 'it holds other things'
      else stanzas.push(element)
    },
    end() { isWhole = true },
    failed(_, why) { problem ??= why },
  }, 1)
  builder.charactersMax = xmppLimits.serverStanzaMax
  builder.write(text)
  builder.close()
  if (problem === undefined && isWhole) return { ok: true, value: stanzas }
  return refused(problem ?? 'it ends in the middle')
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff
}

function refused(detail: string): Result<never> {
  return { ok: false, code: 'SHIELD_BATCH', detail }
}
