/** Cutting a byte stream into frames, and bodies that come in parts. */
import * as assert from 'uvu/assert'
import { randomInteger, seededRandom } from '../../helpers/seeded-random.ts'
import { suite } from '../../helpers/harness.ts'
import { errorCode } from '../../../crypto/errors.ts'
import { concat } from '../../../crypto/bytes.ts'
import { limits } from '../../../protocol/limits.ts'
import { Writer } from '../../../protocol/codec/writer.ts'
import {
  BodyAssembly, FrameBuffer, FrameCursor, FrameSplitter, varintSize,
} from '../../../node/overlay/link-frames.ts'

const test = suite('node/overlay/link-frames')

function frame(type: number, payload: Uint8Array): Uint8Array {
  const buffer = new FrameBuffer(payload.length + 8)
  buffer.head(type, payload.length)
  buffer.raw(payload)
  return buffer.finish()
}

function collect(): { splitter: FrameSplitter, frames: [number, string][] } {
  const frames: [number, string][] = []
  const splitter = new FrameSplitter((type, bytes, start, end) => {
    frames.push([type, Buffer.from(bytes.subarray(start, end)).toString('hex')])
    return true
  })
  return { splitter, frames }
}

function refusal(action: () => void): string | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    return errorCode(error)
  }
}

test('writes varints as the codec does', () => {
  const edges = [63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30]
  for (const value of [0, ...edges, 2 ** 40 + 5, Number.MAX_SAFE_INTEGER]) {
    const writer = new Writer()
    writer.varint(value)
    const buffer = new FrameBuffer(16)
    buffer.varint(value)
    assert.equal([...buffer.finish()], [...writer.finish()], `${value}`)
    assert.is(varintSize(value), buffer.length)
    const cursor = new FrameCursor()
    cursor.reset(buffer.finish(), 0, buffer.length)
    assert.is(cursor.varint(), value)
    cursor.end()
  }
})

test('gives the same frames however the stream is cut', () => {
  const random = seededRandom('cuts')
  const lengths = [0, 1, 63, 64, 65, 300, 16_383, 16_384, 40_000, limits.linkFrameBytesMax]
  const stream = concat(...lengths.map((length, i) => frame(1 + (i % 9), random.bytes(length))))
  const whole = collect()
  whole.splitter.push(stream)
  assert.is(whole.frames.length, lengths.length)
  assert.equal(whole.frames.map(([, hex]) => hex.length / 2), lengths)
  for (const size of [1, 2, 3, 5, 7, 1_000, 65_536]) {
    const cut = collect()
    for (let at = 0; at < stream.length; at += size) cut.splitter.push(stream.subarray(at, at + size))
    assert.equal(cut.frames, whole.frames, `in pieces of ${size}`)
  }
  for (let round = 0; round < 20; round++) {
    const cut = collect()
    for (let at = 0; at < stream.length;) {
      const next = Math.min(stream.length, at + 1 + randomInteger(random, 30_000))
      cut.splitter.push(stream.subarray(at, next))
      at = next
    }
    assert.equal(cut.frames, whole.frames)
  }
})

test('hands out a frame that lies in one chunk without a copy', () => {
  const stream = frame(7, new Uint8Array([42]))
  let same = false
  new FrameSplitter((_type, bytes) => {
    same = bytes === stream
    return true
  }).push(stream)
  assert.ok(same)
})

test('stops reading when the listener says so', () => {
  let count = 0
  const splitter = new FrameSplitter(() => ++count < 2)
  splitter.push(concat(...Array.from({ length: 5 }, () => frame(7, new Uint8Array(3)))))
  assert.is(count, 2)
})

test('refuses a frame longer than the limit before any of it arrives', () => {
  const buffer = new FrameBuffer(8)
  buffer.head(2, limits.linkFrameBytesMax + 1)
  assert.is(refusal(() => collect().splitter.push(buffer.finish())), 'LINK_FRAME')
})

test('refuses lengths that are not in their shortest form or take eight bytes', () => {
  for (const head of [[2, 0x40, 5], [2, 0x80, 0, 0, 5], [2, 0xc0, 0, 0, 0]]) {
    assert.is(refusal(() => collect().splitter.push(new Uint8Array(head))), 'LINK_FRAME', head.join(' '))
  }
})

test('refuses fields beyond the end of a frame, and bytes behind the last field', () => {
  const cursor = new FrameCursor()
  const tooLarge = new Array<number>(8).fill(0xff)
  for (const bytes of [[], [0x40], [0x80, 0, 0], [0xc0, 0, 0, 0, 0, 0, 0], [0x40, 1], tooLarge]) {
    cursor.reset(new Uint8Array(bytes), 0, bytes.length)
    assert.is(refusal(() => cursor.varint()), 'LINK_FRAME', bytes.join(' '))
  }
  cursor.reset(new Uint8Array([1, 2]), 0, 2)
  cursor.u8()
  assert.is(refusal(() => cursor.end()), 'LINK_FRAME')
})

test('puts a body together from its parts, and refuses too much or nothing', () => {
  const random = seededRandom('body')
  const body = random.bytes(200_000)
  const assembly = new BodyAssembly(body.length, body.subarray(0, 10))
  for (let at = 10; at < body.length; at += 7_001) {
    assert.is(assembly.finished(), undefined)
    assembly.add(body.subarray(at, at + 7_001))
  }
  assert.ok(Buffer.from(assembly.finished()!).equals(body))
  assert.is(refusal(() => assembly.add(new Uint8Array(1))), 'LINK_FRAME')
  assert.is(refusal(() => new BodyAssembly(5, new Uint8Array(2)).add(new Uint8Array(0))), 'LINK_FRAME')
})

test.run()
