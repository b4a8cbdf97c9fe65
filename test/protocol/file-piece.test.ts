/** Files in pieces: how they are cut, what holders can tell, and what does not open. */
import * as assert from 'uvu/assert'
import { crypto } from '../../crypto/index.ts'
import { hex } from '../../crypto/bytes.ts'
import { padme } from '../../protocol/codec/padding.ts'
import { ciphertextLength, envelopeId, parseEnvelope } from '../../protocol/envelope.ts'
import {
  fileBoxBytes, fileKeys, fileShape, openPiece, pieceBytesFor, pieceEnvelope, pieceIndex,
  pieceOverheadBytes, pieceRange, sealPiece,
} from '../../protocol/file-piece.ts'
import type { FileKeys, FileShape } from '../../protocol/file-piece.ts'
import { limits } from '../../protocol/limits.ts'
import { bytesOf, flipped, keysOf, testHour } from '../helpers/actors.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

const test = suite('protocol/file piece')
const key = bytesOf('file key')

function shapeOf(length: number): FileShape {
  return fileShape({ length, pieceBytes: pieceBytesFor(length) })!
}

function contentOf(shape: FileShape, index: number): Uint8Array {
  return seededRandom(`content ${index}`).bytes(pieceRange(shape, index).length)
}

function ciphertextOf(keys: FileKeys, index: number): Uint8Array {
  return sealPiece(keys, index, contentOf(keys.shape, index)).ciphertext()
}

test('every piece opens to what went in, and has an allowed length', () => {
  for (const length of [0, 1, 468, 469, 65_492, 65_493, 200_000, 1_048_576, 1_048_577, 3_000_001]) {
    const keys = fileKeys(shapeOf(length), key)
    let sum = 0
    for (let index = 0; index < keys.shape.pieces; index++) {
      const ciphertext = ciphertextOf(keys, index)
      assert.is(ciphertextLength(ciphertext.length), ciphertext.length)
      assert.is(pieceIndex(ciphertext), index)
      const opened = openPiece(keys, ciphertext)
      assert.equal(opened, { ok: true, value: { index, content: contentOf(keys.shape, index) } })
      sum += pieceRange(keys.shape, index).length
    }
    assert.is(sum, length)
  }
})

test('files of one Padmé step look the same to a holder', () => {
  const lengths = (length: number): number[] => {
    const keys = fileKeys(shapeOf(length), key)
    return Array.from({ length: keys.shape.pieces }, (_, index) => ciphertextOf(keys, index).length)
  }
  // 3,000,000 is rounded up to 3,014,656 = 46 × 64 KiB.
  assert.is(padme(3_000_000), 3_014_656)
  const expected = lengths(3_000_000)
  for (const length of [2_949_121, 2_999_999, 3_014_656]) assert.equal(lengths(length), expected)
  assert.not.equal(lengths(3_014_657), expected)
  const all = expected.reduce((sum, one) => sum + one, 0)
  assert.ok(all < 3_000_000 * 1.05, `${all} bytes for 3,000,000`)
})

test('the largest file stays within the limits of a box and of a frame', () => {
  const shape = shapeOf(limits.fileBytesMax)
  assert.ok(shape.pieces <= limits.filePiecesMax, `${shape.pieces} pieces`)
  assert.ok(fileBoxBytes(shape) <= limits.fileBoxBytesMax, `${fileBoxBytes(shape)} bytes`)
  assert.is(fileShape({ length: limits.fileBytesMax + 1, pieceBytes: shape.pieceBytes }), undefined)
  assert.ok(limits.envelopeBytesMax + 512 <= limits.frameBytesMax)
})

test('shapes that no sender makes are refused', () => {
  for (const pieceBytes of [0, 1, 469, 65_491, 65_493, limits.ciphertextBytesMax]) {
    assert.is(fileShape({ length: 100_000, pieceBytes }), undefined, `${pieceBytes}`)
  }
  assert.is(fileShape({ length: limits.fileBytesMax, pieceBytes: 512 - pieceOverheadBytes }), undefined)
})

test('a piece of another place, file, number of pieces or with a flipped bit does not open', () => {
  const keys = fileKeys(shapeOf(600_000), key)
  const ciphertext = ciphertextOf(keys, 1)
  const refusal = { ok: false, code: 'FILE_PIECE' }
  for (const at of [3, 4, 20, 28, 1_000, -1]) {
    assert.equal(openPiece(keys, flipped(ciphertext, at)), refusal, `byte ${at}`)
  }
  assert.equal(openPiece(fileKeys(keys.shape, bytesOf('other')), ciphertext), refusal)
  assert.equal(openPiece(fileKeys(shapeOf(700_000), key), ciphertext), refusal)
  assert.equal(openPiece(keys, ciphertext.subarray(0, 30)), refusal)
  assert.equal(openPiece(keys, ciphertext.subarray(0, 512)), refusal)
  const far = ciphertext.slice()
  new DataView(far.buffer).setUint32(0, 4_000_000_000)
  assert.equal(openPiece(keys, far), refusal)
})

test('what fills the last piece up must be zero', () => {
  const shape = shapeOf(1_000)
  const keys = fileKeys(shape, key)
  const honest = ciphertextOf(keys, 0)
  const nonce = bytesOf('nonce', 24)
  const plaintext = new Uint8Array(honest.length - pieceOverheadBytes)
  plaintext[plaintext.length - 1] = 1
  const ad = new Uint8Array([...new TextEncoder().encode('openim file piece v1'), 0, 0, 0, 0, 0, 0, 0, 1])
  const sealed = crypto.sealX({ key: keys.pieceKey, nonce, plaintext, ad })
  const forged = new Uint8Array([0, 0, 0, 0, ...nonce, ...sealed])
  assert.equal(openPiece(keys, forged), { ok: false, code: 'FILE_PIECE' })
})

test('the same bytes make the same envelope again, others never meet a used nonce', () => {
  const keys = fileKeys(shapeOf(600_000), key)
  const readKey = keysOf('file read').publicKey
  const box = { writeKeys: keysOf('file write'), readKey, expiryHour: testHour + 336 }
  const made = (): Uint8Array => pieceEnvelope(box, sealPiece(keys, 2, contentOf(keys.shape, 2)))
  assert.is(envelopeId(made()), envelopeId(made()))
  assert.ok(parseEnvelope(made()).ok)
  const nonces = new Set<string>()
  for (let index = 0; index < 3; index++) {
    const { length } = pieceRange(keys.shape, index)
    for (const name of ['one', 'two']) {
      nonces.add(hex(sealPiece(keys, index, seededRandom(name).bytes(length)).nonce))
    }
  }
  assert.is(nonces.size, 6)
})

test.run()
