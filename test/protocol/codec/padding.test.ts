/** protocol/codec/padding.ts: one value has one padded form. */
import * as assert from 'uvu/assert'
import { encodePadded, padme, tryDecodePadded } from '../../../protocol/codec/padding.ts'
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

/** Frozen: from a power of two to the next, lengths are rounded up to multiples of this. */
const steps = {
  16: 2, 256: 16, 1_024: 64, 65_536: 2_048, 131_072: 4_096, 1_048_576: 32_768, 67_108_864: 2_097_152,
}

test('rounds lengths up in Padmé steps, and what is a step already stays', () => {
  for (const [from, step] of Object.entries(steps).map(([a, b]) => [Number(a), b] as const)) {
    assert.is(padme(from), from)
    assert.is(padme(from + 1), from + step)
    assert.is(padme(from + step), from + step)
    assert.is(padme(from + step + 1), from + 2 * step)
    assert.is(padme(2 * from - 1), 2 * from)
  }
  assert.equal(Array.from({ length: 20 }, (_, i) => padme(i)),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 10, 12, 12, 14, 14, 16, 16, 18, 18, 20])
  assert.is(padme(249_856), 249_856)
  assert.is(padme(245_761), 249_856)
})

test('never adds more than an eighth, and less to longer ones', () => {
  for (let length = 9; length < 2 ** 31; length = Math.floor(length * 1.37) + 1) {
    const share = padme(length) / length - 1
    assert.ok(share >= 0 && share <= 1 / 8, `${length}: ${share}`)
    if (length > 65_536) assert.ok(share <= 1 / 32, `${length}: ${share}`)
  }
})

test.run()
