/** Session frames: every one there and back, and nothing else gets in. (test/fuzz/ fuzzes them.) */
import * as assert from 'uvu/assert'
import { concat } from '../../../crypto/bytes.ts'
import { limits } from '../../../protocol/limits.ts'
import {
  controlCodecs, decodeControl, encodeControl, encodeData, payloadBytesMax,
} from '../../../protocol/session/control-frames.ts'
import type { ControlFrame } from '../../../protocol/session/control-frames.ts'
import { errorMessage } from '../../../protocol/session/numbered-session.ts'
import { bytesOf } from '../../helpers/actors.ts'
import { suite } from '../../helpers/harness.ts'

const session = bytesOf('session', 16)
const samples: readonly ControlFrame[] = [
  { type: 'hello', version: 1, session: undefined, received: 0, windowBytes: 1_048_576 },
  { type: 'hello', version: 1, session, received: 70_000, windowBytes: 300_000 },
  { type: 'welcome', session, resumed: true, received: 12, windowBytes: 1_048_576 },
  { type: 'data', number: 1, payload: new Uint8Array(0) },
  { type: 'data', number: 2 ** 40, payload: bytesOf('payload', 100) },
  { type: 'ack', number: 16_384 },
  { type: 'ping' },
  { type: 'pong' },
  { type: 'error', code: 'SESSION_GAP', detail: 'frame 3 came after 1' },
  { type: 'bye', code: 'SESSION_BYE' },
]

const test = suite('protocol/session/control-frames')

test('every frame has a sample here and a type below 16', () => {
  assert.equal(new Set(samples.map((frame) => frame.type)), new Set(Object.keys(controlCodecs)))
  const codes = Object.values(controlCodecs).map((entry) => entry.code)
  assert.ok(codes.every((code) => code > 0 && code < 16))
  assert.is(new Set(codes).size, codes.length)
})

for (const frame of samples) {
  const encoded = encodeControl(frame)

  test(`${frame.type} of ${encoded.length} bytes comes back as it was`, () => {
    const decoded = decodeControl(encoded)
    assert.ok(decoded.ok)
    assert.equal(decoded.value, frame)
  })

  test(`${frame.type} of ${encoded.length} bytes is refused when cut at any byte or longer by one`, () => {
    // The payload of data is all that is left, so any length of it is a frame.
    const head = frame.type === 'data' ? encoded.length - frame.payload.length : encoded.length
    for (let length = 0; length < head; length++) assert.not.ok(decodeControl(encoded.subarray(0, length)).ok)
    if (frame.type !== 'data') {
      const longer = decodeControl(concat(encoded, new Uint8Array(1)))
      assert.is(longer.ok ? '' : longer.code, 'CODEC_TRAILING')
    }
  })
}

test('the short way to encode data gives the same bytes', () => {
  const payload = bytesOf('payload', 300)
  for (const number of [1, 63, 64, 16_384, 2 ** 31]) {
    assert.equal(encodeData(number, payload), encodeControl({ type: 'data', number, payload }))
  }
})

test('the largest payload fits in a link message whatever its number', () => {
  const message = encodeData(Number.MAX_SAFE_INTEGER, new Uint8Array(payloadBytesMax))
  assert.is(message.length, limits.frameBytesMax)
})

test('refuses unknown types, and codes that are not codes', () => {
  for (const bytes of [[0], [9], [16], [255]]) {
    const decoded = decodeControl(new Uint8Array(bytes))
    assert.is(decoded.ok ? '' : decoded.code, 'CODEC_UNKNOWN')
  }
  const code = new TextEncoder().encode('\nfake log line')
  const decoded = decodeControl(concat(new Uint8Array([8, code.length]), code))
  assert.is(decoded.ok ? '' : decoded.code, 'CODEC_VALUE')
})

test('an error with a long or foreign detail is cut and masked to fit', () => {
  const decoded = decodeControl(errorMessage('SESSION_TEST', `ünï${'x'.repeat(1_000)}`))
  assert.ok(decoded.ok && decoded.value.type === 'error')
  assert.ok(decoded.value.detail.startsWith('?n?xxx'))
  assert.is(decoded.value.detail.length, 256)
})

test.run()
