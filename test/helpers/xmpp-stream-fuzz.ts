/**
 * One case of the fuzzer of XMPP streams, by its seed: trees that are written and read again, then the
 * same bytes damaged, in pieces of any size. Used by `npm test` in short and by a campaign at length.
 *
 * What must hold: a tree survives; how bytes are cut changes nothing; whatever is accepted reads as
 * the same tree after we wrote it (stanza smuggling), and whatever is not has a condition.
 */
import { isUtf8 } from 'node:buffer'
import * as assert from 'uvu/assert'
import type { Random } from '../../crypto/random.ts'
import { el } from '../../bridges/xmpp/xml/element.ts'
import type { XmlElement, XmlNode } from '../../bridges/xmpp/xml/element.ts'
import { ns } from '../../bridges/xmpp/xml/names.ts'
import { XmlStreamReader } from '../../bridges/xmpp/xml/reader.ts'
import { readElement } from '../../bridges/xmpp/xml/text.ts'
import { writeElement, writeStanza } from '../../bridges/xmpp/xml/writer.ts'
import { streamHeader } from './raw-xmpp-client.ts'
import { randomChoice, randomInteger, seededRandom } from './seeded-random.ts'

export interface ReadStream {
  /** Of the header as well. */
  readonly elements: readonly XmlElement[]
  /** A condition, `closed`, or `waiting` for more. */
  readonly end: string
}

const namespaces = [
  ns.client, ns.client, ns.client, ns.stream, ns.forward, '', `a}b='' /><evil/><c d='`,
  'a&b', 'urn:ü"\'', 'urn: x',
]
const names = ['message', 'body', 'x', 'a.b-c_d', 'n0', 'ü', '字', 'xmlns-x']
const attributeNames = [
  'to', 'from', 'n0', 'xml:lang', 'constructor', '{urn:a}b', `{a}b='' />}c`,
  '{urn:a}to', '{ü&"\'<}x', '{jabber:client}to',
]
const texts = [
  'hello', '<', '&', '>', '"', '\'', ']]>', '\r', '\n', '\r\n', '\t', ' ', '\u0085', '\u2028', '🙂', '\ufffd',
  '&amp;',
  '<!--', '<![CDATA[', '</message>', 'ü', '\u{10ffff}', '\u007f', '\u00a0',
]
/** Pieces that parsers have disagreed about. */
const hostile = [
  '<', '>', '/>', '&', '&#0;', '&#x1;', '&lt;', '&foo;', ']]>', '<![CDATA[', '<!--', '-->',
  '<?xml version=\'1.1\'?>',
  '<!DOCTYPE a [<!ENTITY b "c">]>', '</stream:stream>', '</message>', '<xml:a/>', '<a:b/>',
  ` xmlns=''`, ` xmlns:n0='x'`,
  ` n0:a='' n1:a=''`, '\'', '"', '\0', '\ufffe', '<message>', ' ', '\r\n', '<stream:error/>',
  ` to='x' to='y'`,
]

export function streamFuzzCase(seed: string): void {
  const random = seededRandom(seed)
  const stanzas = Array.from({ length: 1 + randomInteger(random, 4) }, () => randomElement(random, 3))
  for (const stanza of stanzas) assert.equal(readElement(writeElement(stanza)), stanza)
  const whole = Buffer.from(`${streamHeader}${stanzas.map(writeStanza).join('\n')}</stream:stream>`)
  const good = readStream(pieces(random, whole))
  assert.is(good.end, 'closed')
  assert.equal(good.elements.slice(1), stanzas)
  const damaged = damage(random, whole)
  const read = readStream(pieces(random, damaged))
  // Of a piece that is no UTF-8 nothing is read, so there cuts decide how much of what precedes it is.
  if (isUtf8(damaged)) {
    const atOnce = readStream([damaged])
    assert.equal(atOnce.elements, read.elements)
    // Where two things are wrong at one place, cuts decide which is seen first.
    assert.is(isRefused(atOnce), isRefused(read))
  }
  // The header is written by hand, never from what came.
  for (const stanza of read.elements.slice(1)) assert.equal(readElement(writeElement(stanza)), stanza)
}

function isRefused({ end }: ReadStream): boolean {
  return end !== 'closed' && end !== 'waiting'
}

/** What a reader makes of a stream. */
export function readStream(chunks: readonly Uint8Array[], charactersMax = 1_000_000): ReadStream {
  const elements: XmlElement[] = []
  let end = 'waiting'
  const ended = (how: string): void => {
    assert.is(end, 'waiting', 'a stream ends once')
    end = how
  }
  const reader = new XmlStreamReader({
    open: (header) => { elements.push(header) },
    element: (element) => { elements.push(element) },
    close: () => ended('closed'),
    failed: (condition) => ended(condition),
  }, { charactersMax })
  for (const chunk of chunks) reader.write(chunk)
  return { elements, end }
}

export function randomElement(random: Random, depth: number): XmlElement {
  const attrs = Object.fromEntries(Array.from({ length: randomInteger(random, 4) }, () =>
    [randomChoice(random, attributeNames), randomText(random)]))
  const children: XmlNode[] = depth === 0 ? [] : Array.from({ length: randomInteger(random, 4) }, () =>
    randomInteger(random, 2) === 0 ? randomText(random) : randomElement(random, depth - 1))
  return el(randomChoice(random, namespaces), randomChoice(random, names), attrs, ...children)
}

function randomText(random: Random): string {
  return Array.from({ length: randomInteger(random, 4) }, () => randomChoice(random, texts)).join('')
}

function pieces(random: Random, bytes: Uint8Array): Uint8Array[] {
  const most = 1 + randomInteger(random, 64)
  const found: Uint8Array[] = []
  for (let at = 0; at < bytes.length;) {
    const length = 1 + randomInteger(random, most)
    found.push(bytes.subarray(at, at + length))
    at += length
  }
  return found
}

function damage(random: Random, bytes: Buffer): Buffer {
  let damaged = bytes
  for (let i = 1 + randomInteger(random, 3); i > 0; i--) {
    // Mostly behind the header, where a stream is still one.
    const start = randomInteger(random, 8) === 0 ? 0 : Math.min(streamHeader.length, damaged.length)
    const at = start + randomInteger(random, damaged.length - start + 1)
    const gone = randomChoice(random, [0, 0, 1, 10])
    const inserted = randomInteger(random, 4) === 0
      ? Buffer.from([randomInteger(random, 256)])
      : Buffer.from(randomChoice(random, hostile))
    damaged = Buffer.concat([damaged.subarray(0, at), inserted, damaged.subarray(at + gone)])
  }
  return damaged
}
