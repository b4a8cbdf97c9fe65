/** protocol/codec/writer.ts: the buffer grows under every kind of field. */
import * as assert from 'uvu/assert'
import { hex } from '../../../crypto/bytes.ts'
import { Reader } from '../../../protocol/codec/reader.ts'
import { varintBytes, Writer } from '../../../protocol/codec/writer.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/codec/writer')

const fields: readonly (readonly [string, (writer: Writer) => void, string])[] = [
  ['u8', (writer) => writer.u8(0xab), 'ab'],
  ['u16', (writer) => writer.u16(0xabcd), 'abcd'],
  ['u32', (writer) => writer.u32(0xabcdef01), 'abcdef01'],
  ['u64', (writer) => writer.u64(0x1_2345_6789), '0000000123456789'],
  ['varint of 1 byte', (writer) => writer.varint(63), '3f'],
  ['varint of 2 bytes', (writer) => writer.varint(64), '4040'],
  ['varint of 4 bytes', (writer) => writer.varint(16_384), '80004000'],
  ['varint of 8 bytes', (writer) => writer.varint(2 ** 30), 'c000000040000000'],
  ['opaque', (writer) => writer.opaque(new Uint8Array([1, 2])), '020102'],
]

test('a field written where the buffer ends is whole', () => {
  for (const [name, write, expected] of fields) {
    for (let before = 0; before <= 9; before++) {
      const writer = new Writer(8)
      writer.raw(new Uint8Array(before))
      write(writer)
      assert.is(hex(writer.finish()), '00'.repeat(before) + expected, `${name} after ${before} bytes`)
    }
  }
})

test('a varint alone is the same as in a struct, at every edge', () => {
  const edges = [0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, 2 ** 32 + 5, Number.MAX_SAFE_INTEGER]
  for (const value of edges) {
    const writer = new Writer()
    writer.varint(value)
    assert.is(hex(varintBytes(value)), hex(writer.finish()), String(value))
    assert.is(new Reader(varintBytes(value)).varint(), value)
  }
})

test('a number out of range is a bug of ours', () => {
  for (const value of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    for (const write of ['u8', 'u16', 'u32', 'u64', 'varint'] as const) {
      assert.throws(() => new Writer()[write](value), /assertion failed/)
    }
  }
  assert.throws(() => new Writer().u8(2 ** 8), /u8 256/)
  assert.throws(() => new Writer().u16(2 ** 16), /u16 65536/)
  assert.throws(() => new Writer().u32(2 ** 32), /u32 4294967296/)
  assert.throws(() => new Writer().u64(2 ** 53), /u64/)
})

test('the largest numbers come back as they were', () => {
  const writer = new Writer()
  writer.u16(0xfffe)
  writer.u32(0xffff_fffe)
  writer.u64(Number.MAX_SAFE_INTEGER)
  const reader = new Reader(writer.finish())
  assert.equal([reader.u16(), reader.u32(), reader.u64()], [0xfffe, 0xffff_fffe, Number.MAX_SAFE_INTEGER])
})

test.run()
