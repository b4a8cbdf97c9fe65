/** protocol/codec/padding.ts: one value has one padded form. */
import * as assert from 'uvu/assert'
import { encodePadded, tryDecodePadded } from '../../../protocol/codec/padding.ts'
import { text } from '../../../protocol/codec/struct.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/codec/padding')
const codec = text(100)

test('fills up to the length and gives the value back', () => {
  for (const length of [6, 7, 64]) {
    const padded = encodePadded(codec, 'hello', length)
    assert.is(padded.length, length)
    assert.equal(tryDecodePadded(codec, padded), { ok: true, value: 'hello' })
  }
})

test('refuses to pad what is longer', () => {
  assert.throws(() => encodePadded(codec, 'hello', 5), /do not fit/)
})

test('refuses padding that is not zero', () => {
  for (const at of [6, 10, 63]) {
    const padded = encodePadded(codec, 'hello', 64)
    padded[at] = 1
    const decoded = tryDecodePadded(codec, padded)
    assert.is(!decoded.ok && decoded.code, 'CODEC_PADDING')
  }
})

test.run()
