/** Tests of bridges/xmpp/shield/batch.ts: what is written is read, and nothing else. */
import * as assert from 'uvu/assert'
import { cut, formatPiece, parsePiece, readBatch, writeBatch } from '../../../../bridges/xmpp/shield/batch.ts'
import type { Piece } from '../../../../bridges/xmpp/shield/batch.ts'
import { xmppLimits } from '../../../../bridges/xmpp/limits.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { limits } from '../../../../protocol/limits.ts'
import { suite } from '../../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../../helpers/seeded-random.ts'

const test = suite('bridges/xmpp/shield/batch')
const message = el(ns.client, 'message', { to: 'you@b.test', from: 'me@a.test' },
  el(ns.client, 'body', {}, 'a < b & "c" \u{1f600}'), el('urn:other', 'thing', { '{urn:x}y': '\n' }, 'é'))
const stanzas = [message, el(ns.client, 'presence', { to: 'b.test' }), el(ns.client, 'iq', { id: '1' })]
const piece: Piece = {
  domain: 'a.test', epoch: '0123456789abcdef', number: 7, base: 3, piece: 0, pieces: 1,
  takenAtMs: 1_767_225_600_000,
  text: writeBatch(stanzas),
}

test('reads what it wrote', () => {
  assert.equal(parsePiece(formatPiece(piece)), { ok: true, value: piece })
  const read = readBatch(piece.text)
  assert.ok(read.ok)
  assert.equal(writeBatch(read.value), piece.text)
})

test('cuts a long text into messages that an account can send, whole characters each', () => {
  const faces = '\u{1f600}'.repeat(30_000)
  for (const text of ['', 'x', faces, `x${faces}`, '\uffff'.repeat(25_000)]) {
    const pieces = cut(text)
    assert.is(pieces.join(''), text)
    for (const [i, one] of pieces.entries()) {
      const sent = formatPiece({
        ...piece, domain: 'x'.repeat(253), number: Number.MAX_SAFE_INTEGER,
        piece: i, pieces: pieces.length, text: one,
      })
      assert.ok(Buffer.byteLength(sent) <= limits.textBytesMax)
      assert.ok(one.isWellFormed())
    }
  }
})

test('refuses lines whose numbers do not fit', () => {
  const wrong: Partial<Piece>[] = [
    { base: 8 }, { piece: 1 }, { pieces: 0 }, { pieces: xmppLimits.shieldPiecesMax + 1 }, { number: -1 },
    { number: 1.5 }, { epoch: '0123' }, { domain: 'A.test' }, { domain: 'a test' }, { takenAtMs: 2 ** 60 },
  ]
  for (const one of wrong) assert.not(parsePiece(formatPiece({ ...piece, ...one })).ok, JSON.stringify(one))
  for (const text of ['', 'xmpp/1', 'xmpp/2 a.test', '\n', 'x'.repeat(100_000)]) {
    assert.not(parsePiece(text).ok)
  }
})

test('refuses lists that hold other things than stanzas, or what no stream may', () => {
  const around = (inner: string): string => `<stanzas xmlns='jabber:client'>${inner}</stanzas>`
  for (const text of [
    '', '<stanzas', around('<message>'), around('<other/>'), around('<message xmlns="urn:other"/>'),
    around('text'),
    `<message xmlns='jabber:client'/>`, `<stanzas xmlns='urn:other'/>`, around('<!-- no -->'),
    `<!DOCTYPE x [<!ENTITY a "b">]>${around('')}`, around('<?pi x?>'), around('&unknown;'),
    around(`<message>${'<a>'.repeat(60)}${'</a>'.repeat(60)}</message>`),
    around(`<message><body>${'x'.repeat(xmppLimits.serverStanzaMax + 1)}</body></message>`),
  ]) assert.not(readBatch(text).ok, text.slice(0, 60))
})

test('no mutation of a message throws', () => {
  const random = seededRandom('shield batch')
  const whole = formatPiece(piece)
  for (let i = 0; i < 20_000; i++) {
    const at = randomInteger(random, whole.length)
    const end = at + randomInteger(random, 4)
    const text = whole.slice(0, at) + String.fromCharCode(randomInteger(random, 0x80)) + whole.slice(end)
    const parsed = parsePiece(text)
    if (parsed.ok) readBatch(parsed.value.text)
  }
})

test.run()
